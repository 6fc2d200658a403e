package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// nextRing is the same ring, one version and with epoch set one epoch later.
func (w *world) nextRing(epoch bool) *hashring.Ring {
	s := *w.ring.State
	s.Version++
	s.Partitions = append([]hashring.Partition{}, s.Partitions...)
	for p := range s.Partitions {
		if epoch {
			s.Partitions[p].Epoch++
		}
	}
	return hashring.NewRing(&s)
}

// A plan of an older epoch is refused by every replica; the refusal carries the
// newer version, the asker fetches it, and the next request goes through.
func TestStaleEpochIsRefused(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "strict", "k", "v")
	newer := w.nextRing(true)
	for _, n := range "bcd" {
		w.step(w.node(string(n)), Event{Ring: newer})
	}
	began := w.now
	r := w.put("a", "strict", "k", "v2", in(10*time.Second)) // it waits for that ring, which nobody gives it
	w.expect("put with the old ring", w.show(r), "replica_failure unknown")
	if took := w.now - began; took < parkedFor || took > parkedFor+time.Second {
		t.Errorf("it took %v", took)
	}
	if len(r.Failed) == 0 || r.Failed[0].Reason != quorum.ReasonStaleEpoch {
		t.Errorf("failed %v", r.Failed)
	}
	w.expect("nothing there", w.has("b", "strict", "k")+w.has("c", "strict", "k"), "vv")
	w.expect("get with the old ring", w.show(w.get("a", "strict", "k")), "quorum_unavailable")
	w.ring = newer
	w.get("a", "strict", "k") // the refusal made it fetch
	w.run(50 * time.Millisecond)
	again := w.put("a", "strict", "k", "v3")
	w.expect("put with the new one", w.show(again), "applied")
	if again.RingVersion != newer.Version || again.Epoch != 6 {
		t.Errorf("ring %d, epoch %d", again.RingVersion, again.Epoch)
	}
}

// Every kind of question is refused, each in its own words.
func TestStaleEpochIsRefusedByEveryKind(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	object := w.put("a", "sloppy", "k", "v").Object
	w.ring = w.nextRing(true)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	for _, m := range []Message{
		{Kind: MsgWrite, To: sidOf("b"), Object: object},
		{Kind: MsgHint, To: sidOf("d"), Object: object, Target: sidOf("b")},
		{Kind: MsgRead, To: sidOf("b")},
		{Kind: MsgRead, To: sidOf("d"), Fallback: true},
		{Kind: MsgScan, To: sidOf("b"), Limit: 10},
		{Kind: MsgForward, To: sidOf("b"), Request: &Request{Op: OpPut, Bucket: "sloppy", Key: []byte("k")}},
	} {
		m.From, m.ID, m.RingVersion, m.Epoch, m.Bucket, m.Key = sidOf("a"), 9, 10, 5, 2, []byte("k")
		var got []*Message
		w.fate = func(_, _ *wnode, r *Message) fate { got = append(got, r); return drop }
		w.step(w.bySID(m.To), Event{Message: &m})
		if len(got) != 1 || got[0].Reason != quorum.ReasonStaleEpoch || got[0].RingVersion != 11 || got[0].Epoch != 6 || got[0].ID != 9 {
			t.Errorf("%v: answered %+v", m.Kind, got)
		}
	}
}

// A message of a newer ring is kept until that ring is here, and the ring is asked for.
func TestMessagesOfANewerRingWait(t *testing.T) {
	w := newWorld(t, "abc", 1)
	newer := w.nextRing(true)
	w.step(w.node("a"), Event{Ring: newer})
	w.step(w.node("b"), Event{Ring: newer})
	var wanted uint64
	var from hashring.SID
	w.onStep = func(n *wnode, r *Ready) {
		if n.name == "c" && r.WantRing > 0 {
			wanted, from = r.WantRing, r.WantRingFrom
		}
	}
	c := w.startPut("a", "strict", "k", "v", wOf(3), in(time.Second))
	w.run(20 * time.Millisecond)
	if s := w.node("c").core.Stats(); s.Parked != 1 || c.reply != nil {
		t.Fatalf("%d messages wait, %v", s.Parked, c.reply)
	}
	if wanted != newer.Version || from != sidOf("a") {
		t.Errorf("asked %s for ring %d", from.Short(), wanted)
	}
	w.step(w.node("c"), Event{Ring: newer})
	w.expect("put", w.show(w.wait(c)), "applied")
	if s := w.node("c").core.Stats(); s.Parked != 0 {
		t.Errorf("%d messages wait still", s.Parked)
	}
}

