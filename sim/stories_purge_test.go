package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// Stories of deletion: purge rounds, the guard, expiry.

// copyOf keeps a copy of the first message of a kind between two nodes, and lets it pass.
func (s *script) copyOf(from, to *node, k core.Kind) *kept {
	out := &kept{}
	before := s.w.onSend
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if out.m == nil && a == from && b == to && m.Kind == k {
			c := *m
			out.from, out.m = a, &c
		}
		if before != nil {
			return before(a, b, m)
		}
		return deliver
	}
	return out
}

// again sends a kept message once more.
func (s *script) again(k *kept) {
	if k.m == nil {
		s.fail("there was no such message")
		return
	}
	s.w.send(k.from, k.m)
	s.run(100 * time.Millisecond)
}

var purgeStories = []story{
	{name: "F51 a purge while somebody keeps the old value", about: "a round waits for every owner and every hint, and then they all forget", tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.down(s.c)
		s.expect(s.del(s.a, "sloppy"), "applied")
		s.run(2 * time.Minute)
		if s.w.auth.purge(0).generation != 0 {
			s.fail("a round passed without an owner")
		}
		s.c.start()
		if !s.purged(2 * time.Minute) {
			s.fail("no round passes when all are back")
		}
		s.expectMissing(s.get(s.c, "sloppy", rOf(3)))
	}},
	{name: "F52 a late copy after a purge", about: "what was purged is refused for ever (E6)", bugs: []plant.Bug{plant.NoGuard}, tell: func(s *script) {
		late := s.copyOf(s.a, s.c, core.MsgWrite)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.expect(s.del(s.a, "sloppy", wOf(3)), "applied")
		if !s.purged(2 * time.Minute) {
			s.fail("no round passes")
		}
		s.again(late)
		s.run(20 * time.Second)
		s.expectMissing(s.get(s.b, "sloppy", rOf(3)))
	}},
	{name: "F52 a late hint after a purge", about: "no read shows what only a stand-in still has of it (E6)", bugs: []plant.Bug{plant.NoReadGuard}, tell: func(s *script) {
		s.down(s.b)
		late := s.copyOf(s.a, s.x, core.MsgHint)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.b.start()
		s.run(10 * time.Second)
		s.expect(s.del(s.a, "sloppy", wOf(3)), "applied")
		if !s.purged(2 * time.Minute) {
			s.fail("no round passes")
		}
		s.down(s.b, s.c)
		s.again(late)
		if r := s.get(s.a, "sloppy", rOf(2)); r != nil && r.Code == core.OK {
			s.fail("a read shows %s", show(r))
		}
	}},
	{name: "F56 owners whose clocks differ", about: "what expires does so once, and for all alike (E8)", tell: func(s *script) {
		s.b.clock.offMS += 3000
		s.c.clock.offMS -= 3000
		s.acked(s.a, "ttl", "v1", wOf(3), ttlOf(5*time.Second))
		if !s.until(2*time.Minute, func() bool { return s.same("ttl", "k") && len(s.a.eng.parts[0].records) == 0 }) {
			s.fail("two minutes later it is still there: %v", s.a.eng.parts[0].records)
		}
		s.expectMissing(s.get(s.b, "ttl", rOf(3)))
	}},
	{name: "F74 a read while one owner has dropped the tombstone", about: "it shows nothing, and brings nothing back", tell: func(s *script) {
		s.acked(s.a, "strict", "v1", wOf(3))
		s.c.deaf++
		s.expect(s.del(s.a, "strict", wOf(3)), "applied")
		s.until(2*time.Minute, func() bool { return len(s.a.eng.parts[0].records) == 0 })
		s.expectMissing(s.get(s.c, "strict", rOf(3)))
		s.expectMissing(s.get(s.a, "strict", rOf(2)))
		s.c.deaf--
		s.run(30 * time.Second)
		s.expectMissing(s.get(s.b, "strict", rOf(3)))
	}},
	{name: "a session and a purge clock", about: "what a stand-in does not hold may live, whatever the clock says", tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1", wOf(3))
		t := s.token("sloppy")
		s.acked(s.a, "sloppy", "v2", wOf(3), onKey("other"))
		s.expect(s.del(s.a, "sloppy", wOf(3), onKey("other")), "applied")
		if !s.purged(2 * time.Minute) {
			s.fail("no round passes")
		}
		s.down(s.a, s.b, s.c)
		s.acked(s.x, "sloppy", "v3", wOf(1), fresh)
		if r := s.get(s.x, "sloppy", rOf(1), after(t), within(time.Second)); r != nil && r.Code == core.OK {
			s.fail("it shows %s to a session that has seen v1", show(r))
		}
		for _, n := range []*node{s.a, s.b, s.c} {
			n.start()
		}
		s.run(10 * time.Second)
		s.expect(s.get(s.b, "sloppy", rOf(3), after(t)), "v1 v3")
	}},
	{name: "a key created anew after its purge", about: "with an old context and without one", tell: func(s *script) {
		t := s.acked(s.a, "sloppy", "v1", wOf(3))
		s.expect(s.del(s.a, "sloppy", wOf(3)), "applied")
		if !s.purged(2 * time.Minute) {
			s.fail("no round passes")
		}
		s.acked(s.b, "sloppy", "v2", with(t), wOf(3))
		s.expect(s.get(s.c, "sloppy", rOf(3)), "v2")
		s.expect(s.get(s.c, "sloppy", rOf(1), after(t)), "v2")
		s.expect(s.del(s.c, "sloppy", wOf(3)), "applied")
		if !s.purged(2 * time.Minute) {
			s.fail("no second round passes")
		}
		s.acked(s.a, "sloppy", "v3", wOf(3))
		s.expect(s.get(s.b, "sloppy", rOf(3)), "v3")
	}},
	{name: "a purge and a restart", about: "an owner that died between the commit and its walk walks when it is back", tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.expect(s.del(s.a, "sloppy", wOf(3)), "applied")
		if !s.until(2*time.Minute, func() bool { return s.w.auth.purge(0).generation > 0 }) {
			s.fail("no round passes")
		}
		for _, n := range []*node{s.a, s.b, s.c} {
			n.kill(true)
		}
		for _, n := range []*node{s.a, s.b, s.c} {
			n.start()
		}
	}},
}
