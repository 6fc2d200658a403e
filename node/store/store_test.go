package store

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// tiny makes rotation and compaction as frequent as writes.
var tiny = Options{WriteBuffer: 8 << 10, TableSize: 4 << 10}

func object(counter uint64, value string) *version.Object {
	return version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: 5, Counter: counter}, HLC: version.HLC(counter), ContentType: "text/plain",
		Value: []byte(value), Request: version.RequestID{1}})
}

func openMem(t testing.TB, fs *crashfs.FS, o Options) *Store {
	t.Helper()
	s, err := OpenOn(memDisk{fs}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t testing.TB) *Store {
	t.Helper()
	s := openMem(t, crashfs.New(1), Options{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(p uint32, b hashring.BucketID, key string, o *version.Object) core.RecordWrite {
	return core.RecordWrite{Partition: p, Bucket: b, Key: []byte(key), Leaf: core.LeafOf(hashring.Hash("b", []byte(key))), Object: o}
}

func commitAll(t testing.TB, s *Store, shard int, b ...*core.Batch) {
	t.Helper()
	if err := s.Commit(shard, b); err != nil {
		t.Fatal(err)
	}
}

func TestEngine(t *testing.T) {
	s := fresh(t)
	target := hashring.SID{9}
	if o, err := s.Record(1, 2, []byte("k")); o != nil || err != nil {
		t.Fatalf("an absent record: %v, %v", o, err)
	}
	if o, gen, err := s.Hint(1, 2, []byte("k"), target); o != nil || gen != 0 || err != nil {
		t.Fatalf("an absent hint: %v, %d, %v", o, gen, err)
	}
	if c, err := s.Counters(1); !reflect.DeepEqual(c, core.Counters{}) || err != nil {
		t.Fatalf("absent counters: %v, %v", c, err)
	}
	counters := core.Counters{Keys: 1, Tombstones: 2, Bytes: 3, Hints: []antientropy.HintLine{{Target: target, Hints: 1, Bytes: 9}}}
	commitAll(t, s, 0, &core.Batch{Seq: 1,
		Records:  []core.RecordWrite{record(1, 2, "k", object(1, "v")), record(1, 2, "gone", object(2, "x"))},
		Hints:    []core.HintWrite{{Partition: 1, Bucket: 2, Key: []byte("k"), Target: target, Gen: 4, Object: object(3, "h")}},
		Counters: []core.CountersWrite{{Partition: 1, Counters: counters}},
	}, &core.Batch{Seq: 2, Records: []core.RecordWrite{record(1, 2, "gone", nil)}})
	if o, err := s.Record(1, 2, []byte("k")); err != nil || !version.Same(o, object(1, "v")) || string(o.Siblings[0].Value) != "v" {
		t.Fatalf("%v, %v", o, err)
	}
	for _, where := range []struct {
		p uint32
		b hashring.BucketID
	}{{1, 3}, {2, 2}} {
		if o, err := s.Record(where.p, where.b, []byte("k")); o != nil || err != nil {
			t.Fatalf("partition %d, bucket %d: %v, %v", where.p, where.b, o, err)
		}
	}
	if o, err := s.Record(1, 2, []byte("gone")); o != nil || err != nil {
		t.Fatalf("a dropped record: %v, %v", o, err)
	}
	if o, gen, err := s.Hint(1, 2, []byte("k"), target); err != nil || gen != 4 || !version.Same(o, object(3, "h")) {
		t.Fatalf("%v, %d, %v", o, gen, err)
	}
	if o, _, err := s.Hint(1, 2, []byte("k"), hashring.SID{8}); o != nil || err != nil {
		t.Fatalf("a hint for another: %v, %v", o, err)
	}
	if c, err := s.Counters(1); err != nil || !reflect.DeepEqual(c, counters) {
		t.Fatalf("%v, %v", c, err)
	}
	rows, err := allRows(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkLeaves(rows); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Syncs == 0 || st.Written == 0 {
		t.Fatalf("%+v", st)
	}
}

func TestClockBoundAndRingStateSurvive(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	if s.HLCBound() != 0 {
		t.Fatal(s.HLCBound())
	}
	if st, err := s.RingState(); st != nil || err != nil {
		t.Fatal(st, err)
	}
	commitAll(t, s, 0, &core.Batch{HLCBound: 700})
	commitAll(t, s, 300, &core.Batch{HLCBound: 900})
	commitAll(t, s, 1, &core.Batch{HLCBound: 800})
	for v := range uint64(3) {
		if err := s.SaveRingState(ringState(v + 1)); err != nil {
			t.Fatal(err)
		}
	}
	s = openMem(t, fs.Reboot(), Options{})
	if s.HLCBound() != 900 {
		t.Fatalf("bound %d", s.HLCBound())
	}
	if st, err := s.RingState(); err != nil || !reflect.DeepEqual(st, ringState(3)) {
		t.Fatal(st, err)
	}
	_ = s.Close()
}

// TestCorruptRow: a row that fails its checksum is an error of its own, in a point
// read and in a slice.
func TestCorruptRow(t *testing.T) {
	s := fresh(t)
	commitAll(t, s, 0, &core.Batch{Records: []core.RecordWrite{record(1, 2, "a", object(1, "v")), record(1, 2, "b", object(2, "w"))},
		Hints:    []core.HintWrite{{Partition: 1, Bucket: 2, Key: []byte("b"), Object: object(3, "h")}},
		Counters: []core.CountersWrite{{Partition: 1}}})
	for _, key := range [][]byte{appendRecordKey(nil, 1, 2, []byte("b")), appendHintKey(nil, 1, hashring.SID{}, 2, []byte("b")), appendCountersKey(nil, 1)} {
		v, err := s.db.Get(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		v[len(v)/2] ^= 8
		if err := s.db.Put(key, v, s.sync); err != nil {
			t.Fatal(err)
		}
	}
	s.rows = newRowCache(0) // or the damage below it would be met later
	if _, err := s.Record(1, 2, []byte("b")); !errors.Is(err, core.ErrCorrupt) {
		t.Fatal(err)
	}
	if _, _, err := s.Hint(1, 2, []byte("b"), hashring.SID{}); !errors.Is(err, core.ErrCorrupt) {
		t.Fatal(err)
	}
	if _, err := s.Counters(1); !errors.Is(err, core.ErrCorrupt) {
		t.Fatal(err)
	}
	out := s.Load(core.Load{Token: 6, Kind: core.LoadRecords, Partition: 1, Bucket: 2})
	if !errors.Is(out.Err, core.ErrCorrupt) || len(out.Rows) != 1 || out.Token != 6 {
		t.Fatalf("%+v", out)
	}
	if o, err := s.Record(1, 2, []byte("a")); err != nil || o == nil {
		t.Fatal(o, err)
	}
}

// damagedTables is a closed store of n records of a kilobyte with a flipped bit in
// every table.
func damagedTables(t *testing.T, n int, o Options) *crashfs.FS {
	t.Helper()
	fs := crashfs.New(1)
	s := openMem(t, fs, o)
	for i := range n {
		commitAll(t, s, 0, &core.Batch{Records: []core.RecordWrite{record(1, 2, fmt.Sprint("key-", i), object(uint64(i+1), string(bytes.Repeat([]byte{byte(i)}, 1000))))}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := fs.Dir(databaseName).List(storage.TypeTable)
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, fd := range tables {
		fs.Dir(databaseName).Flip(fd.String(), 700, 3)
	}
	return fs
}

// TestCorruptTable: damage below goleveldb is never "absent" either.
func TestCorruptTable(t *testing.T) {
	const n = 150 // two tables: too few to be compacted
	s := openMem(t, damagedTables(t, n, Options{WriteBuffer: 64 << 10}), Options{})
	defer func() { _ = s.Close() }()
	bad := 0
	for i := range n {
		o, err := s.Record(1, 2, []byte(fmt.Sprint("key-", i)))
		switch {
		case errors.Is(err, core.ErrCorrupt):
			bad++
		case err != nil || o == nil:
			t.Fatalf("record %d: %v, %v", i, o, err)
		}
	}
	if bad == 0 {
		t.Fatal("no damage was noticed")
	}
	if d := <-s.Damaged(); !strings.HasSuffix(d.File, ".ldb") || d.Offset == 0 {
		t.Fatalf("damaged: %+v", d)
	}
}

// TestBigCommit: many batches go in several writes, each of whole batches; small
// ones go in one.
func TestBigCommit(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{WriteBuffer: 32 << 20}) // so that no flush adds its own syncs
	defer func() { _ = s.Close() }()
	var small, big []*core.Batch
	value := string(make([]byte, 400<<10))
	for i := range 10 {
		k := fmt.Sprint("k", i)
		small = append(small, &core.Batch{Records: []core.RecordWrite{record(1, 1, k, object(1, "v"))}})
		big = append(big, &core.Batch{Records: []core.RecordWrite{record(2, 1, k, object(1, value)), record(3, 1, k, object(1, value))}})
	}
	for _, c := range []struct {
		batches []*core.Batch
		syncs   int
	}{{small, 1}, {big, 5}, {[]*core.Batch{{}}, 0}} {
		before := fs.Count(crashfs.OpSync)
		commitAll(t, s, 0, c.batches...)
		if got := fs.Count(crashfs.OpSync) - before; got != c.syncs {
			t.Errorf("%d batches: %d syncs, want %d", len(c.batches), got, c.syncs)
		}
	}
	for i := range 10 {
		for p := range uint32(3) {
			if o, err := s.Record(p+1, 1, []byte(fmt.Sprint("k", i))); err != nil || o == nil {
				t.Fatal(p, i, o, err)
			}
		}
	}
}

// TestFailedCommitIsFatal: one failed sync, and the store writes nothing more.
func TestFailedCommitIsFatal(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	put := func(key string) error {
		return s.Commit(0, []*core.Batch{{Records: []core.RecordWrite{record(1, 1, key, object(1, "v"))}}})
	}
	if err := put("before"); err != nil {
		t.Fatal(err)
	}
	fs.Fail(crashfs.OpSync, 1)
	if err := put("during"); !errors.Is(err, crashfs.ErrIO) {
		t.Fatalf("a failed sync: %v", err)
	}
	if err := <-s.Fatal(); !errors.Is(err, crashfs.ErrIO) {
		t.Fatal(err)
	}
	for range 3 {
		if put("after") == nil || s.SaveRingState(ringState(1)) == nil {
			t.Fatal("a write succeeded after a failed sync")
		}
	}
	_ = s.Close()
	s = openMem(t, fs.Reboot(), Options{})
	defer func() { _ = s.Close() }()
	if o, err := s.Record(1, 1, []byte("before")); err != nil || o == nil {
		t.Fatal(o, err)
	}
	if o, err := s.Record(1, 1, []byte("after")); err != nil || o != nil {
		t.Fatal(o, err)
	}
}

func TestFullDisk(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	fs.FullAfter(30_000)
	acked := 0
	for ; s.Commit(0, []*core.Batch{{Records: []core.RecordWrite{record(1, 1, fmt.Sprint(acked), object(1, "some value"))}}}) == nil; acked++ {
		if acked > 10_000 {
			t.Fatal("the disk never filled up")
		}
	}
	if err := <-s.Fatal(); !errors.Is(err, crashfs.ErrFull) {
		t.Fatal(err)
	}
	_ = s.Close()
	s = openMem(t, fs.Reboot(), Options{})
	defer func() { _ = s.Close() }()
	for i := range acked {
		if o, err := s.Record(1, 1, []byte(fmt.Sprint(i))); err != nil || o == nil {
			t.Fatalf("record %d of %d: %v, %v", i, acked, o, err)
		}
	}
}

// TestCloseWaits: calls in progress end before the database closes, later ones are refused.
func TestCloseWaits(t *testing.T) {
	s := openMem(t, crashfs.New(1), tiny)
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for shard := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				err := s.Commit(shard, []*core.Batch{{Records: []core.RecordWrite{record(uint32(shard), 1, fmt.Sprint(i%50), object(1, "v"))}}})
				if err == nil {
					err = s.Load(core.Load{Kind: core.LoadRecords, Partition: uint32(shard), Bucket: 1}).Err
				}
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				if i == 20 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal("second close:", err)
	}
	if _, err := s.Record(1, 1, []byte("0")); !errors.Is(err, ErrClosed) || errors.Is(err, leveldb.ErrClosed) {
		t.Fatal(err)
	}
	if err := s.SetCluster(hashring.SID{1}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if s.Stats().Syncs != 0 {
		t.Fatal("statistics of a closed store")
	}
}
