package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Leaf rows come in the order of their places, for any choice of leaves, bounds and slices.
func TestLoadLeafRows(t *testing.T) {
	s := fresh(t)
	batch := &core.Batch{}
	var all []antientropy.Pos
	versions := map[string]uint64{}
	for i := range 300 {
		for b := hashring.BucketID(1); b < 3; b++ {
			w := record(7, b, fmt.Sprint("key-", i), object(uint64(i+1), "v"))
			w.Leaf = uint16(i*i) % 40 * 100
			batch.Records = append(batch.Records, w)
			pos := antientropy.Pos{Leaf: w.Leaf, Bucket: b, Key: w.Key}
			all = append(all, pos)
			versions[pos.String()] = w.Object.Hash()
		}
	}
	batch.Records = append(batch.Records, record(6, 1, "other", object(1, "x")), record(8, 1, "other", object(1, "x")))
	commitAll(t, s, 0, batch)
	slices.SortFunc(all, antientropy.Pos.Compare)
	rapid.Check(t, func(t *rapid.T) {
		l := core.Load{Kind: core.LoadLeafRows, Partition: 7, MaxRows: rapid.IntRange(1, 200).Draw(t, "rows"), MaxBytes: rapid.IntRange(1, 5000).Draw(t, "bytes")}
		if rapid.Bool().Draw(t, "some leaves") {
			l.Leaves = rapid.SliceOfNDistinct(rapid.Map(rapid.Uint16Max(41), func(n uint16) uint16 { return min(n*100, core.Leaves-1) }), 1, 30, rapid.ID).Draw(t, "leaves")
			slices.Sort(l.Leaves)
		}
		if rapid.Bool().Draw(t, "behind") {
			l.LeafAfter = rapid.SampledFrom(all).Draw(t, "after")
		}
		switch rapid.IntRange(0, 2).Draw(t, "end") {
		case 1:
			l.LeafUpto = rapid.SampledFrom(all).Draw(t, "upto")
		case 2:
			l.LeafUpto = antientropy.End
		}
		var want []antientropy.Pos
		for _, p := range all {
			in := l.Leaves == nil || slices.Contains(l.Leaves, p.Leaf)
			if in && p.Compare(l.LeafAfter) > 0 && (l.LeafUpto.Compare(antientropy.Pos{}) == 0 || p.Compare(l.LeafUpto) <= 0) {
				want = append(want, p)
			}
		}
		var got []antientropy.Pos
		for {
			out := s.Load(l)
			if out.Err != nil || len(out.Rows) > l.MaxRows || out.More && len(out.Rows) == 0 {
				t.Fatalf("%+v", out)
			}
			for _, r := range out.Rows {
				pos := antientropy.Pos{Leaf: leafOf(all, r), Bucket: r.Bucket, Key: r.Key}
				if r.Version != versions[pos.String()] {
					t.Fatalf("%v has version %x, not %x", pos, r.Version, versions[pos.String()])
				}
				got = append(got, pos)
			}
			if !out.More {
				break
			}
			if out.Last.Compare(got[len(got)-1]) != 0 {
				t.Fatalf("last is %v, the last row %v", out.Last, got[len(got)-1])
			}
			l.LeafAfter = out.Last
		}
		if !slices.EqualFunc(got, want, func(a, b antientropy.Pos) bool { return a.Compare(b) == 0 }) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func leafOf(all []antientropy.Pos, r core.Row) uint16 {
	i := slices.IndexFunc(all, func(p antientropy.Pos) bool { return p.Bucket == r.Bucket && bytes.Equal(p.Key, r.Key) })
	return all[i].Leaf
}

// Objects come in the order of the keys, absent ones without, damaged ones marked.
func TestLoadObjects(t *testing.T) {
	s := fresh(t)
	batch := &core.Batch{}
	for i := range 10 {
		batch.Records = append(batch.Records, record(7, 1, fmt.Sprint(i), object(uint64(i+1), "value")))
	}
	commitAll(t, s, 0, batch)
	at := appendRecordKey(nil, 7, 1, []byte("3"))
	row, err := s.db.Get(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	row[9] ^= 4
	if err := s.db.Put(at, row, nil); err != nil {
		t.Fatal(err)
	}
	s.rows.drop(at)
	keys := []core.Row{{Bucket: 1, Key: []byte("5")}, {Bucket: 1, Key: []byte("3")}, {Bucket: 1, Key: []byte("none")}, {Bucket: 2, Key: []byte("5")}, {Bucket: 1, Key: []byte("0")}}
	out := s.Load(core.Load{Kind: core.LoadObjects, Partition: 7, Keys: keys})
	if out.Err != nil || out.More || len(out.Rows) != len(keys) {
		t.Fatalf("%+v", out)
	}
	for i, r := range out.Rows {
		present := string(keys[i].Key) == "0" || string(keys[i].Key) == "5" && keys[i].Bucket == 1
		if !bytes.Equal(r.Key, keys[i].Key) || r.Bucket != keys[i].Bucket || (r.Object != nil) != present || r.Damaged != (i == 1) {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if out := s.Load(core.Load{Kind: core.LoadObjects, Partition: 7, Keys: keys, MaxRows: 2}); len(out.Rows) != 2 || !out.More {
		t.Errorf("%+v", out)
	}
	if out := s.Load(core.Load{Kind: core.LoadObjects, Partition: 7, Keys: keys, MaxBytes: 1}); len(out.Rows) != 1 || !out.More {
		t.Errorf("%+v", out)
	}
}

func TestLoadPurgeable(t *testing.T) {
	s := fresh(t)
	batch := &core.Batch{}
	var want []string
	for i := range 10_000 {
		o := object(uint64(i+1), "value")
		key := fmt.Sprintf("%05d", i)
		switch {
		case i%1000 == 7:
			o.Siblings[0] = version.Sibling{Dot: o.Siblings[0].Dot, Tombstone: true}
			want = append(want, key)
		case i%1000 == 8:
			o.Siblings[0].ExpiryMS = 500
			want = append(want, key)
		case i%1000 == 9:
			o.Siblings[0].ExpiryMS = 501
		}
		batch.Records = append(batch.Records, record(7, hashring.BucketID(1+i/5000), key, o))
	}
	batch.Records = append(batch.Records, record(6, 1, "other", object(1, "x")), record(8, 1, "other", object(1, "x")))
	commitAll(t, s, 0, batch)
	for _, rows := range []int{1, 3, 100} {
		l := core.Load{Kind: core.LoadPurgeable, Partition: 7, MaxRows: rows, AtMS: 500}
		var got []string
		slices := 0
		for {
			out := s.Load(l)
			if out.Err != nil || len(out.Rows) > rows {
				t.Fatalf("%+v", out)
			}
			slices++
			for _, r := range out.Rows {
				got = append(got, string(r.Key))
			}
			if !out.More {
				break
			}
			if out.Last.Compare(l.LeafAfter) <= 0 {
				t.Fatalf("stands still at %v", out.Last)
			}
			l.LeafAfter = out.Last
		}
		if cmp.Compare(fmt.Sprint(got), fmt.Sprint(want)) != 0 || slices < 3 {
			t.Errorf("%d slices of %d rows: %v, want %v", slices, rows, got, want)
		}
	}
	l := core.Load{Kind: core.LoadPurgeable, Partition: 7}
	if out := s.Load(l); len(out.Rows) != 5 || !out.More {
		t.Errorf("without a time: %d rows, more %v", len(out.Rows), out.More)
	}
}
