package store

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

func strongValue(epoch, index uint64, data string) *strong.Value {
	return &strong.Value{Version: strong.Version{Incarnation: 1, Epoch: epoch, Index: index}, Data: []byte(data), ContentType: "text/plain", Sum: 7}
}

func strongEntry(epoch, index uint64, key, data string) *strong.Entry {
	return &strong.Entry{Epoch: epoch, Index: index, Kind: strong.Effect, TimeMS: 1000 + int64(index), Bucket: 2, Key: []byte(key), Value: strongValue(epoch, index, data)}
}

func completion(stamp int64) *strong.Completion {
	return &strong.Completion{ID: strong.RequestID{StampMS: stamp, Nonce: [16]byte{byte(stamp), 1}}, Digest: 5, Count: stamp}
}

// strongBatch is one step's writes to partition p.
func strongBatch(p uint32, writes ...strong.Write) *core.Batch {
	b := &core.Batch{}
	for _, w := range writes {
		b.Strong = append(b.Strong, core.StrongWrite{Partition: p, Write: w})
	}
	return b
}

func putHard(h strong.Hard) strong.Write    { return strong.Write{Kind: strong.PutHard, Hard: h} }
func putEntry(e *strong.Entry) strong.Write { return strong.Write{Kind: strong.PutEntry, Entry: e} }
func putValue(g uint64, key string, v *strong.Value) strong.Write {
	return strong.Write{Kind: strong.PutValue, Generation: g, Row: strong.Row{Bucket: 2, Key: []byte(key), Value: v}}
}
func putDone(g uint64, c *strong.Completion) strong.Write {
	return strong.Write{Kind: strong.PutCompletion, Generation: g, Row: strong.Row{Done: c}}
}

// strongFixture is a partition with a log of entries 3 to 6, two values and a
// completion record, committed in partition 1.
func strongFixture(t testing.TB, s *Store) strong.Hard {
	t.Helper()
	return strongFixtureOf(t, s, "2")
}

// strongFixtureOf has data as the value of its entry 4, and in the same write those of
// partition 2.
func strongFixtureOf(t testing.TB, s *Store, data string, beside ...strong.Write) strong.Hard {
	t.Helper()
	h := strong.Hard{Promised: 4, Base: strong.Position{Epoch: 2, Index: 2}, Commit: 5, Applied: 5, LogTimeMS: 1005, Generation: 9, Sum: 3}
	gone := strongEntry(4, 6, "b", "")
	gone.Value = &strong.Value{Version: gone.Value.Version, Tombstone: true}
	two := strongBatch(2)
	if len(beside) > 0 {
		two = strongBatch(2, append(beside, putHard(strong.Hard{Promised: 4}))...)
	}
	commitAll(t, s, 0, two, strongBatch(1, putHard(h), putEntry(strongEntry(2, 3, "a", "1")), putEntry(strongEntry(2, 4, "b", data)),
		putEntry(&strong.Entry{Epoch: 4, Index: 5, Kind: strong.Barrier, TimeMS: 1004}), putEntry(gone),
		putValue(9, "a", strongValue(2, 3, "1")), putValue(9, "b", strongValue(2, 4, "2")), putDone(9, completion(700))))
	return h
}

