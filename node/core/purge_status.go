package core

import (
	"time"

	"github.com/quoratedb/quorate/antientropy"
)

// PurgeStatus is what a shard's purge rounds are at, for people.
type PurgeStatus struct {
	Tombstones uint64 // records here that are only tombstones, and wait for a round
	Expiring   uint64 // records here with a value that expires some time
	Walks      int    // partitions that are gone over after a commit
	// Rows are the partitions whose rounds this shard leads, where something waits or
	// runs; in order.
	Rows []PurgeRow
}

// PurgeRow is one partition as its lead sees it.
type PurgeRow struct {
	Partition  uint32
	Generation uint64 // rounds committed so far
	Tombstones uint64 // of the lead
	Expiring   uint64
	Phase      string // of the round that runs; "": none does
	// Block is why it does not go on, or why the last one ended or none begins; For is
	// since when.
	Block antientropy.Block
	For   time.Duration
	// Last is how long ago a round of it was last committed by this lead; Never: not
	// since its start.
	Last  time.Duration
	Never bool
}

// PurgeStatus shows it. Not for the hot path.
func (c *Core) PurgeStatus() PurgeStatus {
	s := PurgeStatus{Walks: c.purge.walks}
	for _, id := range sortedKeys(c.parts) {
		p := c.parts[id]
		s.Tombstones += p.counters.Tombstones
		s.Expiring += p.counters.Expiring
		run := c.purge.rounds[id]
		if !c.purges() || !c.leads(id) || run == nil && p.counters.Tombstones == 0 && p.counters.Expiring == 0 {
			continue
		}
		row := PurgeRow{Partition: id, Generation: c.ring.Purge(id).Generation, Tombstones: p.counters.Tombstones, Expiring: p.counters.Expiring,
			Block: p.rounds.block, Never: p.rounds.last == 0}
		if run != nil {
			row.Phase, row.Block = run.Phase().String(), run.Blocked()
		}
		if row.Block.Why != antientropy.NotBlocked {
			row.For = c.now.Mono - row.Block.Since
		}
		if !row.Never {
			row.Last = c.now.Mono - p.rounds.last
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// PurgeStats count the rounds that this shard led and what its walks did since the
// process started.
type PurgeStats struct {
	Begun, Committed   uint64
	Aborted            [antientropy.WhyCount]uint64
	Dropped, Converted uint64 // keys that are gone; that had expired and became tombstones
	// Now: rounds, and by why: partitions led here where something waits and no round runs.
	Running int
	Blocked [antientropy.WhyCount]int
}

// Add is for the sum over shards.
func (s *PurgeStats) Add(o *PurgeStats) {
	s.Begun += o.Begun
	s.Committed += o.Committed
	s.Dropped += o.Dropped
	s.Converted += o.Converted
	s.Running += o.Running
	for why := range s.Aborted {
		s.Aborted[why] += o.Aborted[why]
		s.Blocked[why] += o.Blocked[why]
	}
}

// Waits tells how many partitions wait for what keeps their rounds from beginning.
func (s *PurgeStats) Waits() (n int) {
	for _, count := range s.Blocked {
		n += count
	}
	return n
}

func (c *Core) purgeStats() PurgeStats {
	s := c.purge.stats
	s.Running = len(c.purge.rounds)
	for _, p := range c.parts { // order-free: counts
		if why := p.rounds.block.Why; why != antientropy.NotBlocked && c.purge.rounds[p.id] == nil {
			s.Blocked[why]++
		}
	}
	return s
}
