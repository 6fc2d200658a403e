package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// No owner can be reached: a fallback coordinates, two stand-ins count apart, reads
// find the value at them, and when the owners are back they pull it.
func TestSloppyWriteAndHandOff(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "de")
	r := w.put("d", "sloppy", "k", "v")
	w.expect("receipt", r.Receipt.String(), "n=3, need=2, acks=2, owners=0, fallbacks=2, synced=2")
	w.expect("served by", w.bySID(r.ServedBy).name, "d")
	g := w.get("e", "sloppy", "k")
	w.expect("get from the stand-ins", w.show(g)+" "+g.Receipt.String(), "v n=3, need=2, acks=2, owners=0, fallbacks=2, synced=0")
	w.run(5 * time.Second)
	w.expect("d and e keep it for all three", w.keeps("d")+" | "+w.keeps("e"), "a=v c=v | b=v")
	w.view("", "abcde")
	w.run(5 * time.Second)
	w.expect("nothing is kept any more", w.keeps("d")+w.keeps("e"), "")
	w.expect("owners", w.has("a", "sloppy", "k")+w.has("b", "sloppy", "k")+w.has("c", "sloppy", "k"), "vvv")
	w.expect("in the end", w.settle("sloppy", "k"), "v")
}

// E3: a hint goes only after the target has synced what it was given.
func TestAHintGoesAfterTheTargetsSync(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	w.put("a", "sloppy", "k", "v")
	w.run(time.Second)
	w.expect("d keeps", w.keeps("d"), "c=v")
	c := w.node("c")
	c.holdSync = true
	w.view("", "abcd")
	w.run(4 * time.Second)
	w.expect("while c's disk hangs", w.keeps("d")+" "+w.has("c", "sloppy", "k"), "c=v -")
	w.crash(c, false) // it never had it
	w.run(time.Second)
	c.holdSync = false
	w.start(c, true)
	w.run(10 * time.Second)
	w.expect("after its sync", w.keeps("d")+w.has("c", "sloppy", "k"), "v")
}

// E3: a hint that was rewritten while its older state was on the way stays.
func TestARewrittenHintIsNotDropped(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	first := w.put("a", "sloppy", "k", "v1", wOf(3))
	w.fate = cut(hold, "c", "d", MsgHintDone)
	w.view("d", "abcd")
	w.run(3 * time.Second)
	w.expect("c has it", w.has("c", "sloppy", "k"), "v1")
	w.expect("put", w.show(w.put("a", "sloppy", "k", "v2", having(first), wOf(3))), "applied")
	w.expect("rewritten", w.keeps("d"), "c=v2")
	w.fate = all(cut(drop, "d", "c"), cut(deliver, "c", "d"))
	held := w.held
	w.held = nil
	for _, p := range held {
		w.carry(w.bySID(p.m.From), p.to, p.m)
	}
	w.run(100 * time.Millisecond)
	w.expect("the old delivery drops nothing", w.keeps("d"), "c=v2")
	w.expect("in the end", w.settle("sloppy", "k"), "v2")
	w.expect("c", w.has("c", "sloppy", "k"), "v2")
	w.expect("d", w.keeps("d"), "")
}

// The same with the rewrite still in memory: the drop must not overtake it.
func TestAHintRewrittenButNotSyncedIsNotDropped(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	first := w.put("a", "sloppy", "k", "v1", wOf(3))
	w.fate = cut(hold, "c", "d", MsgHintDone)
	w.view("d", "abcd")
	w.run(3 * time.Second)
	w.node("d").holdSync = true
	w.put("a", "sloppy", "k", "v2", having(first))
	w.run(100 * time.Millisecond)
	w.letGo()
	w.run(100 * time.Millisecond)
	w.release(w.node("d"))
	w.fate = cut(drop, "d", "c")
	w.run(100 * time.Millisecond)
	w.expect("kept", w.keeps("d"), "c=v2")
	w.expect("in the end", w.settle("sloppy", "k"), "v2")
}

