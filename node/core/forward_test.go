package core

import (
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// The owner that took a forwarded write loses its connection: the next one gets it,
// with the same request id (E16). Both mint in the end, a reader sees one value.
func TestForwardGoesOnWhenTheOwnerIsDown(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.fate = cut(hold, "d", "a", MsgForward)
	c := w.startPut("d", "sloppy", "k", "v")
	w.run(10 * time.Millisecond)
	w.step(w.node("d"), Event{Down: sidOf("a")})
	w.expect("put", w.show(w.wait(c)), "applied")
	if by := w.bySID(c.reply.ServedBy).name; by != "b" {
		t.Errorf("coordinated by %s", by)
	}
	if took := w.now - time.Second; took < forwardOver || took > forwardOver+30*time.Millisecond {
		t.Errorf("took %v: the copy that was on its way must be too old by then, and no older", took)
	}
	w.letGo() // now the first owner gets it too
	w.run(100 * time.Millisecond)
	r := w.get("e", "sloppy", "k", rOf(All))
	w.expect("get", w.show(r), "v")
	w.expect("one mint", r.Object.String()[strings.Index(r.Object.String(), "]"):], "] "+r.Object.Siblings[0].Dot.String()+`="v"`)
}

// A copy of a write that comes late undoes nothing: not what overwrote the write, not
// what was written after a delete (E16).
func TestALateForwardUndoesNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		op   Op
		with bool
	}{{"put", OpPut, false}, {"put with a context", OpPut, true}, {"delete", OpDelete, false}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "abcde", 1)
			zero := w.put("b", "strict", "k", "v0", wOf(3))
			w.heard("d")
			w.fate = cut(hold, "d", "a", MsgForward)
			opts := []opt{in(5 * time.Second)}
			if test.with {
				opts = append(opts, having(zero))
			}
			value := "v1"
			if test.op == OpDelete {
				value = ""
			}
			c := w.ask(w.node("d"), w.request(test.op, "strict", "k", value, opts))
			w.expect("by another owner", w.show(w.wait(c)), "applied")
			w.expect("overwritten", w.show(w.put("c", "strict", "k", "v2", having(c.reply), wOf(3))), "applied")
			w.letGo()
			w.run(time.Second)
			w.expect("in the end", w.settle("strict", "k"), "v2")
		})
	}
}

// An owner that a node has not heard of lately declines its forward, and takes the
// next try, which echoes the clock of that answer.
func TestAForwardProvesItsAge(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	sent := 0
	w.fate = func(_, _ *wnode, m *Message) fate {
		if m.Kind == MsgForward {
			sent++
		}
		return deliver
	}
	for i, want := range []int{2, 3, 5} {
		w.expect("put", w.show(w.put("d", "strict", "k", "v")), "applied")
		if sent != want {
			t.Errorf("after put %d: %d forwards were sent, not %d", i, sent, want)
		}
		if i == 1 {
			w.run(forwardFor)
		}
	}
}

// The first try's decline comes twice: it says nothing of the second try.
func TestADeclineCountsForItsTry(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.fate = func(from, to *wnode, m *Message) fate {
		if m.Kind == MsgForwarded && m.Reply != nil {
			return drop
		}
		if m.Kind == MsgForwarded {
			w.carry(from, to, m)
		}
		return deliver
	}
	w.expect("put", w.show(w.put("d", "strict", "k", "v", in(300*time.Millisecond))), "write_quorum_timeout unknown")
	w.expect("it was applied", w.has("a", "strict", "k"), "v")
}

