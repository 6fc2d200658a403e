package antientropy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

func sid(n int) hashring.SID { return hashring.SID{byte(n)} }

// mhint is one hint of the model holder.
type mhint struct {
	place Place
	gen   uint64
	size  uint64
	atMS  int64
	lost  uint64 // dropped or refused under this mark, 0: still there or delivered
}

// The book against a dumb list of hints: whatever is neither held nor delivered stands
// under a mark, until a complete exchange that began after it; counts, bytes and ages
// are those of the list; the budget is kept.
func TestNeverForgetsSilently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		budget := HintBudget{Bytes: 800, Age: time.Minute}
		book := NewHintBook(budget)
		var held, lost []mhint
		gen, nowMS := uint64(0), int64(1_000_000)
		next := func() uint64 { gen++; return gen }
		for range 300 {
			nowMS += rng.Int64N(3000)
			p := Place{uint32(rng.IntN(3)), sid(1 + rng.IntN(3))}
			switch rng.IntN(9) {
			case 0, 1, 2, 3: // a hint comes
				h := mhint{place: p, gen: next(), size: 20 + uint64(rng.IntN(60)), atMS: nowMS}
				verdict := book.Admit(h.size)
				if verdict == Refuse {
					h.lost = next()
					book.Missed(p.Partition, p.Target, h.lost)
					lost = append(lost, h)
					continue
				}
				if over := book.Bytes()+h.size > budget.Bytes; over != (verdict == KeepAndSweep) {
					t.Fatalf("%v with %d bytes and %d more", verdict, book.Bytes(), h.size)
				}
				book.Kept(p.Partition, p.Target, h.size, 0, nowMS)
				held = append(held, h)
			case 4: // a hint is rewritten
				if i := slices.IndexFunc(held, func(h mhint) bool { return h.place == p }); i >= 0 {
					was := held[i].size
					held[i].size, held[i].gen = was+5, next()
					book.Kept(p.Partition, p.Target, held[i].size, was, nowMS)
				}
			case 5: // some are delivered
				held = slices.DeleteFunc(held, func(h mhint) bool {
					if h.place != p || rng.IntN(2) == 0 {
						return false
					}
					book.Delivered(p.Partition, p.Target, h.size)
					return true
				})
			case 6: // sweeps
				for s, ok := book.Sweep(nowMS, anyLine); ok; s, ok = book.Sweep(nowMS, anyLine) {
					picker := NewPicker(s)
					for _, i := range rng.Perm(len(held)) {
						if h := held[i]; h.place == (Place{s.Partition, s.Target}) {
							picker.Offer(Hint{Gen: h.gen, Size: h.size, KeptMS: h.atMS})
						}
					}
					drop, oldest := picker.Picked()
					for _, d := range drop {
						i := slices.IndexFunc(held, func(h mhint) bool { return h.gen == d.Gen })
						held[i].lost = next()
						book.Dropped(s.Partition, s.Target, d.Size, held[i].lost)
						lost = append(lost, held[i])
						held = slices.Delete(held, i, i+1)
					}
					book.Swept(s.Partition, s.Target, oldest)
				}
				if book.Bytes() > budget.Bytes {
					t.Fatalf("%d bytes after the sweeps", book.Bytes())
				}
				for _, h := range held {
					if nowMS-h.atMS > budget.Age.Milliseconds() {
						t.Fatalf("a hint of %d ms is left", nowMS-h.atMS)
					}
				}
			case 7: // a complete exchange that began under the mark of now, or under an older one
				mark := book.Dirty(p.Partition, p.Target)
				if old := rng.IntN(3) == 0; old && mark > 0 {
					if mark--; book.Clear(p.Partition, p.Target, mark) {
						t.Fatal("a newer mark went with an older exchange")
					}
					continue
				}
				if book.Clear(p.Partition, p.Target, mark) {
					lost = slices.DeleteFunc(lost, func(h mhint) bool { return h.place == p && h.lost <= mark })
				}
			case 8: // a restart
				again := NewHintBook(budget)
				for p := range uint32(3) {
					for _, l := range book.Lines(p) {
						again.Restore(p, l)
					}
				}
				book = again
			}
			checkBook(t, book, held, lost)
		}
	})
}

func anyLine(uint32, hashring.SID) bool { return true }

