package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/quoratedb/quorate/hashring"
)

// NodeHints is what one node keeps for others (E3).
type NodeHints struct {
	Node     string        `json:"node"`
	Answered bool          `json:"answered"` // false: it did not, the rest is empty
	Targets  []TargetHints `json:"targets"`
}

// TargetHints are the hints and marks of one node for one store.
type TargetHints struct {
	SID         string `json:"sid"`
	Hints       uint64 `json:"hints"`
	Bytes       uint64 `json:"bytes"`
	OldestAgeMS int64  `json:"oldest_age_ms"` // 0: there is none
	// DirtyPartitions counts those of which something was not kept: the target makes up
	// for it by exchanges.
	DirtyPartitions int `json:"dirty_partitions"`
}

func (t *TargetHints) add(o *TargetHints) {
	t.Hints += o.Hints
	t.Bytes += o.Bytes
	t.OldestAgeMS = max(t.OldestAgeMS, o.OldestAgeMS)
	t.DirtyPartitions += o.DirtyPartitions
}

// hintTarget is a row of /v1/hints.
type hintTarget struct {
	Node string `json:"node"`
	TargetHints
	Holders []string `json:"holders"`
}

// hintsJSON is the answer of /v1/hints.
type hintsJSON struct {
	Pending         uint64       `json:"pending"`
	Bytes           uint64       `json:"bytes"`
	OldestAgeMS     int64        `json:"oldest_age_ms"`
	DirtyPartitions int          `json:"dirty_partitions"`
	Targets         []hintTarget `json:"targets"`
	// Silent are the nodes that did not answer: what they keep is not in here.
	Silent []string `json:"silent"`
}

// sumHints turns what each node keeps into what each target is owed, by name of the
// target. Pure.
func sumHints(ring *hashring.Ring, nodes []NodeHints) hintsJSON {
	out := hintsJSON{Targets: []hintTarget{}, Silent: []string{}}
	for i := range nodes {
		n := &nodes[i]
		if !n.Answered {
			out.Silent = append(out.Silent, n.Node)
		}
		for j := range n.Targets {
			out.take(ring, n.Node, &n.Targets[j])
		}
	}
	slices.SortFunc(out.Targets, func(a, b hintTarget) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.SID, b.SID)) })
	slices.Sort(out.Silent)
	return out
}

func (h *hintsJSON) take(ring *hashring.Ring, holder string, t *TargetHints) {
	h.Pending += t.Hints
	h.Bytes += t.Bytes
	h.OldestAgeMS = max(h.OldestAgeMS, t.OldestAgeMS)
	h.DirtyPartitions += t.DirtyPartitions
	i := slices.IndexFunc(h.Targets, func(x hintTarget) bool { return x.SID == t.SID })
	if i < 0 {
		h.Targets = append(h.Targets, hintTarget{Node: nodeOf(ring, t.SID), TargetHints: TargetHints{SID: t.SID}})
		i = len(h.Targets) - 1
	}
	h.Targets[i].add(t)
	h.Targets[i].Holders = append(h.Targets[i].Holders, holder)
}

// nodeOf is the name of a store's node, empty for a store that the ring does not know.
func nodeOf(ring *hashring.Ring, text string) string {
	sid, err := hashring.ParseSID(text)
	if err != nil || ring == nil {
		return ""
	}
	st, ok := ring.Store(sid)
	if !ok {
		return ""
	}
	return st.Node
}

func (c *call) hints() {
	partition, f := c.partition()
	if f != nil {
		c.fail(f)
		return
	}
	c.json(http.StatusOK, sumHints(c.a.b.Ring(), c.a.b.Hints(c.ctx, partition)))
}

// partition is the parameter of that name, -1 when it is not given.
func (c *call) partition() (int, *fault) {
	text, given := c.q.get(paramPartition)
	if !given {
		return -1, nil
	}
	p, err := strconv.Atoi(text)
	if err != nil {
		p = -1
	}
	return p, c.checkPartition(p)
}

func (c *call) checkPartition(p int) *fault {
	ring := c.a.b.Ring()
	if ring == nil || !ring.HasRing() {
		return refuse(codeStarting, "the cluster has not been made yet")
	}
	if p < 0 || p >= len(ring.Partitions) {
		return refuse(codeInvalidArgument, "partition is a number from 0 to "+strconv.Itoa(len(ring.Partitions)-1))
	}
	return nil
}
