package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A write goes through any node; an owner coordinates it, and every owner has it in
// the end. The receipt counts what had synced when the answer left.
func TestPutAndGetThroughAnyNode(t *testing.T) {
	for _, bucket := range []string{"sloppy", "strict", "lww"} {
		w := newWorld(t, "abcde", 1)
		for i, n := range w.nodes {
			value := fmt.Sprint("v", i)
			r := w.put(n.name, bucket, "k", value)
			w.expect("put", w.show(r), "applied")
			w.expect("receipt", r.Receipt.String(), "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
			if by := w.bySID(r.ServedBy).name; i < 3 && by != n.name || !strings.Contains("abc", by) {
				t.Errorf("asked %s, coordinated by %s", n.name, by)
			}
			if r.RingVersion != 10 || r.Epoch != 5 || len(r.Context.Seen) == 0 || r.Object == nil {
				t.Errorf("%+v", r)
			}
			for _, m := range w.nodes {
				for _, need := range []Count{0, 1, 2, All} {
					g := w.get(m.name, bucket, "k", rOf(need))
					w.expect("get", w.show(g), value)
					if want := map[Count]int{0: 2, 1: 1, 2: 2, All: 3}[need]; g.Receipt.Need != want || g.Receipt.Owners < want {
						t.Errorf("r=%d: %v", need, g.Receipt)
					}
				}
			}
			for _, m := range "abc" {
				w.expect("disk", w.has(string(m), bucket, "k"), value)
			}
			w.expect("others", w.has("d", bucket, "k")+w.has("e", bucket, "k")+w.keeps("d"), "--")
		}
	}
}

// Replication follows the ring: one, two, three or five owners.
func TestOtherNumbersOfOwners(t *testing.T) {
	for names, c := range map[string]struct {
		n    int
		want string
	}{
		"a":      {3, "n=1, need=1, acks=1, owners=1, fallbacks=0, synced=1"},
		"ab":     {3, "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2"},
		"abc":    {2, "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2"},
		"abcdef": {5, "n=5, need=3, acks=3, owners=3, fallbacks=0, synced=3"},
	} {
		w := emptyWorld(t, names, 1)
		w.ring = hashring.NewRing(ringState(names, 1, c.n))
		for _, n := range w.nodes {
			w.start(n, true)
		}
		r := w.put("a", "sloppy", "k", "v")
		w.expect("put on "+names, r.Receipt.String(), c.want)
		w.expect("get", w.show(w.get("a", "strict", "k"))+w.show(w.get("a", "sloppy", "k")), "key_not_foundv")
		too := w.put("a", "sloppy", "k", "v", wOf(Count(c.n+1)))
		w.expect("w beyond n", w.show(too), "quorum_impossible not_applied")
		w.expect("r beyond n", w.show(w.get("a", "sloppy", "k", rOf(Count(c.n+1)))), "quorum_impossible")
		w.expect("pw beyond n", w.show(w.put("a", "sloppy", "k", "v", pwOf(Count(c.n+1)))), "quorum_impossible not_applied")
		w.expect("delete beyond n", w.show(w.del("a", "sloppy", "k", rOf(Count(c.n+1)))), "quorum_impossible not_applied")
	}
}

// A forwarded write that asks for more than there is, is refused by its owner; the
// forwarder passes that on as definite.
func TestForwardedImpossibleQuorum(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.expect("put", w.show(w.put("d", "sloppy", "k", "v", wOf(4))), "quorum_impossible not_applied")
	w.view("d", "de")
	w.expect("put, no owner there", w.show(w.put("d", "sloppy", "k", "v", wOf(4))), "quorum_impossible not_applied")
}

// D1: while nothing is synced nothing is acked, and no read, list or inspection
// shows it; when the disks go on, all of it comes true.
func TestNothingLeavesBeforeItsSync(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "lww", "before", "v") // the clock's bound is ahead now
	for _, n := range w.nodes {
		n.holdSync = true
	}
	c := w.startPut("a", "sloppy", "k", "v", in(30*time.Second))
	w.run(300 * time.Millisecond)
	one := w.startGet("a", "sloppy", "k", rOf(1), in(20*time.Second))
	all := w.startGet("b", "sloppy", "k", rOf(All), in(20*time.Second))
	list := w.do(w.node("a"), listOf("sloppy"))
	inspect := w.do(w.node("a"), &Request{Op: OpInspect, Bucket: "sloppy", Key: []byte("k")})
	w.run(time.Second)
	if c.reply != nil || one.reply != nil || all.reply != nil {
		t.Fatalf("answered before any sync: %v %v %v", w.show(c.reply), w.show(one.reply), w.show(all.reply))
	}
	if len(list.List.Rows) != 0 {
		t.Errorf("listed before any sync: %v", list.List.Rows)
	}
	for _, row := range inspect.Inspect {
		if row.State != Unreachable || row.Hash != 0 || row.Size != 0 || len(row.Dots) != 0 {
			t.Errorf("inspected before any sync: %+v", row)
		}
	}
	for _, n := range w.nodes {
		w.release(n)
	}
	w.expect("put", w.show(w.wait(c)), "applied")
	w.expect("get", w.show(w.wait(one))+" "+w.show(w.wait(all)), "v v")
}

