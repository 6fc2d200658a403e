package hashring

import (
	"slices"

	"github.com/quoratedb/quorate/internal/plant"
)

// applyBuild carries out the commands that came with FeatureBuilding and later.
func (s *State) applyBuild(c Command) error {
	switch c.Kind {
	case KindStrong:
		return s.strong(c.Strong)
	case KindForce:
		return s.force(c.Force)
	}
	if s.Feature < FeatureBuilding {
		return refuse(ErrNotSupported, "%s needs feature level %d, the cluster is at %d", c.Kind, FeatureBuilding, s.Feature)
	}
	switch c.Kind {
	case KindReplaceStore:
		return s.replaceStore(c.ReplaceStore)
	case KindGrow:
		return s.grow(c.Grow)
	case KindFilled:
		return s.filled(c.Filled)
	default:
		return s.purge(c.Purge)
	}
}

func (s *State) replaceStore(c *ReplaceStore) error {
	i, ok := s.find(c.Old)
	if !ok || s.Stores[i].Node != c.Store.Node {
		return refuse(ErrUnknownStore, "store %s under node %s, to be replaced", c.Old.Short(), c.Store.Node)
	}
	old := s.Stores[i]
	switch {
	case old.Successor == c.Store.SID:
		return refuse(ErrSame, "store %s has replaced %s", c.Store.SID.Short(), c.Old.Short())
	case !old.Successor.IsZero():
		return refuse(ErrStaleEpoch, "store %s was replaced by %s", c.Old.Short(), old.Successor.Short())
	case old.Boot != c.Boot:
		return refuse(ErrStaleEpoch, "store %s is at boot %d, %d was taken for dead", c.Old.Short(), old.Boot, c.Boot).because(&old)
	}
	if err := s.LastFull(c.Old); err != nil {
		return err
	}
	old.State, old.Successor = StoreRetired, c.Store.SID
	s.setStore(i, old)
	if err := s.admit(c.Store); err != nil {
		return err
	}
	s.takePlaces(c.Old, c.Store.SID)
	return nil
}

// admit registers the store that takes a place. One that is registered already, at
// this very boot, may take the place of a store that was retired before.
func (s *State) admit(st Store) error {
	st.State = StoreUp
	if st.FeatureMax < s.Feature {
		return refuse(ErrInvalid, "store %s speaks feature level %d, the cluster uses %d", st.SID.Short(), st.FeatureMax, s.Feature)
	}
	i, known := s.find(st.SID)
	switch {
	case known && s.Stores[i].State != StoreUp:
		return refuse(ErrInvalid, "store %s is %s", st.SID.Short(), s.Stores[i].State).because(&s.Stores[i])
	case known && (s.Stores[i].Boot != st.Boot || s.Stores[i].Nonce != st.Nonce || s.Stores[i].Node != st.Node):
		return refuse(ErrStaleEpoch, "store %s is registered at boot %d under node %s", st.SID.Short(), s.Stores[i].Boot, s.Stores[i].Node).because(&s.Stores[i])
	case known:
		return nil
	}
	return s.addStore(i, st)
}

// takePlaces gives every place of one store to another, as building.
func (s *State) takePlaces(from, to SID) {
	s.editPartitions()
	for p := range s.Partitions {
		part := &s.Partitions[p]
		i := slices.Index(part.Replicas, from)
		if i < 0 {
			continue
		}
		part.built(from)
		part.Replicas = slices.Clone(part.Replicas)
		if slices.Contains(part.Replicas, to) { // an old log's replacement that has grown into the list since
			part.Replicas = slices.Delete(part.Replicas, i, i+1)
		} else {
			part.Replicas[i] = to
			if !s.nobodyLeft(part, i) {
				part.build(to)
			}
		}
		if part.Primary == from && part.Strong == nil { // else it is the epoch's, whatever becomes of it (S1)
			part.Primary = SID{}
		}
		s.newStage(p)
	}
}

// at finds the partition of a place whose epoch, the one that places and roles have, is
// as expected.
func (s *State) at(p uint32, epoch uint64) (*Partition, error) {
	if int(p) >= len(s.Partitions) {
		return nil, refuse(ErrInvalid, "partition %d of %d", p, len(s.Partitions))
	}
	part := &s.Partitions[p]
	if at := part.PlanEpoch(); at != epoch {
		return nil, refuse(ErrStaleEpoch, "partition %d is at epoch %d, %d was expected", p, at, epoch)
	}
	return part, nil
}

