package hashring

import "slices"

// checkStrong holds the invariants of what FeatureStrong added; below that level none of
// it may be there.
//  1. All partitions have a configuration or none; while there is a strong bucket, all.
//  2. Of the epochs of placement and of strong mode the greater one is the partition's,
//     and they differ: each change raises one of them (S1).
//  3. There are one or two sets of distinct registered stores; the primary is in one;
//     learners are sorted and in none, and so are lost stores, which are no learners.
func (s *State) checkStrong() error {
	begun := len(s.Partitions) > 0 && s.Partitions[0].Strong != nil
	if len(s.Partitions) > 0 && !begun && s.hasStrongBucket() {
		return refuse(ErrInvalid, "a strong bucket without configurations")
	}
	if n := len(s.Partitions) * s.Replicas; begun && n > MaxStrongPlaces {
		return refuse(ErrTooMany, "%d places with strong configurations, %d is the most", n, MaxStrongPlaces)
	}
	for p := range s.Partitions {
		part := &s.Partitions[p]
		switch {
		case s.Feature < FeatureStrong && (part.Strong != nil || part.Placed != 0):
			return refuse(ErrInvalid, "partition %d has parts of strong mode at feature level %d", p, s.Feature)
		case (part.Strong != nil) != begun:
			return refuse(ErrInvalid, "some partitions have a strong configuration, partition %d differs", p)
		case part.Strong == nil && part.Placed != 0 && part.Placed != part.Epoch:
			return refuse(ErrInvalid, "partition %d has epoch %d, its places have %d", p, part.Epoch, part.Placed)
		}
		if part.Strong == nil {
			continue
		}
		if err := s.checkConfig(p, part); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) checkConfig(p int, part *Partition) error {
	c := part.Strong
	switch {
	case part.Placed == 0 || c.Epoch == 0 || part.Placed == c.Epoch || max(part.Placed, c.Epoch) != part.Epoch:
		return refuse(ErrInvalid, "partition %d has epoch %d, places %d, strong %d", p, part.Epoch, part.Placed, c.Epoch)
	case c.Incarnation == 0 || c.PossibleLoss && c.Incarnation == 1:
		return refuse(ErrInvalid, "partition %d has incarnation %d, possible loss %v", p, c.Incarnation, c.PossibleLoss)
	case len(c.Sets) < 1 || len(c.Sets) > 2:
		return refuse(ErrInvalid, "partition %d has %d sets", p, len(c.Sets))
	case !c.IsMember(part.Primary):
		return refuse(ErrInvalid, "partition %d has a primary outside its sets", p)
	case len(c.Learners) > s.Replicas || !slices.IsSortedFunc(c.Learners, SID.Compare) || !distinct(c.Learners) || slices.ContainsFunc(c.Learners, c.IsMember):
		return refuse(ErrInvalid, "partition %d has %d learners, not sorted, or members too", p, len(c.Learners))
	}
	if len(c.Lost) > MaxLost || !slices.IsSortedFunc(c.Lost, SID.Compare) || !distinct(c.Lost) || slices.ContainsFunc(c.Lost, c.Holds) {
		return refuse(ErrInvalid, "partition %d has %d lost stores, not sorted, or that hold it too", p, len(c.Lost))
	}
	for _, set := range c.Sets {
		if len(set) < 1 || len(set) > s.Replicas || !distinct(set) {
			return refuse(ErrInvalid, "partition %d has a set of %d stores, not 1 to %d distinct ones", p, len(set), s.Replicas)
		}
		if err := s.registered(p, set); err != nil {
			return err
		}
	}
	return s.registered(p, slices.Concat(c.Learners, c.Lost))
}

func (s *State) registered(p int, sids []SID) error {
	for _, sid := range sids {
		if _, ok := s.find(sid); !ok {
			return refuse(ErrUnknownStore, "partition %d names store %s", p, sid.Short())
		}
	}
	return nil
}

func (c *StrongChanges) check() error {
	if len(c.Changes) < 1 || len(c.Changes) > MaxPlaces {
		return refuse(ErrInvalid, "%d changes of strong configurations, not 1 to %d", len(c.Changes), MaxPlaces)
	}
	for i := range c.Changes {
		if i > 0 && c.Changes[i-1].Partition >= c.Changes[i].Partition {
			return refuse(ErrInvalid, "partition %d out of order", c.Changes[i].Partition)
		}
		if err := c.Changes[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// check: each kind has its members and no others.
func (c *StrongChange) check() error {
	var stores, primary bool // what there must be; a joint, settled or aborted one may name a primary
	free := false
	switch c.Kind {
	case StrongActivate:
	case StrongPrimary:
		primary = true
	case StrongRecover:
		stores, primary = true, true
	case StrongJoint:
		stores, free = true, true
	case StrongSettle, StrongAbort:
		free = true
	case StrongLearners:
		stores = len(c.Stores) > 0
	default:
		return refuse(ErrInvalid, "change %q of partition %d", clip(string(c.Kind)), c.Partition)
	}
	switch {
	case c.Epoch == 0:
		return refuse(ErrInvalid, "%s of partition %d without an epoch", c.Kind, c.Partition)
	case !free && c.Primary.IsZero() == primary:
		return refuse(ErrInvalid, "%s of partition %d with primary %s", c.Kind, c.Partition, c.Primary.Short())
	case (len(c.Stores) > 0) != stores || len(c.Stores) > MaxReplicas || !distinct(c.Stores) || slices.Contains(c.Stores, SID{}):
		return refuse(ErrInvalid, "%s of partition %d with %d stores", c.Kind, c.Partition, len(c.Stores))
	}
	return nil
}