// D1, E2: a store whose sync hangs does not count, whoever coordinates.
func TestOnlySyncedStoresCount(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "before", "v") // the clocks' bounds are ahead now
	w.put("b", "strict", "before", "v")
	w.node("a").holdSync = true
	r := w.put("a", "strict", "k", "v")
	w.expect("two others", r.Receipt.String(), "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	w.expect("disks", w.has("a", "strict", "k")+w.has("b", "strict", "k")+w.has("c", "strict", "k"), "-vv")
	w.node("b").holdSync = true
	c := w.startPut("b", "strict", "k", "v2")
	w.until("the deadline", func() bool { return c.reply != nil })
	w.expect("one other", w.show(c.reply), "write_quorum_timeout unknown")
	w.expect("its receipt", c.reply.Receipt.String(), "n=3, need=2, acks=1, owners=1, fallbacks=0, synced=1")
	w.expect("in the end", w.settle("strict", "k"), "v2")
}

// Writes that gather while the disk is busy go out with the next one, in order.
func TestStepsGoOnWhileBatchesSync(t *testing.T) {
	w := newWorld(t, "a", 1)
	var calls []*call
	for i := range 50 {
		calls = append(calls, w.startPut("a", "sloppy", "k", fmt.Sprint("v", i)))
	}
	g := w.startGet("a", "sloppy", "k")
	for _, c := range calls {
		w.expect("put", w.show(w.wait(c)), "applied")
	}
	w.expect("get", w.show(w.wait(g)), "v49")
	if w.now > time.Second+5*time.Millisecond {
		t.Errorf("took %v", w.now)
	}
}

// An owner that is silent gets a stand-in beside it; its own ack would still count.
func TestALateOwnerGetsAStandIn(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.fate = cut(hold, "a", "c", MsgWrite)
	r := w.put("a", "sloppy", "k", "v", wOf(All))
	w.expect("receipt", r.Receipt.String(), "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3")
	if w.now < time.Second+lateAfter {
		t.Errorf("a stand-in was taken after %v", w.now-time.Second)
	}
	w.expect("in the end", w.settle("sloppy", "k"), "v")
	w.expect("c", w.has("c", "sloppy", "k"), "v")
}

// The same holds for a write that has been answered already: it is not left to
// anti-entropy that an owner was silent.
func TestAnAnsweredWriteStillFindsAStandIn(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.fate = cut(drop, "a", "c", MsgWrite)
	w.expect("put", w.show(w.put("a", "sloppy", "k", "v")), "applied")
	w.run(lateAfter + 100*time.Millisecond)
	w.expect("d keeps", w.keeps("d"), "c=v")
}

// A strict write that cannot have its quorum is refused before anything is minted.
func TestStrictRefusesBeforeItMints(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "ade")
	r := w.put("a", "strict", "k", "v")
	w.expect("put", w.show(r), "quorum_unavailable not_applied")
	if len(r.Failed) != 2 || r.RetryAfter == 0 {
		t.Errorf("failed %v, retry after %v", r.Failed, r.RetryAfter)
	}
	w.expect("sloppy and pw=2", w.show(w.put("a", "sloppy", "k", "v", pwOf(2))), "quorum_unavailable not_applied")
	w.run(time.Second)
	w.expect("nothing was written", w.has("a", "strict", "k")+w.has("a", "sloppy", "k")+w.keeps("d"), "--")
	w.expect("sloppy", w.show(w.put("a", "sloppy", "k", "v")), "applied")
}