func (s *State) grow(c *Grow) error {
	s.editPartitions()
	for _, pl := range c.Places {
		part, err := s.at(pl.Partition, pl.Epoch)
		if err != nil {
			return err
		}
		i, ok := s.find(pl.SID)
		switch {
		case !ok:
			return refuse(ErrUnknownStore, "store %s", pl.SID.Short())
		case s.Stores[i].State != StoreUp:
			return refuse(ErrInvalid, "store %s is %s", pl.SID.Short(), s.Stores[i].State)
		case slices.Contains(part.Replicas, pl.SID):
			return refuse(ErrSame, "partition %d has store %s", pl.Partition, pl.SID.Short())
		case len(part.Replicas) >= s.Replicas:
			return refuse(ErrTooMany, "partition %d has %d replicas", pl.Partition, len(part.Replicas))
		case len(part.Building) > 0:
			return refuse(ErrUnsettled, "partition %d is building %s", pl.Partition, part.Building[0].Short())
		}
		part.Replicas = append(slices.Clone(part.Replicas), pl.SID)
		part.build(pl.SID)
		s.newStage(int(pl.Partition))
	}
	return nil
}

func (s *State) filled(c *Filled) error {
	s.editPartitions()
	widths := s.widths()
	for _, pl := range c.Places {
		part, err := s.at(pl.Partition, pl.Epoch)
		if err != nil {
			return err
		}
		if !slices.Contains(part.Building, pl.SID) || part.Session != pl.Session && !plant.Is(plant.FilledOldSession) {
			return refuse(ErrStaleEpoch, "store %s does not build partition %d in session %d", pl.SID.Short(), pl.Partition, pl.Session)
		}
		if i, _ := s.find(pl.SID); !s.Stores[i].State.serves() {
			return refuse(ErrInvalid, "store %s is %s", pl.SID.Short(), s.Stores[i].State)
		}
		if n, alone := s.alone(part, slices.Index(part.Replicas, pl.SID), widths); alone {
			return refuse(ErrUnsettled, "partition %d has no full owner with n=%d that could have filled %s", pl.Partition, n, pl.SID.Short())
		}
		part.built(pl.SID)
		s.newStage(int(pl.Partition))
	}
	return nil
}

func (s *State) purge(c *PurgeRounds) error {
	s.editPartitions()
	for i := range c.Rounds {
		if err := s.purgeOne(&c.Rounds[i]); err != nil {
			return err
		}
	}
	return nil
}

// purgeOne works on s's own Partitions.
func (s *State) purgeOne(c *PurgeRound) error {
	part, err := s.at(c.Partition, c.Epoch)
	if err != nil {
		return err
	}
	var was Purge
	if part.Purge != nil {
		was = *part.Purge
	}
	if was.Generation+1 != c.Generation {
		return refuse(ErrStaleEpoch, "partition %d is at purge generation %d, a round made %d", c.Partition, was.Generation, c.Generation)
	}
	if c.Stores != 0 && c.Stores != len(s.Stores) {
		return refuse(ErrStaleEpoch, "partition %d: a purge round among %d stores, %d are registered", c.Partition, c.Stores, len(s.Stores))
	}
	if sid, how := s.unsettled(part); how != "" {
		return refuse(ErrUnsettled, "partition %d: store %s is %s", c.Partition, sid.Short(), how)
	}
	next := &Purge{Generation: c.Generation, Clock: was.Clock.Join(c.Clock), TimeMS: max(was.TimeMS, c.TimeMS)}
	if n, most := next.Clock.Bytes(), clockShare(len(s.Partitions)); n > most {
		return refuse(ErrTooMany, "the purge clock of partition %d would have %d actors in %d bytes, %d is the most", c.Partition, len(next.Clock), n, most)
	}
	if next.TimeMS == was.TimeMS && slices.Equal(next.Clock, was.Clock) {
		return refuse(ErrSame, "partition %d is purged as far", c.Partition)
	}
	part.Purge = next
	return nil
}

// unsettled names the replica that keeps part from a deletion round, and how it is:
// a round is only sound while every owner holds everything and can say so. "" when
// nobody does.
func (s *State) unsettled(part *Partition) (sid SID, how string) {
	if len(part.Building) > 0 {
		return part.Building[0], Building.String()
	}
	for _, sid := range part.Replicas {
		i, _ := s.find(sid) // State.Check: every replica is registered
		if state := s.Stores[i].State; state != StoreUp && state != StoreDraining {
			return sid, string(state)
		}
	}
	return SID{}, ""
}
