package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

func barrier(index uint64) *strong.Entry {
	return &strong.Entry{Epoch: 1, Index: index, Kind: strong.Barrier, TimeMS: 5}
}

// TestGoldenPack: what a pack looks like is on disk for ever.
func TestGoldenPack(t *testing.T) {
	s := fresh(t)
	commitAll(t, s, 0, strongBatch(1, putHard(strong.Hard{Promised: 1}), putEntry(barrier(1))), strongBatch(0x102, putHard(strong.Hard{Promised: 1}), putEntry(barrier(300))))
	commitAll(t, s, 0, strongBatch(0x102, strong.Write{Kind: strong.CutTail}))
	rows, err := allRows(s)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"ffffffff0c0000000000000001": "01" + "0000000000000001" + "00000001" + "00000009" + "PACKED1" + "00000102" + "0000000a" + "PACKED2" + "CRC",
		"ffffffff0f6c00000102":       "01" + "0000000000000002" + "CRC",
	} {
		b, _ := hex.DecodeString(key)
		want = strings.NewReplacer("PACKED1", hex.EncodeToString(wire.AppendStrongEntry(nil, barrier(1))), "PACKED2", hex.EncodeToString(wire.AppendStrongEntry(nil, barrier(300)))).Replace(want)
		got := []byte(rows[string(b)])
		body, err := unseal(got)
		if err != nil || "01"+hex.EncodeToString(body)+"CRC" != want {
			t.Errorf("row %s is %x, want %s, %v", key, got, want, err)
		}
	}
}

func FuzzPack(f *testing.F) {
	frame := func(p uint32, e *strong.Entry) []byte {
		b := wire.AppendStrongEntry(nil, e)
		return append(appendFrame(nil, p, len(b)), b...)
	}
	f.Add(uint64(1), slices.Concat(beginPack(nil, 1), frame(3, barrier(1)), frame(4, strongEntry(1, 2, "k", "v"))))
	f.Add(uint64(2), beginPack(nil, 2))
	f.Add(uint64(3), append(beginPack(nil, 3), 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, number uint64, b []byte) {
		for _, row := range [][]byte{b, endSeal(bytes.Clone(b), 0)} {
			body, err := openPack(row, number)
			if err != nil {
				if !errors.Is(err, core.ErrCorrupt) {
					t.Fatal(err)
				}
				continue
			}
			again := beginPack(nil, number)
			err = eachFrame(body, func(p uint32, at, size int) error {
				again = append(appendFrame(again, p, size), body[at:at+size]...)
				return nil
			})
			if err == nil && !bytes.Equal(again, body) || err != nil && !errors.Is(err, core.ErrCorrupt) {
				t.Fatalf("%x is read as %x, %v", body, again, err)
			}
		}
		_, _ = decodeBegin(b)
	})
}

// packsOnDisk are the packs' rows.
func packsOnDisk(t testing.TB, s *Store) (n, size int) {
	t.Helper()
	rows, err := allRows(s)
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range rows {
		if Kind(key[headSize-1]) == KindPack {
			n, size = n+1, size+len(v)
		}
	}
	return n, size
}