func TestStrongEngine(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	if saved, err := s.StrongSaved(1); err != nil || !reflect.DeepEqual(saved, strong.Saved{}) {
		t.Fatalf("of nothing: %+v, %v", saved, err)
	}
	h := strongFixture(t, s)
	for life := range 2 {
		saved, err := s.StrongSaved(1)
		if err != nil || saved.Hard != h || len(saved.Log) != 4 || saved.Suspect {
			t.Fatalf("%+v, %v", saved, err)
		}
		if last := saved.Log[3]; last.Epoch != 4 || !last.Tombstone || saved.Log[0].Epoch != 2 || saved.Log[0].Tombstone || saved.Log[0] != strong.HeaderOf(strongEntry(2, 3, "a", "1")) {
			t.Fatalf("%+v", saved.Log)
		}
		for range 2 { // from the database, then from the cache
			if v, err := s.StrongValue(1, 9, 2, []byte("b")); err != nil || !reflect.DeepEqual(v, strongValue(2, 4, "2")) {
				t.Fatalf("%+v, %v", v, err)
			}
		}
		if e, err := s.StrongEntry(1, 4); err != nil || !reflect.DeepEqual(e, strongEntry(2, 4, "b", "2")) {
			t.Fatalf("%+v, %v", e, err)
		}
		if c, err := s.StrongCompletion(1, 9, completion(700).ID); err != nil || !reflect.DeepEqual(c, completion(700)) {
			t.Fatalf("%+v, %v", c, err)
		}
		v, err1 := s.StrongValue(1, 8, 2, []byte("b"))
		w, err2 := s.StrongValue(2, 9, 2, []byte("b"))
		e, err3 := s.StrongEntry(1, 7)
		c, err4 := s.StrongCompletion(1, 9, completion(701).ID)
		if v != nil || w != nil || e != nil || c != nil || errors.Join(err1, err2, err3, err4) != nil {
			t.Fatal("what is absent is not:", v, w, e, c, err1, err2, err3, err4)
		}
		if life == 0 {
			s = openMem(t, fs.Reboot(), Options{})
		}
	}
	commitAll(t, s, 0, strongBatch(1, strong.Write{Kind: strong.DropValue, Generation: 9, Row: strong.Row{Bucket: 2, Key: []byte("b")}}))
	if v, err := s.StrongValue(1, 9, 2, []byte("b")); v != nil || err != nil {
		t.Fatal("a dropped value:", v, err)
	}
	_ = s.Close()
	if _, err := s.StrongSaved(1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestStrongLogCuts: whatever is cut off is not found again, neither in packs nor in rows,
// also by a store that was not asked for the partition before.
func TestStrongLogCuts(t *testing.T) {
	for name, c := range map[string]struct {
		writes []strong.Write
		base   uint64
		want   []uint64
	}{
		"tail":               {[]strong.Write{{Kind: strong.CutTail, Index: 5}}, 2, []uint64{3, 4}},
		"tail, a row":        {[]strong.Write{{Kind: strong.CutTail, Index: 4}}, 2, []uint64{3}},
		"head":               {[]strong.Write{{Kind: strong.CutHead, Index: 4}}, 4, []uint64{5, 6}},
		"all by the tail":    {[]strong.Write{{Kind: strong.CutTail, Index: 0}}, 2, nil},
		"all, base and all":  {[]strong.Write{{Kind: strong.CutTail, Index: 0}}, 0, nil},
		"all by the head":    {[]strong.Write{{Kind: strong.CutHead, Index: 100}}, 100, nil},
		"nothing":            {[]strong.Write{{Kind: strong.CutTail, Index: 7}, {Kind: strong.CutHead, Index: 2}}, 2, []uint64{3, 4, 5, 6}},
		"tail and new ones":  {[]strong.Write{{Kind: strong.CutTail, Index: 6}, putEntry(strongEntry(5, 6, "x", "")), putEntry(strongEntry(5, 7, "y", ""))}, 2, []uint64{3, 4, 5, 6, 7}},
		"new ones, then not": {[]strong.Write{putEntry(strongEntry(5, 7, "x", "")), putEntry(strongEntry(5, 8, "y", "")), {Kind: strong.CutTail, Index: 8}}, 2, []uint64{3, 4, 5, 6, 7}},
		"put over":           {[]strong.Write{putEntry(strongEntry(5, 4, "x", ""))}, 2, []uint64{3, 4, 5, 6}},
		"put over, larger":   {[]strong.Write{putEntry(strongEntry(5, 4, "x", largeValue)), putEntry(strongEntry(5, 5, "x", largeValue))}, 2, []uint64{3, 4, 5, 6}},
		"all, then a suffix": {[]strong.Write{{Kind: strong.CutTail, Index: 0}, putEntry(strongEntry(5, 90, "x", "")), {Kind: strong.CutHead, Index: 89}}, 89, []uint64{90}},
	} {
		for _, reboot := range []bool{false, true} {
			fs := crashfs.New(1)
			s := openMem(t, fs, Options{})
			h := strongFixtureOf(t, s, largeValue, putEntry(strongEntry(2, 1, "z", "of another partition: it keeps the pack")))
			if reboot {
				fs = fs.Reboot()
				s = openMem(t, fs, Options{})
			}
			h.Base.Index = c.base
			commitAll(t, s, 0, strongBatch(1, append(c.writes, putHard(h))...))
			for range 2 {
				var got []uint64
				saved, err := s.StrongSaved(1)
				for i := range saved.Log {
					at := c.base + 1 + uint64(i)
					e, err := s.StrongEntry(1, at)
					if err != nil || e == nil || strong.HeaderOf(e) != saved.Log[i] {
						t.Errorf("%s, reboot %v: entry %d is not what is listed as %+v: %v", name, reboot, at, saved.Log[i], err)
					}
					got = append(got, at)
				}
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%s, reboot %v: entries %d, want %d, %v", name, reboot, got, c.want, err)
				}
				for i := range uint64(120) {
					if e, err := s.StrongEntry(1, i); (e != nil) != slices.Contains(c.want, i) || err != nil {
						t.Errorf("%s, reboot %v: entry %d is there: %v, %v", name, reboot, i, e != nil, err)
					}
				}
				if saved, err := s.StrongSaved(2); err != nil || len(saved.Log) != 1 {
					t.Errorf("%s, reboot %v: beside it %+v, %v", name, reboot, saved, err)
				}
				fs = fs.Reboot()
				s = openMem(t, fs, Options{})
			}
			_ = s.Close()
		}
	}
}

// largeValue makes an entry too large for a pack.
var largeValue = strings.Repeat("v", packedMost)

// TestStrongDamage: a row that cannot be trusted, or is missing where there must be
// one, is an error and never absent (D4). Nothing is swept up by what such a store says.
func TestStrongDamage(t *testing.T) {
	id := completion(700).ID
	saved := func(s *Store) error { _, err := s.StrongSaved(1); return err }
	load := func(l core.Load) func(*Store) error {
		l.Partition, l.Generation, l.Bucket = 1, 9, 2
		return func(s *Store) error { return s.Load(l).Err }
	}
	flip := func(v []byte) []byte { v[len(v)/2] ^= 4; return v }
	drop := func([]byte) []byte { return nil }
	other := func(v []byte) []byte { return bytes.Clone(v) }
	for name, c := range map[string]struct {
		key    []byte
		change func([]byte) []byte // nil: the row goes
		at     []byte              // where the changed row goes, nil: to its place
		reads  []func(*Store) error
	}{
		"hard row":          {appendHardKey(nil, 1), flip, nil, []func(*Store) error{saved}},
		"no hard row":       {appendHardKey(nil, 1), drop, nil, []func(*Store) error{saved}},
		"pack":              {appendPackKey(nil, 1), flip, nil, []func(*Store) error{saved, func(s *Store) error { _, err := s.StrongEntry(1, 3); return err }}},
		"no pack":           {appendPackKey(nil, 1), drop, nil, []func(*Store) error{saved}},
		"pack of another":   {appendPackKey(nil, 1), other, appendPackKey(nil, 2), []func(*Store) error{saved}},
		"entry":             {appendEntryKey(nil, 1, 4), flip, nil, []func(*Store) error{saved, func(s *Store) error { _, err := s.StrongEntry(1, 4); return err }}},
		"no entry":          {appendEntryKey(nil, 1, 4), drop, nil, []func(*Store) error{saved}},
		"entry of another":  {appendEntryKey(nil, 1, 4), other, appendEntryKey(nil, 1, 5), []func(*Store) error{saved, func(s *Store) error { _, err := s.StrongEntry(1, 4); return err }}},
		"value":             {appendValueKey(nil, 1, 9, 2, []byte("a")), flip, nil, []func(*Store) error{func(s *Store) error { _, err := s.StrongValue(1, 9, 2, []byte("a")); return err }, load(core.Load{Kind: core.LoadStrong}), load(core.Load{Kind: core.LoadStrongLive})}},
		"completion record": {appendDoneKey(nil, 1, 9, id), flip, nil, []func(*Store) error{func(s *Store) error { _, err := s.StrongCompletion(1, 9, id); return err }, load(core.Load{Kind: core.LoadStrong, Part: strong.PartCompletions})}},
	} {
		fs := crashfs.New(1)
		s := openMem(t, fs, Options{})
		strongFixtureOf(t, s, largeValue)
		v, err := s.db.Get(c.key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v = c.change(v); v == nil {
			err = s.db.Delete(c.key, s.sync)
		} else if c.at != nil {
			err = s.db.Put(c.at, v, s.sync)
		} else {
			err = s.db.Put(c.key, v, s.sync)
		}
		if err != nil {
			t.Fatal(err)
		}
		before, err := allRows(s)
		if err != nil {
			t.Fatal(err)
		}
		s = openMem(t, fs.Reboot(), Options{})
		for i, read := range c.reads {
			if err := read(s); !errors.Is(err, core.ErrCorrupt) {
				t.Errorf("%s, read %d: %v", name, i, err)
			}
		}
		s.sweeper.done.Wait()
		if after, err := allRows(s); err != nil || len(after) < len(before) {
			t.Errorf("%s: %d rows, then %d, %v", name, len(before), len(after), err)
		}
		_ = s.Close()
	}
}

// A value is pulled in slices of any size, in the order of bucket and key; so are
// completion records, in the order of their stamps.
func TestLoadStrong(t *testing.T) {
	s := fresh(t)
	b := &core.Batch{}
	var keys []string
	for i := range 60 {
		key := fmt.Sprintf("%c%02d\x00", 'a'+i%3, i)
		keys = append(keys, key)
		v := strongValue(1, uint64(i+1), strings.Repeat(key, i%7))
		if i%5 == 0 {
			v = &strong.Value{Version: v.Version, Tombstone: true}
		}
		for _, bucket := range []hashring.BucketID{1, 2, 300} {
			w := putValue(9, key, v)
			w.Row.Bucket = bucket
			b.Strong = append(b.Strong, core.StrongWrite{Partition: 7, Write: w})
			w.Generation = 8
			b.Strong = append(b.Strong, core.StrongWrite{Partition: 7, Write: w})
		}
		b.Strong = append(b.Strong, core.StrongWrite{Partition: 7, Write: putDone(9, completion(int64(10*i)))}, core.StrongWrite{Partition: 8, Write: putDone(9, completion(3))})
	}
	commitAll(t, s, 0, b)
	slices.Sort(keys)
	rapid.Check(t, func(t *rapid.T) {
		l := core.Load{Kind: core.LoadStrong, Partition: 7, Generation: 9, MaxRows: rapid.IntRange(1, 200).Draw(t, "rows"), MaxBytes: rapid.IntRange(1, 9000).Draw(t, "bytes")}
		rows := strongPages(t, s, l)
		if len(rows) != 3*len(keys) {
			t.Fatalf("%d values", len(rows))
		}
		for i, r := range rows {
			if want := [3]hashring.BucketID{1, 2, 300}[i/len(keys)]; r.Bucket != want || string(r.Key) != keys[i%len(keys)] || r.Done != nil || r.Value.Live() && r.Value.Sum != 7 {
				t.Fatalf("row %d: %+v", i, r)
			}
		}
		l.Part = strong.PartCompletions
		rows = strongPages(t, s, l)
		if len(rows) != len(keys) {
			t.Fatalf("%d completion records", len(rows))
		}
		for i, r := range rows {
			if !reflect.DeepEqual(r.Done, completion(int64(10*i))) {
				t.Fatalf("row %d: %+v", i, r.Done)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SampledFrom([]string{"", "a", "b", "b1", "b11\x00", "b11\x00x", "c", "d"})
		prefix, start := draw.Draw(t, "prefix"), draw.Draw(t, "start")
		l := core.Load{Kind: core.LoadStrongLive, Partition: 7, Generation: 9, Bucket: 2, Prefix: []byte(prefix), Start: []byte(start), Brief: rapid.Bool().Draw(t, "brief"),
			MaxRows: rapid.IntRange(1, 30).Draw(t, "rows"), MaxBytes: rapid.IntRange(1, 2000).Draw(t, "bytes")}
		var want, got []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) && k >= start && k[2] != '0' && k[2] != '5' {
				want = append(want, k)
			}
		}
		for more := true; more; {
			out := s.Load(l)
			if out.Err != nil || len(out.Rows) > l.MaxRows {
				t.Fatalf("%d rows, %v", len(out.Rows), out.Err)
			}
			for _, r := range out.Rows {
				if r.Bucket != 2 || !r.Strong.Live() || r.Strong.Version.Epoch != 1 || l.Brief && r.Strong.Data != nil {
					t.Fatalf("%+v", r)
				}
				got = append(got, string(r.Key))
				l.After = r.Key
			}
			more = out.More
		}
		if !slices.Equal(got, want) {
			t.Fatalf("prefix %q, start %q: %q, want %q", prefix, start, got, want)
		}
	})
}

func strongPages(t *rapid.T, s *Store, l core.Load) (all []strong.Row) {
	for {
		out := s.Load(l)
		if out.Err != nil || len(out.Strong) == 0 || len(out.Strong) > l.MaxRows {
			t.Fatalf("%d rows, more %v, %v", len(out.Strong), out.More, out.Err)
		}
		all, l.After = append(all, out.Strong...), out.Next
		if !out.More {
			return all
		}
	}
}

// TestSweep: a dropped generation goes in slices beside the commits; one that a crash
// left behind goes after the next start; what expires goes; all else stays.
func TestSweep(t *testing.T) {
	const rows = 3 * sweepRows
	fs := crashfs.New(1)
	s := openMem(t, fs, crashOptions)
	count := func(s *Store) map[rubbishKey]int {
		s.sweeper.done.Wait()
		out := map[rubbishKey]int{}
		all, err := allRows(s)
		if err != nil {
			t.Fatal(err)
		}
		for key := range all {
			if k, err := DecodeKey([]byte(key)); err == nil && (k.Kind == KindValue || k.Kind == KindDone) {
				out[rubbishKey{k.Partition, k.Kind, k.Generation}]++
			}
		}
		return out
	}
	fill := func(s *Store, p uint32, g uint64) {
		b := strongBatch(p, putHard(strong.Hard{Promised: 1, Generation: 5}))
		for i := range rows {
			b.Strong = append(b.Strong, core.StrongWrite{Partition: p, Write: putValue(g, fmt.Sprint("key", i), strongValue(1, 1, "v"))},
				core.StrongWrite{Partition: p, Write: putDone(g, completion(int64(i)))})
		}
		commitAll(t, s, 0, b)
	}
	for g := uint64(4); g <= 6; g++ {
		fill(s, 1, g)
	}
	fill(s, 2, 5)
	commitAll(t, s, 0, strongBatch(1, putHard(strong.Hard{Promised: 2, Generation: 5}), strong.Write{Kind: strong.DropGeneration, Generation: 4}, strong.Write{Kind: strong.Expire, Generation: 5, StampMS: 100}))
	commitAll(t, s, 0, strongBatch(1, strong.Write{Kind: strong.Expire, Generation: 5, StampMS: 1000}, strong.Write{Kind: strong.Expire, Generation: 5, StampMS: -5}))
	value5, done5 := rubbishKey{1, KindValue, 5}, rubbishKey{1, KindDone, 5}
	want := map[rubbishKey]int{value5: rows, done5: rows - 1000, {1, KindValue, 6}: rows, {1, KindDone, 6}: rows, {2, KindValue, 5}: rows, {2, KindDone, 5}: rows}
	if got := count(s); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(s.sweeper.waiting) != 0 || len(s.sweeper.swept) != 1 {
		t.Errorf("waiting %v, swept %v", s.sweeper.waiting, s.sweeper.swept)
	}
	s = openMem(t, fs.Reboot(), crashOptions)
	for p := range uint32(4) {
		if _, err := s.StrongSaved(p); err != nil {
			t.Fatal(err)
		}
	}
	delete(want, rubbishKey{1, KindValue, 6})
	delete(want, rubbishKey{1, KindDone, 6})
	if got := count(s); !reflect.DeepEqual(got, want) {
		t.Errorf("after a start: %v, want %v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The counters' upgrade walks over the partitions, and strong rows do not end it.
func TestUpgradeBesideStrongRows(t *testing.T) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	strongFixture(t, s)
	for _, p := range []uint32{0, 1, 2} {
		if err := s.db.Put(appendCountersKey(nil, p), counters1(), s.sync); err != nil {
			t.Fatal(err)
		}
	}
	s = openMem(t, fs.Reboot(), Options{})
	for p := range uint32(3) {
		row, err := s.row(appendCountersKey(nil, p))
		if err != nil || len(row) == 0 || row[0] != 2 {
			t.Errorf("partition %d: %x, %v", p, row, err)
		}
	}
	_ = s.Close()
}