// Only the target itself may drop a hint kept for it.
func TestNobodyElseDropsAHint(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	w.put("a", "sloppy", "k", "v", wOf(3))
	d := w.node("d")
	var gen uint64
	for _, h := range d.disk.hints {
		gen = h.gen
	}
	row := Row{Bucket: 2, Key: []byte("k"), Target: sidOf("c"), Gen: gen}
	w.step(d, Event{Message: &Message{Kind: MsgHintDone, From: sidOf("b"), RingVersion: 10, Epoch: 5, Rows: []Row{row}}})
	w.run(100 * time.Millisecond)
	w.expect("d keeps", w.keeps("d"), "c=v")
	w.step(d, Event{Message: &Message{Kind: MsgHintDone, From: sidOf("c"), RingVersion: 10, Epoch: 5, Rows: []Row{row, row}}})
	w.run(100 * time.Millisecond)
	w.expect("until c says so", w.keeps("d"), "")
	d.disk.checkCounters(t, "d")
}

// Hints outlive their holder's crash and are offered again without a write.
func TestHintsOutliveACrashOfTheirHolder(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	for i := range 300 { // more than a slice
		w.put("a", "sloppy", fmt.Sprintf("k%03d", i), "v", wOf(3))
	}
	d := w.node("d")
	w.crash(d, false)
	w.run(time.Second)
	w.start(d, true)
	if s := d.core.Stats(); s.Hints != 300 || s.HintsByTarget[sidOf("c")] != 300 || s.HintBytes == 0 {
		t.Errorf("after the restart: %+v", s)
	}
	w.view("", "abcd")
	w.run(10 * time.Second)
	w.expect("d", w.keeps("d"), "")
	w.expect("c", w.has("c", "sloppy", "k000")+w.has("c", "sloppy", "k299"), "vv")
	if s := d.core.Stats(); s.Hints != 0 || s.HintBytes != 0 || d.core.book.Bytes() != 0 {
		t.Errorf("handed off: %+v, %d bytes held", s, d.core.book.Bytes())
	}
}

// A pull whose slice is lost ends by itself, and begins anew; one whose holder goes
// down ends at once. At most maxPulls are under way.
func TestPullsEndAndAreBounded(t *testing.T) {
	const partitions = 12
	w := newWorld(t, "abcd", partitions)
	w.view("", "abd")
	for i := range 200 {
		w.put("a", "sloppy", fmt.Sprint("k", i), "v", wOf(3))
	}
	w.fate = cut(drop, "abd", "c", MsgHintPage)
	w.view("", "abcd")
	c := w.node("c")
	w.until("pulls", func() bool { return c.core.pulls == maxPulls })
	for range 200 {
		w.one(w.now + time.Second)
		if c.core.pulls > maxPulls {
			t.Fatalf("%d pulls", c.core.pulls)
		}
	}
	first := sortedKeys(c.core.ops)
	w.until("the lost ones end and others begin", func() bool {
		return c.core.pulls == maxPulls && !slices.ContainsFunc(first, func(id uint64) bool { return c.core.ops[id] != nil })
	})
	for _, h := range "abd" {
		w.step(c, Event{Down: sidOf(string(h))})
	}
	if c.core.pulls != 0 || c.core.Stats().Ops != 0 || len(c.core.noticed) != 0 {
		t.Errorf("%d pulls from holders that are gone", c.core.pulls)
	}
	w.fate = nil
	w.run(20 * time.Second)
	w.expect("all kept", w.keeps("a")+w.keeps("b")+w.keeps("d"), "")
}

// E1b: a fallback coordinates, hands off to one owner, coordinates the same key
// again knowing nothing of the first: both acked writes are there in the end.
func TestAFallbackThatHandedOffMintsAnew(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "d")
	w.expect("v1", w.show(w.put("d", "sloppy", "k", "v1", wOf(1))), "applied")
	w.expect("d keeps", w.keeps("d"), "a=v1 b=v1 c=v1")
	w.view("", "abcd")
	w.run(3 * time.Second)
	w.expect("handed off", w.keeps("d")+w.has("a", "sloppy", "k"), "v1")
	w.view("", "d")
	w.expect("v2", w.show(w.put("d", "sloppy", "k", "v2", wOf(1))), "applied")
	w.expect("in the end", w.settle("sloppy", "k"), "v1 v2")
}

