package hashring

import (
	"bytes"
	"slices"
)

// Compare orders store ids by their bytes.
func (s SID) Compare(t SID) int { return bytes.Compare(s[:], t[:]) }

// ValidBucketName tells whether name is [a-z0-9][a-z0-9._-]{0,62}.
func ValidBucketName(name string) bool {
	if name == "" || len(name) > MaxName || !lowerOrDigit(name[0]) {
		return false
	}
	for i := 1; i < len(name); i++ {
		if c := name[i]; !lowerOrDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func lowerOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// ValidNodeName tells whether name can be a node or zone name: 1 to MaxName
// printable ASCII characters without space, quote, comma or slash, so that it can
// stand in a log, a header, a list and a picture as it is.
func ValidNodeName(name string) bool {
	return name != "" && len(name) <= MaxName && plain(name) && !bytes.ContainsAny([]byte(name), `"',/\`)
}

func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// check refuses a command that no state could accept.
func (c *Command) check() error {
	set := 0
	for _, member := range []bool{c.Init != nil, c.Register != nil, c.FirstRing != nil, c.CreateBucket != nil,
		c.UpdateBucket != nil, c.DeleteBucket != nil, c.SetStoreState != nil, c.SetFeature != nil,
		c.ReplaceStore != nil, c.Grow != nil, c.Filled != nil, c.Purge != nil, c.Strong != nil, c.Force != nil} {
		if member {
			set++
		}
	}
	if set != 1 {
		return refuse(ErrInvalid, "a command has one member, not %d", set)
	}
	switch {
	case c.Kind == KindInit && c.Init != nil:
		return c.Init.check()
	case c.Kind == KindRegister && c.Register != nil:
		return c.Register.Store.checkNew()
	case c.Kind == KindFirstRing && c.FirstRing != nil:
		return c.FirstRing.check()
	case c.Kind == KindCreateBucket && c.CreateBucket != nil:
		if c.CreateBucket.ID != 0 {
			return refuse(ErrInvalid, "a bucket's id is given by the ring")
		}
		return nil
	case c.Kind == KindSetStoreState && c.SetStoreState != nil:
		return c.SetStoreState.State.check()
	case c.Kind == KindUpdateBucket && c.UpdateBucket != nil,
		c.Kind == KindDeleteBucket && c.DeleteBucket != nil,
		c.Kind == KindSetFeature && c.SetFeature != nil:
		return nil
	case c.Kind == KindReplaceStore && c.ReplaceStore != nil:
		return c.ReplaceStore.check()
	case c.Kind == KindGrow && c.Grow != nil:
		return checkPlaces(c.Grow.Places, false)
	case c.Kind == KindFilled && c.Filled != nil:
		return checkPlaces(c.Filled.Places, true)
	case c.Kind == KindPurge && c.Purge != nil:
		return c.Purge.check()
	case c.Kind == KindStrong && c.Strong != nil:
		return c.Strong.check()
	case c.Kind == KindForce && c.Force != nil:
		return c.Force.check()
	}
	return refuse(ErrInvalid, "unknown command %q, or not its member", clip(string(c.Kind)))
}

func (c *Init) check() error {
	if c.Cluster.IsZero() {
		return refuse(ErrInvalid, "a cluster needs an id")
	}
	if c.Replicas < 1 || c.Replicas > MaxReplicas {
		return refuse(ErrInvalid, "%d replicas, not 1 to %d", c.Replicas, MaxReplicas)
	}
	return nil
}

func (c *FirstRing) check() error {
	if c.Partitions < 1 || c.Partitions > MaxPartitions {
		return refuse(ErrInvalid, "%d partitions, not 1 to %d", c.Partitions, MaxPartitions)
	}
	if len(c.Stores) < 1 || len(c.Stores) > MaxStores {
		return refuse(ErrInvalid, "%d stores, not 1 to %d", len(c.Stores), MaxStores)
	}
	if !distinct(c.Stores) {
		return refuse(ErrInvalid, "a store is named twice")
	}
	return nil
}

func distinct(sids []SID) bool {
	sorted := slices.Clone(sids)
	slices.SortFunc(sorted, SID.Compare)
	return len(slices.Compact(sorted)) == len(sids)
}

// check holds the rules of a registered store, its state apart.
func (s *Store) check() error {
	switch {
	case s.SID.IsZero():
		return refuse(ErrInvalid, "a store needs an id")
	case !ValidNodeName(s.Node):
		return refuse(ErrInvalid, "node name %q", clip(s.Node))
	case s.Zone != "" && !ValidNodeName(s.Zone):
		return refuse(ErrInvalid, "zone name %q", clip(s.Zone))
	case s.Boot == 0:
		return refuse(ErrInvalid, "boot counts begin at 1")
	}
	for _, address := range []string{s.API, s.Gossip, s.Peer, s.Frames} {
		if len(address) > MaxAddress || !plain(address) {
			return refuse(ErrInvalid, "address %q", clip(address))
		}
	}
	return nil
}

func (s StoreState) check() error {
	switch s {
	case StoreUp, StoreSuspect, StoreDown, StoreDraining, StoreRetired:
		return nil
	}
	return refuse(ErrInvalid, "store state %q", clip(string(s)))
}

// fill puts the defaults in.
func (b *Bucket) fill(replicas int) {
	if b.N == 0 {
		b.N = replicas
	}
	if b.Mode == "" {
		b.Mode = Eventual
	}
	switch {
	case b.Mode == Strong: // there is one value, and no fallback
		b.Sloppy = false
		if b.Conflict == Siblings {
			b.Conflict = ""
		}
	case b.Conflict == "":
		b.Conflict = Siblings
	}
}

// check holds the rules of a bucket, its id apart.
func (b *Bucket) check(replicas int) error {
	switch {
	case !ValidBucketName(b.Name):
		return refuse(ErrInvalid, "bucket name %q is not [a-z0-9][a-z0-9._-]{0,%d}", clip(b.Name), MaxName-1)
	case b.Mode == Strong:
		return b.checkStrong(replicas)
	case b.Mode != Eventual:
		return refuse(ErrInvalid, "mode %q", clip(string(b.Mode)))
	case b.Conflict != Siblings && b.Conflict != LWW:
		return refuse(ErrInvalid, "conflict %q", clip(string(b.Conflict)))
	case b.N < 1 || b.N > replicas:
		return refuse(ErrInvalid, "n is %d, not 1 to %d", b.N, replicas)
	case b.R < 0 || b.R > b.N:
		return refuse(ErrInvalid, "r is %d, not 0 to n=%d", b.R, b.N)
	case b.W < 0 || b.W > b.N:
		return refuse(ErrInvalid, "w is %d, not 0 to n=%d", b.W, b.N)
	case b.TTL < 0:
		return refuse(ErrInvalid, "ttl %v is negative", b.TTL)
	}
	return nil
}

// checkStrong: what a strong bucket is, the ring's replicas and majorities decide.
func (b *Bucket) checkStrong(replicas int) error {
	switch {
	case b.N != replicas:
		return refuse(ErrNotSupported, "n is %d, strong buckets have the ring's %d replicas", b.N, replicas)
	case b.TTL != 0:
		return refuse(ErrNotSupported, "ttl %v in a strong bucket", b.TTL)
	case b.R != 0 || b.W != 0:
		return refuse(ErrInvalid, "r is %d, w is %d, strong buckets count majorities", b.R, b.W)
	case b.Sloppy || b.Conflict != "":
		return refuse(ErrInvalid, "sloppy %v, conflict %q in a strong bucket", b.Sloppy, clip(string(b.Conflict)))
	}
	return nil
}

// clip keeps a refused name from filling an error message.
func clip(text string) string {
	if len(text) <= MaxName+1 {
		return text
	}
	return text[:MaxName+1] + "..."
}

// Check holds the invariants of a whole state. It runs where a state enters from
// outside: decoded from disk, from a snapshot or from a peer.
func (s *State) Check() error {
	if s == nil {
		return refuse(ErrInvalid, "no state")
	}
	if s.Cluster.IsZero() {
		if s.Version != 0 || s.Feature != 0 || s.Replicas != 0 || len(s.Stores)+len(s.Partitions)+len(s.Buckets) > 0 {
			return refuse(ErrInvalid, "a state without a cluster")
		}
		return nil
	}
	if err := (&Init{Cluster: s.Cluster, Replicas: s.Replicas, Feature: s.Feature}).check(); err != nil {
		return err
	}
	if s.Version == 0 {
		return refuse(ErrInvalid, "ring version 0")
	}
	if err := s.checkStores(); err != nil {
		return err
	}
	if err := s.checkPartitions(); err != nil {
		return err
	}
	if err := s.checkStages(); err != nil {
		return err
	}
	if err := s.checkStrong(); err != nil {
		return err
	}
	return s.checkBuckets()
}

func (s *State) checkStores() error {
	if len(s.Stores) > MaxStores {
		return refuse(ErrTooMany, "%d stores, %d is the most", len(s.Stores), MaxStores)
	}
	names := make(map[string]bool, len(s.Stores))
	for i := range s.Stores {
		st := &s.Stores[i]
		if err := st.check(); err != nil {
			return err
		}
		if err := st.State.check(); err != nil {
			return err
		}
		if i > 0 && s.Stores[i-1].SID.Compare(st.SID) >= 0 {
			return refuse(ErrInvalid, "store %s out of order", st.SID.Short())
		}
		if st.State == StoreRetired {
			continue
		}
		if st.FeatureMax < s.Feature {
			return refuse(ErrInvalid, "store %s speaks feature level %d, the cluster uses %d", st.SID.Short(), st.FeatureMax, s.Feature)
		}
		if names[st.Node] {
			return refuse(ErrInvalid, "two stores under node %s", st.Node)
		}
		names[st.Node] = true
	}
	return nil
}

func (s *State) checkPartitions() error {
	if len(s.Partitions) > MaxPartitions {
		return refuse(ErrTooMany, "%d partitions, %d is the most", len(s.Partitions), MaxPartitions)
	}
	for p := range s.Partitions {
		part := &s.Partitions[p]
		switch n := len(part.Replicas); {
		case part.Epoch == 0:
			return refuse(ErrInvalid, "partition %d has epoch 0", p)
		case n < 1 || n > s.Replicas:
			return refuse(ErrInvalid, "partition %d has %d replicas, not 1 to %d", p, n, s.Replicas)
		case !distinct(part.Replicas):
			return refuse(ErrInvalid, "partition %d names a store twice", p)
		case part.Strong == nil && !part.Primary.IsZero() && !slices.Contains(part.Replicas, part.Primary):
			return refuse(ErrInvalid, "partition %d has a primary outside its list", p)
		}
		for _, sid := range part.Replicas {
			i, ok := s.find(sid)
			if !ok {
				return refuse(ErrUnknownStore, "partition %d names store %s", p, sid.Short())
			}
			if !s.Stores[i].Successor.IsZero() {
				return refuse(ErrInvalid, "partition %d names store %s, which has a successor", p, sid.Short())
			}
		}
	}
	return nil
}

func (s *State) checkBuckets() error {
	if len(s.Buckets) > MaxBuckets {
		return refuse(ErrTooMany, "%d buckets, %d is the most", len(s.Buckets), MaxBuckets)
	}
	ids := make(map[BucketID]bool, len(s.Buckets))
	for name, b := range s.Buckets {
		if err := b.check(s.Replicas); err != nil {
			return err
		}
		if b.Mode == Strong && s.Feature < FeatureStrong {
			return refuse(ErrInvalid, "strong bucket %s at feature level %d", clip(name), s.Feature)
		}
		if name != b.Name || b.ID == 0 || uint64(b.ID) > s.Version || ids[b.ID] {
			return refuse(ErrInvalid, "bucket %s with id %d", clip(name), b.ID)
		}
		ids[b.ID] = true
	}
	return nil
}
