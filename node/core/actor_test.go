package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/quoratedb/quorate/quorum/version"
)

// E1: the coordinator crashes with its mint unsynced; the others have it and the
// client was answered. After the restart it mints anew, knowing nothing of it: the
// acked sibling survives.
func TestACrashTakesNoAckedSiblingWithIt(t *testing.T) {
	w := newWorld(t, "abc", 1)
	a := w.node("a")
	w.put("a", "strict", "before", "v") // the clock's bound is ahead now
	a.holdSync = true
	w.expect("v1", w.show(w.put("a", "strict", "k", "v1")), "applied")
	w.crash(a, false)
	a.holdSync = false
	w.start(a, true)
	w.expect("a forgot it", w.has("a", "strict", "k"), "-")
	w.expect("v2", w.show(w.put("a", "strict", "k", "v2")), "applied")
	w.expect("in the end", w.settle("strict", "k"), "v1 v2")
}

// F50: two clients with stale contexts at one coordinator. Each then overwrites with
// the context that its own PUT returned, and nobody loses what they have not seen.
func TestContextsAreExact(t *testing.T) {
	w := newWorld(t, "abc", 1)
	zero := w.put("a", "strict", "k", "v0")
	x := w.put("a", "strict", "k", "x", having(zero))
	y := w.put("a", "strict", "k", "y", having(zero))
	w.expect("both", w.show(w.get("b", "strict", "k")), "x y")
	y = w.put("a", "strict", "k", "y2", having(y)) // the later dot first: its context must not cover the earlier
	w.expect("y overwrote its own", w.show(w.get("b", "strict", "k")), "x y2")
	x = w.put("a", "strict", "k", "x2", having(x))
	w.expect("x overwrote its own", w.show(w.get("b", "strict", "k")), "x2 y2")
	z := w.put("a", "strict", "k", "z", having(zero))
	x = w.put("b", "strict", "k", "x3", having(x))
	y = w.put("a", "strict", "k", "y3", having(y))
	w.expect("three", w.settle("strict", "k"), "x3 y3 z")
	w.put("a", "strict", "k", "x4", having(x))
	w.put("a", "strict", "k", "y4", having(y))
	w.put("a", "strict", "k", "z4", having(z))
	w.expect("three later", w.settle("strict", "k"), "x4 y4 z4")
	w.expect("who saw all replaces all", w.show(w.put("a", "strict", "k", "all", having(w.get("c", "strict", "k")))), "applied")
	w.expect("in the end", w.settle("strict", "k"), "all")
}

// The same up to the cap: every writer that has seen nothing gets its sibling, then
// each replaces just its own.
func TestContextsAreExactForManyWriters(t *testing.T) {
	w := newWorld(t, "abc", 1)
	replies := make([]*Reply, MaxSiblings)
	for i := range replies {
		if replies[i] = w.put("a", "strict", "k", fmt.Sprintf("old%02d", i), emptyHanded); replies[i].Code != OK {
			t.Fatalf("writer %d: %s", i, w.show(replies[i]))
		}
	}
	for i := len(replies) - 1; i >= 0; i-- { // the later dots first: their contexts must not cover the earlier
		w.put("abc"[i%3:][:1], "strict", "k", fmt.Sprintf("new%02d", i), having(replies[i]))
		live := values(w.get("b", "strict", "k", rOf(All)).Object, w.wall())
		if n := MaxSiblings - i; len(live) != MaxSiblings || live[0] != fmt.Sprintf("new%02d", i) || live[n-1] != fmt.Sprintf("new%02d", MaxSiblings-1) {
			t.Fatalf("after writer %d: %v", i, live)
		}
	}
	if n := len(w.node("a").core.part(0).actors); n > MaxSiblings {
		t.Errorf("%d actors", n)
	}
}

// A token vouches for all that stands behind its dots: the writer of s has not seen p,
// so b, which learns of s's dot from that writer and has never heard of p, must not
// answer a session that has seen p replace x.
func TestATokenCoversNoDotItsWriterHasNotSeen(t *testing.T) {
	w := newWorld(t, "abc", 1)
	zero := w.put("a", "sloppy", "k", "v0", wOf(3))
	x := w.put("b", "sloppy", "k", "x", having(zero), wOf(3))
	w.put("a", "sloppy", "k", "y", having(zero), wOf(3))
	w.fate = cut(drop, "a", "bc")
	w.put("a", "sloppy", "k", "p", having(x), wOf(1))
	session := w.get("a", "sloppy", "k", rOf(1))
	w.expect("p has replaced x", w.show(session), "p y")
	w.put("a", "sloppy", "k", "q", wOf(1))
	s := w.put("a", "sloppy", "k", "s", having(zero), wOf(1))
	w.fate = all(cut(drop, "a", "bc"), cut(drop, "bc", "a"))
	w.expect("put", w.show(w.put("b", "sloppy", "k", "t", having(s), wOf(1))), "applied")
	w.expect("b for others", w.show(w.get("b", "sloppy", "k", rOf(1))), "t x y")
	w.expect("b for the session", w.show(w.get("b", "sloppy", "k", rOf(1), readAfter(session))), "stale_replica")
}

