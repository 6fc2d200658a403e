package core

import (
	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// Stats counts since the process started, and says what is there now.
type Stats struct {
	Reads, Writes, Refused, Forwards uint64
	Hedges, Suspicions, ReadRepairs  uint64
	Replans                          uint64 // requests that were planned anew by a newer ring
	LWWDropped                       uint64 // concurrent siblings lost to last-write-wins
	HintsKept, HintsDelivered        uint64
	HintsRefused                     uint64 // over the budget
	Filled                           uint64 // stores in partitions that this one has filled (E13)
	Guarded                          uint64 // objects that brought what had been purged (E6)
	SkewRefused                      uint64 // writes with a stamp too far ahead of the wall clock (E9)
	HintsDropped                     uint64 // of over the budget or too old, once the other owners had them
	HintsMoved                       uint64 // given to the owners of now, their target having left
	MarksMade, MarksCleared          uint64 // dirty marks (E3)
	ParkedDropped                    uint64
	Corrupt                          uint64 // reads of a record that failed its checksum
	Purge                            PurgeStats
	Strong                           StrongStats
	Ops, OverlayBytes, Parked, Loads int // now
	Repair                           RepairStats
	Keys, Tombstones, Bytes          uint64 // now, of this shard's partitions
	Expiring                         uint64
	Hints, HintBytes                 uint64
	HintsByTarget                    map[hashring.SID]uint64
	Marks                            uint64           // standing now
	OldestHintMS                     int64            // wall clock; 0: there is none
	Owed                             []PartitionHints // by partition: all that is kept and owed; shared, read only
}

// PartitionHints are a partition's hint lines.
type PartitionHints struct {
	Partition uint32
	Lines     []antientropy.HintLine
}

// Stats sums up the shard; cheap enough for once a second.
func (c *Core) Stats() Stats {
	s := c.stats
	s.Purge, s.Strong = c.purgeStats(), c.strongStats()
	s.Ops, s.OverlayBytes, s.Parked, s.Loads = len(c.ops)+c.strong.running, c.overlay.bytes, len(c.parked), len(c.loads)
	s.Repair = c.repairStats()
	s.HintsByTarget = map[hashring.SID]uint64{}
	for _, id := range sortedKeys(c.parts) {
		n := &c.parts[id].counters
		s.Keys += n.Keys
		s.Tombstones += n.Tombstones
		s.Bytes += n.Bytes
		s.Expiring += n.Expiring
	}
	for _, id := range c.book.Partitions() {
		lines := c.book.Lines(id)
		s.Owed = append(s.Owed, PartitionHints{id, lines})
		for i := range lines {
			s.addHints(&lines[i])
		}
	}
	return s
}

func (s *Stats) addHints(l *antientropy.HintLine) {
	s.Hints += l.Hints
	s.HintBytes += l.Bytes
	s.HintsByTarget[l.Target] += l.Hints
	if l.Dirty != 0 {
		s.Marks++
	}
	if l.Hints > 0 && (s.OldestHintMS == 0 || l.OldestMS < s.OldestHintMS) {
		s.OldestHintMS = l.OldestMS
	}
}