// The first owner's answer comes when the write has just been sent to the second one:
// the client gets it once that copy cannot be minted any more.
func TestAnAnswerWaitsForTheOtherCopies(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.heard("d")
	w.fate = all(cut(hold, "a", "d"), cut(drop, "d", "bc"))
	c := w.startPut("d", "strict", "k", "v", in(5*time.Second))
	w.run(forwardAfter + 10*time.Millisecond)
	w.letGo()
	w.run(10 * time.Millisecond)
	if c.reply != nil {
		t.Fatal("answered while the second copy may be minted")
	}
	w.expect("put", w.show(w.wait(c)), "applied")
	w.expect("served by", w.bySID(c.reply.ServedBy).name, "a")
	if took := w.now - time.Second; took < forwardAfter+forwardOver || took > forwardAfter+forwardOver+5*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// E16: minted twice, since neither owner had heard of the other's; presented once.
func TestMintedTwicePresentedOnce(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.heard("d")
	w.fate = all(cut(drop, "a", "d"), cut(drop, "ab", "abc", MsgWrite))
	c := w.startPut("d", "strict", "k", "v", wOf(1))
	w.expect("put", w.show(w.wait(c)), "applied")
	if took := w.now - time.Second; took < forwardAfter || took > forwardAfter+100*time.Millisecond {
		t.Errorf("the silent owner was given up after %v", took)
	}
	w.fate = nil
	r := w.get("e", "strict", "k", rOf(All))
	if len(r.Object.Siblings) != 2 || r.Object.Siblings[0].Request != r.Object.Siblings[1].Request {
		t.Fatalf("the write was to be minted twice: %v", r.Object)
	}
	w.expect("get", w.show(r), "v")
	w.expect("overwritten", w.show(w.put("c", "strict", "k", "v2", having(r))), "applied")
	w.expect("both are gone", w.settle("strict", "k"), "v2")
}

// Nobody says not_applied once an owner may have applied the write: not when all
// others decline, not when the fallback that takes over refuses, not at the deadline.
func TestNeverNotAppliedAfterAPossibleApply(t *testing.T) {
	silence := func(w *world) { w.heard("d"); w.fate = cut(drop, "a", "de") } // a has it, and cannot say so
	t.Run("others decline", func(t *testing.T) {
		w := newWorld(t, "abcde", 1)
		silence(w)
		w.step(w.node("b"), Event{Drain: true})
		w.step(w.node("c"), Event{Drain: true})
		w.expect("put", w.show(w.put("d", "strict", "k", "v", in(5*time.Second))), "replica_failure unknown")
	})
	t.Run("another owner refuses", func(t *testing.T) {
		w := newWorld(t, "abcde", 1)
		silence(w)
		w.step(w.node("b"), Event{Space: No})
		r := w.put("d", "sloppy", "k", "v", in(5*time.Second))
		w.expect("put", r.Outcome.String(), "unknown")
	})
	t.Run("the fallback refuses", func(t *testing.T) {
		w := newWorld(t, "abcd", 1)
		silence(w)
		w.view("d", "ad")
		r := w.put("d", "sloppy", "k", "v", in(5*time.Second), wOf(2))
		w.expect("put", w.show(r), "replica_failure unknown")
		w.run(2 * time.Second)
		w.heard("d")
		c := w.startPut("d", "sloppy", "k", "v2", in(5*time.Second), wOf(2))
		w.run(10 * time.Millisecond)
		w.step(w.node("d"), Event{Down: sidOf("a")})
		w.expect("put, then down", w.show(w.wait(c)), "replica_failure unknown")
		w.expect("it was applied", w.has("a", "sloppy", "k"), "v2")
	})
	t.Run("the fallback has no space", func(t *testing.T) {
		w := newWorld(t, "abcde", 1)
		silence(w)
		w.step(w.node("d"), Event{Space: No})
		w.view("d", "ade")
		c := w.startPut("d", "sloppy", "k", "v", in(5*time.Second), wOf(1))
		w.run(10 * time.Millisecond)
		w.step(w.node("d"), Event{Down: sidOf("a")})
		w.expect("put", w.wait(c).Outcome.String(), "unknown")
	})
	t.Run("the deadline", func(t *testing.T) {
		w := newWorld(t, "abcde", 1)
		w.fate = cut(drop, "abc", "d")
		w.expect("put", w.show(w.put("d", "sloppy", "k", "v", in(700*time.Millisecond))), "write_quorum_timeout unknown")
		if took := w.now - time.Second; took != 700*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// Declines are definite: nothing happened there. With none else the write is not applied.
func TestDeclinesAreDefinite(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	for _, n := range "abc" {
		w.step(w.node(string(n)), Event{Drain: true})
	}
	r := w.put("d", "sloppy", "k", "v", strictly)
	w.expect("put", w.show(r), "quorum_unavailable not_applied")
	if len(r.Failed) != 3 || r.Failed[0].Reason.String() != "overloaded" {
		t.Errorf("failed %v", r.Failed)
	}
	w.expect("at a draining node", w.show(w.put("a", "sloppy", "k", "v")), "draining not_applied")
}

// pw > 0 cannot be met without an owner, so no fallback takes such a write.
func TestNoFallbackTakesAWriteThatAsksForOwners(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("d", "de")
	w.expect("put", w.show(w.put("d", "sloppy", "k", "v", pwOf(1))), "quorum_unavailable not_applied")
	w.expect("strict", w.show(w.put("d", "strict", "k", "v")), "quorum_unavailable not_applied")
	w.expect("sloppy", w.show(w.put("d", "sloppy", "k", "v")), "applied")
}

// A delete that is sent again answers with the context of what it deleted at first,
// not of what it reads by now: a write with that context must not overwrite what
// came in between and nobody has seen.
func TestAResentDeleteClaimsOnlyWhatItDeleted(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	zero := w.put("a", "strict", "k", "v0", wOf(3))
	w.heard("d")
	w.fate = cut(drop, "a", "d", MsgForwarded)
	gone := w.ask(w.node("d"), w.request(OpDelete, "strict", "k", "", []opt{in(10 * time.Second)}))
	w.run(100 * time.Millisecond)
	w.expect("deleted at c", w.has("c", "strict", "k"), "x")
	w.expect("beside it", w.show(w.put("c", "strict", "k", "v1", having(zero))), "applied")
	r := w.wait(gone)
	w.expect("deleted", w.show(r), "applied")
	if by := w.bySID(r.ServedBy).name; by != "b" {
		t.Fatalf("answered by %s", by)
	}
	w.put("b", "strict", "k", "v2", having(r))
	w.expect("in the end", w.settle("strict", "k"), "v1 v2")
}

// The same through a node that reads for it: the first try was minted, a value that it
// did not delete came beside it, and the second try's read has seen that value.
func TestAResentDeleteClaimsNothingItsReadHasSeen(t *testing.T) {
	for _, at := range []string{"a", "b", "d"} {
		w := newWorld(t, "abcde", 1)
		zero := w.put("a", "strict", "k", "v0", wOf(3))
		w.expect("deleted", w.show(w.del("a", "strict", "k", id(9))), "applied")
		w.expect("beside it", w.show(w.put("c", "strict", "k", "v1", having(zero), wOf(3))), "applied")
		again := w.del(at, "strict", "k", id(9))
		w.expect("again", w.show(again), "applied")
		w.expect("written with its context", w.show(w.put("b", "strict", "k", "v2", having(again), wOf(3))), "applied")
		w.expect("re-sent to "+at+", in the end", w.settle("strict", "k"), "v1 v2")
	}
}

// A delete with its client's own context claims just that context again.
func TestAResentDeleteClaimsItsContextAgain(t *testing.T) {
	for _, at := range []string{"a", "d"} {
		w := newWorld(t, "abcde", 1)
		zero := w.put("a", "strict", "k", "v0", wOf(3))
		w.put("c", "strict", "k", "v1", having(zero), wOf(3))
		old := w.put("b", "strict", "k", "v2", having(zero), wOf(3))
		w.expect("deleted", w.show(w.del("a", "strict", "k", having(old), id(9))), "applied")
		again := w.del(at, "strict", "k", having(old), id(9))
		if !again.Context.Seen.Dominates(old.Context.Seen) {
			t.Errorf("through %s: %v does not cover %v", at, again.Context.Seen, old.Context.Seen)
		}
		w.put("b", "strict", "k", "v3", having(again), wOf(3))
		w.expect("in the end", w.settle("strict", "k"), "v1 v3")
	}
}

// A write that was minted here is not minted again when it is sent again; while it
// is not durable the repeat waits for the same sync (D1).
func TestAResentWriteIsNotMintedAgain(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.node("a").holdSync = true
	one := w.startPut("a", "strict", "k", "v", id(7), in(20*time.Second))
	w.fate = cut(drop, "bc", "a")
	two := w.startPut("a", "strict", "k", "v", id(7), wOf(1), in(20*time.Second))
	w.run(100 * time.Millisecond)
	if one.reply != nil || two.reply != nil {
		t.Fatal("acked before the sync")
	}
	w.release(w.node("a"))
	w.expect("again", w.show(w.wait(two)), "applied")
	w.fate = nil
	three := w.put("a", "strict", "k", "v", id(7))
	w.expect("and again", w.show(three), "applied")
	if o := w.get("a", "strict", "k").Object; len(o.Siblings) != 1 || len(o.Context) != 1 || o.Context[0].Counter != 1 {
		t.Errorf("minted more than once: %v", o)
	}
	w.expect("with its context", w.show(w.put("b", "strict", "k", "v2", having(three))), "applied")
	w.expect("in the end", w.settle("strict", "k"), "v2")
}

// A late answer to the process before the crash belongs to no request of this one,
// though both count theirs from the start.
func TestALateReplyToThePreviousProcessIsNobodys(t *testing.T) {
	w := newWorld(t, "abc", 1)
	a := w.node("a")
	w.fate = cut(hold, "bc", "a")
	w.startPut("a", "strict", "k", "old")
	w.startGet("a", "strict", "k", rOf(All))
	w.run(50 * time.Millisecond)
	w.crash(a, false)
	w.start(a, true)
	late := w.held
	w.held, w.fate = nil, cut(drop, "a", "bc")
	c := w.startPut("a", "strict", "new", "v", in(time.Second))
	g := w.startGet("a", "strict", "new", rOf(All), in(time.Second))
	for _, p := range late {
		w.carry(w.bySID(p.m.From), p.to, p.m)
	}
	w.expect("put", w.show(w.wait(c)), "write_quorum_timeout unknown")
	w.expect("get", w.show(w.wait(g)), "read_quorum_timeout")
}

// How old a forward may be, and for whom its echo is meant.
func TestHowOldAForwardMayBe(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	c := w.node("a").core
	id := byte(0)
	forward := func(timeout time.Duration, e Echo) string {
		id++
		r := Request{Op: OpPut, Bucket: "strict", Key: []byte{id}, Value: []byte("v"), ID: [16]byte{id}}
		m := Message{Kind: MsgForward, From: sidOf("d"), ID: uint64(id), RingVersion: w.ring.Version, Epoch: 5, Request: &r, Timeout: timeout, Echo: e}
		for _, out := range c.Step(Now{Mono: w.now}, []Event{{Message: &m}}).Now {
			if out.Message.Kind == MsgForwarded && out.Message.ID == uint64(id) && out.Message.Reply == nil {
				if out.Message.Echo != (Echo{c.cfg.Boot, w.now}) {
					t.Errorf("echoes %v", out.Message.Echo)
				}
				return out.Message.Reason.String()
			}
		}
		return "taken"
	}
	heard := func(ago time.Duration) Echo { return Echo{c.cfg.Boot, w.now - ago} }
	w.expect("just heard", forward(2*time.Second, heard(0)), "taken")
	w.expect("at the bound", forward(2*time.Second, heard(forwardFor)), "taken")
	w.expect("over it", forward(2*time.Second, heard(forwardFor+1)), "late")
	w.expect("two thirds of the deadline", forward(60*time.Millisecond, heard(40*time.Millisecond)), "taken")
	w.expect("more of the deadline", forward(60*time.Millisecond, heard(40*time.Millisecond+1)), "late")
	w.expect("no time left", forward(0, heard(1)), "late")
	w.expect("of the process before", forward(2*time.Second, Echo{c.cfg.Boot + 1, w.now}), "late")
	w.expect("of the future", forward(2*time.Second, heard(-1)), "late")
	w.expect("never heard", forward(2*time.Second, Echo{}), "late")
}

// heard lets a node have heard of all others just now.
func (w *world) heard(name string) {
	at := w.node(name)
	for _, n := range w.nodes {
		if n != at {
			at.core.echoes[n.sid] = Echo{n.core.cfg.Boot, w.now}
		}
	}
}

// An owner that declines as late each time is tried twice, then the next one has its turn.
func TestALateOwnerIsAskedTwice(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	sent := map[string]int{}
	w.fate = func(_, to *wnode, m *Message) fate {
		if m.Kind == MsgForward {
			if sent[to.name]++; to.name == "a" {
				m.Echo = Echo{}
			}
		}
		return deliver
	}
	r := w.put("d", "strict", "k", "v")
	w.expect("put", w.show(r), "applied")
	if sent["a"] != 2 || w.bySID(r.ServedBy).name != "b" {
		t.Errorf("forwards sent: %v, served by %s", sent, w.bySID(r.ServedBy).name)
	}
}

// Who forwards a delete has read what it deletes: an owner mints none without a context.
func TestAForwardedDeleteHasAContext(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	c := w.node("a").core
	m := Message{Kind: MsgForward, From: sidOf("d"), ID: 1, RingVersion: w.ring.Version, Epoch: 5, Timeout: time.Second, Echo: Echo{c.cfg.Boot, w.now},
		Request: &Request{Op: OpDelete, Bucket: "strict", Key: []byte("k"), ID: [16]byte{1}}}
	out := c.Step(Now{Mono: w.now}, []Event{{Message: &m}})
	if len(out.Now) != 1 || out.Now[0].Message.Reply != nil || out.Batch != nil {
		t.Errorf("it was taken: %+v", out)
	}
}

// A newer ring forgets the clocks of all stores, those that have left included.
func TestEchoesAreBoundByTheRing(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.heard("d")
	next := *w.ring.State
	next.Version++
	w.step(w.node("d"), Event{Ring: hashring.NewRing(&next)})
	if n := len(w.node("d").core.echoes); n != 0 {
		t.Errorf("%d clocks are remembered", n)
	}
}
