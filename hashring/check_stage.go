package hashring

// checkStages holds the invariants of what FeatureBuilding added; below that level
// none of it may be there.
//  1. The building stores are some of the list's, in its order; there is a session,
//     not above the ring version, exactly while somebody is building.
//  2. A purge clock is sorted and within its share; generations begin at 1.
//  3. A loss is not above the ring version, and at FeatureLoss.
//  4. A successor is another registered store of the same node, of a retired store
//     that is in no list (checkPartitions); following successors ends.
func (s *State) checkStages() error {
	for p := range s.Partitions {
		if err := s.Partitions[p].checkStage(s, p); err != nil {
			return err
		}
	}
	for i := range s.Stores {
		if err := s.checkSuccessor(&s.Stores[i]); err != nil {
			return err
		}
	}
	return nil
}

func (part *Partition) checkStage(s *State, p int) error {
	switch {
	case part.Loss != 0 && s.Feature < FeatureLoss, part.Loss > s.Version:
		return refuse(ErrInvalid, "partition %d has had a loss at ring %d, at ring %d and feature level %d", p, part.Loss, s.Version, s.Feature)
	case s.Feature < FeatureBuilding && (len(part.Building) > 0 || part.Session != 0 || part.Purge != nil):
		return refuse(ErrInvalid, "partition %d has a stage or a purge at feature level %d", p, s.Feature)
	case !inOrder(part.Building, part.Replicas):
		return refuse(ErrInvalid, "the building stores of partition %d are not its own, in order", p)
	case (part.Session != 0) != (len(part.Building) > 0), part.Session > s.Version:
		return refuse(ErrInvalid, "partition %d has session %d, %d building stores, ring version %d", p, part.Session, len(part.Building), s.Version)
	case part.Purge == nil:
		return nil
	case part.Purge.Generation == 0 || part.Purge.TimeMS < 0:
		return refuse(ErrInvalid, "partition %d has purge generation %d, time %d", p, part.Purge.Generation, part.Purge.TimeMS)
	}
	if n, most := part.Purge.Clock.Bytes(), clockShare(len(s.Partitions)); n > most {
		return refuse(ErrTooMany, "the purge clock of partition %d has %d bytes, %d is the most", p, n, most)
	}
	return part.Purge.Clock.check()
}

// inOrder tells whether some are stores of the list, in its order.
func inOrder(some, list []SID) bool {
	for _, sid := range list {
		if len(some) > 0 && some[0] == sid {
			some = some[1:]
		}
	}
	return len(some) == 0
}

func (s *State) checkSuccessor(st *Store) error {
	if st.Successor.IsZero() {
		return nil
	}
	next, ok := s.find(st.Successor)
	if !ok || s.Feature < FeatureBuilding || st.State != StoreRetired || s.Stores[next].Node != st.Node {
		return refuse(ErrInvalid, "store %s, %s, has successor %s", st.SID.Short(), st.State, st.Successor.Short())
	}
	for range s.Stores {
		if s.Stores[next].Successor.IsZero() {
			return nil
		}
		if next, ok = s.find(s.Stores[next].Successor); !ok {
			break
		}
	}
	return refuse(ErrInvalid, "the successors of store %s do not end", st.SID.Short())
}
