package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// purge commits a deletion round that covers everything minted so far, as far as the
// ring goes, and drops the keys that are tombstones from the owners' disks, as the walk
// after it does.
func (w *world) purge() {
	clock := version.Vector{}
	for _, n := range w.nodes {
		for _, o := range n.disk.records { // order-free: a join
			clock = clock.Join(o.Context)
		}
	}
	s := *w.ring.State
	s.Version++
	s.Feature = hashring.FeatureBuilding
	s.Partitions = slices.Clone(s.Partitions)
	for p := range s.Partitions {
		k := hashring.Clock{}
		for _, d := range clock {
			k = append(k, hashring.Dot{Actor: uint64(d.Actor), Counter: d.Counter})
		}
		s.Partitions[p].Purge = &hashring.Purge{Generation: 1, Clock: k}
	}
	w.ring = hashring.NewRing(&s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	for _, n := range w.nodes {
		for k, o := range n.disk.records { // order-free: each by itself
			if onlyTombstones(o) {
				p := n.core.part(k.partition)
				n.core.stageRecord(p, k.bucket, []byte(k.key), 0, o, nil)
			}
		}
		w.step(n)
	}
	w.run(100 * time.Millisecond)
}

// late delivers an object to a node as a write of another owner, and gives its answer.
func (w *world) late(to, bucket, key string, o *version.Object) quorum.Reason {
	w.t.Helper()
	b, _ := w.ring.Bucket(bucket)
	var got *Message
	was := w.fate
	w.fate = func(_, _ *wnode, m *Message) fate {
		if m.Kind == MsgWriteAck && m.ID == 77 {
			got = m
			return drop
		}
		return deliver
	}
	hash, from := hashring.Hash(bucket, []byte(key)), sidOf("a")
	if to == "a" {
		from = sidOf("b")
	}
	w.step(w.node(to), Event{Message: &Message{Kind: MsgWrite, From: from, To: sidOf(to), ID: 77, RingVersion: w.ring.Version,
		Epoch: w.ring.Partitions[0].Epoch, Bucket: b.ID, Key: []byte(key), Hash: hash, Object: o}})
	w.until("an ack", func() bool { return got != nil })
	w.fate = was
	return got.Reason
}

// stored is what a node's disk has of a key.
func (w *world) stored(at, bucket, key string) *version.Object {
	b, _ := w.ring.Bucket(bucket)
	o, _ := w.node(at).disk.Record(w.ring.PartitionOf(hashring.Hash(bucket, []byte(key))), b.ID, []byte(key))
	return o
}

// E6: what was deleted and purged is refused for ever by every owner, by whatever road
// it comes; the sender is told that it is done.
func TestPurgedStaysGone(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v", wOf(3))
	old := w.stored("a", "sloppy", "k")
	w.put("a", "sloppy", "live", "v", wOf(3))
	live := w.stored("a", "sloppy", "live")
	w.del("a", "sloppy", "k", wOf(3), rOf(3))
	tomb := w.stored("a", "sloppy", "k")
	w.run(time.Second)
	w.purge()
	w.expect("purged", w.has("a", "sloppy", "k")+w.has("b", "sloppy", "k")+w.has("c", "sloppy", "k"), "---")
	for _, n := range []string{"a", "b", "c"} {
		for _, o := range []*version.Object{old, tomb} {
			if why := w.late(n, "sloppy", "k", o); why != quorum.ReasonNone {
				t.Errorf("%s: %v", n, why)
			}
		}
		w.late(n, "sloppy", "live", live)
		w.expect("k", w.has(n, "sloppy", "k"), "-")
		w.expect("live", w.has(n, "sloppy", "live"), "v")
		if w.node(n).core.Stats().Guarded != 2 {
			t.Errorf("%s has counted %d", n, w.node(n).core.Stats().Guarded)
		}
	}
	w.expect("read", w.show(w.get("b", "sloppy", "k", rOf(All))), "key_not_found")
	w.expect("in the end", w.settle("sloppy", "k")+w.settle("sloppy", "live"), "key_not_foundv")
}

// F52: a hint with the old value that was kept all the time delivers nothing, and is
// dropped as done. A stand-in takes it raw, and a read does not show it (E6).
func TestALateHintStaysDead(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v", wOf(3))
	old := w.stored("a", "sloppy", "k")
	w.del("a", "sloppy", "k", wOf(3), rOf(3))
	w.purge()
	w.step(w.node("d"), Event{Message: &Message{Kind: MsgHint, From: sidOf("a"), RingVersion: w.ring.Version, Epoch: 5, Bucket: 2, Key: []byte("k"),
		Hash: hashring.Hash("sloppy", []byte("k")), Target: sidOf("b"), Object: old}})
	w.run(100 * time.Millisecond)
	w.expect("d keeps it", w.keeps("d"), "b=v")
	w.view("", "d")
	w.expect("no owner is there to tell", w.show(w.get("d", "sloppy", "k", rOf(1))), "quorum_unavailable")
	w.view("", "ad")
	w.expect("an owner is", w.show(w.get("d", "sloppy", "k", rOf(1))), "key_not_found")
	w.view("", everybody)
	w.run(5 * time.Second)
	w.expect("handed off, to no effect", w.keeps("d")+w.has("b", "sloppy", "k"), "-")
	w.expect("in the end", w.settle("sloppy", "k"), "key_not_found")
}

// F53: a key that was purged is made anew, by a client that has no context, one that has
// the context of its delete, and one whose context is from before; then the old objects
// arrive. The new values stay.
func TestAPurgedKeyIsMadeAnew(t *testing.T) {
	for what, opts := range map[string]func(put, del *Reply) []opt{
		"without a context":              func(_, _ *Reply) []opt { return nil },
		"with the context of the delete": func(_, del *Reply) []opt { return []opt{having(del)} },
		"with the context of the value":  func(put, _ *Reply) []opt { return []opt{having(put)} },
		"with one that has seen nothing": func(_, _ *Reply) []opt { return []opt{emptyHanded} },
	} {
		for _, at := range []string{"a", "b", "d"} {
			w := newWorld(t, "abcd", 1)
			first := w.put("a", "sloppy", "k", "v", wOf(3))
			old := w.stored("a", "sloppy", "k")
			gone := w.del("a", "sloppy", "k", wOf(3), having(first))
			tomb := w.stored("a", "sloppy", "k")
			w.purge()
			again := w.put(at, "sloppy", "k", "new", append(opts(first, gone), wOf(3))...)
			w.expect(what, w.show(again), "applied")
			for _, n := range []string{"a", "b", "c"} {
				w.late(n, "sloppy", "k", old)
				w.late(n, "sloppy", "k", tomb)
				w.expect(what+", at "+n, w.has(n, "sloppy", "k"), "new")
			}
			w.expect("its session", w.show(w.get("b", "sloppy", "k", readAfter(again))), "new")
			w.expect("the session from before", w.show(w.get("c", "sloppy", "k", readAfter(gone), rOf(1))), "new")
			w.expect(what+", in the end", w.settle("sloppy", "k"), "new")
		}
	}
}

// A session that has seen the delete is answered with absence after the purge.
func TestASessionOutlivesAPurge(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	first := w.put("a", "strict", "k", "v", wOf(3))
	gone := w.del("a", "strict", "k", wOf(3), having(first))
	w.purge()
	for _, need := range []Count{1, 2, All} {
		w.expect("after the delete", w.show(w.get("b", "strict", "k", readAfter(gone), rOf(need))), "key_not_found")
	}
	other := w.put("a", "strict", "k", "new", wOf(1))
	w.expect("what came since is waited for", w.show(w.get("b", "strict", "k", readAfter(other), rOf(1))), "new")
}

// A value that lives beside a purged one: an owner strips what was purged and keeps the rest.
func TestAnOwnerKeepsWhatLivesBesideThePurged(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "old", wOf(3))
	old := w.stored("a", "sloppy", "k")
	w.del("a", "sloppy", "k", wOf(3), rOf(3))
	w.purge()
	beside := version.Write(old, nil, version.Sibling{Dot: version.Dot{Actor: 99, Counter: 1}, Value: []byte("new")})
	w.late("b", "sloppy", "k", beside)
	w.expect("b", w.has("b", "sloppy", "k"), "new")
	w.expect("in the end", w.settle("sloppy", "k"), "new")
}

