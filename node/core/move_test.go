package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// crowded is a world of four whose d has room for so many bytes of hints.
func crowded(t *testing.T, names string, bytes int64, age time.Duration) *world {
	w := emptyWorld(t, names, 1)
	w.ring = hashring.NewRing(ringState(names, 1, 3))
	w.node("d").hintBytes, w.node("d").hintAge = bytes, age
	for _, n := range w.nodes {
		w.start(n, true)
	}
	return w
}

func (w *world) keys(at string) string {
	var out []string
	for i := range 10 {
		for k := range w.node(at).disk.hints {
			if k.key == fmt.Sprint("k", i) {
				out = append(out, k.key)
				break
			}
		}
	}
	return strings.Join(out, " ")
}

// E3: over its budget a store drops the oldest hints, once the other owners have what
// they hold, and marks the target as lacking it in the same batch.
func TestTheOldestHintsGoUnderAMark(t *testing.T) {
	w := crowded(t, "abcd", 3000, 0)
	w.view("", "abd")
	bare := false
	w.onSync = func(n *wnode, batches []*Batch) {
		for _, b := range batches {
			for _, h := range b.Hints {
				marked := len(b.Counters) == 1 && len(b.Counters[0].Counters.Hints) == 1 && b.Counters[0].Counters.Hints[0].Dirty != 0
				bare = bare || h.Object == nil && !marked
			}
		}
	}
	toA, toB := w.count("d", "a", MsgWrite), w.count("d", "b", MsgWrite)
	for i := range 4 {
		w.expect("put", w.show(w.put("a", "sloppy", fmt.Sprint("k", i), "", sized(700), wOf(3))), "applied")
	}
	w.run(3 * time.Second)
	w.expect("d keeps the others", w.keys("d"), "k1 k2 k3")
	w.expect("marks", w.marks(), "d>c")
	if toA.n != 1 || toB.n != 1 || string(toB.last.Key) != "k0" {
		t.Errorf("given to a %d times, to b %d times, at last %q", toA.n, toB.n, toB.last.Key)
	}
	if s := w.node("d").core.Stats(); bare || s.HintsDropped != 1 || s.HintsRefused != 0 {
		t.Errorf("a hint went without a mark: %v; %+v", bare, s)
	}
	w.node("d").disk.checkCounters(t, "d")
}

// A hint may be the only copy: while an owner cannot be reached it stays, and new ones
// are refused.
func TestAHintThatMayBeTheOnlyCopyStays(t *testing.T) {
	w := crowded(t, "abcd", 3000, 0)
	w.view("", "d")
	for i := range 6 {
		w.put("d", "sloppy", fmt.Sprint("k", i), "", sized(300), wOf(1))
	}
	before := w.keys("d")
	w.view("", "ad")
	w.fate = cut(drop, "d", "a", MsgHintNotice)
	w.run(time.Minute)
	w.expect("d keeps", w.keys("d"), before)
	if s := w.node("d").core.Stats(); s.HintsDropped != 0 || s.HintsRefused == 0 {
		t.Errorf("%+v", s)
	}
}

// An owner that does not take a dropped hint's object keeps the hint where it is; the
// walk is made again, not at once.
func TestASweepThatFailsIsMadeAgain(t *testing.T) {
	w := crowded(t, "abcd", 3000, 0)
	w.view("", "abd")
	w.fate = cut(drop, "d", "b", MsgWrite)
	for i := range 4 {
		w.put("a", "sloppy", fmt.Sprint("k", i), "", sized(700), wOf(2))
	}
	w.run(20 * time.Second)
	w.expect("d keeps", w.keys("d"), "k0 k1 k2 k3")
	w.fate = nil
	w.run(moveAgain)
	w.expect("later", w.keys("d"), "k1 k2 k3")
}

// Age is a bound like bytes; a hint that is rewritten is young again.
func TestOldHintsGoUnderAMark(t *testing.T) {
	w := crowded(t, "abcd", 0, time.Minute)
	w.view("", "abd")
	old := w.put("a", "sloppy", "k0", "v")
	w.put("a", "sloppy", "k1", "v")
	w.run(50 * time.Second)
	w.put("a", "sloppy", "k0", "v2", having(old))
	w.put("a", "sloppy", "k2", "v")
	w.run(5 * time.Second)
	w.expect("within it", w.keys("d")+", "+w.marks(), "k0 k1 k2, ")
	w.run(10 * time.Second)
	w.expect("past it", w.keys("d")+", "+w.marks(), "k0 k2, d>c")
	w.run(time.Minute)
	w.expect("all", w.keys("d")+", "+w.marks(), ", d>c")
}