// E1: a fallback must hold what it mints. Over its hint budget it does not, so its
// next dot for the key must not cover the one that only another store keeps.
func TestAFallbackWithoutRoomForItsHintMintsAnew(t *testing.T) {
	w := emptyWorld(t, "abcde", 1)
	w.ring = hashring.NewRing(ringState("abcde", 1, 3))
	w.node("d").hintBytes = 1
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.view("", "de")
	w.expect("v1", w.show(w.put("d", "sloppy", "k", "v1", wOf(1))), "applied")
	w.expect("v2", w.show(w.put("d", "sloppy", "k", "v2", wOf(1))), "applied")
	w.expect("d keeps nothing", w.keeps("d"), "")
	w.expect("in the end", w.settle("sloppy", "k"), "v1 v2")
	if s := w.node("d").core.Stats(); s.HintsRefused == 0 {
		t.Error("the budget was not reached")
	}
}

// A write that failed hands out no context: the one it would have had covers what a
// write without a context takes from the local object, which its client has not seen.
func TestAWriteThatWasKeptNowhereHandsOutNoContext(t *testing.T) {
	w := emptyWorld(t, "abcd", 1)
	w.ring = hashring.NewRing(ringState("abcd", 1, 3))
	w.node("d").hintBytes = 300 // room for one, kept for each of its three owners
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.view("", "d")
	w.expect("v1", w.show(w.put("d", "sloppy", "k", "v1", wOf(1))), "applied")
	r := w.put("d", "sloppy", "k", "v2", wOf(1))
	w.expect("v2", w.show(r), "replica_failure unknown")
	if len(r.Context.Seen) != 0 {
		t.Errorf("context %v", r.Context.Seen)
	}
}

// A budget that is full refuses the hint and says so; the write finds another
// stand-in or fails; nothing that was kept is lost, and drops make room again.
func TestHintBudget(t *testing.T) {
	w := emptyWorld(t, "abcd", 1)
	w.ring = hashring.NewRing(ringState("abcd", 1, 3))
	w.node("d").hintBytes = 3000
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.view("", "abd")
	w.expect("first", w.show(w.put("a", "sloppy", "k1", "", wOf(3), sized(2000))), "applied")
	r := w.put("a", "sloppy", "k2", "", wOf(3), sized(2000), in(time.Second))
	w.expect("second", w.show(r), "replica_failure unknown")
	found := false
	for _, f := range r.Failed {
		found = found || f.Store == sidOf("d") && f.Reason == quorum.ReasonHintBudget
	}
	if !found {
		t.Errorf("failed: %v", r.Failed)
	}
	w.expect("d keeps one", w.keeps("d"), "c="+strings.Repeat("\x00", 2000))
	w.view("", "abcd")
	w.run(5 * time.Second)
	w.view("", "abd")
	w.expect("third", w.show(w.put("a", "sloppy", "k3", "", wOf(3), sized(2000))), "applied")
}

// A quarantined hint is amnesia: its holder must not mint for the key, and with no
// owner in reach that is a definite refusal.
func TestAFallbackWithACorruptHintDoesNotMint(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "de")
	w.put("d", "sloppy", "k", "v1")
	d := w.node("d")
	for k := range d.disk.hints {
		d.disk.corrupt[k] = true
	}
	w.expect("put", w.show(w.put("d", "sloppy", "k", "v2")), "quorum_unavailable not_applied")
	w.expect("delete", w.show(w.del("d", "sloppy", "k", rOf(1))), "quorum_unavailable not_applied")
	w.expect("at the other one", w.show(w.put("e", "sloppy", "k", "v3", wOf(1))), "applied")
	w.expect("another key", w.show(w.put("d", "sloppy", "k2", "v")), "applied")
}

// A hint of a bucket that was deleted meanwhile is dropped by its target.
func TestHintsOfADeletedBucketGo(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	w.put("a", "sloppy", "k", "v", wOf(3))
	s := ringState("abcd", 1, 3)
	s.Version = 11
	delete(s.Buckets, "sloppy")
	w.ring = hashring.NewRing(s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	w.view("", "abcd")
	w.run(5 * time.Second)
	w.expect("d", w.keeps("d"), "")
	if len(w.node("c").disk.records) != 0 {
		t.Error("c took it")
	}
}

// A store takes no hints for partitions it owns, and no writes for others.
func TestRolesAreChecked(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	object := w.put("a", "sloppy", "k", "v").Object
	ask := func(to string, m Message) quorum.Reason {
		m.From, m.To, m.ID, m.RingVersion, m.Epoch, m.Bucket, m.Key, m.Object = sidOf("b"), sidOf(to), 1, 10, 5, 2, []byte("q"), object
		var got quorum.Reason = 255
		w.fate = func(_, _ *wnode, r *Message) fate { got = r.Reason; return drop }
		w.step(w.node(to), Event{Message: &m})
		w.run(10 * time.Millisecond)
		w.fate = nil
		return got
	}
	for what, c := range map[string]struct{ got, want quorum.Reason }{
		"write to a fallback":         {ask("d", Message{Kind: MsgWrite}), quorum.ReasonNotOwner},
		"hint to an owner":            {ask("c", Message{Kind: MsgHint, Target: sidOf("a")}), quorum.ReasonNotOwner},
		"read of a fallback as owner": {ask("d", Message{Kind: MsgRead}), quorum.ReasonNotOwner},
		"read of an owner's hints":    {ask("c", Message{Kind: MsgRead, Fallback: true}), quorum.ReasonNotOwner},
		"write to an owner":           {ask("c", Message{Kind: MsgWrite}), quorum.ReasonNone},
		"hint to a fallback":          {ask("d", Message{Kind: MsgHint, Target: sidOf("a")}), quorum.ReasonNone},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", what, c.got)
		}
	}
}

