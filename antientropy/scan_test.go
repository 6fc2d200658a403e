package antientropy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// slice is a piece of the leaf index as a store reads it for a scan.
func (r *replica) slice(after Pos, max int) (rows []Row, last Pos, more bool) {
	for leaf := int(after.Leaf); leaf < Leaves; leaf++ {
		for _, row := range r.leaves[leaf] {
			if row.Pos().Compare(after) <= 0 {
				continue
			}
			if len(rows) == max {
				return rows, last, true
			}
			rows, last = append(rows, row), row.Pos()
		}
	}
	return rows, last, false
}

// A tree that is read while writes are staged, become durable and overtake the slices
// is the tree of the staged objects in the end; so is what a check sees.
func TestScanUnderWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r := newReplica(nil, "a")
		w := &writer{}
		keys := rapid.SampledFrom([]int{3, 60, 400}).Draw(t, "keys")
		write := func() {
			key := fmt.Sprint("k", rng.IntN(keys))
			if rng.IntN(5) == 0 && r.objects[key] != nil {
				r.stage(key, nil)
				return
			}
			r.stage(key, w.write(1, r.objects[key], "v", false))
		}
		for range keys {
			write()
		}
		r.syncAll()
		truth := r.tree
		check := rapid.Bool().Draw(t, "check")
		tree := NewTree()
		if check {
			tree = cloneTree(truth)
			tree.Check()
		}
		follow := func() { // every write reaches both trees
			before := map[string]uint64{}
			for k, o := range r.objects {
				before[k] = o.Hash()
			}
			write()
			key := r.queue[len(r.queue)-1].key
			tree.Put(bucket, hashOf(key), before[key], r.objects[key].Hash(), r.seq)
		}
		for done := false; !done; {
			for range rng.IntN(4) {
				follow()
			}
			r.sync(rng.IntN(4))
			after, yes := tree.Next(r.synced)
			if !yes {
				r.sync(1)
				continue
			}
			for range rng.IntN(3) { // before it is read
				follow()
			}
			r.sync(rng.IntN(3))
			rows, last, more := r.slice(after, 1+rng.IntN(30))
			for range rng.IntN(4) { // and before it comes
				follow()
			}
			r.sync(rng.IntN(4))
			if rng.IntN(10) == 0 {
				tree.Failed()
				continue
			}
			var drift []uint16
			if drift, done = tree.Absorb(rows, last, more); len(drift) > 0 {
				t.Fatalf("a sound tree seems to differ in %v", drift)
			}
		}
		if got := Diff(tree, truth); len(got) > 0 || tree.Root() != truth.Root() {
			t.Fatalf("after the scan leaves %v differ", got)
		}
	})
}

func cloneTree(t *Tree) *Tree {
	c := *t
	for i := range c.leaves {
		if c.leaves[i] != nil {
			d := *c.leaves[i]
			c.leaves[i] = &d
		}
	}
	return &c
}

// A check finds every leaf in which the tree has drifted from the rows, and no other.
func TestCheckFindsDrift(t *testing.T) {
	r := newReplica(t, "a")
	w := &writer{}
	for i := range 3000 {
		r.stage(fmt.Sprint("k", i), w.write(1, nil, "v", false))
	}
	r.syncAll()
	want := []uint16{LeafOf(hashOf("k5")), LeafOf(hashOf("k77")), 4095}
	r.tree.Put(bucket, hashOf("k5"), r.objects["k5"].Hash(), 99, 0)
	r.tree.Put(bucket, hashOf("k77"), r.objects["k77"].Hash(), 0, 0)
	r.tree.Put(bucket, 4095, 0, 1, 0)
	slices.Sort(want)
	r.tree.Check()
	for {
		after, _ := r.tree.Next(r.synced)
		rows, last, more := r.slice(after, 100)
		if drift, done := r.tree.Absorb(rows, last, more); done {
			if !slices.Equal(drift, want) {
				t.Fatalf("drift in %v, want %v", drift, want)
			}
			return
		}
	}
}

// A note goes when every later slice shows what it says.
func TestScanNotesGo(t *testing.T) {
	tree := NewTree()
	for i := range uint64(100) {
		tree.Put(bucket, i, 0, 1, i+1)
	}
	if tree.Next(60); tree.scan.count != 40 || len(tree.scan.notes) != 40 {
		t.Errorf("%d notes of %d leaves", tree.scan.count, len(tree.scan.notes))
	}
}

// Notes are bounded: past it the slice on its way is thrown away, and the next one
// waits until the batches that were noted are durable.
func TestScanNotesAreBounded(t *testing.T) {
	tree := NewTree()
	truth := EmptyTree()
	if _, yes := tree.Next(0); !yes {
		t.Fatal("no slice is wanted")
	}
	var rows []Row
	for i := range uint64(MaxNotes + 10) {
		hash := i * 7
		tree.Put(bucket, hash, 0, i+1, i+1)
		truth.Put(bucket, hash, 0, i+1, i+1)
		rows = append(rows, Row{Bucket: bucket, Key: fmt.Appendf(nil, "%020d", i), Hash: hash, Version: i + 1})
	}
	if tree.scan.count > MaxNotes {
		t.Fatalf("%d notes", tree.scan.count)
	}
	if _, done := tree.Absorb(nil, Pos{}, false); done {
		t.Fatal("a slice that misses what is no longer noted was believed")
	}
	if _, yes := tree.Next(MaxNotes); yes {
		t.Fatal("a slice is asked for that may miss what is no longer noted")
	}
	if _, yes := tree.Next(MaxNotes + 1); !yes {
		t.Fatal("no slice is wanted though all that was noted is durable")
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Pos().Compare(b.Pos()) })
	if _, done := tree.Absorb(rows, Pos{}, false); !done || tree.Root() != truth.Root() {
		t.Fatalf("done %v, root %v, want %v", done, tree.Root(), truth.Root())
	}
}
