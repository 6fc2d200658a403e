package core

import "github.com/quoratedb/quorate/hashring"

// spreadWords bounds what a shard says in a second of primaries that others could have:
// the judge moves a few in a second, whoever leads them.
const spreadWords = 4

// strongSpread is what a shard remembers to tell the judge which partitions led here could
// be led elsewhere (quorum/strong/judge_spread.go).
type strongSpread struct {
	version uint64               // of the ring that led was counted in
	led     map[hashring.SID]int // strong partitions, by primary
	part    uint32               // at or behind this one is next
}

// strongSpreadTick looks, once a second, for members that lead at least two partitions
// fewer than this store.
func (c *Core) strongSpreadTick() {
	s := &c.strong.spread
	if !c.confirmed || c.draining || c.ring == nil || !c.ring.HasStrong() {
		return
	}
	if s.version != c.ring.Version {
		s.count(c.ring)
	}
	n := uint32(len(c.ring.Partitions))
	words := 0
	for range n {
		if s.part >= n {
			s.part = 0
		}
		id := s.part
		if s.part++; int(id)%c.cfg.Shards != c.cfg.Shard || c.ring.StrongPrimary(id) != c.cfg.Self {
			continue
		}
		sp := c.strong.parts[id]
		to, ok := s.least(c.ring, id)
		if !ok || sp == nil || sp.r == nil {
			continue
		}
		if c.touchStrong(sp); sp.r.Spare(to) {
			if words++; words == spreadWords {
				return
			}
		}
	}
}

func (s *strongSpread) count(r *hashring.Ring) {
	s.version, s.led = r.Version, make(map[hashring.SID]int, len(s.led))
	for id := range r.Partitions {
		s.led[r.Partitions[id].Primary]++
	}
}

// least is the member of a partition that leads the fewest, if that is two fewer than its
// primary.
func (s *strongSpread) least(r *hashring.Ring, id uint32) (to hashring.SID, ok bool) {
	most := s.led[r.Partitions[id].Primary] - 2
	for _, sid := range r.StrongMembers(id) {
		if st, known := r.Store(sid); known && st.State == hashring.StoreUp && s.led[sid] <= most {
			most, to, ok = s.led[sid]-1, sid, true
		}
	}
	return to, ok
}
