package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// skewWorld has the level from which clocks are checked.
func skewWorld(t *testing.T, names string) *world {
	w := newWorld(t, names, 1)
	w.reshape(func(*hashring.State) {})
	return w
}

// E9: a write that would be stamped far ahead of the coordinator's clock is refused,
// whether what it replaces or what its client has seen is to blame. Buckets that keep
// siblings take it.
func TestAStampFarAheadIsRefusedByItsCoordinator(t *testing.T) {
	w := skewWorld(t, "abcd")
	w.node("a").skewMS = 3_600_000
	far := w.put("a", "lww", "k", "far", wOf(1)) // its own clock says that this is now
	w.expect("put at a clock of its own", w.show(far), "applied")
	w.node("a").skewMS = 0
	for _, c := range []struct {
		what, at, key string
		opts          []opt
	}{{"the object is ahead", "a", "k", nil}, {"the context is ahead", "b", "k", []opt{having(far)}}, {"forwarded", "d", "k", []opt{having(far)}}} {
		for _, op := range []Op{OpPut, OpDelete} {
			r := w.do(w.node(c.at), w.request(op, "lww", c.key, "v", c.opts))
			if w.expect(c.what, w.show(r), "clock_skew not_applied"); r.RetryAfter == 0 || r.Detail == "" {
				t.Errorf("%s: %+v", c.what, r)
			}
		}
	}
	if w.node("a").core.Stats().SkewRefused == 0 || w.node("b").core.Stats().SkewRefused == 0 {
		t.Error("not counted")
	}
	w.expect("b goes on", w.show(w.put("b", "lww", "other", "v", wOf(3))), "applied")
	before := w.put("b", "sloppy", "k", "s")
	before.Context.HLC = far.Context.HLC
	w.expect("siblings", w.show(w.put("b", "sloppy", "k", "v", having(before))), "applied")
	w.run(3600 * time.Second)
	w.expect("an hour later", w.show(w.put("a", "lww", "k", "v2", having(far))), "applied")
}

// E9: a little ahead is what clocks are, and a refused write moves no clock.
func TestHowFarAheadAStampMayBe(t *testing.T) {
	for ms, want := range map[int64]string{0: "applied", 400: "applied", 700: "clock_skew not_applied"} {
		w := skewWorld(t, "a")
		w.node("a").skewMS = ms
		first := w.put("a", "lww", "k", "v")
		w.node("a").skewMS = 0
		bound := w.node("a").disk.bound
		w.expect("put", w.show(w.put("a", "lww", "k", "v2", having(first))), want)
		if ms == 700 && w.node("a").disk.bound != bound {
			t.Error("a refused write moved the clock")
		}
	}
}

// E9: a coordinator whose clock is ahead of the others' does not get its fresh write
// past them. What it has kept spreads by hints, repairs and reads all the same.
func TestAStampFarAheadIsRefusedByReplicas(t *testing.T) {
	w := skewWorld(t, "abcd")
	w.node("a").skewMS = 10_000
	r := w.put("a", "lww", "k", "far", strictly)
	w.expect("put", w.show(r), "replica_failure unknown")
	for _, f := range r.Failed {
		if f.Reason != quorum.ReasonClockSkew {
			t.Errorf("failed %v", r.Failed)
		}
	}
	w.expect("siblings are not looked at", w.show(w.put("a", "strict", "k", "v", wOf(3))), "applied")
	w.run(100 * time.Millisecond)
	w.expect("not there", w.has("b", "lww", "k")+w.has("c", "lww", "k"), "--")
	if w.node("b").core.Stats().SkewRefused == 0 {
		t.Error("not counted")
	}
	w.expect("a stand-in keeps it", w.keeps("d"), "b=far c=far")
	w.run(5 * time.Second)
	w.expect("and hands it off", w.has("b", "lww", "k")+w.has("c", "lww", "k")+w.keeps("d"), "farfar")
}

// A read repair is not fresh, and carries what is far ahead.
func TestRepairIsNotRefusedForItsStamp(t *testing.T) {
	w := skewWorld(t, "abc")
	w.node("a").skewMS = 10_000
	w.put("a", "lww", "k", "far", strictly, wOf(1))
	w.run(100 * time.Millisecond)
	w.expect("only a", w.has("a", "lww", "k")+w.has("b", "lww", "k"), "far-")
	w.expect("a read", w.show(w.get("b", "lww", "k", rOf(3))), "far")
	w.run(100 * time.Millisecond)
	w.expect("repaired", w.has("b", "lww", "k")+w.has("c", "lww", "k"), "farfar")
}

// Below the feature level nobody says what an older binary does not know.
func TestClocksAreNotCheckedBelowTheLevel(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.node("a").skewMS = 10_000
	far := w.put("a", "lww", "k", "far", wOf(3))
	w.expect("put", w.show(far), "applied")
	w.expect("put at another", w.show(w.put("b", "lww", "k", "v", having(far))), "applied")
}
