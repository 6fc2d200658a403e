package core

import (
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// A deleted key is gone at every owner after a round, and one command of the ring did
// it; others stay.
func TestPurgeDropsEverywhere(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v")
	w.put("a", "sloppy", "stays", "v")
	w.del("b", "sloppy", "k")
	w.run(time.Second)
	w.expect("before it", w.everywhere("sloppy", "k"), "xxx-")
	w.purged("a round")
	w.expect("the deleted key", w.everywhere("sloppy", "k"), "----")
	w.expect("the other", w.everywhere("sloppy", "stays"), "vvv-")
	s := w.node("a").core.Stats()
	if w.rounds != 1 || s.Purge.Begun != 1 || s.Purge.Committed != 1 || s.Purge.Dropped != 1 || s.Tombstones != 0 {
		t.Errorf("%d rounds, %+v", w.rounds, s.Purge)
	}
	for _, n := range w.nodes {
		n.disk.checkCounters(t, n.name)
	}
	w.run(time.Minute)
	if w.rounds != 1 {
		t.Errorf("%d rounds where nothing waits", w.rounds)
	}
}

// F51, F52: the old value is still on its way, to an owner and to a stand-in, when the
// tombstone goes. It comes late and stays dead.
func TestPurgeThenALateCopy(t *testing.T) {
	for _, kind := range []Kind{MsgWrite, MsgHint} {
		w := newPurgeWorld(t, "abcd", 1)
		w.fate = cut(hold, "a", "bcd", kind)
		if kind == MsgHint {
			w.view("a", "abd")
		}
		w.put("a", "sloppy", "k", "v", wOf(1))
		w.run(100 * time.Millisecond)
		w.fate = nil
		w.view("", everybody)
		w.del("a", "sloppy", "k", rOf(1))
		w.purged("a round")
		if len(w.held) == 0 {
			t.Fatal("nothing is late")
		}
		w.letGo()
		w.run(5 * time.Second)
		w.expect("late "+kind.String(), w.everywhere("sloppy", "k"), "----")
		for _, at := range []string{"a", "b", "c", "d"} {
			w.expect("read at "+at, w.show(w.get(at, "sloppy", "k", rOf(1))), "key_not_found")
		}
		w.expect("no hint is left", w.keeps("d"), "")
	}
}

// halfRead is a read that has seen the value at one owner, a, and not asked another when
// the key is deleted.
func halfRead(t *testing.T) (*purgeWorld, *call) {
	w := newPurgeWorld(t, "abc", 1)
	w.put("a", "strict", "k", "v")
	w.run(time.Second)
	w.fate = cut(hold, "a", "bc", MsgRead)
	read := w.ask(w.node("a"), &Request{Op: OpGet, Bucket: "strict", Key: []byte("k"), Timeout: time.Minute})
	w.del("b", "strict", "k")
	return w, read
}

// A read has seen the value at one owner; before another one answers it is deleted, and the
// tombstone goes everywhere. What that owner has not any more must not make the value stand.
func TestPurgeOvertakesARead(t *testing.T) {
	w, read := halfRead(t)
	w.purged("a round")
	w.expect("the deleted key", w.everywhere("strict", "k"), "---")
	w.fate = nil
	w.letGo()
	w.expect("the read", w.show(w.wait(read)), "key_not_found")
}

// The same, at a coordinator that has not heard of the round: the replies tell that there
// is a newer ring, and it is waited for.
func TestPurgeOvertakesAReadUnheard(t *testing.T) {
	w, read := halfRead(t)
	w.deafTo = map[*wnode]bool{w.node("a"): true}
	w.until("a round", func() bool { return w.everywhere("strict", "k") == "x--" })
	w.fate = nil
	w.letGo()
	w.run(100 * time.Millisecond)
	if read.reply != nil {
		t.Fatalf("answered by an old ring: %s", w.show(read.reply))
	}
	w.step(w.node("a"), Event{Ring: w.ring})
	w.expect("the read", w.show(w.wait(read)), "key_not_found")
	if c := w.node("a").core; len(c.stalled) != 0 {
		t.Errorf("%d wait", len(c.stalled))
	}
}

// F53: a tombstone is parked in a hint while the key is written again. Until the hint
// is delivered there is no round; then the new value stays.
func TestPurgeWithAParkedTombstone(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v")
	w.run(100 * time.Millisecond)
	w.fate = noExchange // the store that is away sees the others
	w.view("", "abd")
	w.del("a", "sloppy", "k")
	w.run(3 * time.Second)
	w.expect("d keeps", w.keeps("d"), "c=x")
	w.expect("no round begins", w.status("a"), "none: store down c")
	w.expect("and the tombstone stays", w.everywhere("sloppy", "k"), "xxv-")
	w.fate = nil
	w.view("", everybody)
	w.put("a", "sloppy", "k", "new")
	w.purged("a round")
	w.expect("the new value", w.everywhere("sloppy", "k"), "newnewnew-")
	w.expect("read", w.show(w.get("c", "sloppy", "k", rOf(1))), "new")
}

// A hint that is not delivered keeps the round waiting, with the reason and the number.
func TestPurgeWaitsForHints(t *testing.T) { purgeWaitsForHints(t) }

func purgeWaitsForHints(t testing.TB) {
	w := newPurgeWorld(t, "abcde", 1)
	w.put("a", "sloppy", "gone", "v")
	w.del("a", "sloppy", "gone")
	w.view("a", "abde")
	w.put("a", "sloppy", "k", "v", wOf(3))
	w.fate = cut(drop, "d", "c", MsgHintNotice)
	w.view("", everybody)
	w.run(5 * time.Second)
	w.expect("with a hint at d", w.status("a"), "gather: hints undelivered d")
	if row := w.node("a").core.PurgeStatus().Rows[0]; row.Block.Count != 1 || row.For == 0 || row.Tombstones != 1 || !row.Never {
		t.Errorf("%+v", row)
	}
	w.fate = nil
	w.purged("the hint is delivered")
	w.expect("both keys", w.everywhere("sloppy", "gone")+w.everywhere("sloppy", "k"), "-----"+"vvv--")
}

// What keeps a round from beginning or going on is named.
func TestPurgeBlocks(t *testing.T) {
	for name := range purgeBlocks {
		t.Run(name, func(t *testing.T) { purgeIsBlocked(t, name) })
	}
}

var purgeBlocks = map[string]struct {
	do   func(w *purgeWorld)
	want string
}{
	"a store that stands in only is down": {func(w *purgeWorld) { w.view("", "abc") }, "none: store down d"},
	"an owner builds": {func(w *purgeWorld) {
		w.change(func(s *hashring.State) { s.Partitions[0].Building = []hashring.SID{sidOf("b")} })
	}, "none: store not in service b"},
	"a store is suspect": {func(w *purgeWorld) {
		w.change(func(s *hashring.State) { s.Stores[3].State = hashring.StoreSuspect })
	}, "none: store not in service d"},
	"a store is not confirmed": {func(w *purgeWorld) {
		w.crash(w.node("d"), false)
		w.start(w.node("d"), false)
	}, "gather: no report d"},
	"another boot is registered": {func(w *purgeWorld) { w.register(w.node("c"), 7) }, "none: members changed c"},
	"an exchange does not end":   {func(w *purgeWorld) { w.stall = "b" }, "pull: exchange unfinished b"},
	"Raft takes nothing":         {func(w *purgeWorld) { w.decide = func(Proposal) verdict { return lost } }, "none: commit refused \x00"},
	"the clock has no room": {func(w *purgeWorld) {
		w.change(func(s *hashring.State) {
			var k hashring.Clock
			for actor := uint64(1); k.Bytes() < hashring.MaxClockBytes-9; actor++ {
				k = append(k, hashring.Dot{Actor: actor << 32, Counter: 1})
			}
			s.Partitions[0].Purge = &hashring.Purge{Generation: 1, Clock: k, TimeMS: 1}
		})
	}, "none: purge clock full \x00"},
}

func purgeIsBlocked(t testing.TB, name string) {
	c := purgeBlocks[name]
	w := newPurgeWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v")
	w.del("a", "sloppy", "k")
	c.do(w)
	seen := ""
	for end := w.now + 20*time.Second; w.now < end && seen != c.want; w.run(100 * time.Millisecond) {
		seen = w.status("a")
	}
	w.expect("status", seen, c.want)
	w.run(5 * time.Second)
	if w.rounds != 0 || strings.Count(w.everywhere("sloppy", "k"), "x") != 3 {
		t.Errorf("%d rounds, %s", w.rounds, w.everywhere("sloppy", "k"))
	}
	s := w.node("a").core.Stats().Purge
	if s.Running+s.Waits() != 1 {
		t.Errorf("%+v", s)
	}
}

// A write, a delete or a value that expires after the survey is not touched by the
// round.
func TestPurgeLeavesWhatCameSince(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	for _, key := range []string{"gone", "written", "deleted"} {
		w.put("a", "sloppy", key, "v")
		w.del("a", "sloppy", key)
	}
	w.decide = func(Proposal) verdict {
		if w.rounds == 0 {
			w.decide = nil
			w.ask(w.node("b"), w.request(OpPut, "sloppy", "written", "new", nil))
			w.ask(w.node("c"), w.request(OpDelete, "sloppy", "deleted", "", nil))
		}
		return asItIs
	}
	w.until("the first round", func() bool { return w.rounds == 1 })
	w.run(300 * time.Millisecond)
	w.expect("after it", w.everywhere("sloppy", "gone")+w.everywhere("sloppy", "written")+w.everywhere("sloppy", "deleted"), "----"+"newnewnew-"+"xxx-")
	w.purged("the second one")
	w.expect("after that", w.everywhere("sloppy", "written")+w.everywhere("sloppy", "deleted"), "newnewnew-"+"----")
}

// A context from before the purge goes on working: for a write, a delete, a session.
func TestPurgeAndOldContexts(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	old := w.put("a", "sloppy", "k", "v")
	w.del("b", "sloppy", "k", having(old))
	w.purged("a round")
	w.expect("a session", w.show(w.get("c", "sloppy", "k", readAfter(old))), "key_not_found")
	w.expect("a delete", w.show(w.del("c", "sloppy", "k", having(old))), "applied")
	w.expect("a write", w.show(w.put("a", "sloppy", "k", "v2", having(old))), "applied")
	w.run(100 * time.Millisecond)
	w.expect("read", w.show(w.get("b", "sloppy", "k")), "v2")
	next := w.put("b", "sloppy", "k", "v3")
	w.run(100 * time.Millisecond)
	w.expect("and on", w.show(w.get("a", "sloppy", "k", readAfter(next))), "v3")
	w.run(time.Minute)
	w.expect("for good", w.everywhere("sloppy", "k"), "v3v3v3-")
}

// A node that dies between the commit and its walk goes over what it holds when it is
// back; one that dies in it, too.
func TestPurgeWalkAfterARestart(t *testing.T) {
	for _, during := range []bool{false, true} {
		w := newPurgeWorld(t, "abcd", 1)
		for _, key := range []string{"k1", "k2", "k3", "k4", "k5", "k6", "k7"} { // several slices
			w.put("a", "sloppy", key, "v")
			w.del("a", "sloppy", key)
		}
		c := w.node("c")
		if during {
			w.until("a walk at c", func() bool { return c.core.purge.walks > 0 })
			w.run(2 * time.Millisecond)
		} else {
			w.decide = func(Proposal) verdict { w.at(w.now, func() { w.crash(c, false) }); w.decide = nil; return asItIs }
			w.until("the commit", func() bool { return w.rounds == 1 })
		}
		if c.core != nil {
			w.crash(c, false)
		}
		w.run(time.Second)
		if n := w.node("c").disk.counters[0].Tombstones; n == 0 {
			t.Fatal("c had done it all")
		}
		w.register(c, c.boot+1)
		w.start(c, true)
		w.run(time.Second)
		if n := c.disk.counters[0].Tombstones; n != 0 || w.rounds != 1 {
			t.Errorf("during %v: %d tombstones are left at c, %d rounds", during, n, w.rounds)
		}
		c.disk.checkCounters(t, "c")
	}
}

// The ring state says it was applied before the word of it comes, or although the word
// is that it was not: the walk goes by the state.
func TestPurgeOfUnknownOutcome(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "v")
	w.del("a", "sloppy", "k")
	w.decide = func(Proposal) verdict { w.decide = nil; return unknown }
	w.purged("a round")
	w.expect("gone", w.everywhere("sloppy", "k"), "----")
	if w.rounds != 1 {
		t.Errorf("%d rounds", w.rounds)
	}
}