// Once minted, a write that loses its replicas is unknown, at once and only once.
func TestLostAfterTheMintIsUnknown(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.fate = cut(hold, "a", "bc", MsgWrite)
	c := w.startPut("a", "strict", "k", "v")
	w.step(w.node("a"), Event{Down: sidOf("b")})
	w.run(10 * time.Millisecond)
	if c.reply != nil {
		t.Fatal("two of three can still have it")
	}
	w.step(w.node("a"), Event{Down: sidOf("c")})
	w.expect("put", w.show(c.reply), "replica_failure unknown")
	if got := w.show(w.wait(w.startPut("a", "strict", "k", "v2", in(time.Second)))); got != "quorum_unavailable not_applied" {
		t.Errorf("with both suspected: %s", got)
	}
	w.expect("it may still spread", w.settle("strict", "k"), "v") // late acks bring no second answer
}

// A refused or reset connection moves the slot to a stand-in within the deadline.
func TestDownMovesTheSlotAtOnce(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.fate = cut(drop, "a", "bc")
	c := w.startPut("a", "sloppy", "k", "v", wOf(3))
	w.step(w.node("a"), Event{Down: sidOf("b")})
	w.step(w.node("a"), Event{Down: sidOf("c")})
	r := w.wait(c)
	w.expect("receipt", r.Receipt.String(), "n=3, need=3, acks=3, owners=1, fallbacks=2, synced=3")
	if w.now > time.Second+20*time.Millisecond {
		t.Errorf("took %v", w.now)
	}
}

// A client in a hurry says nothing about the owners: they are not suspected for it.
func TestAShortDeadlineSuspectsNobody(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.expect("put", w.show(w.put("a", "strict", "k", "v", in(time.Millisecond))), "write_quorum_timeout unknown")
	w.expect("at once after it", w.show(w.put("a", "strict", "k", "v2")), "applied")
	if s := w.node("a").core.Stats(); s.Suspicions != 0 {
		t.Errorf("%d suspicions", s.Suspicions)
	}
}

// Two stand-ins for two owners are two stores (F47); with one only, it counts once.
func TestStandInsAreCountedByStore(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "ad")
	r := w.put("a", "sloppy", "k", "v")
	w.expect("a and d", r.Receipt.String(), "n=3, need=2, acks=2, owners=1, fallbacks=1, synced=2")
	w.run(time.Second)
	w.expect("d keeps both", w.keeps("d"), "b=v c=v")
	w.expect("w=3 on two stores", w.show(w.put("a", "sloppy", "k", "v", wOf(3))), "quorum_unavailable not_applied")
	w.expect("in the end", w.settle("sloppy", "k"), "v")
}

// TTL: the expiry is absolute, in the object, and a reader no longer sees it.
func TestExpiry(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "sloppy", "k", "v", ttl(time.Minute))
	w.expect("before", w.show(w.get("b", "sloppy", "k")), "v")
	w.run(time.Minute)
	r := w.get("b", "sloppy", "k")
	w.expect("after", w.show(r), "key_not_found")
	if r.Object == nil || len(r.Context.Seen) == 0 {
		t.Error("an expired value is no plain absence (E8)")
	}
}

func TestBadBucketsContextsAndRoutes(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	one := w.put("a", "sloppy", "k", "v")
	for what, c := range map[string]struct{ got, want string }{
		"no bucket":               {w.show(w.put("a", "none", "k", "v")), "bucket_not_found not_applied"},
		"no bucket, read":         {w.show(w.get("a", "none", "k")), "bucket_not_found"},
		"context of another key":  {w.show(w.put("a", "sloppy", "k2", "v", having(one))), "context_invalid not_applied"},
		"of another bucket":       {w.show(w.put("a", "strict", "k", "v", having(one))), "context_invalid not_applied"},
		"token of another key":    {w.show(w.get("a", "sloppy", "k2", readAfter(one))), "context_invalid"},
		"owner only, at an owner": {w.show(w.put("b", "sloppy", "k3", "v", ownerOnly)), "applied"},
		"owner only, elsewhere":   {w.show(w.put("d", "sloppy", "k3", "v", ownerOnly)), "not_owner not_applied"},
		"owner only, read":        {w.show(w.get("e", "sloppy", "k3", ownerOnly)), "not_owner"},
	} {
		w.expect(what, c.got, c.want)
	}
	if r := w.put("d", "sloppy", "k", "v", ownerOnly); len(r.Owners) != 3 {
		t.Errorf("owners named: %v", r.Owners)
	}
}

func listOf(bucket string) *Request {
	return &Request{Op: OpList, Bucket: bucket, List: ListRequest{Limit: 100}}
}
