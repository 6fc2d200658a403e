package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// only makes a write that just these nodes get: the others miss it.
func (w *world) onlyAt(at, bucket, key, value, misses string, opts ...opt) *Reply {
	w.t.Helper()
	w.fate = cut(drop, at, misses, MsgWrite, MsgHint)
	r := w.put(at, bucket, key, value, append(opts, wOf(1))...)
	w.run(10 * time.Second) // the write is given up
	w.fate = nil
	return r
}

// Replies differ in a sloppy bucket: the answer comes at once, the repair later.
func TestReadRepair(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.onlyAt("a", "sloppy", "k", "v", "bc")
	w.expect("before", w.has("a", "sloppy", "k")+w.has("b", "sloppy", "k")+w.has("c", "sloppy", "k"), "v--")
	w.node("b").holdSync = true
	w.expect("get", w.show(w.get("b", "sloppy", "k", rOf(All))), "v")
	w.run(time.Second)
	w.expect("c is repaired", w.has("c", "sloppy", "k"), "v")
	w.release(w.node("b"))
	w.run(time.Second)
	w.expect("b too", w.has("b", "sloppy", "k"), "v")
}

// E11: in a strict bucket the joined value is on a write quorum before the answer.
func TestAStrictReadWritesBackFirst(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.onlyAt("a", "strict", "k", "v", "bc")
	w.fate = cut(hold, "ab", "bc", MsgWrite)
	c := w.startGet("a", "strict", "k", in(5*time.Second))
	w.run(400 * time.Millisecond)
	if c.reply != nil {
		t.Fatalf("answered before the write-back: %s", w.show(c.reply))
	}
	w.letGo()
	w.expect("get", w.show(w.wait(c)), "v")
	if w.has("b", "strict", "k") != "v" && w.has("c", "strict", "k") != "v" {
		t.Error("no second store has it")
	}
}

// E11: once a read has shown a value, no later one goes back, whoever is asked.
func TestStrictReadsNeverGoBackwards(t *testing.T) {
	for _, second := range []string{"b", "c"} {
		w := newWorld(t, "abcd", 1)
		w.onlyAt("a", "strict", "k", "v", "bc")
		w.expect("first", w.show(w.get("a", "strict", "k")), "v")
		w.crash(w.node("a"), false)
		w.tellDown(w.node("a"))
		w.expect("second at "+second, w.show(w.get(second, "strict", "k")), "v")
	}
}

// A write-back that finds no quorum is no answer, and none that lies.
func TestAWriteBackWithoutQuorum(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.onlyAt("a", "strict", "k", "v", "bc")
	w.step(w.node("b"), Event{Space: No})
	w.step(w.node("c"), Event{Space: No})
	w.expect("refused", w.show(w.get("a", "strict", "k")), "quorum_unavailable")
	w.step(w.node("b"), Event{Space: Yes})
	w.step(w.node("c"), Event{Space: Yes})
	w.fate = cut(drop, "a", "bc", MsgWrite)
	w.expect("lost", w.show(w.get("a", "strict", "k")), "read_quorum_timeout")
	c := w.startGet("a", "strict", "k")
	w.run(10 * time.Millisecond)
	w.step(w.node("a"), Event{Down: sidOf("b")})
	w.step(w.node("a"), Event{Down: sidOf("c")})
	w.expect("down", w.show(c.reply), "quorum_unavailable")
}

// D1, E11: the coordinator's own copy counts in a write-back when the joined object
// is synced, not when an older copy is whose sync it also waited for.
func TestTheOwnCopyCountsInAWriteBackAfterItsSync(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.onlyAt("b", "strict", "k", "new", "ac")
	a := w.node("a")
	w.put("a", "strict", "before", "v")
	a.holdSync = true
	w.fate = cut(drop, "a", "bc", MsgWrite)
	w.startPut("a", "strict", "k", "old", emptyHanded, wOf(1)) // staged at a alone
	w.fate = cut(drop, "a", "c", MsgWrite)
	c := w.startGet("a", "strict", "k", in(20*time.Second)) // its own copy waits for the disk; b and c reply
	w.run(30 * time.Millisecond)
	if c.reply != nil {
		t.Fatalf("b alone has it: %s", w.show(c.reply))
	}
	first := a.pending[:1:1]
	if len(a.pending) < 2 {
		t.Fatalf("%d batches wait", len(a.pending))
	}
	a.disk.apply(first) // the older copy becomes durable, the joined one does not
	a.pending = a.pending[1:]
	w.step(a, Event{Synced: first[0].Seq})
	w.run(30 * time.Millisecond)
	if c.reply != nil {
		t.Fatalf("the joined object is on no second disk: %s", w.show(c.reply))
	}
	w.release(a)
	w.expect("get", w.show(w.wait(c)), "new")
}