// A hint of a bucket that the target's ring does not have yet is left with its
// holder; one of a deleted bucket is dropped. An id is the ring version of the
// bucket's creation, so the target can tell.
func TestAHintOfABucketNotKnownYetIsKept(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.run(100 * time.Millisecond)
	c := w.node("a").core
	answer := func(bucket hashring.BucketID) string {
		notice := &Message{Kind: MsgHintNotice, From: sidOf("d"), RingVersion: 10, Epoch: 5}
		out := c.Step(Now{Mono: w.now}, []Event{{Message: notice}}).Now
		if len(out) != 1 || out[0].Message.Kind != MsgHintPull {
			t.Fatalf("no pull: %v", out)
		}
		page := &Message{Kind: MsgHintPage, From: sidOf("d"), ID: out[0].Message.ID, RingVersion: 10, Epoch: 5,
			Rows: []Row{{Bucket: bucket, Key: []byte("k"), Gen: 1, Object: &version.Object{}}}}
		for _, o := range c.Step(Now{Mono: w.now}, []Event{{Message: page}}).Now {
			if o.Message.Kind == MsgHintDone {
				return "dropped"
			}
		}
		return "kept"
	}
	w.expect("deleted", answer(9), "dropped")
	w.expect("made since", answer(11), "kept")
}

// D4: a hint that cannot be read is dropped under a mark. Those behind it are handed off.
func TestADamagedHintGoesUnderAMark(t *testing.T) {
	w := newRepairWorld(t, "abcd", repairState("abcd", 1), nil)
	w.view("", "abd")
	for i := range 5 {
		w.put("a", "sloppy", fmt.Sprint("k", i), "v", wOf(3))
	}
	d := w.node("d")
	for k := range d.disk.hints {
		if k.key < "k3" {
			d.disk.corrupt[k] = true
		}
	}
	w.fate = cut(drop, "abcd", "abcd", MsgExchange)
	w.view("", "abcd")
	w.run(5 * time.Second)
	w.expect("d keeps", w.keeps("d"), "")
	w.expect("c has", w.has("c", "sloppy", "k0")+w.has("c", "sloppy", "k3")+w.has("c", "sloppy", "k4"), "-vv")
	w.expect("marks", w.marks(), "d>c")
	if s := d.core.Stats(); s.HintBytes != 0 || d.core.book.Bytes() != 0 {
		t.Errorf("%+v, %d bytes", s, d.core.book.Bytes())
	}
	w.fate = nil
	w.until("exchanges have made up for them", func() bool { return w.marks() == "" })
	w.expect("c has", w.has("c", "sloppy", "k0"), "v")
}

// Both ends of a hand-off pay the pacer for it: the target may have no clients of its own
// by which it could see what it does to the holder's.
func TestBothEndsPayForAHandOff(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	for i := range 20 {
		w.put("a", "sloppy", fmt.Sprint("k", i), "v", wOf(3))
	}
	w.view("", "abcd")
	w.until("handed off", func() bool { return w.keeps("d") == "" })
	w.run(time.Second)
	for _, n := range []*wnode{w.node("c"), w.node("d")} {
		if got := n.core.Stats().Repair.Granted[antientropy.ClassHandOff]; got < 20*hintCost || got > 20*hintCost+2*pullCost {
			t.Errorf("%s paid for %d bytes", n.name, got)
		}
	}
}
