package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// faultStories are of clocks, disks, processes and links.
var faultStories = []story{
	{name: "F57 F59 last write wins", about: "the greatest stamp stays, everywhere", bugs: []plant.Bug{plant.LWWByDot}, tell: func(s *script) {
		s.cut(s.a, s.b, s.c, s.x, s.y)
		for i, n := range []*node{s.a, s.b, s.b, s.a} { // the newest once on this side, once on the other
			s.acked(n, "lww", "split"+string(rune('0'+i)), onKey(string(rune('p'+i/2))), wOf(1))
			s.run(10 * time.Second)
		}
		s.mend(s.a, s.b, s.c, s.x, s.y)
		s.run(15 * time.Second)
		s.b.clock.offMS += 3600_000
		for i := range 18 {
			s.acked([]*node{s.a, s.b, s.c}[i%3], "lww", "v"+string(rune('a'+i)))
		}
		one, two := s.ask(s.a, core.OpPut, "lww", "at-once-1"), s.ask(s.c, core.OpPut, "lww", "at-once-2")
		s.wait(one)
		s.wait(two)
	}},
	{name: "F58 a clock back after a restart", about: "a store's stamps go on from where they were", bugs: []plant.Bug{plant.ClockForgetsBound}, tell: func(s *script) {
		s.acked(s.a, "lww", "v1", onKey("one"))
		s.down(s.a)
		s.a.clock.offMS -= 600_000
		s.a.start()
		s.run(2 * time.Second)
		s.acked(s.a, "lww", "v2", onKey("two"))
	}},
	{name: "E9 a stamp and its bound", about: "no stamp leaves before its bound is on disk", bugs: []plant.Bug{plant.StampBeforeBound}, tell: func(s *script) {
		s.hang(300*time.Millisecond, s.a)
		s.acked(s.a, "lww", "v1", onKey("one"))
		s.down(s.a)
		s.a.clock.offMS -= 600_000
		s.hang(0, s.a)
		s.a.start()
		s.run(2 * time.Second)
		s.acked(s.a, "lww", "v2", onKey("two"))
	}},
	{name: "a record that fails its checksum", about: "it is never taken for an absent one", bugs: []plant.Bug{plant.CorruptIsAbsent}, tell: func(s *script) {
		s.acked(s.a, "strict", "v1", wOf(3))
		s.down(s.a)
		s.a.flip(s.w.netRand)
		s.a.start()
		s.run(2 * time.Second)
		s.expect(s.get(s.a, "strict", rOf(1)), "v1")
		s.expect(s.put(s.a, "strict", "v2"), "applied")
		for _, n := range []*node{s.b, s.c} {
			s.expect(s.get(n, "strict"), "v2")
		}
	}},
	{name: "a value that has expired", about: "it is not shown, and it is not forgotten", bugs: []plant.Bug{plant.ExpiredShown, plant.ExpiredDropped}, tell: func(s *script) {
		s.cut(s.c, s.a, s.b, s.x, s.y)
		s.acked(s.a, "ttl", "v1", ttlOf(time.Second))
		s.run(2 * time.Second)
		s.expectMissing(s.get(s.a, "ttl"))
		s.mend(s.c, s.a, s.b, s.x, s.y)
		s.run(10 * time.Second)
		s.expectMissing(s.get(s.b, "ttl", rOf(3)))
	}},
	{name: "nobody answers", about: "a request is answered by its deadline all the same", bugs: []plant.Bug{plant.DeadlineForgotten}, tell: func(s *script) {
		s.run(10 * time.Second)
		s.w.onSend = func(_, _ *node, m *core.Message) verdict {
			if m.Kind == core.MsgRead {
				return drop
			}
			return deliver
		}
		s.expect(s.get(s.x, "strict", within(time.Second)), "read_quorum_timeout")
	}},
	{name: "F77 many hints at once", about: "after a long outage they are handed off, and the cluster answers meanwhile", tell: func(s *script) {
		s.down(s.c)
		for i := range 400 {
			s.acked(s.a, "sloppy", "v"+string(rune(0x4e00+i)), onKey("k"+string(rune(0x4e00+i))), wOf(3))
		}
		s.c.start()
		for i := range 20 {
			s.run(50 * time.Millisecond)
			s.acked(s.a, "sloppy", "w"+string(rune(0x4e00+i)), onKey("new"))
		}
		s.run(20 * time.Second)
		if n := s.x.eng.hintCount() + s.y.eng.hintCount(); n != 0 {
			s.fail("%d hints are left 20 s later", n)
		}
	}},
	{name: "E16 a forward that a stalled connection delivers late", about: "it undoes nothing that came after its write was answered", bugs: []plant.Bug{plant.LateForward}, tell: func(s *script) {
		t := s.acked(s.x, "sloppy", "v0") // x has heard of the owner just now
		s.w.cutLink(s.x, s.a, 1)          // for less than what ends a connection
		s.expect(s.put(s.x, "sloppy", "v1", with(t)), "applied")
		s.acked(s.c, "sloppy", "v2", with(s.read(s.c, "sloppy")))
		s.w.cutLink(s.x, s.a, -1)
		s.run(core.DefaultDeadline)
		s.expect(s.get(s.b, "sloppy", rOf(core.All)), "v2")
	}},
	{name: "a pause that outlives the request", about: "a forward that was read too late is not carried out over a newer write", tell: func(s *script) {
		s.a.pause(false)
		c := s.ask(s.x, core.OpPut, "sloppy", "v1")
		s.expect(s.wait(c), "applied")
		t := s.read(s.b, "sloppy")
		s.acked(s.b, "sloppy", "v2", with(t))
		s.run(core.DefaultDeadline)
		s.a.resume()
		s.run(10 * time.Second)
		s.expect(s.get(s.b, "sloppy", rOf(3)), "v2")
	}},
	{name: "a disk that tells late", about: "what is synced before its process knows is there after the process has died", tell: func(s *script) {
		s.a.disk.lateWord = time.Second
		c := s.ask(s.a, core.OpPut, "sloppy", "v1", wOf(1))
		s.run(40 * time.Millisecond)
		if !s.a.shards[0].onDisk || c.done {
			s.fail("synced %v, acked %v", s.a.shards[0].onDisk, c.done)
		}
		s.down(s.a)
		s.a.disk.lateWord = 0
		s.a.start()
		s.run(time.Second)
		s.expect(s.get(s.a, "sloppy", rOf(3)), "v1")
	}},
	{name: "writes that reach a bare quorum", about: "the owners left out have it from stand-ins or reads in the end", tell: func(s *script) {
		s.w.wire.sparse = 1
		for i := range 6 {
			s.acked(s.a, "sloppy", "v"+string(rune('a'+i)), fresh)
		}
		s.w.wire.sparse = 0
		s.run(10 * time.Second)
		s.expect(s.get(s.b, "sloppy", rOf(3)), "va vb vc vd ve vf")
	}},
	{name: "an authority outage and a restart", about: "a store that its peers confirm is an owner without the authority", tell: func(s *script) {
		s.w.auth.outage++
		s.down(s.b)
		s.b.start()
		s.run(2 * time.Second)
		s.down(s.c)
		s.expect(s.put(s.a, "strict", "v1"), "applied")
	}},
	{name: "a cloned store", about: "its copy never answers as an owner, and the store comes back (D6)", tell: func(s *script) {
		s.acked(s.b, "sloppy", "v1", wOf(3))
		s.down(s.b)
		copied := s.b.eng.clone()
		s.b.start()
		s.run(2 * time.Second)
		t := s.acked(s.a, "sloppy", "v2", wOf(3), with(s.token("sloppy")))
		s.b.startCopy(copied, s.b.store)
		if s.b.original == nil {
			s.fail("there is no copy")
		}
		s.expect(s.get(s.x, "sloppy", rOf(3), after(t), within(time.Second)), "v2", "read_quorum_timeout", "quorum_unavailable", "stale_replica")
		s.run(4 * time.Second)
		if !s.b.confirmed || s.b.original != nil || s.w.probe.n[pRolledBack] == 0 {
			s.fail("the copy was not refused, or the store is not back: confirmed %v", s.b.confirmed)
		}
		s.expect(s.get(s.x, "sloppy", rOf(3)), "v2")
	}},
	{name: "a rolled back store", about: "it is not let in again (D6)", tell: func(s *script) {
		image := s.b.eng.clone()
		s.down(s.b)
		s.b.start()
		s.run(2 * time.Second)
		s.down(s.b)
		s.b.eng = image
		s.b.start()
		s.run(2 * time.Second)
		if st, _ := s.w.auth.ringAt(s.w.auth.state.Version).StoreByNode(s.b.name); s.b.confirmed && st.SID == s.w.sids[s.b.idx] {
			s.fail("it runs")
		}
	}},
}
