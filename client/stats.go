package client

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

type counters struct {
	calls, attempts, retries, noBudget atomic.Uint64
	hedges, hedgeWins                  atomic.Uint64
	ringFetches, ringChanges, downs    atomic.Uint64
}

// Stats are counts since the client was made, and its view of the nodes.
type Stats struct {
	Calls     uint64 // of the caller
	Attempts  uint64 // requests sent, hedges included
	Retries   uint64 // attempts after the first
	NoBudget  uint64 // retries not made for want of budget
	Hedges    uint64 // second requests of late reads
	HedgeWins uint64 // that answered first

	RingVersion uint64 // 0: not known yet
	RingFetches uint64
	RingChanges uint64
	NodesDown   uint64        // times a node was found down
	HedgeAfter  time.Duration // observed 95th percentile of gets, and some; 0: too few seen
	Nodes       []NodeStats
}

// NodeStats is what the client has seen of one node of the ring.
type NodeStats struct {
	Name     string
	API      string
	InFlight int64
	Latency  time.Duration // moving mean
	Down     bool
}

// Stats gives counts and the client's view of the nodes, by name.
func (c *Client) Stats() Stats {
	s := Stats{Calls: c.stats.calls.Load(), Attempts: c.stats.attempts.Load(), Retries: c.stats.retries.Load(),
		NoBudget: c.stats.noBudget.Load(), Hedges: c.stats.hedges.Load(), HedgeWins: c.stats.hedgeWins.Load(),
		RingFetches: c.stats.ringFetches.Load(), RingChanges: c.stats.ringChanges.Load(), NodesDown: c.stats.downs.Load(),
		HedgeAfter: c.slow[opGet].get() * time.Duration(c.patience.Load()) / 1000}
	v := c.ring.Load()
	if v == nil {
		return s
	}
	s.RingVersion = v.version
	now := c.clock()
	for _, n := range v.nodes {
		s.Nodes = append(s.Nodes, NodeStats{Name: n.name, API: n.addr, InFlight: n.inFlight.Load(), Latency: n.load(now), Down: n.probing.Load()})
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStats) int { return cmp.Compare(a.Name, b.Name) })
	return s
}