// A newer ring that changes nothing of the partition keeps nobody waiting; one with
// a bucket that is not known yet does.
func TestOnlyWhatChangedWaits(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	newer := w.nextRing(false)
	newer.Buckets["fresh"] = hashring.Bucket{ID: 11, Name: "fresh", Mode: hashring.Eventual, Conflict: hashring.Siblings, N: 3}
	newer = hashring.NewRing(newer.State)
	w.step(w.node("a"), Event{Ring: newer})
	w.step(w.node("d"), Event{Ring: newer})
	held := w.ring
	w.ring = nil // nobody can fetch
	ask := func(at, bucket string) *call {
		return w.ask(w.node(at), &Request{Op: OpPut, Bucket: bucket, Key: []byte("k"), Value: []byte("v"), Timeout: time.Second})
	}
	if r := w.wait(ask("a", "strict")); r.Code != OK {
		t.Errorf("same epoch: %v", r.Code)
	}
	c := ask("a", "fresh")
	w.run(20 * time.Millisecond)
	if c.reply != nil || w.node("b").core.Stats().Parked != 1 {
		t.Error("a bucket that is unknown there did not wait")
	}
	for _, n := range "bc" {
		w.step(w.node(string(n)), Event{Ring: newer})
	}
	if r := w.wait(c); r.Code != OK {
		t.Errorf("then: %v", r.Code)
	}
	w.ring = held
}

// Parked messages are bounded in number and in time.
func TestParkedMessagesAreBounded(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.ring = nil // the newer one cannot be had
	c := w.node("c")
	for i := range MaxParked + 10 {
		w.step(c, Event{Message: &Message{Kind: MsgRead, From: sidOf("a"), ID: uint64(i), RingVersion: 11, Epoch: 6, Bucket: 2, Key: []byte("k")}})
	}
	if s := c.core.Stats(); s.Parked != MaxParked || s.ParkedDropped != 10 {
		t.Errorf("%+v", s)
	}
	w.run(parkedFor + tickEvery)
	if s := c.core.Stats(); s.Parked != 0 || s.ParkedDropped != MaxParked+10 {
		t.Errorf("later: %+v", s)
	}
}

// Copies never regress: an older ring state is ignored.
func TestAnOlderRingIsIgnored(t *testing.T) {
	w := newWorld(t, "abc", 1)
	old := w.ring
	w.step(w.node("a"), Event{Ring: w.nextRing(true)})
	w.step(w.node("a"), Event{Ring: old})
	if v := w.node("a").core.ring.Version; v != 11 {
		t.Errorf("ring %d", v)
	}
}

// Before there is a ring every request is told so, and peers' messages wait.
func TestStarting(t *testing.T) {
	w := newWorld(t, "abc", 1)
	ring := w.ring
	c := w.node("c")
	w.crash(c, false)
	w.ring = nil
	w.start(c, true)
	for _, op := range []Op{OpGet, OpPut, OpDelete, OpInspect, OpList} {
		if r := w.do(c, &Request{Op: op, Bucket: "sloppy", Key: []byte("k")}); r.Code != Starting || r.RetryAfter == 0 {
			t.Errorf("op %d: %v", op, r.Code)
		}
	}
	p := w.ask(w.node("a"), &Request{Op: OpPut, Bucket: "strict", Key: []byte("k"), W: 3, Timeout: 5 * time.Second})
	w.run(20 * time.Millisecond)
	w.step(c, Event{Ring: hashring.NewRing(&hashring.State{Version: 3})}) // known, and empty
	if r := w.do(c, &Request{Op: OpGet, Bucket: "sloppy", Key: []byte("k")}); r.Code != Starting {
		t.Errorf("with an empty ring: %v", r.Code)
	}
	w.ring = ring
	w.step(c, Event{Ring: ring})
	if r := w.wait(p); r.Code != OK || r.Receipt.Acks != 3 {
		t.Errorf("what waited: %v %v", r.Code, r.Receipt)
	}
	w.step(c, Event{Drain: true})
	if r := w.do(c, &Request{Op: OpGet, Bucket: "sloppy", Key: []byte("k")}); r.Code != Draining {
		t.Errorf("draining: %v", r.Code)
	}
}

