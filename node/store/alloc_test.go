//go:build !race

package store

import (
	"testing"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
)

// allocsCommit is what a turn of 20 writes may allocate: goleveldb's own list of
// batches and journal writer, and what the memtable's growth comes to.
const allocsCommit = 8

func TestCommitAllocs(t *testing.T) {
	s := openMem(t, crashfs.New(1), Options{})
	defer func() { _ = s.Close() }()
	const writes = 20
	batches := make([]*core.Batch, writes)
	for i := range batches {
		batches[i] = load100(i, value100)
	}
	turn := []Staged{{0, batches[:writes/2]}, {1, batches[writes/2:]}}
	commit := func() {
		if err := s.CommitAll(turn); err != nil {
			t.Fatal(err)
		}
	}
	commit() // the buffers
	if n := testing.AllocsPerRun(100, commit); n > allocsCommit {
		t.Fatalf("%v allocations for a commit of %d writes, at most %d were needed", n, writes, allocsCommit)
	}
}

// TestStrongCommitAllocs: strong writes cost no allocation of their own.
func TestStrongCommitAllocs(t *testing.T) {
	s := openMem(t, crashfs.New(1), Options{})
	defer func() { _ = s.Close() }()
	const steps = 20
	const stride = 256 * 64 // of strongSteps
	batches := make([]*core.Batch, steps)
	steps100 := strongSteps(steps)
	commit := func() {
		for i := range batches {
			batches[i] = steps100()
		}
		if err := s.Commit(0, batches); err != nil {
			t.Fatal(err)
		}
	}
	for range stride / steps { // the buffers
		commit()
	}
	if n := testing.AllocsPerRun(100, commit); n > allocsCommit {
		t.Fatalf("%v allocations for a commit of %d writes, at most %d were needed", n, steps, allocsCommit)
	}
}

// TestReadAllocs: a row and its object, whether or not they are in the cache.
func TestReadAllocs(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	b := load100(1, value100)
	if err := s.Commit(0, []*core.Batch{b}); err != nil {
		t.Fatal(err)
	}
	w := &b.Records[0]
	if n := testing.AllocsPerRun(200, func() {
		if o, err := s.Record(w.Partition, w.Bucket, w.Key); o == nil || err != nil {
			t.Fatal(o, err)
		}
	}); n > 2 {
		t.Fatalf("%v allocations for one cached record, at most 2 were needed", n)
	}
	x := strongSteps(1)()
	if err := s.Commit(0, []*core.Batch{x}); err != nil {
		t.Fatal(err)
	}
	row := &x.Strong[1].Row
	if n := testing.AllocsPerRun(200, func() {
		if v, err := s.StrongValue(x.Strong[1].Partition, 1, row.Bucket, row.Key); v == nil || err != nil {
			t.Fatal(v, err)
		}
	}); n > 2 {
		t.Fatalf("%v allocations for one cached value, at most 2 were needed", n)
	}
}
