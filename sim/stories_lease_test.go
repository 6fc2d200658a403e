package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// lending has stores lend their promise to primaries (S11).
func lending(d *Draw) {
	strongly(d)
	d.Strong.Lease = 2 * time.Second
}

// leased reads at the primary, which must hold a lease, and returns it.
func (s *script) leased() *node {
	s.tame()
	n := s.lead()
	s.made(n, "a")
	s.run(3 * time.Second)
	if r := s.sget(n, at(core.LevelLease)); r == nil || r.Strong == nil || r.Strong.Level != core.LevelLease {
		s.fail("%s answers %q, not by a lease", n.name, show(r))
	}
	return n
}

// strongLeases are stories of reads by a lease.
var strongLeases = []story{
	{name: "F03 a primary with a lease is cut off and suspended", about: "the next one waits for the lease; the old one wakes and knows by the clock that ran on", draw: lending,
		bugs: []plant.Bug{plant.StrongLeaseMono}, tell: func(s *script) {
			old, next := s.leased(), s.follow()[0]
			s.cutOff(old)
			s.name(next)
			if r := s.sget(old, at(core.LevelLease)); show(r) != "a" {
				s.fail("a read by the lease shows %q", show(r))
			}
			old.pause(true)
			s.served()
			s.made(next, "b")
			c := s.ask(old, core.OpGet, strongBucket, "", at(core.LevelLease))
			old.resume()
			if r := s.wait(c); show(r) == "a" {
				s.fail("a read shows the past")
			}
		}},
	{name: "F32 a store that lent its promise starts anew", about: "it keeps to it: the next primary waits", draw: lending,
		bugs: []plant.Bug{plant.StrongLeaseForgotten}, tell: func(s *script) {
			old, next := s.leased(), s.follow()
			s.cutOff(old)
			for _, n := range next {
				n.kill(false)
				n.start()
			}
			s.run(300 * time.Millisecond) // and is confirmed
			s.name(next[0])
			s.run(50 * time.Millisecond) // and has heard of it
			c := s.ask(next[0], core.OpPut, strongBucket, "b")
			written := func() bool { return c.done && c.reply != nil && c.reply.Outcome == core.Applied }
			s.w.runUntil(s.w.now+500*time.Millisecond, written)
			if was := written(); was && show(s.sget(old, at(core.LevelLease))) == "a" {
				s.fail("a read shows a, and b is written")
			}
			s.wait(c)
			s.served()
			s.mended(old)
		}},
	{name: "F40 a primary with a lease is moved", about: "the old one gives its lease back first, so the next one need not wait, and the old one answers nothing", draw: lending,
		bugs: []plant.Bug{plant.StrongLeaseKept}, tell: func(s *script) {
			old, away := s.leased(), s.away()
			next := s.follow()
			old.deaf++
			away.deaf++
			for _, sh := range old.shards { // as a stop in good order does
				sh.take(core.Event{Drain: true})
			}
			s.run(20 * time.Millisecond)
			for _, n := range next {
				s.w.cutLink(old, n, 1)
				s.w.cutLink(n, old, 1)
			}
			s.name(next[0])
			before := s.w.now
			s.served()
			if s.w.now > before+time.Second {
				s.fail("the next primary serves %v later", s.w.now-before)
			}
			s.made(next[0], "b")
			if got := show(s.sget(away, at(core.LevelLease), within(300*time.Millisecond))); got == "a" {
				s.fail("the old primary shows the past")
			}
		}},
}
