package hashring

import (
	"maps"
	"slices"
)

// Apply carries out one command and returns the new state, whose version is the
// given one: any number above the old version, the Raft log's index being a good
// one. On an error, always a *Refusal, nothing has changed. s is never written to:
// parts that do not change are shared. A nil s is the empty state.
//
// Apply is the Raft group's state machine: it must give the same result on every
// node, so what a command does may change only together with the feature level.
func (s *State) Apply(version uint64, c Command) (*State, error) {
	if s == nil {
		s = &State{}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if version <= s.Version {
		return nil, refuse(ErrInvalid, "ring version %d is not above %d", version, s.Version)
	}
	if s.Cluster.IsZero() != (c.Kind == KindInit) {
		return nil, s.wrongTime(c)
	}
	next := *s
	next.Version = version
	if err := next.apply(c); err != nil {
		return nil, err
	}
	return &next, nil
}

// wrongTime refuses an init of a cluster that exists, and everything else before it.
func (s *State) wrongTime(c Command) error {
	switch {
	case c.Kind != KindInit:
		return refuse(ErrNoCluster, "%s before init", c.Kind)
	case *c.Init == Init{Cluster: s.Cluster, Replicas: s.Replicas, Feature: s.Feature}:
		return refuse(ErrSame, "cluster %s is initialised", s.Cluster.Short())
	default:
		return refuse(ErrExists, "this is cluster %s already", s.Cluster.Short())
	}
}

// apply changes s, a shallow copy: what it changes below the top it copies first.
func (s *State) apply(c Command) error {
	switch c.Kind {
	case KindInit:
		return s.init(c.Init)
	case KindRegister:
		return s.register(c.Register)
	case KindFirstRing:
		return s.firstRing(c.FirstRing)
	case KindCreateBucket:
		return s.createBucket(*c.CreateBucket)
	case KindUpdateBucket:
		return s.updateBucket(c.UpdateBucket)
	case KindDeleteBucket:
		return s.deleteBucket(c.DeleteBucket.Name)
	case KindSetStoreState:
		return s.setStoreState(c.SetStoreState)
	case KindSetFeature:
		return s.setFeature(c.SetFeature.Feature)
	}
	return s.applyBuild(c)
}

func (s *State) init(c *Init) error {
	s.Cluster, s.Replicas, s.Feature = c.Cluster, c.Replicas, c.Feature
	s.Buckets = nil
	return s.createBucket(Bucket{Name: DefaultBucket, Sloppy: true})
}

func (s *State) firstRing(c *FirstRing) error {
	if len(s.Partitions) > 0 {
		return refuse(ErrStaleEpoch, "the first ring is made: %d partitions", len(s.Partitions))
	}
	stores := make([]Store, 0, len(c.Stores))
	for _, sid := range c.Stores {
		i, ok := s.find(sid)
		if !ok {
			return refuse(ErrUnknownStore, "store %s", sid.Short())
		}
		if !s.Stores[i].takesData() {
			return refuse(ErrInvalid, "store %s is %s", sid.Short(), s.Stores[i].State)
		}
		stores = append(stores, s.Stores[i])
	}
	s.Partitions = Claim(c.Partitions, stores, s.Replicas)
	if s.hasStrongBucket() {
		return s.beginStrong()
	}
	return nil
}

func (s *State) createBucket(b Bucket) error {
	b.fill(s.Replicas)
	if err := b.check(s.Replicas); err != nil {
		return err
	}
	if old, ok := s.Buckets[b.Name]; ok {
		b.ID = old.ID
		if b == old {
			return refuse(ErrSame, "bucket %s", b.Name)
		}
		return refuse(ErrExists, "bucket %s has other properties", b.Name)
	}
	if len(s.Buckets) >= MaxBuckets {
		return refuse(ErrTooMany, "%d buckets is the most", MaxBuckets)
	}
	if b.Mode == Strong {
		if s.Feature < FeatureStrong {
			return refuse(ErrNotSupported, "mode strong needs feature level %d, the cluster is at %d", FeatureStrong, s.Feature)
		}
		if !s.hasStrongBucket() {
			if err := s.beginStrong(); err != nil {
				return err
			}
		}
	}
	b.ID = BucketID(s.Version)
	return s.setBucket(b)
}

func (s *State) updateBucket(c *UpdateBucket) error {
	b, ok := s.Buckets[c.Name]
	if !ok {
		return refuse(ErrUnknownBucket, "bucket %s", c.Name)
	}
	set(&b.R, c.R)
	set(&b.W, c.W)
	set(&b.Sloppy, c.Sloppy)
	set(&b.TTL, c.TTL)
	if b == s.Buckets[c.Name] {
		return refuse(ErrSame, "bucket %s", c.Name)
	}
	if err := b.check(s.Replicas); err != nil {
		return err
	}
	return s.setBucket(b)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *State) setBucket(b Bucket) error {
	next := make(map[string]Bucket, len(s.Buckets)+1)
	maps.Copy(next, s.Buckets)
	next[b.Name] = b
	s.Buckets = next
	return nil
}

func (s *State) deleteBucket(name string) error {
	if _, ok := s.Buckets[name]; !ok {
		return refuse(ErrUnknownBucket, "bucket %s", name)
	}
	next := maps.Clone(s.Buckets)
	delete(next, name)
	s.Buckets = next
	return nil
}

// find gives the place of a store in Stores, or where it belongs.
func (s *State) find(sid SID) (int, bool) {
	return slices.BinarySearchFunc(s.Stores, sid, func(st Store, sid SID) int { return st.SID.Compare(sid) })
}
