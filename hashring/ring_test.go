package hashring

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var noStandIns = []StoreState{StoreDraining, StoreSuspect, StoreRetired}

// dumbFallbacks is the rule of Ring.Fallbacks read aloud, on names and maps.
func dumbFallbacks(s *State, p, n int) (out []SID) {
	zone := zonesOf(s)
	list := s.Partitions[p].Replicas
	met, usedZone := map[SID]bool{}, map[string]bool{}
	for _, sid := range list {
		met[sid], usedZone[zone[sid]] = true, true
	}
	var clockwise []SID
	for depth := range MaxReplicas {
		for i := range s.Partitions {
			other := s.Partitions[(p+i)%len(s.Partitions)].Replicas
			if depth < len(other) && !met[other[depth]] {
				met[other[depth]] = true
				clockwise = append(clockwise, other[depth])
			}
		}
	}
	out = append(out, list[min(n, len(list)):]...)
	for _, first := range []bool{true, false} {
		for _, sid := range clockwise {
			if fresh := !usedZone[zone[sid]]; first && fresh || !first && !slices.Contains(out, sid) {
				usedZone[zone[sid]] = true
				out = append(out, sid)
			}
		}
	}
	var idle []SID
	for _, st := range s.Stores {
		if !met[st.SID] && !slices.Contains(noStandIns, st.State) {
			idle = append(idle, st.SID)
		}
	}
	for i := range idle {
		out = append(out, idle[(p+i)%len(idle)])
	}
	return slices.DeleteFunc(out, func(sid SID) bool {
		i, _ := s.find(sid)
		return slices.Contains(noStandIns, s.Stores[i].State)
	})
}

func TestOwnersAndFallbacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := drawStores(t, 1, 9)
		replicas := rapid.IntRange(1, 5).Draw(t, "replicas")
		idle := rapid.IntRange(0, len(stores)-1).Draw(t, "idle")
		s := ringOf(t, rapid.IntRange(1, 24).Draw(t, "partitions"), replicas, idle, stores)
		for _, st := range stores {
			state := rapid.SampledFrom([]StoreState{StoreUp, StoreUp, StoreDown, StoreSuspect, StoreDraining, StoreRetired}).Draw(t, "state")
			if state != StoreUp {
				s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{st.SID, state}})
			}
		}
		r := NewRing(s)
		for p := range s.Partitions {
			list := s.Partitions[p].Replicas
			for n := range replicas + 2 {
				owners := r.Owners(uint32(p), n)
				if !slices.Equal(owners, list[:min(n, len(list))]) {
					t.Fatalf("owners of %d, n=%d: %v", p, n, owners)
				}
				got, want := r.Fallbacks(uint32(p), n), dumbFallbacks(s, p, n)
				if !slices.Equal(got, want) {
					t.Fatalf("fallbacks of %d, n=%d: %s, want %s\n%s", p, n, s.names(got), s.names(want), s.Picture())
				}
				for _, st := range stores {
					if owns := r.Owns(uint32(p), n, st.SID); owns != slices.Contains(owners, st.SID) {
						t.Fatalf("Owns(%d, %d, %s) = %t", p, n, st.Node, owns)
					}
				}
			}
		}
	})
}

func TestRingLookups(t *testing.T) {
	s := ringOf(t, 20, 3, 1, []Store{storeOf("a", "z1"), storeOf("b", "z2"), storeOf("c", ""), storeOf("d", "")})
	s = must(t, s, Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: "two", N: 2}})
	replaced := storeOf("d", "")
	replaced.SID = sidOf("e")
	s = must(t, s, Command{Kind: KindRegister, Register: &Register{Store: replaced, Replaces: sidOf("d")}})
	r := NewRing(s)

	if two, ok := r.Bucket("two"); !ok || r.N(two, 3) != 2 || len(r.Owners(3, r.N(two, 3))) != 2 {
		t.Errorf("bucket two: %+v", two)
	} else if byID, ok := r.BucketByID(two.ID); !ok || byID != two {
		t.Errorf("by id: %+v", byID)
	}
	if _, ok := r.Bucket("three"); ok {
		t.Error("an unknown bucket was found")
	}
	if st, ok := r.StoreByNode("d"); !ok || st.SID != sidOf("e") {
		t.Errorf("node d runs on %+v, want its new store", st)
	}
	if st, ok := r.Store(sidOf("d")); !ok || st.State != StoreRetired {
		t.Errorf("the old store of d: %+v", st)
	}
	if !r.HasRing() || r.PartitionOf(1<<63) != 10 {
		t.Error("20 partitions, and the middle hash in the tenth")
	}
}