// One row for a write, and none once nothing in it counts; a large write has several.
func TestPacks(t *testing.T) {
	s := fresh(t)
	var all []*core.Batch
	const partitions, entries = 8, 100
	for p := range uint32(partitions) {
		b := strongBatch(p, putHard(strong.Hard{Promised: 1}))
		for i := range uint64(entries) {
			b.Strong = append(b.Strong, core.StrongWrite{Partition: p, Write: putEntry(strongEntry(1, i+1, "k", strings.Repeat("v", 300)))})
		}
		all = append(all, b)
	}
	commitAll(t, s, 0, all...)
	if n, size := packsOnDisk(t, s); n != size/packBytes+1 || size < partitions*entries*300 {
		t.Fatalf("%d packs of %d bytes", n, size)
	}
	cut := func(p uint32, to uint64) *core.Batch {
		return strongBatch(p, strong.Write{Kind: strong.CutHead, Index: to}, putHard(strong.Hard{Promised: 1, Base: strong.Position{Epoch: 1, Index: to}, Applied: to, Commit: to}))
	}
	for p := range uint32(partitions) {
		commitAll(t, s, 0, cut(p, entries-1))
	}
	if n, _ := packsOnDisk(t, s); n < 2 || n > partitions {
		t.Fatalf("%d packs for one entry of each partition", n)
	}
	for p := range uint32(partitions) {
		commitAll(t, s, 0, cut(p, entries))
	}
	if n, _ := packsOnDisk(t, s); n != 0 || s.logs.bytes != 0 || s.logs.live != 0 || s.logs.oldest != nil || s.logs.newest != nil {
		t.Fatalf("%d packs of nothing, %+v", n, s.logs.oldest)
	}
	// What is cut off in the very write that brings it is not written at all.
	commitAll(t, s, 0, strongBatch(1, putEntry(strongEntry(1, entries+1, "k", ""))), cut(1, entries+1))
	if n, _ := packsOnDisk(t, s); n != 0 || s.logs.oldest != nil {
		t.Fatalf("%d packs", n)
	}
}

// A partition that is idle keeps its few entries and not all that was written beside them.
func TestPacksStayFew(t *testing.T) {
	s := fresh(t)
	s.logs.slack = 20_000
	value := strings.Repeat("v", 1000)
	commitAll(t, s, 0, strongBatch(1, putHard(strong.Hard{Promised: 1})), strongBatch(2, putHard(strong.Hard{Promised: 1})))
	for i := range uint64(3000) {
		b := []*core.Batch{strongBatch(2, putEntry(strongEntry(1, i+1, "k", value))),
			strongBatch(2, strong.Write{Kind: strong.CutHead, Index: i}, putHard(strong.Hard{Promised: 1, Base: strong.Position{Epoch: 1, Index: i}, Commit: i, Applied: i}))}
		if i%10 == 0 {
			b = append(b, strongBatch(1, putEntry(strongEntry(1, i/10+1, "k", ""))))
		}
		commitAll(t, s, 0, b...)
	}
	_, size := packsOnDisk(t, s)
	if live := 300 * 120; size > 2*live+s.logs.slack+2000 {
		t.Fatalf("%d bytes in packs for about %d that count", size, live)
	}
	if saved, err := s.StrongSaved(1); err != nil || len(saved.Log) != 300 {
		t.Fatalf("%d entries, %v", len(saved.Log), err)
	}
}

// twoPacks is a store with entry 1 of partitions 1 and 2 in one pack, and entry 2 of each in
// a second one; partition 3 has but a large entry.
func twoPacks(t *testing.T) (*crashfs.FS, *Store) {
	fs := crashfs.New(1)
	s := openMem(t, fs, Options{})
	hard := putHard(strong.Hard{Promised: 1})
	for i := uint64(1); i <= 2; i++ {
		commitAll(t, s, 0, strongBatch(1, hard, putEntry(strongEntry(1, i, "a", "1"))), strongBatch(2, hard, putEntry(strongEntry(1, i, "b", "2"))))
	}
	commitAll(t, s, 0, strongBatch(3, hard, putEntry(strongEntry(1, 1, "c", largeValue))))
	return fs, s
}

