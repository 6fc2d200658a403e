package hashring

// Ring is a State with what lookups need, computed once. It is immutable and safe
// for any number of readers; no method but PreferenceString allocates.
type Ring struct {
	*State
	stores    map[SID]*Store
	nodes     map[string]*Store // stores that are not retired, by node name
	buckets   map[string]*Bucket
	ids       map[BucketID]*Bucket
	stand     []standIns       // per partition
	standings []standing       // per partition
	joint     map[uint32][]SID // members, of partitions in a joint configuration
}

// standIns are the stores of one partition in the order in which they are asked:
// its replica list, then everybody else, without stores that take no new data.
type standIns struct {
	order []SID
	// skip[n] is how many of the first n owners are in order: the stand-ins of a
	// bucket with n owners begin there.
	skip []int
}

// NewRing computes the lookups of s; nil stands for the empty state.
func NewRing(s *State) *Ring {
	if s == nil {
		s = &State{}
	}
	r := &Ring{
		State:   s,
		stores:  make(map[SID]*Store, len(s.Stores)),
		nodes:   make(map[string]*Store, len(s.Stores)),
		buckets: make(map[string]*Bucket, len(s.Buckets)),
		ids:     make(map[BucketID]*Bucket, len(s.Buckets)),
	}
	for i := range s.Stores {
		st := &s.Stores[i]
		r.stores[st.SID] = st
		if st.State != StoreRetired {
			r.nodes[st.Node] = st
		}
	}
	for name, b := range s.Buckets {
		r.buckets[name] = &b
		r.ids[b.ID] = &b
	}
	r.stand = newWalker(s).all()
	r.standings = make([]standing, len(s.Partitions))
	for p := range s.Partitions {
		r.standings[p] = standingOf(s, &s.Partitions[p])
		if c := s.Partitions[p].Strong; c != nil && len(c.Sets) > 1 {
			if r.joint == nil {
				r.joint = map[uint32][]SID{}
			}
			r.joint[uint32(p)] = c.Members()
		}
	}
	return r
}

// Majority of n stores.
func Majority(n int) int { return n/2 + 1 }

// HasRing tells that the first ring has been made.
func (r *Ring) HasRing() bool { return len(r.Partitions) > 0 }

// PartitionOf gives the partition of a key's hash; 0 while there is no ring.
func (r *Ring) PartitionOf(hash uint64) uint32 { return PartitionOf(hash, len(r.Partitions)) }

// Bucket finds a bucket by name.
func (r *Ring) Bucket(name string) (*Bucket, bool) {
	b, ok := r.buckets[name]
	return b, ok
}

// BucketByID finds a bucket by the id that storage keys and messages carry.
func (r *Ring) BucketByID(id BucketID) (*Bucket, bool) {
	b, ok := r.ids[id]
	return b, ok
}

// Store finds a registered store, retired ones included.
func (r *Ring) Store(sid SID) (*Store, bool) {
	st, ok := r.stores[sid]
	return st, ok
}

// StoreByNode finds the store that runs under a node name, retired ones excluded.
func (r *Ring) StoreByNode(name string) (*Store, bool) {
	st, ok := r.nodes[name]
	return st, ok
}

// N is the number of owners a key of bucket b has in partition p: the bucket's n,
// or fewer while there are fewer stores.
func (r *Ring) N(b *Bucket, p uint32) int {
	if int(p) >= len(r.Partitions) {
		return 0
	}
	return min(b.N, len(r.Partitions[p].Replicas))
}

// Owners are the first n stores of p's replica list, whatever their role: those that
// a write is sent to. Which of them count is Full, and Roles. Shared: do not write to
// it.
func (r *Ring) Owners(p uint32, n int) []SID {
	if int(p) >= len(r.Partitions) {
		return nil
	}
	list := r.Partitions[p].Replicas
	n = max(0, min(n, len(list)))
	return list[:n:n]
}

// Fallbacks are all stores that may stand in for the first n owners of p, in the
// order in which they are asked: the rest of the replica list, then the next
// distinct stores clockwise, zones that the list lacks first, then the stores that
// own nothing, each partition beginning at another of them. Draining, suspect and
// retired stores are left out; who is alive is the caller's to know. Shared: do not write.
func (r *Ring) Fallbacks(p uint32, n int) []SID {
	if int(p) >= len(r.stand) {
		return nil
	}
	s := &r.stand[p]
	return s.order[s.skip[max(0, min(n, len(s.skip)-1))]:]
}

// Owns tells whether sid is one of the first n owners of p.
func (r *Ring) Owns(p uint32, n int, sid SID) bool {
	for _, owner := range r.Owners(p, n) {
		if owner == sid {
			return true
		}
	}
	return false
}

// takesData tells whether a store may be given data it does not have yet.
func (s *Store) takesData() bool { return s.State != StoreDraining && s.State != StoreRetired }

// standsIn tells whether a store may be a fallback: what a suspect one says it has
// synced counts for nothing (D2).
func (s *Store) standsIn() bool { return s.takesData() && s.State.serves() }