func TestRingBeforeTheFirstRing(t *testing.T) {
	for name, r := range map[string]*Ring{"nil": NewRing(nil), "empty": NewRing(&State{})} {
		b := &Bucket{N: 3}
		if r.HasRing() || r.PartitionOf(^uint64(0)) != 0 || r.N(b, 0) != 0 || r.Owners(0, 3) != nil ||
			r.Fallbacks(0, 3) != nil || r.Owns(0, 3, SID{}) {
			t.Errorf("%s: a ring without partitions answers something", name)
		}
	}
}

func TestAnOwnerListCannotBeGrownIntoTheNextOne(t *testing.T) {
	r := NewRing(ringOf(t, 8, 3, 0, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", "")}))
	before := slices.Clone(r.Owners(0, 3))
	_ = append(r.Owners(0, 1), sidOf("x"))
	if !slices.Equal(r.Owners(0, 3), before) {
		t.Error("append to a short owner list wrote into the ring")
	}
}

// A store that goes down must not turn all its work over to one other store.
func TestStandInsVary(t *testing.T) {
	var stores []Store
	for i := range 6 {
		stores = append(stores, storeOf(fmt.Sprintf("n%d", i), ""))
	}
	s := ringOf(t, 60, 3, 1, stores) // five owners, one idle store
	first := make(map[SID]int)
	r := NewRing(s)
	for p := range s.Partitions {
		if r.Owns(uint32(p), 3, sidOf("n0")) {
			first[r.Fallbacks(uint32(p), 3)[0]]++
		}
	}
	if len(first) != 4 {
		t.Errorf("n0's partitions fall back to %v, want its four fellow owners", first)
	}
	for sid, n := range first {
		if n > 18 { // of 36
			t.Errorf("%s stands in for %d of n0's 36 partitions", sid.Short(), n)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	r := benchRing(t)
	key := []byte("user/0123456789/profile")
	x := SID{}
	allocs := testing.AllocsPerRun(1000, func() {
		b, _ := r.Bucket("default")
		c, _ := r.BucketByID(b.ID)
		p := r.PartitionOf(Hash(c.Name, key))
		n := r.N(b, p)
		owners, fallbacks := r.Owners(p, n), r.Fallbacks(p, n)
		st, _ := r.Store(owners[0])
		st, _ = r.StoreByNode(st.Node)
		if r.Owns(p, n, fallbacks[0]) || st.SID == x || !r.HasRing() {
			sink++
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a request", allocs)
	}
}

func benchRing(tb testing.TB) *Ring {
	var stores []Store
	for i := range 5 {
		stores = append(stores, storeOf(fmt.Sprintf("n%d", i), fmt.Sprintf("z%d", i%3)))
	}
	return NewRing(ringOf(tb, 64, 3, 0, stores))
}

func BenchmarkPlaceKey(b *testing.B) {
	r := benchRing(b)
	for _, size := range []int{16, 100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			key := make([]byte, size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key[0] = byte(i)
				bucket, _ := r.Bucket("default")
				p := r.PartitionOf(Hash("default", key))
				sink += uint64(len(r.Owners(p, r.N(bucket, p))))
			}
		})
	}
}

func BenchmarkNewRing(b *testing.B) {
	for _, size := range [][2]int{{64, 5}, {1024, 40}, {MaxPartitions, 200}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			s := ringOf(b, size[0], 3, 0, manyStores(size[1]))
			for b.Loop() {
				sink += uint64(len(NewRing(s).Partitions))
			}
		})
	}
}

func manyStores(n int) (stores []Store) {
	for i := range n {
		stores = append(stores, storeOf(fmt.Sprintf("n%04d", i), fmt.Sprintf("z%d", i%4)))
	}
	slices.SortFunc(stores, func(a, b Store) int { return cmp.Compare(a.Node, b.Node) })
	return stores
}
