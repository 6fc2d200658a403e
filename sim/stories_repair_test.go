package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Stories of convergence: stores that are built, exchange, hints with marks.

// wipe takes a node's store away and starts the node with an empty one.
func (s *script) wipe(n *node) {
	n.loseStore("wiped")
	n.start()
	s.run(5 * time.Second) // the silence of its old connections has been noticed by then
}

// block drops messages of a kind between two nodes, both ways, beside what stands already.
func (s *script) block(a, b *node, kinds ...core.Kind) (undo func()) {
	before := s.w.onSend
	s.w.onSend = func(from, to *node, m *core.Message) verdict {
		for _, k := range kinds {
			if m.Kind == k && (from == a && to == b || from == b && to == a) {
				return drop
			}
		}
		if before != nil {
			return before(from, to, m)
		}
		return deliver
	}
	return func() { s.w.onSend = before }
}

// hush drops what nodes say to each other without a client's request: no exchange, no
// round, no mark.
func (s *script) hush() {
	before := s.w.onSend
	s.w.onSend = func(from, to *node, m *core.Message) verdict {
		switch m.Kind {
		case core.MsgExchange, core.MsgRoundAsk, core.MsgRoundWord, core.MsgMark, core.MsgMarkMet:
			return drop
		}
		if before != nil {
			return before(from, to, m)
		}
		return deliver
	}
}

// full waits until a node's store is full in all that it owns.
func (s *script) full(n *node, within time.Duration) bool {
	end := s.w.now + within
	done := func() bool {
		r := s.w.auth.ringAt(s.w.auth.state.Version)
		st, ok := r.Store(n.sid)
		if !ok || st.State != "up" {
			return false
		}
		for p := range r.Partitions {
			if _, building := r.Building(uint32(p), n.sid); building {
				return false
			}
		}
		return true
	}
	for s.w.now < end && !s.w.failed() && !done() {
		s.run(100 * time.Millisecond)
	}
	return done()
}

// alike waits until the owners of a key hold the same on disk.
func (s *script) alike(bucket, key string, within time.Duration) bool {
	return s.until(within, func() bool { return s.same(bucket, key) })
}

func (s *script) until(within time.Duration, done func() bool) bool {
	for end := s.w.now + within; s.w.now < end && !s.w.failed() && !done(); {
		s.run(100 * time.Millisecond)
	}
	return done()
}

// stories are all scripts.
var stories = slices.Concat(basicStories, faultStories, repairStories, purgeStories, strongStories, strongMoves, strongClients, strongSmall, strongLeases, strongReads, strongLogs, driftStories, overloadStories, lossStories)