// F56, E8: owners whose clocks differ convert alike, by T. What is expired is not shown
// meanwhile, nor taken for nothing, and nobody copies it back.
func TestPurgeOfWhatExpired(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.node("a").skewMS, w.node("b").skewMS, w.node("c").skewMS = 400, -300, 0
	w.put("d", "sloppy", "k", "v", ttl(8*time.Second))
	w.put("d", "sloppy", "other", "v")
	w.del("d", "sloppy", "other")
	w.purged("a round before it expires")
	if w.rounds != 1 || w.now > 6*time.Second {
		t.Fatalf("%d rounds, %v", w.rounds, w.now)
	}
	w.expect("still there", w.everywhere("sloppy", "k"), "vvv-")
	for w.now < 8700*time.Millisecond { // by the clock of a, 9.1 s
		w.run(100 * time.Millisecond)
		w.expect("read", w.show(w.get("b", "sloppy", "k", rOf(1))), "v")
	}
	w.run(1100 * time.Millisecond)
	if r := w.get("b", "sloppy", "k"); r.Code != KeyNotFound || len(r.Context.Seen) == 0 {
		t.Errorf("expired, and not purged: %v %v", r.Code, r.Context)
	}
	w.until("nothing expiring is left", func() bool {
		n := uint64(0)
		for _, d := range w.nodes {
			n += d.core.Stats().Expiring + d.core.Stats().Tombstones
		}
		return n == 0
	})
	w.run(time.Second)
	w.expect("gone", w.everywhere("sloppy", "k"), "----")
	if s := w.node("a").core.Stats(); s.Purge.Dropped != 2 || w.rounds != 2 {
		t.Errorf("%d rounds, %+v", w.rounds, s.Purge)
	}
}

