package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A store that was away for longer than the log goes back takes a snapshot, in slices.
func TestStrongSnapshot(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.world.strong = strong.Options{LogEntries: 32, CutEntries: 8, SliceRows: 7}
	for _, n := range w.nodes {
		w.crash(n, true)
		w.start(n, true)
	}
	w.run(5 * time.Second)
	w.active()
	w.crash(w.node("c"), false)
	for i := range 120 {
		w.expect("put", strongShow(w.put("a", "s", fmt.Sprint("k", i%60), fmt.Sprint("v", i), w.key(byte(i)), in(10*time.Second))), "applied")
	}
	w.expect("deleted", strongShow(w.del("b", "s", "k7")), "applied")
	loads := 0
	w.onStep = func(_ *wnode, r *Ready) { loads += len(r.Loads) }
	w.start(w.node("c"), true)
	w.run(10 * time.Second)
	if loads < 60/7 {
		t.Errorf("%d slices were read", loads)
	}
	w.expect("there", strongShow(w.get("c", "s", "k5", at(LevelStale))), "v65")
	w.expect("not there", strongShow(w.get("c", "s", "k7", at(LevelStale))), "key_not_found")
	w.checkStrong()
	w.atRest()
}

// A learner gets everything, counts for nothing, and becomes a member by the two steps
// of a change of sets.
func TestStrongLearner(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.put("a", "s", "k", "v")
	d := sidOf("d")
	w.change(0, func(_ *hashring.Partition, conf *hashring.StrongConfig) { conf.Learners = []hashring.SID{d} })
	w.until("it has kept up", func() bool {
		return slices.ContainsFunc(w.said, func(word strong.Word) bool { return word.Kind == strong.LearnerReady && word.Prefer == d })
	})
	was := w.ring.Partitions[0].Strong.Sets[0]
	now := []hashring.SID{sidOf("a"), sidOf("b"), d}
	step := func(sets ...[]hashring.SID) {
		w.change(0, func(part *hashring.Partition, conf *hashring.StrongConfig) {
			part.Epoch++
			conf.Epoch, conf.Activated, conf.Sets, conf.Learners = part.Epoch, false, sets, nil
		})
		w.active()
		w.expect("a write", strongShow(w.put("d", "s", "k", fmt.Sprint(part0(w).Epoch))), "applied")
	}
	step(was, now)
	step(now)
	w.run(2 * time.Second)
	w.expect("it reads by itself", strongShow(w.get("d", "s", "k", at(LevelReplica))), fmt.Sprint(part0(w).Epoch))
	left := w.node("c").disk.strongPart(0)
	if n := len(left.gen(left.hard.Generation).values); n != 0 {
		t.Errorf("the store that has left holds %d values", n)
	}
	if left.hard.Promised < part0(w).Epoch {
		t.Error("the store that has left has promised nothing")
	}
	w.checkStrong()
}

func part0(w *strongWorld) *hashring.Partition { return &w.ring.Partitions[0] }

// A primary that the ring has as suspect leads no longer, and counts for nothing.
func TestStrongSuspectPrimary(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	w.put("a", "s", "k", "v")
	s := *w.ring.State
	s.Version++
	s.Stores = slices.Clone(s.Stores)
	s.Stores[0].State = hashring.StoreSuspect
	w.ring = hashring.NewRing(&s)
	w.push()
	w.until("another primary", func() bool { return part0(w).Primary != sidOf("a") && part0(w).Strong.Activated })
	w.expect("the others go on", strongShow(w.put("a", "s", "k", "w")), "applied")
	w.crash(w.node("b"), false)
	w.expect("not with the suspect alone", strongShow(w.put("c", "s", "k", "x", in(time.Second))), "write_quorum_timeout unknown")
}

// A store below its reserve of space takes deletes and no values: neither from clients,
// nor from a primary that has room, which then goes on with the others.
func TestStrongLowSpace(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	w.put("a", "s", "k", "v")
	w.step(w.node("a"), Event{Space: No})
	w.expect("a value", strongShow(w.put("b", "s", "k", "w")), "insufficient_storage not_applied")
	w.expect("a delete", strongShow(w.del("b", "s", "k")), "applied")
	w.step(w.node("a"), Event{Space: Yes})
	w.step(w.node("c"), Event{Space: No})
	for i := range 10 {
		w.expect("with the others", strongShow(w.put("b", "s", fmt.Sprint("k", i), "w")), "applied")
	}
	w.run(5 * time.Second)
	if n := w.node("c").core.Stats().Strong.NoRoom; n == 0 || part0(w).Strong.Epoch != 6 {
		t.Errorf("%d messages not taken, epoch %d", n, part0(w).Strong.Epoch)
	}
	w.step(w.node("c"), Event{Space: Yes})
	w.run(5 * time.Second)
	w.checkStrong()
}

// What waits for the disk is bounded at a follower too.
func TestStrongMaxOverlay(t *testing.T) {
	w := newStrongWorld(t, "abc", 1)
	w.active()
	c := w.node("c")
	c.holdSync = true
	for i := range 40 {
		w.expect("with the others", strongShow(w.put("a", "s", fmt.Sprint("k", i), "", sized(MaxValue))), "applied")
		w.run(10 * time.Millisecond)
	}
	if n := c.core.Stats(); n.OverlayBytes > MaxOverlay+3*MaxValue {
		t.Errorf("%d bytes wait for the disk", n.OverlayBytes)
	}
	w.release(c)
	w.run(20 * time.Second)
	w.checkStrong()
	w.atRest()
}

// The soonest of many wakes comes first, wherever it was moved.
func TestWakes(t *testing.T) {
	w := newWorld(t, "a", 1)
	var h wakes
	parts := make([]*strongPart, 50)
	for i := range parts {
		parts[i] = &strongPart{id: uint32(i)}
	}
	for range 5000 {
		p := parts[w.rng.IntN(len(parts))]
		h.set(p, time.Duration(w.rng.IntN(40)))
		want := time.Duration(0)
		for _, p := range parts {
			want = soonest(want, p.wake)
		}
		if h.next() != want {
			t.Fatalf("%v is next, want %v", h.next(), want)
		}
	}
}