var repairStories = []story{
	{name: "a store that is being built", about: "its acks and answers count for nothing until it is full",
		bugs: []plant.Bug{plant.BuildingCounts, plant.BuildingAnswers}, tell: func(s *script) {
			s.acked(s.a, "strict", "v1", wOf(3))
			undo := s.block(s.a, s.b, core.MsgExchange)
			also := s.block(s.b, s.c, core.MsgExchange)
			s.wipe(s.b)
			s.expect(s.get(s.b, "strict", rOf(1)), "v1")
			s.down(s.c)
			s.expect(s.put(s.a, "strict", "v2"), "write_quorum_timeout unknown", "replica_failure unknown", "quorum_unavailable not_applied")
			also()
			undo()
		}},
	{name: "F63 a dead owner rebuilt from one survivor", about: "the survivors agree before one of them is the source (E13)",
		bugs: []plant.Bug{plant.FillWithoutAccord}, tell: func(s *script) {
			s.acked(s.b, "strict", "v0", wOf(3))
			s.run(10 * time.Second)
			undo := s.block(s.a, s.c, core.MsgExchange)
			also := s.block(s.a, s.b, core.MsgWrite, core.MsgExchange)
			t := s.read(s.b, "strict")
			s.acked(s.b, "strict", "v1", with(t)) // at b and c
			s.w.auth.whole()
			s.b.loseStore("wiped")
			also()
			s.b.start()
			s.run(100 * time.Second) // a, the source, may not fill it alone
			undo()
			if !s.full(s.b, time.Minute) {
				s.fail("it is not full a minute later")
			}
			s.run(time.Second) // all know
			s.expect(s.get(s.a, "strict"), "v1")
		}},
	{name: "a store that nothing has reached", about: "it is full when its source's pass is complete, and not before (E13)",
		bugs: []plant.Bug{plant.FilledUnproven}, tell: func(s *script) {
			s.acked(s.a, "strict", "v1", wOf(3))
			undo := s.block(s.a, s.b, core.MsgExchange)
			also := s.block(s.b, s.c, core.MsgExchange)
			s.wipe(s.b)
			if s.full(s.b, 30*time.Second) {
				s.fail("it is full, and nothing has reached it")
			}
			also()
			undo()
			if !s.full(s.b, 2*time.Minute) {
				s.fail("it is not full two minutes later")
			}
		}},
	{name: "F55 a new owner and the purge clock", about: "it guards all but its own stream (E6b)",
		bugs: []plant.Bug{plant.StreamGuarded, plant.BuilderStrips}, tell: func(s *script) {
			s.acked(s.a, "sloppy", "v1", wOf(3), onKey("k"))
			s.acked(s.a, "sloppy", "v2", wOf(3), onKey("other"))
			s.expect(s.del(s.a, "sloppy", wOf(3), onKey("other")), "applied")
			if !s.purged(time.Minute) {
				s.fail("no purge")
			}
			undo := s.block(s.a, s.b, core.MsgExchange)
			also := s.block(s.c, s.b, core.MsgExchange)
			s.wipe(s.b)
			s.acked(s.a, "sloppy", "v3", fresh) // beside v1, which lies below the purge clock
			also()
			undo()
			if !s.full(s.b, time.Minute) {
				s.fail("it is not full a minute later")
			}
			s.expect(s.get(s.c, "sloppy", rOf(3)), "v1 v3")
		}},
	{name: "a replica that missed writes", about: "it has them without a read, and without hints (E12)", tell: func(s *script) {
		undo := s.block(s.a, s.c, core.MsgWrite, core.MsgHintPage)
		also := s.block(s.b, s.c, core.MsgWrite, core.MsgHintPage)
		for i := range 20 {
			s.acked(s.a, "strict", fmt.Sprint("v", i), onKey(fmt.Sprint("k", i)))
		}
		also()
		undo()
		s.w.onSend = nil
		for i := range 20 {
			if !s.alike("strict", fmt.Sprint("k", i), time.Minute) {
				s.fail("k%d differs a minute later", i)
				return
			}
		}
	}},
	{name: "a damaged record", about: "it is mended from its peers, and served by nobody until then (D4)", tell: func(s *script) {
		s.acked(s.a, "strict", "v1", wOf(3))
		for kt := range s.w.truth.keys { // order-free: there is one
			s.b.damage(0, recordKey(kt))
		}
		s.expect(s.get(s.b, "strict", rOf(1)), "v1")
		if !s.until(2*time.Minute, func() bool { return s.b.eng.damaged() == 0 }) {
			s.fail("it is damaged two minutes later")
		}
		if !s.alike("strict", "k", time.Second) {
			s.fail("the owners differ after the mending")
		}
	}},
	{name: "F62 a leaf row that does not fit its record", about: "it is found and set right", tell: func(s *script) {
		s.acked(s.a, "strict", "v1", wOf(3))
		s.run(5 * time.Second)
		s.down(s.b)
		s.b.rot(s.w.netRand)
		s.b.start()
		right := func() bool { return len(s.b.eng.parts[0].rotted) == 0 }
		if !s.until(5*time.Minute, right) {
			s.fail("it is wrong five minutes later")
		}
	}},
	{name: "F54 the stream of a fill that was begun anew", about: "what belongs to a closed session is refused (E7)", tell: func(s *script) {
		s.acked(s.a, "strict", "v1", wOf(3))
		s.b.loseStore("wiped")
		s.keep(s.a, s.b, core.MsgExchange)
		s.b.start()
		s.run(8 * time.Second)
		if len(s.kept) == 0 {
			s.fail("nothing was on its way")
		}
		s.w.auth.moveEpoch(0)
		s.run(time.Second)
		s.letGo()
		s.run(time.Second)
		if s.w.probe.n[pOldExchange] == 0 {
			s.fail("nothing came late")
		}
		if !s.full(s.b, 2*time.Minute) {
			s.fail("it is not full two minutes later")
		}
	}},
	{name: "F61 exchange during heavy writes", about: "what is on its way is no difference: hardly anything is shipped (E12)", tell: func(s *script) {
		for i := range 1500 {
			s.ask(s.a, core.OpPut, "sloppy", fmt.Sprint("v", i), wOf(3), onKey(fmt.Sprint("k", i%20)))
			s.run(10 * time.Millisecond)
		}
		shipped, led := uint64(0), uint64(0)
		for _, n := range s.w.nodes {
			st := n.shards[0].core.Stats().Repair
			shipped, led = shipped+st.Sent+st.Received, led+st.Led
		}
		if led < 3 || shipped > 20 {
			s.fail("%d exchanges shipped %d objects of 1500 writes", led, shipped)
		}
	}},
	{name: "hints over their budget", about: "the oldest go when the other owners have them and the target is marked (E3)",
		bugs: []plant.Bug{plant.DroppedUnmarked, plant.SweptUnheld}, draw: func(d *Draw) { d.HintBytes = 2000 }, tell: func(s *script) {
			s.down(s.b)
			undo := s.block(s.a, s.c, core.MsgWrite)
			for i := range 60 {
				s.put(s.a, "sloppy", fmt.Sprint("v", i), onKey(fmt.Sprint("k", i)))
			}
			undo()
			for i := range 40 {
				s.put(s.a, "sloppy", fmt.Sprint("w", i), onKey(fmt.Sprint("m", i)))
			}
			s.run(40 * time.Second)
			if s.w.probe.n[pHintDropped] == 0 {
				s.fail("no hint was dropped")
			}
			s.b.start()
		}},
	{name: "F57 a stamp far ahead", about: "no write far ahead of the clocks of its owners is taken in a last-write-wins bucket (E9)", bugs: []plant.Bug{plant.SkewTaken}, tell: func(s *script) {
		s.a.clock.offMS += 3_600_000
		s.expect(s.put(s.a, "lwwstrict", "v1"), "replica_failure unknown", "write_quorum_timeout unknown", "quorum_unavailable unknown", "clock_skew unknown")
	}},
	{name: "a write planned before its owner was lost", about: "its quorum is that of its plan, not of the ring that came meanwhile", tell: func(s *script) {
		s.w.auth.must(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "solo", Sloppy: true, N: 1}})
		s.run(time.Second)
		s.acked(s.x, "solo", "v0") // x has heard the owner's clock
		s.cut(s.x, s.a)
		s.run(1500 * time.Millisecond) // x tries again
		s.hush()
		s.ask(s.x, core.OpPut, "solo", "v1", within(8*time.Second))
		s.run(10 * time.Millisecond)
		s.a.loseStore("wiped")
		s.a.start()
		s.run(10 * time.Second)
		s.mend(s.x, s.a)
		s.w.onSend = nil
	}},
	{name: "a wiped owner's hints", about: "what was kept for the old store goes to its successor (E3)", tell: func(s *script) {
		s.down(s.b)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.wipe(s.b)
		if !s.full(s.b, time.Minute) {
			s.fail("it is not full a minute later")
		}
		if !s.until(time.Minute, func() bool { return s.x.eng.hintCount()+s.y.eng.hintCount() == 0 }) {
			s.fail("hints for the lost store are left")
		}
	}},
}

// purged waits until a round of the one partition is committed and walked: no
// tombstone is left at an owner.
func (s *script) purged(within time.Duration) bool {
	before := s.w.auth.purge(0).generation
	return s.until(within, func() bool {
		if s.w.auth.purge(0).generation == before {
			return false
		}
		for _, n := range []*node{s.a, s.b, s.c} {
			for _, o := range n.eng.parts[0].records { // order-free: any
				if isTombstone(o) {
					return false
				}
			}
		}
		return true
	})
}

// same tells whether all owners of a key hold the same on disk.
func (s *script) same(bucket, key string) bool {
	w := s.w
	ring := w.auth.ringAt(w.auth.state.Version)
	b, ok := ring.Bucket(bucket)
	if !ok {
		return false
	}
	p := ring.PartitionOf(hashring.Hash(bucket, []byte(key)))
	var one *version.Object
	for i, sid := range ring.Owners(p, ring.N(b, p)) {
		n := w.holder(sid)
		if n == nil {
			return false
		}
		o := n.eng.parts[p].records[recordKey{b.ID, key}]
		if i == 0 {
			one = o
		} else if !version.Same(one, o) {
			return false
		}
	}
	return true
}