// TestPackDamage: an unreadable pack is every log's damage, since nobody can tell whose
// entries were in it. One that fits its checksum and not the logs is that of those.
func TestPackDamage(t *testing.T) {
	pack := func(number uint64, frames ...[]byte) []byte {
		return endSeal(append(beginPack(nil, number), slices.Concat(frames...)...), 0)
	}
	frame := func(p uint32, e *strong.Entry) []byte {
		b := wire.AppendStrongEntry(nil, e)
		return append(appendFrame(nil, p, len(b)), b...)
	}
	one := frame(1, strongEntry(1, 1, "a", "1"))
	for name, c := range map[string]struct {
		key, row []byte
		damaged  []uint32
	}{
		"a bit":              {appendPackKey(nil, 1), nil, []uint32{1, 2, 3, 4}},
		"nothing":            {appendPackKey(nil, 1), []byte{}, []uint32{1, 2, 3, 4}},
		"under another key":  {appendPackKey(nil, 3), pack(1, one), []uint32{1, 2, 3, 4}},
		"half a frame":       {appendPackKey(nil, 1), pack(1, one, one[:5]), []uint32{1, 2, 3, 4}},
		"half an entry":      {appendPackKey(nil, 1), pack(1, one[:len(one)-1]), []uint32{1, 2, 3, 4}},
		"a rotten entry":     {appendPackKey(nil, 1), pack(1, append(slices.Clone(one[:len(one)-1]), one[len(one)-1]^1)), []uint32{1, 2, 3, 4}},
		"no key of a pack":   {append(appendPackKey(nil, 1), 1), pack(1), []uint32{1, 2, 3, 4}},
		"a log's beginning":  {appendMetaLogKey(nil, 2), []byte{1, 2}, []uint32{1, 2, 3, 4}},
		"... of nobody":      {append(appendMetaLogKey(nil, 2), 0), appendBegin(nil, 1), []uint32{1, 2, 3, 4}},
		"an entry is twice":  {appendPackKey(nil, 9), pack(9, one), []uint32{1}},
		"an entry lacks":     {appendPackKey(nil, 1), pack(1, one), []uint32{2}},
		"an entry too many":  {appendPackKey(nil, 9), pack(9, frame(3, strongEntry(1, 3, "c", ""))), []uint32{3}},
		"a row is a pack's":  {appendEntryKey(nil, 2, 2), wire.AppendStrongEntry(nil, strongEntry(1, 2, "b", "2")), []uint32{2}},
		"a log and no store": {appendPackKey(nil, 9), pack(9, frame(4, strongEntry(1, 1, "d", ""))), []uint32{4}},
		"what came before":   {appendMetaLogKey(nil, 1), appendBegin(nil, 2), []uint32{1}},
	} {
		t.Run(name, func(t *testing.T) {
			fs, s := twoPacks(t)
			if c.row == nil {
				row, err := s.db.Get(c.key, nil)
				if err != nil {
					t.Fatal(err)
				}
				row[len(row)/2] ^= 4
				c.row = row
			}
			if err := s.db.Put(c.key, c.row, s.sync); err != nil {
				t.Fatal(err)
			}
			fs = fs.Reboot()
			s = openMem(t, fs, Options{})
			for p := uint32(1); p <= 4; p++ {
				saved, err := s.StrongSaved(p)
				if got := errors.Is(err, core.ErrCorrupt); got != slices.Contains(c.damaged, p) {
					t.Errorf("partition %d: %+v, %v", p, saved, err)
				}
				if _, err := s.StrongEntry(p, 1); errors.Is(err, core.ErrCorrupt) != slices.Contains(c.damaged, p) {
					t.Errorf("entry 1 of partition %d: %v", p, err)
				}
			}
			if len(c.damaged) > 1 || c.damaged[0] == 3 {
				_ = s.Close()
				return
			}
			// The logs of others go on. Packs are moved, and what cannot be trusted stays that.
			s.logs.slack = -1 << 20
			next := s.logs.next
			for i := range uint64(5) {
				commitAll(t, s, 0, strongBatch(3, putEntry(strongEntry(1, 2+i, "c", "3"))))
			}
			if n, _ := packsOnDisk(t, s); s.logs.oldest.number < next || n == 0 {
				t.Errorf("pack %d was not moved", s.logs.oldest.number)
			}
			s = openMem(t, fs.Reboot(), Options{})
			for p := uint32(1); p <= 4; p++ {
				if saved, err := s.StrongSaved(p); errors.Is(err, core.ErrCorrupt) != slices.Contains(c.damaged, p) {
					t.Errorf("partition %d of packs that were moved: %+v, %v", p, saved, err)
				}
			}
			_ = s.Close()
		})
	}
}