// E8: what expires between T and the walk waits for the next round, at everybody.
func TestPurgeLeavesWhatExpiredAfterT(t *testing.T) { purgeLeavesWhatExpiredAfterT(t) }

func purgeLeavesWhatExpiredAfterT(t testing.TB) {
	w := newPurgeWorld(t, "abcd", 1)
	w.ringDelay = func() time.Duration { return 3 * time.Second }
	w.put("a", "sloppy", "k", "v", ttl(4*time.Second))
	w.put("a", "sloppy", "other", "v")
	w.del("a", "sloppy", "other") // its context covers the dot of k
	w.until("the walks", func() bool { return w.everywhere("sloppy", "other") == "----" })
	w.expect("expired by any clock, and kept", w.everywhere("sloppy", "k"), "xxx-")
	w.until("the next round", func() bool { return w.everywhere("sloppy", "k") == "----" })
}

// An expired sibling beside a living one becomes a tombstone of the same dot, at all
// owners alike.
func TestPurgeConvertsASibling(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.put("a", "sloppy", "k", "short", emptyHanded, ttl(2*time.Second))
	w.put("b", "sloppy", "k", "long", emptyHanded)
	w.run(100 * time.Millisecond)
	before := w.node("b").disk.records[rowKey{partition: 0, bucket: 2, key: "k"}]
	w.until("it is converted", func() bool { return w.node("c").core.Stats().Purge.Converted > 0 })
	w.run(time.Second)
	hash := uint64(0)
	for _, n := range w.nodes[:3] {
		o := n.disk.records[rowKey{partition: 0, bucket: 2, key: "k"}]
		if len(o.Siblings) != 2 || o.Siblings[0].Tombstone == o.Siblings[1].Tombstone || hash != 0 && o.Hash() != hash {
			t.Errorf("%s: %v", n.name, o)
		}
		hash = o.Hash()
		n.disk.checkCounters(t, n.name)
	}
	w.expect("read", w.show(w.get("a", "sloppy", "k")), "long")
	late := version.Join(before, version.Write(before, nil, version.Sibling{Dot: version.Dot{Actor: 1, Counter: 1}, Value: []byte("late")}))
	w.step(w.node("b"), Event{Message: &Message{Kind: MsgWrite, From: sidOf("c"), RingVersion: w.ring.Version, Epoch: 5, Bucket: 2, Key: []byte("k"), Hash: hashring.Hash("sloppy", []byte("k")), Object: late}})
	w.run(time.Second)
	if n := w.node("b").core.Stats().Expiring; n != 0 {
		t.Errorf("a late copy has brought back what had expired: %v", w.node("b").disk.records[rowKey{partition: 0, bucket: 2, key: "k"}])
	}
	w.expect("read on", w.show(w.get("b", "sloppy", "k")), "late long")
}

