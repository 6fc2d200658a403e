package hashring

import "slices"

func (s *State) register(c *Register) error {
	st := c.Store
	st.State = StoreUp
	if st.FeatureMax < s.Feature {
		return refuse(ErrInvalid, "store %s speaks feature level %d, the cluster uses %d", st.SID.Short(), st.FeatureMax, s.Feature)
	}
	if s.Feature < FeatureNonce && (st.Nonce != 0 || c.ExpectsNonce != 0) {
		return refuse(ErrNotSupported, "a nonce needs feature level %d, the cluster is at %d", FeatureNonce, s.Feature)
	}
	i, known := s.find(st.SID)
	if known {
		if err := s.Stores[i].reboot(&st, c); err != nil {
			return err
		}
	} else if c.Expects != 0 || c.ExpectsNonce != 0 {
		return refuse(ErrStaleEpoch, "store %s is not registered, boot %d was expected", st.SID.Short(), c.Expects)
	}
	if err := s.retire(&st, c.Replaces); err != nil {
		return err
	}
	if known {
		if err := s.freeName(&st); err != nil {
			return err
		}
		s.setStore(i, st)
		return nil
	}
	return s.addStore(i, st)
}

// addStore puts a newcomer into its place, unless its node name is taken.
func (s *State) addStore(i int, st Store) error {
	if err := s.freeName(&st); err != nil {
		return err
	}
	if len(s.Stores) >= MaxStores {
		return refuse(ErrTooMany, "%d stores is the most", MaxStores)
	}
	s.Stores = slices.Insert(slices.Clone(s.Stores), i, st)
	return nil
}

// reboot checks a new start of the store old, and carries over what the Raft
// group knows of it.
func (old *Store) reboot(st *Store, c *Register) error {
	switch {
	case old.State == StoreRetired:
		return refuse(ErrRetired, "store %s of node %s", old.SID.Short(), old.Node).because(old)
	case c.Expects != 0 && c.Expects != old.Boot:
		return refuse(ErrStaleEpoch, "store %s is at boot %d, %d was expected", old.SID.Short(), old.Boot, c.Expects).because(old)
	case st.Boot <= old.Boot:
		return refuse(ErrBootNotNewer, "boot %d of store %s is not above %d, the registered one: it was rolled back or cloned",
			st.Boot, old.SID.Short(), old.Boot).because(old)
	case c.ExpectsNonce != old.Nonce:
		return refuse(ErrStaleEpoch, "boot %d of store %s is registered under another nonce than was expected", old.Boot, old.SID.Short()).because(old)
	case old.Nonce != 0 && st.Nonce == 0:
		return refuse(ErrInvalid, "boot %d of store %s comes without a nonce, boot %d had one", st.Boot, old.SID.Short(), old.Boot).because(old)
	case old.State != StoreDown:
		st.State = old.State
	}
	return nil
}

// retire takes the store that st replaces out of service, as old logs have it.
func (s *State) retire(st *Store, replaces SID) error {
	if replaces.IsZero() {
		return nil
	}
	if s.Feature >= FeatureBuilding {
		return refuse(ErrNotSupported, "from feature level %d on a store is replaced by %s", FeatureBuilding, KindReplaceStore)
	}
	i, ok := s.find(replaces)
	if !ok || replaces == st.SID || s.Stores[i].Node != st.Node {
		return refuse(ErrUnknownStore, "store %s under node %s, to be replaced", replaces.Short(), st.Node)
	}
	old := s.Stores[i]
	old.State = StoreRetired
	s.setStore(i, old)
	return nil
}

// freeName makes sure that no other store in service has the node name of st.
func (s *State) freeName(st *Store) error {
	for i := range s.Stores {
		other := &s.Stores[i]
		if other.Node == st.Node && other.SID != st.SID && other.State != StoreRetired {
			return refuse(ErrNameTaken, "node %s is store %s at %s", other.Node, other.SID.Short(), other.Peer).because(other)
		}
	}
	return nil
}

// setStore replaces one store in a copy of the list.
func (s *State) setStore(i int, st Store) {
	s.Stores = slices.Clone(s.Stores)
	s.Stores[i] = st
}

func (s *State) setStoreState(c *SetStoreState) error {
	i, ok := s.find(c.SID)
	if !ok {
		return refuse(ErrUnknownStore, "store %s", c.SID.Short())
	}
	st := s.Stores[i]
	switch {
	case st.State == c.State:
		return refuse(ErrSame, "store %s is %s", c.SID.Short(), c.State)
	case st.State == StoreRetired:
		return refuse(ErrRetired, "store %s of node %s", c.SID.Short(), st.Node)
	}
	was := st.State
	st.State = c.State
	if s.Feature >= FeatureBuilding {
		if err := s.serviceChange(&st, was); err != nil {
			return err
		}
	}
	s.setStore(i, st)
	return nil
}

// serviceChange begins a new stage wherever st stops to count as an owner.
func (s *State) serviceChange(st *Store, was StoreState) error {
	switch {
	case was == StoreSuspect && st.State != StoreRetired:
		return refuse(ErrInvalid, "store %s is suspect: a new store takes its place", st.SID.Short()).because(st)
	case st.State == StoreRetired:
		if err := s.LastFull(st.SID); err != nil {
			return err
		}
	}
	if was.serves() == st.State.serves() {
		return nil
	}
	s.editPartitions()
	for p := range s.Partitions {
		if slices.Contains(s.Partitions[p].Replicas, st.SID) {
			s.newStage(p)
		}
	}
	return nil
}

func (s *State) setFeature(level uint16) error {
	switch {
	case level == s.Feature:
		return refuse(ErrSame, "feature level %d", level)
	case level < s.Feature:
		return refuse(ErrInvalid, "feature level %d is below %d: data in the newer form may exist", level, s.Feature)
	}
	for i := range s.Stores {
		st := &s.Stores[i]
		if st.State != StoreRetired && st.FeatureMax < level {
			return refuse(ErrInvalid, "node %s speaks feature level %d only", st.Node, st.FeatureMax).because(st)
		}
	}
	s.Feature = level
	return nil
}
