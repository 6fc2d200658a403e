package hashring

import (
	"slices"

	"github.com/quoratedb/quorate/internal/plant"
)

// strong carries out a batch of changes of strong configurations. Those that the state
// refuses are left out, so that a partition where another judge was faster does not keep
// the others from a primary; if all are, the answer is the first one's reason.
func (s *State) strong(c *StrongChanges) error {
	if s.Feature < FeatureStrong {
		return refuse(ErrNotSupported, "%s needs feature level %d, the cluster is at %d", KindStrong, FeatureStrong, s.Feature)
	}
	s.editPartitions()
	var first error
	done := 0
	for i := range c.Changes {
		err := s.strongOne(&c.Changes[i])
		if err == nil {
			done++
		} else if first == nil {
			first = err
		}
	}
	if done > 0 {
		return nil
	}
	return first
}

// strongOne works on s's own Partitions. It is a compare-and-swap on the epoch: of two
// changes made for one epoch the second is refused (S1).
func (s *State) strongOne(c *StrongChange) error {
	if int(c.Partition) >= len(s.Partitions) || s.Partitions[c.Partition].Strong == nil {
		return refuse(ErrInvalid, "partition %d of %d has no strong configuration", c.Partition, len(s.Partitions))
	}
	part := &s.Partitions[c.Partition]
	if at := part.Strong.Epoch; at != c.Epoch && !plant.Is(plant.StrongNoSwap) {
		return refuse(ErrStaleEpoch, "partition %d is at strong epoch %d, %d was expected", c.Partition, at, c.Epoch)
	}
	switch c.Kind {
	case StrongActivate:
		return part.activate(c)
	case StrongLearners:
		return s.learners(part, c)
	}
	next, err := s.nextConfig(part, c)
	if err != nil {
		return err
	}
	primary := c.Primary
	if primary.IsZero() {
		primary = part.Primary
	}
	switch {
	case !next.IsMember(primary):
		return refuse(ErrInvalid, "partition %d: store %s cannot lead, it is in no set", c.Partition, primary.Short())
	case !c.Primary.IsZero() && !s.mayLead(c.Primary):
		return refuse(ErrInvalid, "partition %d: store %s cannot lead, it is not in service", c.Partition, primary.Short())
	}
	if next.Learners = without(next.Learners, &next); len(next.Lost) > MaxLost {
		return refuse(ErrTooMany, "partition %d: %d stores lost by recoveries, %d is the most: wipe some", c.Partition, len(next.Lost), MaxLost)
	}
	part.reconfigure(primary, next)
	return nil
}

func (part *Partition) activate(c *StrongChange) error {
	if part.Strong.Activated {
		return refuse(ErrSame, "partition %d is active in epoch %d", c.Partition, c.Epoch)
	}
	next := *part.Strong
	next.Activated = true
	part.Strong = &next
	return nil
}

// learners do not raise the epoch: they count for nothing.
func (s *State) learners(part *Partition, c *StrongChange) error {
	if err := s.inService(part.Strong, c); err != nil {
		return err
	}
	next := *part.Strong
	next.Learners = append([]SID(nil), c.Stores...) // nil when there are none: its form in the codec
	slices.SortFunc(next.Learners, SID.Compare)
	for _, sid := range next.Learners {
		if next.IsMember(sid) {
			return refuse(ErrInvalid, "partition %d: store %s is a member", c.Partition, sid.Short())
		}
	}
	if slices.Equal(next.Learners, part.Strong.Learners) {
		return refuse(ErrSame, "partition %d has these learners", c.Partition)
	}
	part.Strong = &next
	return nil
}

