package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// pages walks a load to its end, checking the bounds of each slice.
func pages(t *rapid.T, s *Store, l core.Load) (rows []core.Row) {
	for range 1000 {
		out := s.Load(l)
		if out.Err != nil || len(out.Rows) > l.MaxRows || out.More && len(out.Rows) == 0 {
			t.Fatalf("%+v", out)
		}
		rows = append(rows, out.Rows...)
		if !out.More {
			return rows
		}
		last := out.Rows[len(out.Rows)-1]
		l.Start = nil
		if l.After = last.Key; l.Kind == core.LoadHints {
			l.After = last.Cursor
		}
	}
	t.Fatal("the walk does not end")
	return nil
}

// TestLoads holds both kinds of load against a sorted list, for any slicing.
func TestLoads(t *testing.T) {
	s := fresh(t)
	var keys []string
	for _, a := range []string{"a", "b", "\x00", "\xff"} {
		for _, b := range []string{"", "\x00", "a", "\xff", "\xff\xff"} {
			keys = append(keys, a+b)
		}
	}
	targets := []hashring.SID{{}, {1}, {1, 1}}
	batch := &core.Batch{}
	for i, k := range keys {
		for b := range hashring.BucketID(3) {
			batch.Records = append(batch.Records, record(7, b, k, object(uint64(i+1), fmt.Sprint(k, b))))
			for _, target := range targets {
				batch.Hints = append(batch.Hints, core.HintWrite{Partition: 7, Bucket: b, Key: []byte(k), Target: target, Gen: uint64(i + 1),
					Object: object(uint64(i+1), fmt.Sprint(k, b))})
			}
		}
	}
	batch.Records = append(batch.Records, record(6, 1, "other", object(1, "x")), record(8, 1, "other", object(1, "x")))
	commitAll(t, s, 0, batch)
	slices.Sort(keys)
	draw := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 2), func(b []byte) string { return string(b) })
	rapid.Check(t, func(t *rapid.T) {
		l := core.Load{Kind: core.LoadRecords, Partition: 7, Bucket: 1, MaxRows: rapid.IntRange(1, 30).Draw(t, "rows"),
			MaxBytes: rapid.IntRange(1, 2000).Draw(t, "bytes"), Brief: rapid.Bool().Draw(t, "brief")}
		prefix, start := draw.Draw(t, "prefix"), draw.Draw(t, "start")
		l.Prefix, l.Start = []byte(prefix), []byte(start)
		var want []string
		for _, k := range keys {
			if len(k) >= len(prefix) && k[:len(prefix)] == prefix && k >= start {
				want = append(want, k)
			}
		}
		var got []string
		for _, r := range pages(t, s, l) {
			got = append(got, string(r.Key))
			wantValue := fmt.Sprint(string(r.Key), 1)
			if l.Brief {
				wantValue = ""
			}
			if r.Bucket != 1 || string(r.Object.Siblings[0].Value) != wantValue {
				t.Fatalf("%+v", r)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("prefix %q, start %q: %q, want %q", prefix, start, got, want)
		}

		l.Kind, l.Target = core.LoadHints, rapid.SampledFrom(targets).Draw(t, "target")
		rows := pages(t, s, l)
		if len(rows) != 3*len(keys) {
			t.Fatalf("%d hints, want %d", len(rows), 3*len(keys))
		}
		for i, r := range rows {
			if r.Target != l.Target || r.Bucket != hashring.BucketID(i/len(keys)) || string(r.Key) != keys[i%len(keys)] || r.Gen != r.Object.Siblings[0].Dot.Counter {
				t.Fatalf("hint %d: %+v", i, r)
			}
		}
	})
}

func TestLoadBounds(t *testing.T) {
	s := fresh(t)
	batch := &core.Batch{}
	for i := range 1200 {
		batch.Records = append(batch.Records, record(1, 1, fmt.Sprintf("%05d", i), object(1, "v")))
	}
	for i := range 3 {
		batch.Records = append(batch.Records, record(1, 2, fmt.Sprint(i), object(1, string(bytes.Repeat([]byte("x"), 300<<10)))))
	}
	commitAll(t, s, 0, batch)
	if out := s.Load(core.Load{Kind: core.LoadRecords, Partition: 1, Bucket: 1}); len(out.Rows) != loadRows || !out.More {
		t.Fatalf("%d rows, more %v", len(out.Rows), out.More)
	}
	if out := s.Load(core.Load{Kind: core.LoadRecords, Partition: 1, Bucket: 2}); len(out.Rows) != 1 || !out.More {
		t.Fatalf("%d big rows, more %v", len(out.Rows), out.More)
	}
	if out := s.Load(core.Load{Kind: 99}); out.Err == nil {
		t.Fatal("an unknown kind of load")
	}
}

// A damaged hint is named and does not keep those behind it (D4).
func TestADamagedHintIsARow(t *testing.T) {
	s := fresh(t)
	target := hashring.SID{4}
	batch := &core.Batch{Seq: 1}
	for i, k := range []string{"a", "b", "c"} {
		batch.Hints = append(batch.Hints, core.HintWrite{Partition: 7, Bucket: 2, Key: []byte(k), Target: target, Gen: uint64(i + 1), Object: object(1, k)})
	}
	commitAll(t, s, 0, batch)
	at := appendHintKey(nil, 7, target, 2, []byte("b"))
	v, err := s.db.Get(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	v[len(v)/2] ^= 1
	if err := s.db.Put(at, v, s.sync); err != nil {
		t.Fatal(err)
	}
	l := s.Load(core.Load{Kind: core.LoadHints, Partition: 7, Target: target})
	if l.Err != nil || len(l.Rows) != 3 {
		t.Fatalf("%+v", l)
	}
	for i, r := range l.Rows {
		if r.Damaged != (i == 1) || (r.Object == nil) != r.Damaged || r.Target != target || len(r.Cursor) != 9 || string(r.Key) != []string{"a", "b", "c"}[i] {
			t.Errorf("row %d: %+v", i, r)
		}
	}
}