// replaced is the ring after x took c's place, or after e came into the list when c
// left without a successor.
func replaced(names string, successor bool) *hashring.Ring {
	s := ringState(names, 1, 3)
	s.Version = 11
	part := &s.Partitions[0]
	part.Epoch, part.Replicas = 6, []hashring.SID{sidOf("a"), sidOf("b"), sidOf("e")}
	if successor {
		s.Stores[2].State, s.Stores[2].Successor = hashring.StoreRetired, sidOf("e")
		part.Building, part.Session = []hashring.SID{sidOf("e")}, 11
	} else {
		s.Stores[2].State = hashring.StoreRetired
	}
	return hashring.NewRing(s)
}

func (w *world) turn(r *hashring.Ring) {
	w.ring = r
	for _, n := range w.nodes {
		w.step(n, Event{Ring: r})
	}
}

// E3: when another store has taken the target's place, it pulls the hints and has the
// mark. What it was given is no longer kept only after its sync.
func TestASuccessorPullsTheHintsOfTheStoreBefore(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.crash(w.node("c"), false)
	w.view("", "abde")
	for i := range 300 { // more than a slice
		w.put("a", "sloppy", fmt.Sprint("k", i), "v", wOf(3))
	}
	d := w.node("d")
	d.core.missed(d.core.part(0), sidOf("c"))
	w.node("e").holdSync = true
	w.turn(replaced("abcde", true))
	w.put("a", "sloppy", "k0", "w", wOf(1))
	w.run(3 * time.Second)
	if l := w.line("d", "c"); l.Hints != 300 || l.Dirty != 0 || w.line("d", "e").Dirty == 0 {
		t.Fatalf("while e's disk hangs d has %+v and %+v", l, w.line("d", "e"))
	}
	w.release(w.node("e"))
	w.run(20 * time.Second)
	w.expect("d keeps", w.keeps("d"), "")
	w.expect("e has", w.has("e", "sloppy", "k1")+w.has("e", "sloppy", "k299"), "vv")
	if s := d.core.Stats(); s.HintsMoved != 0 || s.HintsDropped != 0 || s.Marks != 1 {
		t.Errorf("%+v", s)
	}
}

// Hints for the store before and for the one of now come in one pull, line after line.
func TestAPullGoesOnIntoTheNextLine(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.crash(w.node("c"), false)
	w.view("", "abd")
	for i := range 130 {
		w.put("a", "sloppy", fmt.Sprint("k", i), "v", wOf(3))
	}
	w.turn(replaced("abcde", true))
	for i := range 140 {
		w.put("a", "sloppy", fmt.Sprint("m", i), "v", wOf(2))
	}
	w.run(time.Second)
	if c, e := w.line("d", "c"), w.line("d", "e"); c.Hints != 130 || e.Hints != 140 {
		t.Fatalf("d keeps %+v and %+v", c, e)
	}
	pages := w.count("d", "e", MsgHintPage)
	notices := w.count("d", "e", MsgHintNotice)
	w.view("", "abde")
	w.until("all is pulled", func() bool { return len(w.node("d").disk.hints) == 0 })
	if pages.n != 4 || notices.n > 2 {
		t.Errorf("%d pages after %d notices", pages.n, notices.n)
	}
}

// When nobody stands in the target's place, its hints go to all owners of now, and each
// goes only once all of them have synced it; its mark is theirs.
func TestOrphanedHintsGoToTheOwnersOfNow(t *testing.T) { orphans(t) }

func orphans(t testing.TB) {
	w := newWorld(t, "abcde", 1)
	w.view("", "de")
	w.expect("v1", w.show(w.put("d", "sloppy", "k", "v1", wOf(1))), "applied") // hints are all there is of it
	w.fate = cut(drop, "d", "ab", MsgHintNotice)
	d := w.node("d")
	d.core.missed(d.core.part(0), sidOf("c"))
	w.node("e").holdSync = true
	w.turn(replaced("abcde", false))
	w.view("", "abde")
	w.run(3 * time.Second)
	w.expect("while e's disk hangs", w.keeps("d"), "a=v1 c=v1")
	w.release(w.node("e"))
	w.run(moveAgain + 10*time.Second)
	w.expect("orphans are gone", w.keeps("d"), "a=v1")
	w.expect("they are at all owners", w.has("a", "sloppy", "k")+w.has("b", "sloppy", "k")+w.has("e", "sloppy", "k"), "v1v1v1")
	w.expect("the mark is theirs", w.marks(), "d>a d>b d>e")
	if s := d.core.Stats(); s.HintsMoved != 1 {
		t.Errorf("%+v", s)
	}
	w.fate = nil
	w.run(3 * time.Second)
	w.expect("all is gone", w.keeps("d"), "")
	w.view("", "d") // E1b: what d mints now must not cover what it gave away
	w.put("d", "sloppy", "k", "v2", wOf(1))
	w.expect("in the end", w.settle("sloppy", "k"), "v1 v2")
}