// D6: a store whose boot is not registered coordinates at once, and its own copy is
// no owner's word: it counts for no write, answers no read, lists nothing.
func TestAnUnconfirmedStoreIsNoOwner(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "strict", "k", "v", wOf(3))
	a := w.node("a")
	w.crash(a, false)
	a.disk = newDisk() // rolled back to nothing
	w.start(a, false)
	list := w.do(a, listOf("strict"))
	if len(list.List.Rows) != 1 || !list.List.Complete {
		t.Errorf("listed: %+v", list.List)
	}
	w.expect("r=1 at it", w.show(w.get("a", "strict", "k", rOf(1))), "v")
	w.expect("r=2 at it", w.show(w.get("a", "strict", "k")), "v")
	r := w.put("a", "strict", "k", "v2", having(w.get("a", "strict", "k")))
	w.expect("it coordinates", w.show(r), "applied")
	w.expect("and does not count", r.Receipt.String(), "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	w.expect("w=3 strict", w.show(w.put("a", "strict", "k", "v3", wOf(3))), "replica_failure unknown")
	w.expect("w=3 sloppy", w.put("a", "sloppy", "k", "v", wOf(3)).Receipt.String(), "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3")
	w.expect("another's w=3", w.show(w.put("b", "strict", "k", "v4", wOf(3))), "replica_failure unknown")
	g := w.get("a", "strict", "k", rOf(1))
	w.expect("r=1 at it", w.show(g), "v4")
	w.expect("r=3", w.show(w.get("b", "strict", "k", rOf(3))), "quorum_unavailable")
	rows := w.do(w.node("b"), &Request{Op: OpInspect, Bucket: "strict", Key: []byte("k")}).Inspect
	w.expect("inspected", rows[0].State.String(), "unreachable")
	w.step(a, Event{Confirmed: true})
	w.expect("confirmed, w=3", w.show(w.put("a", "strict", "k", "v5", wOf(3))), "applied")
	w.expect("r=3", w.show(w.get("b", "strict", "k", rOf(3))), "v4 v5") // v4 had not reached it
	w.expect("hints come after", w.settle("sloppy", "k"), "v")
}

// An unconfirmed store takes hints, and pulls none of its own.
func TestAnUnconfirmedStorePullsNothing(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.view("", "abd")
	w.put("a", "sloppy", "k", "v", wOf(3))
	c := w.node("c")
	w.crash(c, false)
	w.start(c, false)
	w.view("", "abcd")
	w.run(5 * time.Second)
	w.expect("before", w.keeps("d")+w.has("c", "sloppy", "k"), "c=v-")
	w.step(c, Event{Confirmed: true})
	w.run(5 * time.Second)
	w.expect("after", w.keeps("d")+w.has("c", "sloppy", "k"), "v")
}

// D3: below the reserve new values are refused, definitely at the coordinator and by
// each replica, while deletes go on.
func TestLowSpace(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	old := w.put("a", "strict", "k", "v", wOf(3))
	w.step(w.node("a"), Event{Space: No})
	w.expect("put at it", w.show(w.put("a", "strict", "k", "v2")), "insufficient_storage not_applied")
	w.expect("put forwarded to it", w.show(w.put("d", "strict", "k", "v2")), "insufficient_storage not_applied")
	r := w.put("b", "strict", "k", "v2", wOf(3))
	w.expect("as a replica", w.show(r), "replica_failure unknown")
	if len(r.Failed) == 0 || r.Failed[0] != (quorum.Failure{Store: sidOf("a"), Reason: quorum.ReasonNoSpace}) {
		t.Errorf("failed %v", r.Failed)
	}
	w.expect("a stand-in takes it", w.put("b", "sloppy", "k", "v", wOf(3)).Receipt.String(), "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3")
	w.expect("delete with a context", w.show(w.del("a", "strict", "k", having(old))), "applied")
	w.expect("reads", w.show(w.get("a", "strict", "k", rOf(1))), "key_not_found")
	w.step(w.node("d"), Event{Space: No})
	w.expect("no room for hints", w.show(w.put("b", "sloppy", "k", "v2", wOf(3))), "replica_failure unknown")
	w.step(w.node("a"), Event{Space: Yes})
	w.step(w.node("d"), Event{Space: Yes})
	w.expect("again", w.show(w.put("a", "strict", "k", "v3", wOf(3))), "applied")
}
