package hashring

import (
	"slices"

	"github.com/quoratedb/quorate/internal/plant"
)

// Force is an operator's way out where the last full owner of a partition is lost (D2):
// what is left of it becomes full, and that something may be missing is recorded for ever.
// All of the places or none.
type Force struct {
	Places []ForcePlace `json:"places"` // 1..MaxForced, partitions ascending
}

// MaxForced places of one command: so many fit MaxCommandBytes with the longest lists.
const MaxForced = 64

// ForcePlace gives up some owners of a partition. It is refused while another one of the
// first n is full, for the n of some bucket or all.
//
// Given up means building: whatever the stores hold they keep, and should they come back
// they are compared and filled like any other, so that nothing is lost by it that can be
// read. The other stores of the list that were building are full. Where there are none,
// the first store that takes a place is: empty, but the others can be filled from it.
type ForcePlace struct {
	Partition uint32 `json:"partition"`
	Epoch     uint64 `json:"epoch"`             // PlanEpoch that the partition has: a compare-and-swap
	GiveUp    []SID  `json:"give_up,omitempty"` // owners, distinct
}

func (c *Force) check() error {
	if len(c.Places) < 1 || len(c.Places) > MaxForced {
		return refuse(ErrInvalid, "%d places, not 1 to %d", len(c.Places), MaxForced)
	}
	for i := range c.Places {
		pl := &c.Places[i]
		switch {
		case i > 0 && c.Places[i-1].Partition >= pl.Partition:
			return refuse(ErrInvalid, "partition %d out of order", pl.Partition)
		case len(pl.GiveUp) > MaxReplicas || !distinct(pl.GiveUp):
			return refuse(ErrInvalid, "partition %d: %d stores to be given up, or one twice", pl.Partition, len(pl.GiveUp))
		}
	}
	return nil
}

func (s *State) force(c *Force) error {
	if s.Feature < FeatureLoss {
		return refuse(ErrNotSupported, "%s needs feature level %d, the cluster is at %d", KindForce, FeatureLoss, s.Feature)
	}
	s.editPartitions()
	for i := range c.Places {
		if err := s.forceOne(&c.Places[i]); err != nil {
			return err
		}
	}
	return nil
}

// forceOne works on s's own Partitions.
func (s *State) forceOne(c *ForcePlace) error {
	part, err := s.at(c.Partition, c.Epoch)
	if err != nil {
		return err
	}
	for _, sid := range c.GiveUp {
		if !slices.Contains(part.Replicas, sid) {
			return refuse(ErrInvalid, "partition %d: store %s is no owner", c.Partition, sid.Short())
		}
	}
	n := s.ownerless(part, s.widths(), c.GiveUp)
	if n == 0 && !plant.Is(plant.ForceAnyway) {
		return refuse(ErrUnsettled, "partition %d has full owners left: the others are filled from them", c.Partition)
	}
	was := part.Building
	for _, sid := range c.GiveUp {
		part.build(sid)
	}
	for _, sid := range s.heirs(part, n, c.GiveUp) {
		part.built(sid)
	}
	if slices.Equal(part.Building, was) {
		return refuse(ErrSame, "partition %d: nothing is left to be given up or to become full", c.Partition)
	}
	part.Loss = s.Version
	if plant.Is(plant.ForceForgets) {
		part.Loss = 0
	}
	// That an object is absent at a full owner means that it was deleted, at and below the
	// purge clock (E6). Here it may mean that it was lost, and its last copy at a store
	// that comes back would be refused. So the clock begins anew.
	if g := part.Purge; g != nil && !plant.Is(plant.ForceKeepsClock) {
		part.Purge = &Purge{Generation: g.Generation + 1, TimeMS: g.TimeMS}
	}
	s.newStage(int(c.Partition))
	return nil
}

// ownerless is the greatest number of owners that some bucket has, or all, of which none
// is full but those given up; 0: there is always one. As in alone, n=1 does not count in a
// longer list.
func (s *State) ownerless(part *Partition, widths uint32, given []SID) (most int) {
	full := 0
	for at, sid := range part.Replicas {
		if s.full(part, at) && !slices.Contains(given, sid) {
			full++
		}
		n := at + 1
		if full == 0 && (n == len(part.Replicas) || n > 1 && widths&(1<<n) != 0) {
			most = n
		}
	}
	return most
}

// heirs are those of the first n owners that become full when some are given up: they
// were building, and stand for what they have.
func (s *State) heirs(part *Partition, n int, given []SID) (out []SID) {
	for _, sid := range part.Replicas[:n] {
		if slices.Contains(part.Building, sid) && s.serves(sid) && !slices.Contains(given, sid) {
			out = append(out, sid)
		}
	}
	return out
}

// nobodyLeft tells that the store which has just come to place i of part's list has nobody
// to be filled from, because an operator has given up what there was: a store that is out,
// and not given up, may be all that holds something.
func (s *State) nobodyLeft(part *Partition, i int) bool {
	n := s.ownerless(part, s.widths(), part.Replicas[i:i+1])
	if part.Loss == 0 || n <= i {
		return false
	}
	for at, sid := range part.Replicas[:n] {
		if at != i && !slices.Contains(part.Building, sid) {
			return false
		}
	}
	return true
}

// givenUp tells whether an operator has given up what the suspect store sid has of part.
func (s *State) givenUp(part *Partition, sid SID) bool {
	return part.Loss != 0 && slices.Contains(part.Building, sid) && !s.serves(sid)
}

// Forced is a partition that only Force can bring back.
type Forced struct {
	ForcePlace
	N      int   // of its first N owners none is full that answers
	Become []SID // full by it; empty: the first store that takes a place begins empty
}

// PlanForce finds the partitions without a full owner that answers, for the n of some
// bucket or all of its list; answers is the caller's knowledge. Those for which there is
// nothing to be done are left out: they wait for new stores.
func PlanForce(s *State, answers func(SID) bool) (out []Forced) {
	widths := s.widths()
	for p := range s.Partitions {
		part := &s.Partitions[p]
		f := Forced{ForcePlace: ForcePlace{Partition: uint32(p), Epoch: part.PlanEpoch()}}
		newly := false
		for _, sid := range part.Replicas {
			if !s.serves(sid) || !answers(sid) {
				f.GiveUp = append(f.GiveUp, sid)
				newly = newly || !slices.Contains(part.Building, sid)
			}
		}
		if f.N = s.ownerless(part, widths, f.GiveUp); f.N == 0 {
			continue
		}
		if f.Become = s.heirs(part, f.N, f.GiveUp); newly || len(f.Become) > 0 {
			out = append(out, f)
		}
	}
	return out
}
