package httpapi

import (
	"cmp"
	"net/http"
	"slices"
)

// Most rows of a kind that one node shows, the worst first; of more it gives the count.
const MaxRepairRows = 100

// NodeRepair is what one node knows of its repair.
type NodeRepair struct {
	Node     string `json:"node"`
	Answered bool   `json:"answered"` // false: it did not, the rest is empty
	// RateBytes is what its background work may read and send in a second now.
	RateBytes int64 `json:"rate_bytes"`
	// Partitions it compares with other owners, and those of them that it knows to be
	// alike with all of them.
	Partitions int `json:"partitions"`
	InSync     int `json:"in_sync"`
	// DebtKeys is about how many keys it knows to differ and has not repaired.
	DebtKeys uint64 `json:"debt_keys"`
	// BehindMS is how long ago the oldest complete comparison began, of all pairs.
	BehindMS int64 `json:"behind_ms"`
	Running  int   `json:"running"` // comparisons that it leads now
	// Tombstones wait here for a purge round, Expiring records for their time.
	Tombstones    uint64        `json:"tombstones"`
	Expiring      uint64        `json:"expiring"`
	Pairs         []RepairPair  `json:"pairs"`
	OmittedPairs  int           `json:"omitted_pairs"`
	Purges        []RepairPurge `json:"purges"`
	OmittedPurges int           `json:"omitted_purges"`
}

// RepairPair is one partition's data of one n, compared with one peer. Pairs that are
// known to be alike are not shown.
type RepairPair struct {
	Partition uint32 `json:"partition"`
	N         int    `json:"n"`
	Peer      string `json:"peer"` // node name
	State     string `json:"state"`
	Doing     string `json:"doing,omitempty"`
	Building  bool   `json:"building,omitempty"` // the peer is being filled from here
	Dirty     bool   `json:"dirty,omitempty"`    // a complete comparison is asked for
	Never     bool   `json:"never,omitempty"`    // none since the node's start
	Keys      uint64 `json:"keys"`
	BehindMS  int64  `json:"behind_ms"`
	Sent      uint64 `json:"sent"`     // objects, by the comparison that runs
	Received  uint64 `json:"received"` // likewise
}

// Quiet tells that there is nothing to say of the pair.
func (p *RepairPair) Quiet() bool {
	return p.Keys == 0 && !p.Never && !p.Dirty && !p.Building && (p.State == "equal" || p.State == "waiting")
}

// RepairPurge is a partition whose purge rounds the node leads and in which something
// waits for one.
type RepairPurge struct {
	Partition  uint32 `json:"partition"`
	Generation uint64 `json:"generation"` // rounds committed so far
	Tombstones uint64 `json:"tombstones"`
	Expiring   uint64 `json:"expiring"`
	Phase      string `json:"phase,omitempty"` // of the round that runs
	// Blocked is what the round waits for, or why none goes on; by and count say where
	// and how much of it.
	Blocked string `json:"blocked,omitempty"`
	By      string `json:"by,omitempty"` // node name
	Count   uint64 `json:"count,omitempty"`
	ForMS   int64  `json:"for_ms,omitempty"`
}

// repairJSON is the answer of /v1/repair.
type repairJSON struct {
	DebtKeys   uint64       `json:"debt_keys"`
	BehindMS   int64        `json:"behind_ms"`
	Partitions int          `json:"partitions"`
	InSync     int          `json:"in_sync"` // at every node that compares them
	Running    int          `json:"running"`
	Tombstones uint64       `json:"tombstones"`
	Nodes      []NodeRepair `json:"nodes"`
	// PossibleLoss: what was given up; absent: nothing ever.
	PossibleLoss *PossibleLoss `json:"possible_loss,omitempty"`
}

// sumRepair adds up what the nodes say. Pure. A partition counts for each node that
// compares it, so that one which only some know to be alike shows as progress.
func sumRepair(nodes []NodeRepair) repairJSON {
	out := repairJSON{Nodes: nodes}
	if nodes == nil {
		out.Nodes = []NodeRepair{}
	}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		out.DebtKeys += n.DebtKeys
		out.BehindMS = max(out.BehindMS, n.BehindMS)
		out.Partitions += n.Partitions
		out.InSync += n.InSync
		out.Running += n.Running
		out.Tombstones += n.Tombstones
		n.Trim()
	}
	slices.SortFunc(out.Nodes, func(a, b NodeRepair) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Trim bounds the rows, the worst first, and orders them by partition.
func (n *NodeRepair) Trim() {
	n.Pairs, n.OmittedPairs = trim(n.Pairs, n.OmittedPairs, func(p *RepairPair) uint64 {
		worth := 2 * p.Keys
		if p.State == "running" || p.Dirty {
			worth++
		}
		return worth
	}, func(p *RepairPair) uint32 { return p.Partition })
	n.Purges, n.OmittedPurges = trim(n.Purges, n.OmittedPurges, func(p *RepairPurge) uint64 { return p.Tombstones }, func(p *RepairPurge) uint32 { return p.Partition })
}

func trim[T any](rows []T, omitted int, worth func(*T) uint64, partition func(*T) uint32) ([]T, int) {
	if rows == nil {
		rows = []T{}
	}
	if over := len(rows) - MaxRepairRows; over > 0 {
		slices.SortStableFunc(rows, func(a, b T) int { return cmp.Compare(worth(&b), worth(&a)) })
		rows, omitted = rows[:MaxRepairRows], omitted+over
	}
	slices.SortStableFunc(rows, func(a, b T) int { return cmp.Compare(partition(&a), partition(&b)) })
	return rows, omitted
}

func (c *call) repair() {
	out := sumRepair(c.a.b.Repair(c.ctx))
	out.PossibleLoss = PossibleLossOf(c.a.b.Ring())
	c.json(http.StatusOK, out)
}

// repairBody is what POST /v1/repair takes: nothing at all is all partitions.
type repairBody struct {
	Partition *int `json:"partition"`
	// ForceFull asks for the last resort instead, of the partitions or of all that need
	// it; without Apply what it would do.
	ForceFull  bool  `json:"force_full"`
	Partitions []int `json:"partitions"`
	Apply      bool  `json:"apply"`
}

// startRepair asks all owners for a complete comparison now, beside what they do anyway.
func (c *call) startRepair() {
	var body repairBody
	partition := -1
	f := c.decodeMaybe(&body, maxControlBody)
	switch {
	case f == nil && body.ForceFull && body.Partition == nil:
		c.forceFull(body.Partitions, body.Apply)
		return
	case f == nil && (body.ForceFull || body.Apply || body.Partitions != nil):
		f = refuse(codeInvalidArgument, "partitions and apply go with force_full, and partition goes without it")
	}
	if f == nil && body.Partition != nil {
		partition = *body.Partition
		f = c.checkPartition(partition)
	} else if f == nil {
		f = c.checkPartition(0)
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.json(http.StatusAccepted, struct {
		Asked []NodeAsked `json:"asked"`
	}{c.a.b.StartRepair(c.ctx, partition)})
}

// NodeAsked is what a node made of POST /v1/repair.
type NodeAsked struct {
	Node     string `json:"node"`
	Answered bool   `json:"answered"`
	// Comparisons that it will lead or ask for.
	Comparisons int `json:"comparisons"`
}
