package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// Requests in flight are bounded: the next one is told so, and nothing else suffers.
func TestMaxOps(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.fate = cut(drop, everybody, everybody)
	for range MaxOps {
		w.startPut("a", "strict", "k", "v", in(100*time.Millisecond))
	}
	r := w.put("a", "strict", "k", "v")
	w.expect("one more", w.show(r), "overloaded not_applied")
	if r.RetryAfter == 0 || w.node("a").core.Stats().Ops != MaxOps {
		t.Errorf("%+v, %d in flight", r, w.node("a").core.Stats().Ops)
	}
	w.fate = nil
	w.expect("forwarded there", w.bySID(w.put("d", "sloppy", "other", "v").ServedBy).name, "b")
	w.run(finishFor + time.Second)
	if s := w.node("a").core.Stats(); s.Ops != 0 {
		t.Errorf("%d in flight in the end", s.Ops)
	}
	w.expect("then", w.show(w.put("a", "strict", "k", "v")), "applied")
}

// Slices being read are bounded: a scan beyond it is refused at once, so that the
// listing goes on with the next owner.
func TestMaxLoads(t *testing.T) {
	w := newWorld(t, "abc", 1)
	a := w.node("a")
	c := a.core
	scan := Message{Kind: MsgScan, From: sidOf("b"), To: a.sid, RingVersion: w.ring.Version, Epoch: 5, Bucket: 2, Limit: 1}
	events := make([]Event, MaxLoads)
	for i := range events {
		events[i].Message = &scan
	}
	if r := c.Step(Now{Mono: w.now}, events); len(r.Loads) != MaxLoads || len(r.Now) != 0 {
		t.Fatalf("%d loads, %d answers", len(r.Loads), len(r.Now))
	}
	r := c.Step(Now{Mono: w.now}, []Event{{Message: &scan}})
	if len(r.Loads) != 0 || len(r.Now) != 1 || r.Now[0].Message.Reason != quorum.ReasonOverloaded {
		t.Errorf("one more: %d loads, %+v", len(r.Loads), r.Now)
	}
}

// Bytes that wait for the disk are bounded: past that writes are refused by the
// coordinator and by replicas, reads go on, and a sync makes room.
func TestMaxOverlay(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("b", "strict", "before", "v", wOf(3))
	a := w.node("a")
	a.holdSync = true
	big := make([]byte, 1<<20)
	for i := 0; a.core.Stats().OverlayBytes <= MaxOverlay; i++ {
		r := w.request(OpPut, "strict", fmt.Sprint("k", i%8), "", []opt{in(time.Millisecond)})
		r.Value = big
		w.ask(a, r)
		if i > 100 {
			t.Fatal("no bound was reached")
		}
	}
	w.expect("at it", w.show(w.put("a", "strict", "k", "v")), "overloaded not_applied")
	r := w.put("b", "strict", "k", "v", wOf(3))
	if len(r.Failed) == 0 || r.Failed[0] != (quorum.Failure{Store: sidOf("a"), Reason: quorum.ReasonOverloaded}) {
		t.Errorf("as a replica: %v %v", w.show(r), r.Failed)
	}
	w.expect("a read", w.show(w.get("a", "strict", "before", rOf(1))), "v")
	w.release(a)
	w.run(time.Second)
	if n := a.core.Stats().OverlayBytes; n != 0 {
		t.Errorf("%d bytes wait in the end", n)
	}
	w.expect("then", w.show(w.put("a", "strict", "k", "v2", wOf(3))), "applied")
}

// E15: a stale context that would leave more siblings than the cap is refused, also
// for a delete; a write that has seen some goes through. Merges never drop any.
func TestMaxSiblings(t *testing.T) {
	w := newWorld(t, "abc", 1)
	var first *Reply
	for i := range MaxSiblings {
		r := w.put("a", "strict", "k", fmt.Sprint("v", i), emptyHanded)
		w.expect("put", w.show(r), "applied")
		if i == 0 {
			first = r
		}
	}
	over := w.put("b", "strict", "k", "v", emptyHanded)
	w.expect("one more", w.show(over), "sibling_limit not_applied")
	if !strings.Contains(over.Detail, fmt.Sprint(MaxSiblings)) {
		t.Errorf("says %q", over.Detail)
	}
	w.expect("a delete that has seen nothing", w.show(w.del("b", "strict", "k", emptyHanded)), "sibling_limit not_applied")
	w.expect("one that replaces one", w.show(w.put("b", "strict", "k", "new", having(first))), "applied")
	if n := len(w.get("c", "strict", "k", rOf(All)).Object.Siblings); n != MaxSiblings {
		t.Errorf("%d siblings", n)
	}
	w.expect("another key", w.show(w.put("b", "strict", "k2", "v", emptyHanded)), "applied")
	w.expect("lww has no cap", w.show(w.put("b", "lww", "k", "v", emptyHanded)), "applied")
	w.put("a", "strict", "k", "all", having(w.get("a", "strict", "k")))
	w.expect("resolved", w.settle("strict", "k"), "all")
}

