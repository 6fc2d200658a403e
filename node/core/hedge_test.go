package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A read waits as long as the store it asked mostly takes, and no longer: estimates
// are kept by store.
func TestHedgeFollowsTheStoreThatIsAsked(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	w.delay = func() time.Duration { return 5 * time.Millisecond }
	for range 3000 {
		w.get("a", "strict", "k")
	}
	c := w.node("a").core
	if p := c.pace.of(sidOf("b")); p < 9*time.Millisecond || p > 14*time.Millisecond {
		t.Fatalf("b's answers took 10 ms, the estimate is %v", p)
	}
	w.run(time.Second)
	w.fate = cut(drop, "b", "a", MsgReadReply)
	began := w.now
	w.expect("hedged", w.show(w.get("a", "strict", "k")), "v")
	if took := w.now - began; took < 19*time.Millisecond || took > 24*time.Millisecond {
		t.Errorf("an answer of 10 ms that never came, and one from another store: %v", took)
	}
}

// A store whose answers come when nobody waits any more is known to be late.
func TestLateAnswersAreLearnt(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	for range 1000 {
		w.get("a", "strict", "k")
	}
	c := w.node("a").core
	before := c.pace.of(sidOf("b"))
	w.fate = cut(drop, "b", "a", MsgReadReply)
	for range hedgeBurst {
		w.expect("hedged", w.show(w.get("a", "strict", "k")), "v")
	}
	if after := c.pace.of(sidOf("b")); after < before+before/20 {
		t.Errorf("the estimate was %v and is %v", before, after)
	}
}

// When all are late, spare reads stay within their share of the reads.
func TestHedgesAreBudgeted(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	const reads = 2000
	grow := time.Millisecond
	w.delay = func() time.Duration { grow += grow / 200; return min(grow, 100*time.Millisecond) } // later than ever before
	for range reads {
		w.get("a", "strict", "k")
	}
	if s := w.node("a").core.Stats(); s.Hedges < hedgeBurst || s.Hedges > hedgeBurst+reads/hedgeShare {
		t.Errorf("%d spare reads for %d reads", s.Hedges, reads)
	}
}

// A store that answers much later than another owner is asked after it, and in its
// turn again once it is well.
func TestSlowStoreIsAskedLast(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	b, c := w.node("b"), w.node("c")
	asked, lag := map[*wnode]int{}, time.Duration(0)
	next := time.Duration(0)
	w.fate = func(_, to *wnode, m *Message) fate {
		if next = time.Millisecond; m.Kind == MsgRead {
			if asked[to]++; to == b {
				next += lag
			}
		}
		return deliver
	}
	w.delay = func() time.Duration { return next }
	reads := func(n int) {
		clear(asked)
		for range n {
			w.get("a", "strict", "k")
		}
	}
	lag = 30 * time.Millisecond
	reads(4000)
	reads(320)
	if asked[b] > 320/lookAgain*2 || asked[c] < 300 {
		t.Errorf("of 320 reads the slow store got %d, the other %d", asked[b], asked[c])
	}
	lag = 0
	reads(60_000)
	reads(320)
	if asked[b] < 300 {
		t.Errorf("the store that is well again got %d of 320 reads, the other %d", asked[b], asked[c])
	}
}

func TestPaceIsBoundedByTheRing(t *testing.T) {
	p := newPace()
	ring := hashring.NewRing(ringState("abc", 1, 3))
	for i := range 1000 {
		p.took(hashring.SID{byte(i), byte(i >> 8), 1}, time.Second)
	}
	p.took(sidOf("b"), time.Second)
	if p.forget(ring); len(p.p95) != 1 || p.of(sidOf("b")) == 0 {
		t.Errorf("%d stores are remembered", len(p.p95))
	}
}
