package hashring

import "slices"

// A stage of a partition is what its replicas are to it: full, building, or nothing.
// Each change of it raises the epoch and closes the session of whoever goes on
// building (E7). That closing is more than tidiness. Let two stores build in one
// partition and one become full: writes are then acked by a majority of the full
// owners that need not hold what the other's pass went over before. Were that one
// taken as full too on the strength of the old pass, a read majority of the larger
// set could miss an acked write. With its session closed it must pass once more,
// after the new epoch's fence.

// editPartitions makes Partitions s's own, so that entries may be replaced; what an
// entry points to is still shared.
func (s *State) editPartitions() { s.Partitions = slices.Clone(s.Partitions) }

// newStage begins the next epoch of p, which is in s's own Partitions.
func (s *State) newStage(p int) {
	part := &s.Partitions[p]
	part.Epoch++
	if s.Feature >= FeatureStrong {
		part.Placed = part.Epoch
	}
	part.Session = 0
	if len(part.Building) > 0 {
		part.Session = s.Version
	}
}

// build makes the list's store sid a building one. The building stores keep the
// order of the list.
func (part *Partition) build(sid SID) {
	building := make([]SID, 0, len(part.Building)+1)
	for _, at := range part.Replicas {
		if at == sid || slices.Contains(part.Building, at) {
			building = append(building, at)
		}
	}
	part.Building = building
}

// built takes sid off the building stores.
func (part *Partition) built(sid SID) {
	var left []SID // nil when none is left: that is its form in the codec
	for _, at := range part.Building {
		if at != sid {
			left = append(left, at)
		}
	}
	part.Building = left
}

// serves tells whether a store in this state stands for what it holds: a suspect one
// may have forgotten (D2), a retired one is gone.
func (s StoreState) serves() bool { return s != StoreSuspect && s != StoreRetired }

// full tells whether the store at place i of part's list holds all that was acked.
func (s *State) full(part *Partition, i int) bool {
	sid := part.Replicas[i]
	if slices.Contains(part.Building, sid) {
		return false
	}
	at, ok := s.find(sid)
	return ok && s.Stores[at].State.serves()
}

// alone tells for which number of owners the store at place i of part's list has no
// full fellow: none that could fill it or be all that is left. A bucket's objects are
// at its first n owners only, so every bucket's n is asked for, and the whole list.
// Buckets with n=1 are left out where the list is longer: nobody but their one disk
// ever held their objects.
func (s *State) alone(part *Partition, i int, widths uint32) (n int, alone bool) {
	list := len(part.Replicas)
	full := 0
	for at := range list {
		if at != i && s.full(part, at) {
			full++
		}
		n := at + 1
		asked := n == list || n > 1 && widths&(1<<n) != 0
		if asked && i < n && full == 0 {
			return n, true
		}
	}
	return 0, false
}

// widths are the numbers of owners that buckets have, as a set of bits.
func (s *State) widths() (set uint32) {
	for name := range s.Buckets {
		if s.Buckets[name].Mode != Strong {
			set |= 1 << s.Buckets[name].N
		}
	}
	return set
}

// LastFull gives the error with which the ring would refuse to replace or retire the
// store sid: nil, or ErrLastFull with the numbers. A damaged store asks this before
// it gives its data up.
func (s *State) LastFull(sid SID) error {
	widths, count := s.widths(), 0
	var first, of int
	for p := range s.Partitions {
		part := &s.Partitions[p]
		i := slices.Index(part.Replicas, sid)
		if i < 0 || slices.Contains(part.Building, sid) {
			continue // what sid was only building is not lost with it
		}
		if n, alone := s.alone(part, i, widths); alone {
			if count == 0 {
				first, of = p, n
			}
			count++
		}
	}
	if count > 0 {
		return refuse(ErrLastFull, "without store %s no full owner is left of %d partitions, such as %d with n=%d", sid.Short(), count, first, of)
	}
	return s.lastMajority(sid)
}