// The report of what is staged leaves once it is synced (2.1 point 2).
func TestReportsWaitForTheirSync(t *testing.T) { reportsWaitForTheirSync(t) }

func reportsWaitForTheirSync(t testing.TB) {
	w := newPurgeWorld(t, "abcd", 1)
	b := w.node("b")
	b.holdSync = true
	w.put("a", "sloppy", "k", "v", wOf(1))
	w.run(10 * time.Millisecond)
	var words int
	w.fate = func(from, _ *wnode, m *Message) fate {
		if from == b && m.Kind == MsgRoundWord {
			words++
		}
		return deliver
	}
	for _, ask := range []*RoundWords{{Report: &antientropy.Report{Ask: 1}}, {Confirmation: &antientropy.Confirmation{Ask: 2}}} {
		w.step(b, Event{Message: &Message{Kind: MsgRoundAsk, From: sidOf("a"), RingVersion: 10, Epoch: 5, Round: ask}})
	}
	w.run(time.Second)
	if words != 0 {
		t.Fatal("it has left")
	}
	w.release(b)
	w.run(10 * time.Millisecond)
	if words != 2 {
		t.Errorf("%d words", words)
	}
}

// Who has heard of a newer ring than it knows answers under that one.
func TestAnswersWaitForTheNewestRing(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	b := w.node("b")
	ring := w.ring
	w.ring = nil // nobody can be asked for one
	w.step(b, Event{Message: &Message{Kind: MsgWriteAck, From: sidOf("d"), RingVersion: 11, Epoch: 5}})
	var words []*Message
	w.fate = func(from, _ *wnode, m *Message) fate { words = append(words, m); return drop }
	w.step(b, Event{Message: &Message{Kind: MsgRoundAsk, From: sidOf("a"), RingVersion: 10, Epoch: 5, Round: &RoundWords{Report: &antientropy.Report{Ask: 1}}}})
	if len(words) != 0 {
		t.Fatal("it answered under the old one")
	}
	s := *ring.State
	s.Version = 11
	w.step(b, Event{Ring: hashring.NewRing(&s)})
	if len(words) != 1 || words[0].RingVersion != 11 || words[0].Round.Report == nil {
		t.Errorf("%v", words)
	}
}

