package antientropy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

// The clever tree against a plain walk over two maps.
func TestDiffAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SampledFrom([]uint64{1, 20, 3000}).Draw(t, "keys")
		spread := rapid.SampledFrom([]uint64{1, 17, 1 << 40}).Draw(t, "spread")
		var trees [2]*Tree
		var maps [2]map[uint64]uint64
		for i := range trees {
			trees[i], maps[i] = EmptyTree(), map[uint64]uint64{}
		}
		put := func(i int, hash, v uint64) {
			trees[i].Put(bucket, hash, maps[i][hash], v, 0)
			if maps[i][hash] = v; v == 0 {
				delete(maps[i], hash)
			}
		}
		for range rapid.IntRange(0, 300).Draw(t, "changes") {
			hash := rapid.Uint64Range(0, keys).Draw(t, "key") * spread
			v := rapid.Uint64Range(0, 5).Draw(t, "version")
			who := rapid.IntRange(0, 2).Draw(t, "who")
			if who != 1 {
				put(0, hash, v)
			}
			if who != 0 {
				put(1, hash, v)
			}
		}
		want := map[uint16]bool{}
		var count uint32
		for hash, v := range maps[0] {
			count++
			if maps[1][hash] != v {
				want[LeafOf(hash)] = true
			}
		}
		for hash, v := range maps[1] {
			if maps[0][hash] != v {
				want[LeafOf(hash)] = true
			}
		}
		got := Diff(trees[0], trees[1])
		if len(got) != len(want) || !slices.IsSorted(got) {
			t.Fatalf("leaves %v, want %v", got, want)
		}
		for _, leaf := range got {
			if !want[leaf] {
				t.Fatalf("leaf %d does not differ", leaf)
			}
		}
		if (len(want) == 0) != (trees[0].Root() == trees[1].Root()) || trees[0].Root().Keys != count {
			t.Fatalf("roots %v and %v, %d leaves differ, %d keys", trees[0].Root(), trees[1].Root(), len(want), count)
		}
	})
}

// Every level adds up to the one below it.
func TestLevelsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	tree := EmptyTree()
	for range 20_000 {
		tree.Put(bucket, rng.Uint64(), 0, rng.Uint64()|1, 0)
	}
	for level := range LeafTier {
		for n := range uint16(width(level)) {
			var sum Digest
			for _, c := range children([]uint16{n}) {
				d := tree.Node(level+1, c)
				sum.Sum, sum.Keys = sum.Sum+d.Sum, sum.Keys+d.Keys
			}
			if sum != tree.Node(level, n) {
				t.Fatalf("level %d node %d: %v, its children make %v", level, n, tree.Node(level, n), sum)
			}
		}
	}
}

// One key can never hide: entries of two versions, or of absence, always differ.
func TestEntriesOfOneKeyDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := rapid.Uint64().Draw(t, "hash")
		v := rapid.Uint64Range(1, 1<<63).Draw(t, "v")
		w := rapid.Uint64Range(1, 1<<63).Draw(t, "w")
		if v != w && EntryHash(1, hash, v) == EntryHash(1, hash, w) {
			t.Fatal("two versions of a key have one entry")
		}
	})
	seen := map[uint64]string{}
	for b := range hashring.BucketID(20) {
		for hash := range uint64(40) {
			for v := uint64(1); v < 40; v++ {
				e := EntryHash(b, hash, v)
				if name := fmt.Sprint(b, hash, v); seen[e] != "" {
					t.Fatalf("%s and %s have one entry", name, seen[e])
				} else {
					seen[e] = name
				}
			}
		}
	}
}

// Versions that are swapped between two keys do not cancel: the key is in the entry.
func TestSwappedVersionsShow(t *testing.T) {
	a, b := EmptyTree(), EmptyTree()
	a.Put(bucket, 5, 0, 77, 0)
	a.Put(bucket, 5+Leaves, 0, 88, 0)
	b.Put(bucket, 5, 0, 88, 0)
	b.Put(bucket, 5+Leaves, 0, 77, 0)
	if got := Diff(a, b); !slices.Equal(got, []uint16{5}) {
		t.Fatalf("leaves %v", got)
	}
	c, d := EmptyTree(), EmptyTree()
	c.Put(1, 5, 0, 77, 0)
	d.Put(2, 5, 0, 77, 0)
	if len(Diff(c, d)) != 1 {
		t.Fatal("a key of another bucket looks the same")
	}
}

func TestDropFromEmptyLeafStops(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a leaf went below zero keys")
		}
	}()
	EmptyTree().Put(bucket, 1, 5, 0, 0)
}

func TestPutAllocatesNothing(t *testing.T) {
	tree := EmptyTree()
	for leaf := range uint64(Leaves) {
		tree.Put(bucket, leaf, 0, 1, 0)
	}
	v := uint64(1)
	if n := testing.AllocsPerRun(1000, func() {
		tree.Put(bucket, 99, v, v+1, 0)
		v++
	}); n != 0 {
		t.Errorf("%v allocations a Put", n)
	}
}

// A full tree stays within what the package says.
func TestTreeMemory(t *testing.T) {
	var tree Tree
	full := unsafe.Sizeof(tree) + chunks*unsafe.Sizeof(chunk{})
	if few := unsafe.Sizeof(tree) + 4*unsafe.Sizeof(chunk{}); full > 56<<10 || few > 8<<10 {
		t.Errorf("a full tree takes %d bytes, one of four keys %d", full, few)
	}
}

func BenchmarkPut(b *testing.B) {
	tree := EmptyTree()
	for leaf := range uint64(Leaves) {
		tree.Put(bucket, leaf, 0, 1, 0)
	}
	b.ReportAllocs()
	v := uint64(1)
	for b.Loop() {
		tree.Put(bucket, v%Leaves, 1, 1, 0)
		v++
	}
}

func BenchmarkDiffOfEqual(b *testing.B) {
	x, y := EmptyTree(), EmptyTree()
	for leaf := range uint64(Leaves) {
		x.Put(bucket, leaf, 0, 1, 0)
		y.Put(bucket, leaf, 0, 1, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		Diff(x, y)
	}
}