// A bucket whose w is above the owners there are still has reads that repair.
func TestAWriteBackAsksForNoMoreThanThereIs(t *testing.T) {
	w := emptyWorld(t, "ab", 1)
	s := ringState("ab", 1, 3)
	b := s.Buckets["strict"]
	b.W = 3
	s.Buckets["strict"] = b
	w.ring = hashring.NewRing(s)
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.onlyAt("a", "strict", "k", "v", "b")
	w.expect("get", w.show(w.get("a", "strict", "k", rOf(2))), "v")
	w.expect("b", w.has("b", "strict", "k"), "v")
}

// A fallback's silence about a key is no reply (E6): with two owners gone a sloppy
// read of a key that nobody keeps a hint of has no quorum, and is not a 404.
func TestAFallbacksSilenceIsNoAbsence(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "ade")
	w.expect("unknown key", w.show(w.get("d", "sloppy", "none")), "quorum_unavailable")
	w.put("a", "sloppy", "k", "v")
	w.expect("kept key", w.show(w.get("e", "sloppy", "k")), "v")
	w.expect("strict", w.show(w.get("e", "strict", "k")), "quorum_unavailable")
}

// A session's token asks on until the answer includes it, else says so (503).
func TestReadAfter(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	token := w.onlyAt("b", "sloppy", "k", "v", "acde")
	w.expect("r=1 at a, without", w.show(w.get("a", "sloppy", "k", rOf(1))), "key_not_found")
	g := w.get("a", "sloppy", "k", rOf(1), readAfter(token))
	w.expect("r=1 at a, with", w.show(g), "v")
	if g.Receipt.Acks < 2 {
		t.Errorf("receipt %v", g.Receipt)
	}
	token = w.onlyAt("b", "sloppy", "k2", "v", "acde")
	w.view("a", "acde")
	stale := w.get("a", "sloppy", "k2", rOf(1), readAfter(token))
	w.expect("without b", w.show(stale), "stale_replica")
	if stale.RetryAfter == 0 {
		t.Error("no word on when to retry")
	}
	w.view("", "abcde")
	w.expect("with b", w.show(w.get("e", "sloppy", "k2", rOf(1), readAfter(token))), "v")
}

// ... and a stand-in's hint may be what it asks for (F46).
func TestReadAfterASloppyWrite(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "de")
	token := w.put("d", "sloppy", "k", "v")
	w.fate = cut(drop, "abc", "de", MsgHintPull)
	w.view("", "acde")
	g := w.get("a", "sloppy", "k", rOf(1), readAfter(token))
	w.expect("get", w.show(g), "v")
	w.expect("receipt", g.Receipt.String(), "n=3, need=1, acks=3, owners=2, fallbacks=1, synced=0")
}

// An owner that is slow is hedged, one that is silent is suspected.
func TestHedgeAndSuspicion(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	w.fate = cut(drop, "b", "a", MsgReadReply)
	begin := w.now
	w.expect("hedged", w.show(w.get("a", "strict", "k")), "v")
	if took := w.now - begin; took < hedgeMin || took > 10*time.Millisecond {
		t.Errorf("took %v", took)
	}
	w.fate = cut(drop, "bc", "a", MsgReadReply)
	w.expect("nobody", w.show(w.get("a", "strict", "k", in(time.Second))), "read_quorum_timeout")
	if s := w.node("a").core.Stats(); s.Suspicions != 2 || s.Hedges != 2 {
		t.Errorf("%+v", s)
	}
	w.fate = nil
	w.expect("while suspected", w.show(w.get("a", "strict", "k")), "quorum_unavailable")
	w.run(suspectFor)
	w.expect("suspicion ends by itself", w.show(w.get("a", "strict", "k")), "v")
}