// A store registered while a round runs has not reported: the round ends, or the ring
// state refuses its commit.
func TestPurgeWithANewStore(t *testing.T) {
	w := newPurgeWorld(t, "abcde", 1)
	w.change(func(s *hashring.State) { s.Stores = s.Stores[:4] })
	w.run(10 * time.Millisecond)
	w.put("a", "sloppy", "k", "v")
	w.del("a", "sloppy", "k")
	w.decide = func(Proposal) verdict {
		w.decide = nil
		w.ringDelay = func() time.Duration { return 20 * time.Millisecond } // it is there before anybody knows
		w.change(func(s *hashring.State) {
			s.Stores = append(s.Stores, hashring.Store{SID: sidOf("e"), Node: "e", State: hashring.StoreUp, Boot: 1, FeatureMax: hashring.FeatureBuilding})
		})
		return asItIs
	}
	w.until("a refusal", func() bool {
		s := w.node("a").core.Stats().Purge
		return s.Aborted[antientropy.CommitRefused]+s.Aborted[antientropy.MembersMoved] > 0
	})
	if w.rounds != 0 {
		t.Error("it was committed")
	}
	w.purged("a round with the new store")
}

// A shard leads a bounded number of rounds at a time, and all partitions have theirs.
func TestPurgeRoundsAreBounded(t *testing.T) {
	w := newPurgeWorld(t, "abc", 3*maxRounds*2)
	for i := range 300 {
		key := string(rune('a'+i%26)) + string(rune('a'+i/26))
		w.put("a", "sloppy", key, "v")
		w.del("a", "sloppy", key)
	}
	most := 0
	w.until("all are purged", func() bool {
		left := uint64(0)
		for _, n := range w.nodes {
			most = max(most, len(n.core.purge.rounds))
			left += n.core.Stats().Tombstones + uint64(n.core.purge.walks)
		}
		return left == 0
	})
	if most != maxRounds {
		t.Errorf("%d rounds at a time", most)
	}
	for _, n := range w.nodes {
		if n.core.purge.surveys != 0 || n.core.purge.walks != 0 {
			t.Errorf("%s: %d surveys, %d walks", n.name, n.core.purge.surveys, n.core.purge.walks)
		}
	}
}

// Below the feature level of purge rounds nobody begins one.
func TestNoPurgeBelowItsLevel(t *testing.T) {
	w := newPurgeWorld(t, "abcd", 1)
	w.change(func(s *hashring.State) { s.Feature = hashring.FeatureBuilding - 1 })
	w.put("a", "sloppy", "k", "v")
	w.del("a", "sloppy", "k")
	w.run(time.Minute)
	w.expect("the tombstone stays", w.everywhere("sloppy", "k"), "xxx-")
	if s := w.node("a").core.Stats().Purge; s.Begun != 0 {
		t.Errorf("%+v", s)
	}
}
