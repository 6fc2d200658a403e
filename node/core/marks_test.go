package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// line is what a node's disk says that it keeps for, or owes to, a target.
func (w *world) line(at, target string) antientropy.HintLine {
	for _, l := range w.node(at).disk.counters[0].Hints {
		if l.Target == sidOf(target) {
			return l
		}
	}
	return antientropy.HintLine{}
}

// marks draws who owes what to whom: "holder>target", by holder.
func (w *world) marks() string {
	var out []string
	for _, n := range w.nodes {
		for _, l := range n.disk.counters[0].Hints {
			if l.Dirty != 0 {
				out = append(out, n.name+">"+strings.TrimRight(string(l.Target[:]), "\x00"))
			}
		}
	}
	return strings.Join(out, " ")
}

// sent counts messages of a kind between two nodes, and keeps the last.
type sent struct {
	n    int
	last Message
}

func (w *world) count(from, to string, kind Kind) *sent {
	s, next := &sent{}, w.fate
	w.fate = func(a, b *wnode, m *Message) fate {
		if a.name == from && b.name == to && m.Kind == kind {
			s.n++
			s.last = *m
		}
		if next != nil {
			return next(a, b, m)
		}
		return deliver
	}
	return s
}

// E3: without a store that could stand in, the write's own batch marks the owner that
// misses it, once for all that it misses while it is away.
func TestNobodyStandsInSoAMark(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.view("", "ab")
	var batches []*Batch
	w.onSync = func(n *wnode, b []*Batch) {
		if n.name == "a" {
			batches = append(batches, b...)
		}
	}
	for i := range 50 {
		r := w.put("a", "sloppy", fmt.Sprint("k", i), "v")
		w.expect("the mark counts for nothing", r.Receipt.String(), "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	}
	w.run(10 * time.Second)
	w.expect("marks", w.marks(), "a>c")
	rows, marks := 0, 0
	for _, b := range batches {
		for _, c := range b.Counters {
			if len(c.Counters.Hints) > 0 && len(b.Records) == 0 {
				t.Error("a mark in a batch without its write")
			}
		}
		rows += len(b.Records)
	}
	if s := w.node("a").core.Stats(); s.MarksMade != 1 || s.Marks != 1 || rows != 50 {
		t.Errorf("%d marks made, %d stand, %d records, %d", s.MarksMade, s.Marks, rows, marks)
	}
	first := w.line("a", "c").Dirty
	w.crash(w.node("a"), false)
	w.start(w.node("a"), true)
	w.view("", "ab")
	w.put("a", "sloppy", "again", "v")
	if now := w.line("a", "c").Dirty; first == 0 || now <= first {
		t.Errorf("mark %d, after a restart and a miss %d: the process before may have told of it", first, now)
	}
}

// The holder tells a full target that is there, with each tick, until the target says
// that its exchanges are through. A miss after the telling renews the mark: the
// exchange may be past its key.
func TestAMarkIsClearedByItsOwnGenerationOnly(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.view("", "ab")
	w.put("a", "sloppy", "k1", "v")
	w.run(time.Second)
	w.fate = all(cut(drop, "a", "c", MsgWrite), cut(drop, "abc", "abc", MsgExchange, MsgMarkMet))
	told := w.count("a", "c", MsgMark)
	w.view("", "abc")
	w.until("told", func() bool { return told.n > 0 })
	first := told.last.Gen
	w.expect("k2", w.show(w.put("a", "sloppy", "k2", "v")), "applied")
	w.run(finishFor + 2*time.Second)
	second := w.line("a", "c").Dirty
	if first == 0 || second <= first || told.last.Gen != second {
		t.Fatalf("told of mark %d; after another miss it is %d, told of %d", first, second, told.last.Gen)
	}
	met := func(from string, gen uint64) {
		w.step(w.node("a"), Event{Message: &Message{Kind: MsgMarkMet, From: sidOf(from), RingVersion: 10, Epoch: 5, Gen: gen}})
		w.run(100 * time.Millisecond)
	}
	for _, late := range []struct {
		from string
		gen  uint64
	}{{"c", first}, {"b", second}, {"c", second + 1}, {"c", 0}} {
		met(late.from, late.gen)
		w.expect(fmt.Sprintf("after %v", late), w.marks(), "a>c")
	}
	met("c", second)
	w.expect("after its own", w.marks(), "")
	if s := w.node("a").core.Stats(); s.MarksCleared != 1 || s.Marks != 0 {
		t.Errorf("%+v", s)
	}
	w.crash(w.node("a"), false)
	w.start(w.node("a"), true)
	if s := w.node("a").core.Stats(); s.Marks != 0 {
		t.Error("it was not cleared durably")
	}
}

// Nobody is told of marks that it can do nothing about: the unreachable, the building.
func TestWhoIsToldOfMarks(t *testing.T) {
	for what, c := range map[string]struct {
		alive string
		ring  func(s *hashring.State)
		told  bool
	}{
		"reachable":   {alive: "abc", told: true},
		"unreachable": {alive: "ab"},
		"building": {alive: "abc", ring: func(s *hashring.State) {
			s.Partitions[0].Building, s.Partitions[0].Session = []hashring.SID{sidOf("c")}, 11
		}},
		"suspect": {alive: "abc", ring: func(s *hashring.State) { s.Stores[2].State = hashring.StoreSuspect }},
	} {
		t.Run(what, func(t *testing.T) {
			w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
			w.fate = cut(drop, "abc", "abc", MsgExchange)
			w.view("", "ab")
			w.put("a", "sloppy", "k1", "v")
			s := repairState("abc", 1)
			s.Version, s.Partitions[0].Epoch = 11, 6
			if c.ring != nil {
				c.ring(s)
			}
			w.ring = hashring.NewRing(s)
			for _, n := range w.nodes {
				w.step(n, Event{Ring: w.ring})
			}
			told := w.count("a", "c", MsgMark)
			w.view("", c.alive)
			w.run(5 * time.Second)
			if (told.n > 0) != c.told {
				t.Errorf("told %d times", told.n)
			}
			w.expect("the mark", w.marks(), "a>c")
		})
	}
}

// The target of a mark asks for exchanges with all other full owners, begun since, and
// answers once each is complete.
func TestATargetMakesUpForMarks(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.run(100 * time.Millisecond)
	c := w.node("c")
	mark := func(gen uint64) {
		w.step(c, Event{Message: &Message{Kind: MsgMark, From: sidOf("a"), RingVersion: 10, Epoch: 5, Gen: gen}})
	}
	w.fate = cut(drop, "abc", "abc", MsgExchange)
	met := w.count("c", "a", MsgMarkMet)
	mark(0)
	if len(c.core.owing) != 0 {
		t.Fatal("a mark without a generation")
	}
	mark(7)
	key := pullKey{0, sidOf("a")}
	o := c.core.owing[key]
	if o == nil || !o.asked {
		t.Fatalf("%+v", o)
	}
	peers := map[hashring.SID]bool{}
	for _, ticket := range o.tickets {
		peers[ticket.pair.Peer] = true
	}
	if len(peers) != 2 || !peers[sidOf("a")] || !peers[sidOf("b")] {
		t.Fatalf("exchanges with %v", peers)
	}
	mark(7)
	if c.core.owing[key] != o {
		t.Error("asked anew for the same mark")
	}
	mark(9)
	if now := c.core.owing[key]; now == o || now.gen != 9 {
		t.Error("not asked anew for a renewed mark")
	}
	w.step(c, Event{Message: &Message{Kind: MsgMark, From: sidOf("z"), RingVersion: 10, Epoch: 5, Gen: 3}})
	if len(c.core.owing) != 1 {
		t.Error("a mark of a store that is none of the cluster")
	}
	c.core.owing[key].tickets = nil // as if all were met
	w.run(2 * time.Second)
	if met.n != 1 || met.last.Gen != 9 || len(c.core.owing) != 0 {
		t.Errorf("said %d times that %d is met, %d are left", met.n, met.last.Gen, len(c.core.owing))
	}
}

// A refused hint is marked where it was refused, and by the coordinator that found
// nobody else.
func TestARefusedHintIsMarked(t *testing.T) {
	w := emptyWorld(t, "abcd", 1)
	w.ring = hashring.NewRing(ringState("abcd", 1, 3))
	w.node("d").hintBytes = 1
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.view("", "abd")
	w.expect("put", w.show(w.put("a", "sloppy", "k", "v")), "applied")
	w.run(time.Second)
	w.expect("marks", w.marks(), "a>c d>c")
	if s := w.node("d").core.Stats(); s.HintsRefused == 0 || s.MarksMade != 1 {
		t.Errorf("%+v", s)
	}
}

// An owner that took the request and never answers is given up when the write is over.
func TestASilentOwnerIsMarked(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.fate = cut(drop, "a", "c", MsgWrite)
	w.expect("put", w.show(w.put("a", "sloppy", "k", "v")), "applied")
	w.run(finishFor - time.Second)
	w.expect("it may still answer", w.marks(), "")
	w.run(2 * time.Second)
	w.expect("it has not", w.marks(), "a>c")
}

// A node that was away where nobody could stand in: it comes back, and without any
// read has what it missed; then no mark stands.
func TestMarksAreMetByExchanges(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.view("", "ab")
	for i := range 30 {
		w.put([]string{"a", "b"}[i%2], "sloppy", fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	w.expect("marks", w.marks(), "a>c b>c")
	w.view("", "abc")
	w.until("no mark stands", func() bool { return w.marks() == "" })
	for i := range 30 {
		w.expect("c has", w.has("c", "sloppy", fmt.Sprint("k", i)), fmt.Sprint("v", i))
	}
	w.run(5 * time.Second)
	w.expect("and none comes back", w.marks(), "")
}
