package hashring

import "slices"

// MaxStrongPlaces bounds partitions times replicas of a ring with strong buckets:
// configurations name stores up to three times, and the whole state must fit
// MaxStateBytes.
const MaxStrongPlaces = 16 << 10

// MaxLost bounds the lost stores of one partition, retired ones not counted: all but two
// of a joint configuration with five replicas.
const MaxLost = 8

// beginStrong gives every partition what a strong bucket needs. It runs when the first
// strong bucket comes into being, or the first ring after one.
//
// Configurations outlive their buckets. One that has lost its majority while there was
// no strong bucket has nothing to lose: it begins anew, as a recovery without loss.
func (s *State) beginStrong() error {
	if n := len(s.Partitions) * s.Replicas; n > MaxStrongPlaces {
		return refuse(ErrTooMany, "%d partitions with %d replicas, strong buckets allow %d places", len(s.Partitions), s.Replicas, MaxStrongPlaces)
	}
	s.editPartitions()
	led := s.primaries()
	for p := range s.Partitions {
		part := &s.Partitions[p]
		if c := part.Strong; c != nil {
			if s.holdsMajorities(c, SID{}) {
				continue
			}
			led[part.Primary]--
		}
		next := s.firstConfig(part)
		if len(next.Sets[0]) == 0 {
			return refuse(ErrUnsettled, "partition %d has no store in service", p)
		}
		primary := s.leastBusy(next.Sets[0], led)
		led[primary]++
		part.reconfigure(primary, next)
	}
	return nil
}

// firstConfig is what a partition begins with: the stores of its list that are not
// retired; after another incarnation those of them that have its log, if any are left.
func (s *State) firstConfig(part *Partition) StrongConfig {
	var set, former []SID
	for _, sid := range part.Replicas {
		i, _ := s.find(sid)
		switch {
		case s.Stores[i].State == StoreRetired || part.Strong != nil && slices.Contains(part.Strong.Lost, sid):
		case part.Strong != nil && part.Strong.IsMember(sid) && s.Stores[i].State.serves():
			former = append(former, sid)
		default:
			set = append(set, sid)
		}
	}
	switch {
	case part.Strong == nil:
		return StrongConfig{Incarnation: 1, Sets: [][]SID{set}}
	case len(former) > 0:
		set = former[:min(2, len(former))]
	}
	return s.recovered(part.Strong, set)
}

// primaries counts the partitions that each store leads.
func (s *State) primaries() map[SID]int {
	led := make(map[SID]int, len(s.Stores))
	for p := range s.Partitions {
		if s.Partitions[p].Strong != nil {
			led[s.Partitions[p].Primary]++
		}
	}
	return led
}

// leastBusy is the store of a set that leads least, one that is up if there is one.
func (s *State) leastBusy(set []SID, led map[SID]int) SID {
	best := set[0]
	for _, sid := range set[1:] {
		up, was := s.isUp(sid), s.isUp(best)
		if up && !was || up == was && led[sid] < led[best] {
			best = sid
		}
	}
	return best
}

func (s *State) isUp(sid SID) bool {
	i, ok := s.find(sid)
	return ok && s.Stores[i].State == StoreUp
}

// holdsMajorities tells whether in EVERY set of c more than half of the stores still
// stand for what they hold, without the one given.
func (s *State) holdsMajorities(c *StrongConfig, without SID) bool {
	return !slices.ContainsFunc(c.Sets, func(set []SID) bool {
		n := 0
		for _, sid := range set {
			if sid != without && s.serves(sid) {
				n++
			}
		}
		return n < Majority(len(set))
	})
}

// hasStrongBucket tells whether there is anything in strong mode to be lost.
func (s *State) hasStrongBucket() bool {
	for name := range s.Buckets {
		if s.Buckets[name].Mode == Strong {
			return true
		}
	}
	return false
}

// lastMajority refuses what would leave a set without a majority of stores that stand for
// what they hold. Sets keep a retired store until T2 and T3 have replaced it, so it goes
// on counting in the size of the majority; of those that are left one more may not be
// given up, because nobody could lead the partition ever again, and what was acked would
// be lost without anybody having said so. The way out is a forced recovery (T5), which
// says it; after it the store is in no set. A suspect store that an operator has given up
// holds nobody back either: its word counts for nothing ever again.
func (s *State) lastMajority(sid SID) error {
	if !s.hasStrongBucket() {
		return nil
	}
	first, count := 0, 0
	for p := range s.Partitions {
		if c := s.Partitions[p].Strong; c != nil && c.IsMember(sid) && !s.holdsMajorities(c, sid) && !s.givenUp(&s.Partitions[p], sid) {
			if count == 0 {
				first = p
			}
			count++
		}
	}
	if count > 0 {
		return refuse(ErrLastFull, "without store %s no majority is left of %d partitions with strong buckets, such as %d", sid.Short(), count, first)
	}
	return nil
}