// Two sides of a split, each at its cap, join to more: nothing is dropped, and a
// writer that resolves is let through.
func TestJoinsMayExceedTheCap(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.fate = cut(drop, everybody, everybody)
	for i := range MaxSiblings {
		w.put("a", "sloppy", "k", fmt.Sprint("a", i), emptyHanded, wOf(1))
		w.put("b", "sloppy", "k", fmt.Sprint("b", i), emptyHanded, wOf(1))
	}
	w.fate = nil
	w.run(10 * time.Second)
	all := w.get("c", "sloppy", "k", rOf(All))
	if n := len(all.Object.Siblings); n != 2*MaxSiblings {
		t.Fatalf("%d siblings", n)
	}
	w.run(time.Second)
	w.expect("one more", w.show(w.put("a", "sloppy", "k", "v", emptyHanded)), "sibling_limit not_applied")
	w.expect("resolved", w.show(w.put("a", "sloppy", "k", "one", having(all))), "applied")
	w.expect("in the end", w.settle("sloppy", "k"), "one")
}

// All values of a key together are bounded; a delete always goes.
func TestMaxObject(t *testing.T) {
	w := newWorld(t, "abc", 1)
	for range 3 {
		w.expect("put", w.show(w.put("a", "strict", "k", "", emptyHanded, sized(2<<20))), "applied")
	}
	w.expect("one more", w.show(w.put("a", "strict", "k", "", emptyHanded, sized(2<<20))), "value_too_large not_applied")
	w.expect("a small one", w.show(w.put("a", "strict", "k", "v", emptyHanded)), "applied")
	w.expect("a delete", w.show(w.del("a", "strict", "k")), "applied")
	w.expect("then", w.show(w.put("a", "strict", "k", "", emptyHanded, sized(2<<20))), "applied")
}

// Deadlines are bounded, and one that is not given is the default.
func TestDeadlines(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{0: DefaultDeadline, 300 * time.Millisecond: 300 * time.Millisecond, time.Hour: MaxDeadline} {
		w := newWorld(t, "abc", 1)
		w.fate = cut(drop, everybody, everybody)
		begin := w.now
		w.expect("put", w.show(w.put("a", "strict", "k", "v", in(asked))), "write_quorum_timeout unknown")
		if took := w.now - begin; took != want {
			t.Errorf("put with deadline %v: %v", asked, took)
		}
		w.run(10 * time.Second)
		begin = w.now
		w.expect("get", w.show(w.get("a", "strict", "k", in(asked))), "read_quorum_timeout")
		if took := w.now - begin; took != want {
			t.Errorf("get with deadline %v: %v", asked, took)
		}
		w.run(finishFor)
		if s := w.node("a").core.Stats(); s.Ops != 0 {
			t.Errorf("%d left in flight", s.Ops)
		}
	}
}

// Timers of what is over are forgotten, those of what is not fire in order.
func TestTimersAreInOrder(t *testing.T) {
	var q timers
	for _, at := range []time.Duration{5, 3, 9, 3, 1} {
		q.add(at, 2, timerLate)
		q.add(at, 1, timerDeadline)
		q.add(at, 1, timerHedge)
	}
	if q.next() != 1 {
		t.Errorf("next at %v", q.next())
	}
	c := New(Config{Self: sidOf("a"), Shards: 1, Rand: emptyWorld(t, "a", 1).rng}, newDisk())
	var order []string
	c.ops[1], c.ops[2] = recorder{&order, "one"}, recorder{&order, "two"}
	c.timers = q
	c.Step(Now{Mono: 4}, nil)
	if got := fmt.Sprint(order); got != "[one1 one3 two2 one1 one1 one3 one3 two2 two2]" {
		t.Errorf("fired %s", got)
	}
	delete(c.ops, 1)
	order = nil
	if r := c.Step(Now{Mono: 8}, nil); r.Deadline != 9 || fmt.Sprint(order) != "[two2]" {
		t.Errorf("fired %v, next at %v", order, r.Deadline)
	}
}

type recorder struct {
	order *[]string
	name  string
}

func (r recorder) onTimer(_ *Core, k timerKind) { *r.order = append(*r.order, fmt.Sprint(r.name, k)) }

func (recorder) onMessage(*Core, *Message)  {}
func (recorder) onDurable(*Core)            {}
func (recorder) onDown(*Core, hashring.SID) {}