// nextConfig is what T1 to T5 make of part's configuration, epoch and primary apart.
func (s *State) nextConfig(part *Partition, c *StrongChange) (StrongConfig, error) {
	next := *part.Strong
	joint := len(next.Sets) == 2
	switch c.Kind {
	case StrongPrimary: // T1: the same sets
		return next, nil
	case StrongJoint: // T2
		switch {
		case joint:
			return next, refuse(ErrUnsettled, "partition %d is in a joint configuration", c.Partition)
		case sameStores(next.Sets[0], c.Stores):
			return next, refuse(ErrSame, "partition %d has this set", c.Partition)
		}
		err := s.inService(part.Strong, c)
		next.Sets = [][]SID{next.Sets[0], slices.Clone(c.Stores)}
		if plant.Is(plant.StrongSubstitutes) {
			next.Sets = next.Sets[1:]
		}
		return next, err
	case StrongRecover: // T5
		if len(c.Stores) > 2 {
			return next, refuse(ErrInvalid, "partition %d: %d stores, a recovery goes by the logs of one or two", c.Partition, len(c.Stores))
		}
		err := s.inService(part.Strong, c)
		next = s.recovered(part.Strong, c.Stores)
		next.PossibleLoss = true
		return next, err
	}
	switch { // T3, T4
	case !joint:
		return next, refuse(ErrUnsettled, "partition %d is in no joint configuration", c.Partition)
	case c.Kind == StrongAbort && !plant.Is(plant.StrongAbortForward):
		next.Sets = next.Sets[:1:1]
	case !next.Activated && !plant.Is(plant.StrongJointUnactivated) && !plant.Is(plant.StrongAbortForward): // S7: what the old set has acked may be missing from the new one
		return next, refuse(ErrUnsettled, "partition %d: the joint epoch %d is not active", c.Partition, c.Epoch)
	default:
		next.Sets = next.Sets[1:]
	}
	return next, nil
}

// reconfigure begins the next epoch of strong mode; requests of eventual buckets go on
// under the plan epoch that they have.
func (part *Partition) reconfigure(primary SID, next StrongConfig) {
	part.Placed = part.PlanEpoch()
	if part.Epoch++; plant.Is(plant.StrongEpochKept) && len(next.Sets) == 1 && next.Activated {
		part.Epoch--
	}
	next.Epoch, next.Activated = part.Epoch, false
	part.Primary, part.Strong = primary, &next
}

// recovered is the next incarnation of a configuration that has lost its majority, with
// one or two stores: a majority of them is all of them, so that whatever one of them knows
// to be committed stays. The other members are lost: what they know to be committed may
// not be so any more.
func (s *State) recovered(old *StrongConfig, stores []SID) StrongConfig {
	next := StrongConfig{Incarnation: old.Incarnation + 1, Sets: [][]SID{slices.Clone(stores)}, PossibleLoss: old.PossibleLoss}
	for _, sid := range slices.Concat(old.Lost, old.Members(), old.Learners) {
		i, ok := s.find(sid)
		if ok && s.Stores[i].State != StoreRetired && !slices.Contains(stores, sid) && !slices.Contains(next.Lost, sid) {
			next.Lost = append(next.Lost, sid)
		}
	}
	slices.SortFunc(next.Lost, SID.Compare)
	return next
}

// inService refuses stores that cannot come to hold a partition: unknown, retired, suspect
// or lost ones, or more of them than a list has. Of the members some may be out of service
// and stay: one place after the other is given to another store.
func (s *State) inService(cfg *StrongConfig, c *StrongChange) error {
	if len(c.Stores) > s.Replicas {
		return refuse(ErrTooMany, "partition %d: %d stores, %d replicas is the most", c.Partition, len(c.Stores), s.Replicas)
	}
	for _, sid := range c.Stores {
		i, ok := s.find(sid)
		if !ok {
			return refuse(ErrUnknownStore, "store %s", sid.Short())
		}
		if !s.Stores[i].State.serves() && (c.Kind != StrongJoint || !cfg.IsMember(sid)) {
			return refuse(ErrInvalid, "store %s is %s", sid.Short(), s.Stores[i].State)
		}
		if slices.Contains(cfg.Lost, sid) {
			return refuse(ErrInvalid, "partition %d was recovered without store %s: it may hold it again once it is wiped", c.Partition, sid.Short())
		}
	}
	return nil
}

// mayLead tells whether a store may be named primary. Who is alive is the judge's to
// know.
func (s *State) mayLead(sid SID) bool {
	i, ok := s.find(sid)
	return ok && (s.Stores[i].State == StoreUp || s.Stores[i].State == StoreDraining)
}

func sameStores(a, b []SID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(sid SID) bool { return !slices.Contains(b, sid) })
}

// without drops the stores that are members of c; nil when none is left.
func without(sids []SID, c *StrongConfig) (left []SID) {
	for _, sid := range sids {
		if !c.IsMember(sid) {
			left = append(left, sid)
		}
	}
	return left
}