// E6b: to a store that is being built, absence says nothing. A write that brings a
// sibling from before the purge clock beside the new one must not be stripped there: its
// context would take the old value, which lives, from its source's copy when that comes.
func TestABuildingStoreDoesNotStrip(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.fate = noExchange // the stream is played by hand
	first := w.put("a", "sloppy", "k", "old", wOf(3))
	w.put("a", "sloppy", "gone", "v", wOf(3))
	dead := w.stored("a", "sloppy", "gone")
	w.del("a", "sloppy", "gone", wOf(3), rOf(3))
	w.purge()
	w.reshape(func(s *hashring.State) { // e takes c's place
		s.Partitions[0].Replicas = []hashring.SID{sidOf("a"), sidOf("b"), sidOf("e")}
		building("e")(s)
		state("c", hashring.StoreRetired)(s)
	})
	r := w.put("a", "sloppy", "k", "beside", emptyHanded)
	w.expect("put", w.show(r), "applied")
	w.run(2 * time.Second)
	w.expect("full owners", w.has("a", "sloppy", "k")+w.has("b", "sloppy", "k"), "beside oldbeside old")
	w.expect("e has refused it, a hint waits", w.has("e", "sloppy", "k")+w.keeps("d"), "-e=beside old")
	w.expect("the dead as well", w.late("e", "sloppy", "gone", dead).String(), "building")
	w.expect("what is wholly new is taken", w.show(w.put("b", "sloppy", "fresh", "v", wOf(2)))+w.has("e", "sloppy", "fresh"), "appliedv")
	b, _ := w.ring.Bucket("sloppy")
	raw := func(key string) {
		w.node("e").core.mergeRaw(0, b, []byte(key), hashring.Hash("sloppy", []byte(key)), w.stored("a", "sloppy", key))
	}
	raw("k") // the stream from its source is not guarded
	raw("fresh")
	w.step(w.node("e"))
	w.run(10 * time.Millisecond)
	w.expect("built", w.has("e", "sloppy", "k"), "beside old")
	w.reshape(building())
	w.run(5 * time.Second)
	w.expect("full: the hint has gone", w.keeps("d"), "")
	w.expect("and it guards as others do", w.late("e", "sloppy", "gone", dead).String()+w.has("e", "sloppy", "gone"), "none-")
	w.expect("in the end", w.settle("sloppy", "k"), "beside old")
	if got := w.show(w.get("e", "sloppy", "k", readAfter(first))); got != "beside old" {
		t.Errorf("the session: %s", got)
	}
}

// The clock is converted once for each commit.
func TestThePurgeClockIsConvertedOnce(t *testing.T) {
	w := newWorld(t, "abc", 1)
	c := w.node("a").core
	if c.purgeClock(0) != nil {
		t.Error("a clock before the first round")
	}
	w.put("a", "sloppy", "k", "v", wOf(3))
	w.del("a", "sloppy", "k", wOf(3), rOf(3))
	w.purge()
	first := c.purgeClock(0)
	if len(first) == 0 || !first.Valid() {
		t.Fatalf("clock %v", first)
	}
	w.reshape(func(*hashring.State) {})
	if again := c.purgeClock(0); &again[0] != &first[0] {
		t.Error("converted again for an unchanged purge")
	}
}