// A write without a context replaces what its coordinator holds, also what others
// wrote with contexts; its own context then covers that.
func TestAWriteWithoutContextReplacesWhatTheCoordinatorHolds(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "x", emptyHanded)
	w.put("b", "strict", "k", "y", emptyHanded)
	w.expect("both", w.settle("strict", "k"), "x y")
	r := w.put("c", "strict", "k", "z")
	w.expect("replaced", w.settle("strict", "k"), "z")
	w.put("a", "strict", "k", "z2", having(r))
	w.expect("and again", w.settle("strict", "k"), "z2")
}

// D4, E1: a record that cannot be trusted is not absent. It is not read, nobody
// mints on it, and the store's next dots are a new actor's.
func TestACorruptRecordIsNeitherAbsentNorMintedOn(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v1", wOf(3))
	w.put("a", "strict", "other", "v", wOf(3))
	a := w.node("a")
	before := w.get("a", "strict", "other").Object.Siblings[0].Dot.Actor
	bucket, _ := w.ring.Bucket("strict")
	row := rowKey{bucket: bucket.ID, key: "k"}
	a.disk.corrupt[row] = true
	w.expect("r=1 at a", w.show(w.get("a", "strict", "k", rOf(1))), "v1")
	w.expect("r=2 at a", w.show(w.get("a", "strict", "k")), "v1")
	all := w.get("a", "strict", "k", rOf(All))
	w.expect("r=3", w.show(all), "quorum_unavailable")
	if len(all.Failed) != 1 || all.Failed[0].Reason.String() != "corrupt" {
		t.Errorf("failed %v", all.Failed)
	}
	r := w.put("a", "strict", "k", "v2")
	w.expect("put at a", w.show(r), "applied")
	w.expect("coordinated by", w.bySID(r.ServedBy).name, "b")
	w.expect("a kept its hands off", fmt.Sprint(a.disk.records[row].Siblings[0].Value), fmt.Sprint([]byte("v1")))
	w.expect("delete at a", w.show(w.del("a", "strict", "k")), "applied")
	rows := w.do(w.node("b"), &Request{Op: OpInspect, Bucket: "strict", Key: []byte("k")}).Inspect
	w.expect("inspect", rows[0].State.String(), "suspect")
	w.put("a", "strict", "other", "v2")
	if now := w.get("a", "strict", "other").Object.Siblings[0].Dot.Actor; now == before {
		t.Error("the actor goes on after a quarantined record")
	}
	if s := a.core.Stats(); s.Corrupt == 0 {
		t.Error("not counted")
	}
}

// With every owner's copy quarantined there is no answer, but never "not found".
func TestAllCopiesCorrupt(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.put("a", "sloppy", "k", "v1", wOf(3))
	for _, n := range w.nodes {
		n.disk.corrupt[rowKey{bucket: 2, key: "k"}] = true
	}
	for _, n := range w.nodes {
		w.expect("get at "+n.name, w.show(w.get(n.name, "sloppy", "k", rOf(1))), "quorum_unavailable")
		if got := w.show(w.put(n.name, "sloppy", "k", "v2", strictly)); got != "quorum_unavailable not_applied" {
			t.Errorf("put at %s: %s", n.name, got)
		}
	}
	w.expect("a list says that something is missing", fmt.Sprint(w.do(w.node("d"), listOf("sloppy")).List.Complete), "false")
}

// An owner that takes another's copy of a corrupt record refuses it, and the hint of
// it finds a stand-in.
func TestAWriteToACorruptRecordFindsAStandIn(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.node("c").disk.corrupt[rowKey{bucket: 2, key: "k"}] = true
	r := w.put("a", "sloppy", "k", "v", wOf(3))
	w.expect("receipt", r.Receipt.String(), "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3")
	w.expect("d", w.keeps("d"), "c=v")
}

// E9: no stamp goes back over a crash with an older wall clock: neither when the
// write that carried it was lost with the crash and others have it ...
func TestStampsOfALostWriteAreNotIssuedAgain(t *testing.T) {
	w := newWorld(t, "abc", 1)
	a := w.node("a")
	a.holdSync = true
	first := w.startPut("a", "lww", "k", "v1", in(500*time.Millisecond))
	w.run(400 * time.Millisecond)
	highest := w.maxStamp("b", "c")
	w.wait(first)
	w.crash(a, false)
	a.holdSync, a.skewMS = false, -60_000
	w.start(a, true)
	w.expect("v2", w.show(w.put("a", "lww", "other", "v2")), "applied")
	if now := w.get("a", "lww", "other").Object.MaxHLC(); now <= highest {
		t.Errorf("%d after %d", now, highest)
	}
}

