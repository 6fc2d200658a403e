package core

import "github.com/quoratedb/quorate/hashring"

// Stats counts since the process started, and says what is there now.
type Stats struct {
	Reads, Writes, Refused, Forwards uint64
	Hedges, Suspicions, ReadRepairs  uint64
	LWWDropped                       uint64 // concurrent siblings lost to last-write-wins
	HintsKept, HintsDelivered        uint64
	HintsRefused                     uint64 // over the budget
	ParkedDropped                    uint64
	Corrupt                          uint64 // reads of a record that failed its checksum
	Ops, OverlayBytes, Parked, Loads int    // now
	Keys, Tombstones, Bytes          uint64 // now, of this shard's partitions
	Hints, HintBytes                 uint64
	HintsByTarget                    map[hashring.SID]uint64
}

// Stats sums up the shard; cheap enough for once a second.
func (c *Core) Stats() Stats {
	s := c.stats
	s.Ops, s.OverlayBytes, s.Parked, s.Loads = len(c.ops), c.overlay.bytes, len(c.parked), len(c.loads)
	s.HintsByTarget = map[hashring.SID]uint64{}
	for _, id := range sortedKeys(c.parts) {
		n := &c.parts[id].counters
		s.Keys += n.Keys
		s.Tombstones += n.Tombstones
		s.Bytes += n.Bytes
		for _, h := range n.Hints {
			s.Hints += h.Hints
			s.HintBytes += h.Bytes
			s.HintsByTarget[h.Target] += h.Hints
		}
	}
	return s
}
