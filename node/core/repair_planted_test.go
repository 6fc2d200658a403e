//go:build planted

package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// Each planted bug of repair shows in a small world; without it the world is right.
func TestPlantedRepairBugs(t *testing.T) {
	for bug, wrong := range map[plant.Bug]func(t *testing.T) bool{
		plant.TreeForgets:        missedDelete,
		plant.ExchangeBeforeSync: comparedAndLost,
		plant.ExchangeCutCounts:  cutOffCounts,
		plant.ExchangeOtherStage: comparedAcrossPurges,
		plant.MendFromOne:        mendedFromOne,
		plant.MismatchServed:     servesWhatIsWrong,
	} {
		shows(t, bug, wrong)
	}
}

// missedDelete: an owner misses a delete, and no hint is kept.
func missedDelete(t *testing.T) bool {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.put("a", "strict", "k", "v", wOf(3))
	w.run(time.Second)
	w.fate = cut(drop, "ab", "c", MsgWrite, MsgHint)
	w.del("a", "strict", "k")
	w.run(time.Second)
	w.fate = nil
	w.run(30 * time.Second)
	return w.alike() != nil
}

// comparedAndLost: a replica merges what it lacks, dies before it is durable, and has
// been taken for equal.
func comparedAndLost(t *testing.T) bool {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.run(time.Second)
	a, c := w.node("a"), w.node("c")
	c.holdSync = true
	w.put("a", "strict", "k", "v", wOf(2))
	w.run(100 * time.Millisecond)
	tickets := a.core.wantExchange(0, c.sid)
	w.step(a)
	w.run(5 * time.Second)
	met := a.core.exchangesMet(tickets)
	w.crash(c, false)
	return met
}

// cutOffCounts: the other end dies while it is compared.
func cutOffCounts(t *testing.T) bool {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.run(time.Second)
	a, c := w.node("a"), w.node("c")
	w.deaf = func(from, to *wnode, _ *Message) bool { return from == c || to == c }
	tickets := a.core.wantExchange(0, c.sid)
	w.step(a)
	w.run(500 * time.Millisecond)
	w.step(a, Event{Down: c.sid})
	return a.core.exchangesMet(tickets)
}

// mendedFromOne: the only one that answers lacks what the damaged one had acked.
func mendedFromOne(t *testing.T) bool {
	w := damagedWorld(t, time.Hour, (*disk).spoil)
	a := w.node("a")
	w.crash(w.node("b"), false)
	w.view("", "ac")
	w.get("a", "strict", "key-5", rOf(1))
	w.run(time.Minute)
	return len(a.disk.corrupt) == 0
}

// servesWhatIsWrong: an older record than its leaf row says, after the scrub has seen
// it and while nobody can mend it.
func servesWhatIsWrong(t *testing.T) bool {
	old := valueOf(3, 1, "something else")
	w := damagedWorld(t, 10*time.Second, func(d *disk, k rowKey) { d.records[k] = old })
	a := w.node("a")
	w.deaf = func(_, _ *wnode, _ *Message) bool { return true }
	w.fate = cut(drop, "bc", "a", MsgReadReply)
	w.run(30 * time.Second)
	r := w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key-5"), R: 1})
	return r.Code == OK && version.Same(r.Object, old)
}

// comparedAcrossPurges: the other end has purged, the lead has not heard of it.
func comparedAcrossPurges(t *testing.T) bool {
	w := newRepairWorld(t, "abc", repairState("abc", 1), nil)
	w.run(time.Second)
	a, c := w.node("a"), w.node("c")
	s := *w.ring.State
	w.ring = nil // nobody can be asked for one
	s.Version++
	s.Partitions = slices.Clone(s.Partitions)
	s.Partitions[0].Purge = &hashring.Purge{Generation: 1, TimeMS: 1}
	w.step(c, Event{Ring: hashring.NewRing(&s)})
	tickets := a.core.wantExchange(0, c.sid)
	w.step(a)
	w.run(5 * time.Second)
	return a.core.exchangesMet(tickets)
}