// Deletes: with a context just what was seen goes; without one what R owners hold;
// when all is absent nothing is written.
func TestDeletes(t *testing.T) {
	for _, at := range []string{"a", "d"} {
		w := newWorld(t, "abcde", 1)
		r := w.del(at, "strict", "none")
		w.expect("absent", w.show(r), "applied")
		if !r.NothingWritten || len(r.Context.Seen) != 0 || r.Context.KeyHash == 0 {
			t.Errorf("%+v", r)
		}
		w.run(time.Second)
		w.expect("nothing is written", w.has("a", "strict", "none"), "-")

		old := w.put(at, "strict", "k", "v")
		newer := w.put(at, "strict", "k", "v2", having(old))
		w.expect("with a stale context", w.show(w.del(at, "strict", "k", having(old))), "applied")
		g := w.get(at, "strict", "k", rOf(All))
		w.expect("one live sibling beside a tombstone is the value", w.show(g), "v2")
		if len(g.Object.Siblings) != 2 {
			t.Errorf("holds %v", g.Object)
		}
		w.expect("with the new one", w.show(w.del(at, "strict", "k", having(newer))), "applied")
		g = w.get(at, "strict", "k")
		w.expect("gone", w.show(g), "key_not_found")
		if len(g.Context.Seen) == 0 || len(g.Object.Siblings) != 2 {
			t.Errorf("a tombstone's 404 carries its context: %+v", g.Object)
		}
		w.expect("anew, with that context", w.show(w.put(at, "strict", "k", "v3", having(g))), "applied")
		w.expect("siblings", w.settle("strict", "k"), "v3")

		w.put("a", "strict", "k", "x", emptyHanded)
		w.put("b", "strict", "k", "y", emptyHanded)
		w.expect("three", w.show(w.get(at, "strict", "k", rOf(All))), "v3 x y")
		w.expect("without a context", w.show(w.del(at, "strict", "k")), "applied")
		w.expect("all are gone", w.settle("strict", "k"), "key_not_found")
	}
}

// A delete without a context covers what R owners hold, not only the coordinator.
func TestADeleteCoversWhatItRead(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.onlyAt("b", "strict", "k", "v", "ac")
	w.expect("delete", w.show(w.del("a", "strict", "k", rOf(All))), "applied")
	w.expect("in the end", w.settle("strict", "k"), "key_not_found")
}

// A delete that cannot read cannot tell what it would delete: definitely refused.
func TestADeleteThatCannotRead(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	w.view("a", "a")
	w.expect("unreachable", w.show(w.del("a", "strict", "k")), "quorum_unavailable not_applied")
	w.view("a", "abc")
	w.fate = cut(drop, "bc", "a")
	w.expect("silent", w.show(w.del("a", "strict", "k", in(time.Second))), "quorum_unavailable not_applied")
	w.fate = nil
	w.run(2 * time.Second)
	w.expect("still there", w.settle("strict", "k"), "v")
}

// A value that was deleted does not come back with a late hint of it (before any purge).
func TestALateHintResurrectsNothing(t *testing.T) {
	for _, op := range []Op{OpDelete, OpPut} {
		w := newWorld(t, "abcd", 1)
		w.view("", "abd")
		old := w.put("a", "sloppy", "k", "old", wOf(3))
		w.fate = cut(drop, "c", "d", MsgHintPull) // c is back, its hints are not yet
		w.view("", "abcd")
		if op == OpDelete {
			w.expect("delete", w.show(w.del("b", "sloppy", "k", having(old), wOf(3))), "applied")
		} else {
			w.expect("put", w.show(w.put("b", "sloppy", "k", "new", having(old), wOf(3))), "applied")
		}
		w.run(2 * time.Second)
		w.expect("d still keeps", w.keeps("d"), "c=old")
		w.fate = nil
		w.run(5 * time.Second)
		w.expect("d handed off", w.keeps("d"), "")
		w.expect("c", w.has("c", "sloppy", "k"), map[Op]string{OpDelete: "x", OpPut: "new"}[op])
		w.expect("in the end", w.settle("sloppy", "k"), map[Op]string{OpDelete: "key_not_found", OpPut: "new"}[op])
	}
}
