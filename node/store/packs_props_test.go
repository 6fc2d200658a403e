package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// plainLog is what a partition's log should be.
type plainLog struct {
	hard    strong.Hard
	entries map[uint64]*strong.Entry
}

func (l *plainLog) last() uint64 { return l.hard.Base.Index + uint64(len(l.entries)) }

func (l *plainLog) clone() *plainLog {
	out := &plainLog{hard: l.hard, entries: map[uint64]*strong.Entry{}}
	for i, e := range l.entries {
		out.entries[i] = e
	}
	return out
}

// packWorld is a store with a few strong partitions, and a plain map of what it should hold.
type packWorld struct {
	fs    *crashfs.FS
	s     *Store
	logs  map[uint32]*plainLog
	epoch uint64 // grows with each entry, so that no two are alike
	slack int
}

func (w *packWorld) open(t *rapid.T) {
	s, err := OpenOn(memDisk{w.fs}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.s, s.logs.slack = s, w.slack
}

func (w *packWorld) entry(t *rapid.T, index uint64) strong.Write {
	w.epoch++
	size := rapid.SampledFrom([]int{0, 10, 100, 3000, packedMost}).Draw(t, "size")
	return putEntry(strongEntry(w.epoch, index, "k", strings.Repeat("v", size)))
}

// step draws what one partition does in a batch, and carries it out in its plain log.
func (w *packWorld) step(t *rapid.T, p uint32, l *plainLog) *core.Batch {
	var all []strong.Write
	put := func(n int) {
		for range n {
			e := w.entry(t, l.last()+1)
			l.entries[e.Entry.Index] = e.Entry
			all = append(all, e)
		}
	}
	cutTail := func(from uint64) {
		for i := range l.entries {
			if i >= from {
				delete(l.entries, i)
			}
		}
		all = append(all, strong.Write{Kind: strong.CutTail, Index: from})
	}
	base, last := l.hard.Base.Index, l.last()
	l.hard.Promised++
	switch rapid.SampledFrom([]string{"put", "put", "put", "head", "head", "tail", "over", "leave", "snapshot"}).Draw(t, fmt.Sprint("step of ", p)) {
	case "put":
		put(rapid.IntRange(1, 6).Draw(t, "entries"))
	case "head":
		to := base + uint64(rapid.IntRange(0, len(l.entries)).Draw(t, "to"))
		for i := base + 1; i <= to; i++ {
			delete(l.entries, i)
		}
		l.hard.Base.Index = to
		all = append(all, strong.Write{Kind: strong.CutHead, Index: to})
	case "tail":
		cutTail(base + 1 + uint64(rapid.IntRange(0, len(l.entries)).Draw(t, "from")))
		put(rapid.IntRange(0, 2).Draw(t, "entries"))
	case "over":
		if last > base {
			e := w.entry(t, base+uint64(rapid.IntRange(1, len(l.entries)).Draw(t, "at")))
			l.entries[e.Entry.Index] = e.Entry
			all = append(all, e)
		}
	case "leave":
		cutTail(0)
		l.hard.Base.Index = 0
		put(rapid.IntRange(0, 2).Draw(t, "entries"))
	case "snapshot":
		put(rapid.IntRange(0, 1).Draw(t, "entries"))
		cutTail(0)
		l.hard.Base.Index = last + 10
		put(rapid.IntRange(0, 2).Draw(t, "entries"))
	}
	return strongBatch(p, append(all, putHard(l.hard))...)
}

// commit makes a turn of some batches and tells whether it was acknowledged.
func (w *packWorld) commit(t *rapid.T) bool {
	var turn []*core.Batch
	for range rapid.IntRange(1, 5).Draw(t, "batches") {
		p := rapid.SampledFrom([]uint32{1, 2, 3, 7}).Draw(t, "partition")
		turn = append(turn, w.step(t, p, w.logs[p]))
	}
	return w.s.Commit(0, turn) == nil
}

// holds tells in what the store differs from the plain logs.
func holds(s *Store, logs map[uint32]*plainLog) error {
	for p, l := range logs {
		saved, err := s.StrongSaved(p)
		if err != nil {
			return err
		}
		if saved.Hard != l.hard || len(saved.Log) != len(l.entries) {
			return fmt.Errorf("partition %d: %+v with %d entries, want %+v with %d", p, saved.Hard, len(saved.Log), l.hard, len(l.entries))
		}
		for i, h := range saved.Log {
			want := l.entries[l.hard.Base.Index+1+uint64(i)]
			e, err := s.StrongEntry(p, want.Index)
			if err != nil || h != strong.HeaderOf(want) || !bytes.Equal(wire.AppendStrongEntry(nil, e), wire.AppendStrongEntry(nil, want)) {
				return fmt.Errorf("partition %d: entry %v is %v, listed as %+v, %v", p, want.At(), e, h, err)
			}
		}
		for _, i := range []uint64{l.hard.Base.Index, l.last() + 1} {
			if e, err := s.StrongEntry(p, i); e != nil || err != nil {
				return fmt.Errorf("partition %d: entry %d is there: %v", p, i, err)
			}
		}
	}
	return nil
}

// tidy holds the packs in memory against their rows.
func (w *packWorld) tidy(t *rapid.T) {
	rows, err := allRows(w.s)
	if err != nil {
		t.Fatal(err)
	}
	n, bytes, live := 0, 0, 0
	l := &w.s.logs
	for k := l.oldest; k != nil; k = k.newer {
		row := rows[string(appendPackKey(nil, k.number))]
		if len(row) != packHead+k.size+4 || k.live == 0 || k.liveBytes > k.size || k.body != nil {
			t.Fatalf("pack %d of %d bytes in a row of %d, %d entries count, %d bytes", k.number, k.size, len(row), k.live, k.liveBytes)
		}
		n, bytes, live = n+1, bytes+k.size, live+k.liveBytes
	}
	for key := range rows {
		if Kind(key[headSize-1]) == KindPack {
			n--
		}
	}
	if n != 0 || bytes != l.bytes || live != l.live || len(l.fresh) != 0 || len(l.cut) != 0 {
		t.Fatalf("%d packs too many in memory, %d of %d bytes count, which should be %d of %d; %d fresh, %d cut", n, l.live, l.bytes, live, bytes, len(l.fresh), len(l.cut))
	}
}

// TestPacksProperty: whatever partitions do, through restarts and power cuts, their logs
// are what plain maps say, and packs do not hold much more.
func TestPacksProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &packWorld{fs: crashfs.New(rapid.Uint64().Draw(t, "seed")), logs: map[uint32]*plainLog{}, slack: rapid.SampledFrom([]int{0, 500, 5000, packSlack}).Draw(t, "slack")}
		for _, p := range []uint32{1, 2, 3, 7} {
			w.logs[p] = &plainLog{hard: strong.Hard{Promised: 1}, entries: map[uint64]*strong.Entry{}}
		}
		w.open(t)
		for p, l := range w.logs {
			commitRapid(t, w.s, strongBatch(p, putHard(l.hard)))
		}
		for range rapid.IntRange(1, 60).Draw(t, "turns") {
			before := map[uint32]*plainLog{}
			for p, l := range w.logs {
				before[p] = l.clone()
			}
			cut := rapid.IntRange(0, 30).Draw(t, "cut")
			if cut > 0 && cut < 8 {
				w.fs.CutAt(cut)
			}
			acked := w.commit(t)
			if acked {
				w.tidy(t)
				if err := holds(w.s, w.logs); err != nil && !w.fs.Cut() {
					t.Fatal(err)
				}
			}
			if acked && cut < 20 && !w.fs.Cut() {
				continue
			}
			if !acked && !w.fs.Cut() {
				t.Fatal("a write failed")
			}
			w.fs.PowerCut()
			_ = w.s.Close()
			w.fs = w.fs.Reboot()
			w.open(t)
			err := holds(w.s, w.logs)
			if err != nil && !acked {
				w.logs = before
				err = holds(w.s, before)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		// As many writes as there are packs to move at most.
		for n := 0; w.s.logs.crowded(); n++ {
			if n > 1000 {
				t.Fatalf("%d of %d bytes in packs count", w.s.logs.live, w.s.logs.bytes)
			}
			commitRapid(t, w.s, strongBatch(1, putHard(w.logs[1].hard)))
		}
		w.tidy(t)
		if l := &w.s.logs; l.bytes > 2*l.live+l.slack {
			t.Fatalf("%d of %d bytes in packs count", l.live, l.bytes)
		}
		if err := holds(w.s, w.logs); err != nil {
			t.Fatal(err)
		}
		_ = w.s.Close()
	})
}

func commitRapid(t *rapid.T, s *Store, b *core.Batch) {
	if err := s.Commit(0, []*core.Batch{b}); err != nil {
		t.Fatal(err)
	}
}