func checkBook(t *rapid.T, book *HintBook, held, lost []mhint) {
	var bytes uint64
	for p := range uint32(3) {
		pending, marks := uint64(0), uint64(0)
		for n := 1; n <= 3; n++ {
			var want HintLine
			for _, h := range held {
				if h.place == (Place{p, sid(n)}) {
					want.Hints++
					want.Bytes += h.size
				}
			}
			var got HintLine
			for _, l := range book.Lines(p) {
				if l.Target == sid(n) {
					got = l
				}
			}
			if got.Hints != want.Hints || got.Bytes != want.Bytes {
				t.Fatalf("p%d for %d: %+v, want %+v", p, n, got, want)
			}
			for _, h := range held {
				if h.place == (Place{p, sid(n)}) && h.atMS < got.OldestMS {
					t.Fatalf("a hint is from %d, the oldest is said to be from %d", h.atMS, got.OldestMS)
				}
			}
			for _, h := range lost {
				if h.place == (Place{p, sid(n)}) && got.Dirty < h.lost {
					t.Fatalf("a hint was lost under mark %d, the line has %d", h.lost, got.Dirty)
				}
			}
			if bytes += want.Bytes; got.Dirty != 0 {
				marks++
			}
			pending += want.Hints
		}
		if h, m := book.Pending(p); h != pending || m != marks {
			t.Fatalf("p%d: %d pending and %d marks, want %d and %d", p, h, m, pending, marks)
		}
	}
	if book.Bytes() != bytes {
		t.Fatalf("%d bytes, want %d", book.Bytes(), bytes)
	}
}

// A sweep drops the oldest and no more than it must.
func TestPickerTakesTheOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		need := uint64(1 + rng.IntN(500))
		p := NewPicker(Sweep{Bytes: need})
		var all []Hint
		for i := range rng.IntN(60) {
			all = append(all, Hint{Key: fmt.Append(nil, i), Gen: uint64(i + 1), Size: uint64(1 + rng.IntN(40)), KeptMS: int64(100 + i)})
		}
		for _, i := range rng.Perm(len(all)) {
			p.Offer(all[i])
		}
		drop, oldest := p.Picked()
		var sum uint64
		for i, h := range drop {
			if h.Gen != all[i].Gen {
				t.Fatalf("number %d is %d", i, h.Gen)
			}
			if sum >= need {
				t.Fatalf("%d bytes were enough for %d", sum, need)
			}
			sum += h.Size
		}
		if len(drop) < len(all) && (sum < need || oldest != all[len(drop)].KeptMS) {
			t.Fatalf("%d of %d bytes from %d of %d, oldest %d", sum, need, len(drop), len(all), oldest)
		}
	})
	for _, s := range []Sweep{{Bytes: 1 << 40}, {BeforeMS: 1 << 40}} {
		p := NewPicker(s)
		for i := range MaxPicked + 100 {
			p.Offer(Hint{Gen: uint64(i + 1), Size: 1, KeptMS: int64(i)})
		}
		if drop, oldest := p.Picked(); len(drop) != MaxPicked || oldest != MaxPicked {
			t.Errorf("%+v: %d picked, oldest left %d", s, len(drop), oldest)
		}
	}
}

// When a target leaves the ring its hints are named, and its mark goes to the owners
// of now.
func TestTargetLeaves(t *testing.T) {
	book := NewHintBook(HintBudget{Bytes: 1000})
	book.Kept(1, sid(1), 10, 0, 5)
	book.Kept(2, sid(1), 10, 0, 5)
	book.Missed(1, sid(1), 7)
	owns := func(p uint32, s hashring.SID) bool { return p == 2 || s != sid(1) }
	if got := book.Orphans(owns); !slices.Equal(got, []Place{{1, sid(1)}}) {
		t.Fatalf("orphans %v", got)
	}
	book.Inherit(1, sid(1), []hashring.SID{sid(2), sid(3)}, 9)
	book.Delivered(1, sid(1), 10)
	if book.Dirty(1, sid(1)) != 0 || book.Dirty(1, sid(2)) != 9 || book.Dirty(1, sid(3)) != 9 {
		t.Errorf("lines %+v", book.Lines(1))
	}
	if got := book.Orphans(owns); len(got) != 0 {
		t.Errorf("orphans %v", got)
	}
	book.Inherit(1, sid(2), nil, 10) // no owner known: the mark stays where it is
	if book.Dirty(1, sid(2)) != 9 {
		t.Errorf("lines %+v", book.Lines(1))
	}
}