// maxStamp is the greatest stamp on these nodes' disks.
func (w *world) maxStamp(names ...string) (h version.HLC) {
	for _, n := range names {
		for _, o := range w.node(n).disk.records {
			h = max(h, o.MaxHLC())
		}
	}
	return h
}

// ... nor when the stamp that moved the bound was of a write that was refused.
func TestARefusedWriteDoesNotEatTheBound(t *testing.T) {
	w := newWorld(t, "a", 1)
	for range MaxSiblings {
		w.put("a", "sloppy", "full", "v", emptyHanded)
	}
	w.run(time.Second) // the next stamp moves the bound
	w.expect("one too many", w.show(w.put("a", "sloppy", "full", "v", emptyHanded)), "sibling_limit not_applied")
	w.expect("put", w.show(w.put("a", "sloppy", "k", "v")), "applied")
	highest := w.get("a", "sloppy", "k").Object.MaxHLC()
	a := w.node("a")
	if a.disk.bound <= highest {
		t.Errorf("durable bound %d, issued %d", a.disk.bound, highest)
	}
	w.crash(a, false)
	a.skewMS = -60_000
	w.start(a, true)
	w.put("a", "sloppy", "k2", "v")
	if now := w.get("a", "sloppy", "k2").Object.MaxHLC(); now <= highest {
		t.Errorf("%d after %d", now, highest)
	}
}

// E9: a write is stamped above what it replaces, with a context or without, and a
// delete above what it read, whatever the coordinator's clock says.
func TestStampsAreAboveWhatTheyReplace(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.node("a").skewMS, w.node("b").skewMS = 50_000, -50_000
	old := w.put("a", "lww", "k", "v1", wOf(3))
	w.expect("behind", w.show(w.put("b", "lww", "k", "v2", having(old))), "applied")
	w.expect("v2 wins", w.settle("lww", "k"), "v2")
	w.put("a", "lww", "k", "v3", wOf(3))
	w.put("b", "lww", "k", "v4")
	w.expect("v4 wins", w.settle("lww", "k"), "v4")

	w.fate = cut(drop, "a", "b") // b does not have it and must read it elsewhere
	v5 := w.put("a", "lww", "k2", "v5")
	w.fate = nil
	w.expect("deleted", w.show(w.del("b", "lww", "k2", rOf(All))), "applied")
	gone := w.get("a", "lww", "k2", rOf(All))
	w.expect("gone", w.show(gone), "key_not_found")
	if gone.Object.MaxHLC() <= v5.Context.HLC {
		t.Errorf("the tombstone's stamp %d is not above %d", gone.Object.MaxHLC(), v5.Context.HLC)
	}
}

// In a last-write-wins bucket the newest of concurrent writes stays, everywhere the
// same, and what is dropped is counted.
func TestLWWKeepsOne(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.fate = cut(hold, everybody, everybody, MsgWrite)
	w.put("a", "lww", "k", "x", wOf(1))
	w.run(5 * time.Millisecond)
	w.put("b", "lww", "k", "y", wOf(1))
	w.letGo()
	w.run(100 * time.Millisecond) // nobody has read it, and each has merged it in its own order
	dropped := uint64(0)
	for _, n := range w.nodes {
		if o := n.disk.records[rowKey{bucket: 4, key: "k"}]; len(o.Siblings) != 1 {
			t.Errorf("%s holds %v", n.name, o)
		}
		dropped += n.core.Stats().LWWDropped
	}
	w.expect("one", w.settle("lww", "k"), "y")
	if dropped == 0 {
		t.Error("nobody counted the dropped sibling")
	}
}

// A tombstone is not older than what its delete has read, or an older concurrent
// write would come up where the newer one had beaten it.
func TestADeleteThatReadIsNotOlderThanWhatItRead(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.node("d").skewMS, w.node("c").skewMS = -100_000, -50_000
	w.view("d", "de")
	w.view("e", "de")
	w.view("c", "c")
	w.fate = all(cut(drop, "c", "de"), cut(drop, "e", "d", MsgHint)) // d has nothing of it
	w.expect("older", w.show(w.put("c", "lww", "k", "older", wOf(1))), "applied")
	w.expect("newer", w.show(w.put("e", "lww", "k", "newer", wOf(1))), "applied")
	w.expect("deleted", w.show(w.del("d", "lww", "k", rOf(1), wOf(1))), "applied")
	w.expect("the older one does not come up", w.settle("lww", "k"), "key_not_found")
}