// A pack that turns out unreadable when it is to be moved: to save space, the store tells
// and goes on; to cut a log, it must not go on.
func TestPackCannotBeMoved(t *testing.T) {
	_, s := twoPacks(t)
	if err := s.db.Put(appendPackKey(nil, 1), []byte("rot"), s.sync); err != nil {
		t.Fatal(err)
	}
	s.logs.slack = -1000
	commitAll(t, s, 0, strongBatch(1, putEntry(strongEntry(1, 3, "a", "3"))))
	commitAll(t, s, 0, strongBatch(1, putEntry(strongEntry(1, 4, "a", "3"))))
	select {
	case d := <-s.Damaged():
		if !strings.Contains(d.Error(), "CRC-32C") && !strings.Contains(d.Error(), "bytes") {
			t.Fatal(d)
		}
	default:
		t.Fatal("nothing is told")
	}
	if _, err := s.StrongEntry(2, 1); !errors.Is(err, core.ErrCorrupt) {
		t.Fatal(err)
	}
	commitAll(t, s, 0, strongBatch(2, putEntry(strongEntry(1, 2, "b", "over")))) // pack 2 is whole
	var d *DamagedError
	if err := s.Commit(0, []*core.Batch{strongBatch(2, putEntry(strongEntry(1, 1, "b", "over")))}); !errors.As(err, &d) {
		t.Fatal(err)
	}
	if err := <-s.Fatal(); !errors.As(err, &d) {
		t.Fatal(err)
	}
	if err := s.Commit(0, []*core.Batch{strongBatch(3, putEntry(strongEntry(1, 2, "c", "")))}); err == nil {
		t.Fatal("a write after one that has failed")
	}
	_ = s.Close()
}

// Whoever reads an entry finds it, however often its pack is moved meanwhile.
func TestReadWhilePacksMove(t *testing.T) {
	s := fresh(t)
	s.logs.slack = -1 << 20 // every write moves
	const entries = 20
	hard := putHard(strong.Hard{Promised: 1})
	for i := range uint64(entries) {
		commitAll(t, s, 0, strongBatch(1, hard, putEntry(strongEntry(1, i+1, "a", fmt.Sprint(i+1)))), strongBatch(2, hard, putEntry(strongEntry(1, i+1, "b", ""))))
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				at := i%entries + 1
				if e, err := s.StrongEntry(1, at); err != nil || e == nil || e.Index != at || string(e.Value.Data) != fmt.Sprint(at) {
					t.Errorf("entry %d is %v, %v", at, e, err)
					return
				}
			}
		})
	}
	before := s.logs.next
	lg, err := s.logOf(1)
	if err != nil {
		t.Fatal(err)
	}
	was, _, _ := s.logs.find(lg, 1)
	for i := range uint64(500) {
		commitAll(t, s, 0, strongBatch(2, putEntry(strongEntry(1, entries+1+i, "b", "")), strong.Write{Kind: strong.CutHead, Index: entries + i}))
	}
	close(stop)
	readers.Wait()
	if s.logs.oldest.number <= before {
		t.Fatalf("pack %d was never moved", s.logs.oldest.number)
	}
	if b, err := s.entryFrom(lg, 1, 1, was); b == nil || err != nil {
		t.Fatalf("an entry that has moved: %x, %v", b, err)
	}
	if err := s.db.Delete(appendPackKey(nil, lg.places[0].pack.number), s.sync); err != nil {
		t.Fatal(err)
	}
	if b, err := s.entryFrom(lg, 1, 1, was); !errors.Is(err, core.ErrCorrupt) {
		t.Fatalf("an entry that is gone: %x, %v", b, err)
	}
}
