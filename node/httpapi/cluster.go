package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// ClusterStatus is the one-screen truth of /v1/cluster. The backend fills what only
// it can know; ring version and partition counts are computed from the ring and
// gossip when they are zero.
type ClusterStatus struct {
	Cluster     string          `json:"cluster"` // cluster id, 32 hex digits
	RingVersion uint64          `json:"ring_version"`
	RaftLeader  string          `json:"raft_leader"` // node name; empty: none known
	Voters      int             `json:"voters"`      // of the Raft group
	Nodes       []NodeStatus    `json:"nodes"`
	Partitions  PartitionHealth `json:"partitions"`
	Strong      *StrongHealth   `json:"strong,omitempty"` // absent until there has been a strong bucket
	Hints       HintStatus      `json:"hints"`
	Repair      RepairStatus    `json:"repair"`
	// PossibleLoss: what an operator has given up; absent: nothing ever.
	PossibleLoss *PossibleLoss `json:"possible_loss,omitempty"`
	// Testing names what is switched on that only tests may switch on: "n1 peer-via".
	Testing []string `json:"testing,omitempty"`
}

// NodeStatus is one registered store and the node that runs on it.
type NodeStatus struct {
	Name    string              `json:"name"`
	SID     string              `json:"sid"`
	State   hashring.StoreState `json:"state"` // as the Raft group has it
	Alive   bool                `json:"alive"` // as gossip has it
	Zone    string              `json:"zone"`
	Version string              `json:"version"` // of the binary; empty: it did not answer
	Boot    uint64              `json:"boot"`
	API     string              `json:"api"`
	Voter   bool                `json:"voter"` // has a vote in the Raft group
	// Partitions is how many replica lists hold the store.
	Partitions int      `json:"partitions"`
	Keys       uint64   `json:"keys"`  // live keys of eventual buckets that it holds
	Bytes      uint64   `json:"bytes"` // of their records, about
	Hints      uint64   `json:"hints"` // held for others
	HintBytes  uint64   `json:"hint_bytes"`
	DebtKeys   uint64   `json:"debt_keys"`         // about, known to differ from its peers' and not repaired
	Note       string   `json:"note,omitempty"`    // for the operator, one sentence
	Testing    []string `json:"testing,omitempty"` // as at the cluster, without the name
}

// PartitionHealth counts partitions by what their owners can do now.
type PartitionHealth struct {
	Total       int `json:"total"`
	OK          int `json:"ok"`           // every owner is alive
	Degraded    int `json:"degraded"`     // some are down, a majority is alive
	BelowQuorum int `json:"below_quorum"` // at least one is alive, no majority
	Lost        int `json:"lost"`         // no owner is alive
}

// HintStatus sums the hints of all nodes that answered.
type HintStatus struct {
	Pending uint64 `json:"pending"`
	Bytes   uint64 `json:"bytes"`
}

// RepairStatus is what repair knows to be out of step.
type RepairStatus struct {
	DebtKeys uint64 `json:"debt_keys"`
}

// NoteOwnsNothing goes with a node that joined after the first ring.
const NoteOwnsNothing = "owns no partitions yet: it coordinates and stands in for others"

// Health counts the partitions of a ring; alive is gossip's opinion. Pure.
func Health(r *hashring.Ring, alive func(hashring.SID) bool) (h PartitionHealth) {
	if r == nil {
		return h
	}
	h.Total = len(r.Partitions)
	for i := range r.Partitions {
		owners, up := r.Partitions[i].Replicas, 0
		for _, sid := range owners {
			if alive(sid) {
				up++
			}
		}
		switch {
		case up == 0:
			h.Lost++
		case up == len(owners):
			h.OK++
		case up >= hashring.Majority(len(owners)):
			h.Degraded++
		default:
			h.BelowQuorum++
		}
	}
	return h
}

// NodesFromRing lists the registered stores that are not retired, with what ring
// and gossip know of them; the backend adds what the nodes answer.
func NodesFromRing(r *hashring.Ring, alive func(hashring.SID) bool) []NodeStatus {
	out := []NodeStatus{}
	if r == nil {
		return out
	}
	owned, building := make(map[hashring.SID]int, len(r.Stores)), map[hashring.SID]int{}
	for i := range r.Partitions {
		for _, sid := range r.Partitions[i].Replicas {
			owned[sid]++
		}
		for _, sid := range r.Partitions[i].Building {
			building[sid]++
		}
	}
	for i := range r.Stores {
		s := &r.Stores[i]
		if s.State == hashring.StoreRetired && owned[s.SID] == 0 {
			continue
		}
		n := NodeStatus{Name: s.Node, SID: s.SID.String(), State: s.State, Alive: alive(s.SID), Zone: s.Zone,
			Boot: s.Boot, API: s.API, Partitions: owned[s.SID]}
		if r.HasRing() && n.Partitions == 0 {
			n.Note = NoteOwnsNothing
		}
		if count := building[s.SID]; count > 0 {
			n.Note = fmt.Sprintf("building: %d of its %d partitions are not full yet", count, n.Partitions)
		}
		if s.State == hashring.StoreSuspect {
			n.Note = suspectNote(r, s.SID)
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b NodeStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.SID, b.SID)) })
	return out
}

// suspectNote says what a suspect store waits for.
func suspectNote(r *hashring.Ring, sid hashring.SID) string {
	const note = "its store is damaged or was rolled back and serves nothing: "
	if err := r.LastFull(sid); err != nil {
		return note + "it keeps its data and waits: " + err.Error()
	}
	return note + "its node sets it aside and begins a new one"
}

func (c *call) cluster() {
	s := c.a.b.Cluster(c.ctx)
	ring := c.a.b.Ring()
	if ring != nil && s.RingVersion == 0 {
		s.RingVersion = ring.Version
	}
	if s.Partitions.Total == 0 {
		s.Partitions = Health(ring, c.a.b.Alive)
	}
	if s.Strong == nil {
		s.Strong = StrongHealthOf(ring, c.a.b.Alive, func(sid hashring.SID) string { return c.a.nodeName(ring, sid) })
	}
	s.PossibleLoss = PossibleLossOf(ring)
	if s.Nodes == nil {
		s.Nodes = NodesFromRing(ring, c.a.b.Alive)
	}
	c.json(http.StatusOK, s)
}
