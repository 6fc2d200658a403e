package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongReads are stories of reads, and of refusals, which tell as much.
var strongReads = []story{
	{name: "a replica that lags", about: "it answers a validated read when it has applied what the primary has confirmed", draw: strongly,
		bugs: []plant.Bug{plant.StrongIndexIgnored}, tell: func(s *script) {
			s.tame()
			p, lag := s.lead(), s.follow()[0]
			s.made(p, "v1")
			s.run(time.Second)
			s.strongLost(p, strong.MsgAppend)
			lost := s.w.onSend
			s.w.onSend = func(a, b *node, m *core.Message) verdict {
				if b != lag {
					return deliver
				}
				return lost(a, b, m)
			}
			s.made(p, "v2")
			s.expect(s.sget(lag, at(core.LevelReplica), within(time.Second)), "v2", "read_quorum_timeout", "primary_unavailable")
		}},
	{name: "an index of an old primary", about: "a primary confirms that it is one before it tells a replica how far to read", draw: func(d *Draw) { strongly(d); d.Replicas = 5 },
		bugs: []plant.Bug{plant.StrongIndexUnconfirmed}, tell: func(s *script) {
			s.tame()
			old, with := s.lead(), s.follow()[0]
			s.made(old, "v1")
			s.run(time.Second)
			s.cutOff(old, with)
			old.deaf++
			with.deaf++
			s.moved(s.follow()[1])
			s.made(s.lead(), "v2")
			s.expect(s.sget(with, at(core.LevelReplica), within(time.Second)), "read_quorum_timeout", "primary_unavailable", "quorum_unavailable")
			old.deaf--
			with.deaf--
			s.mended(old, with)
		}},
	{name: "two questions of a replica", about: "a read does not join a question that left before it came", draw: strongly,
		bugs: []plant.Bug{plant.StrongIndexShared}, tell: func(s *script) { s.oldIndex(false) }},
	{name: "a question of a former life", about: "a restarted replica knows answers to what it asked before from those to its own", draw: strongly,
		bugs: []plant.Bug{plant.StrongIDsRepeat}, tell: func(s *script) { s.oldIndex(true) }},
	{name: "a quorum read and an open entry", about: "what may not be committed is not shown", draw: strongly,
		bugs: []plant.Bug{plant.StrongPeekOpen}, tell: func(s *script) {
			s.tame()
			p, has, lag := s.lead(), s.follow()[0], s.follow()[1]
			s.made(p, "v1")
			s.run(time.Second)
			s.cutOff(lag)
			s.strongLost(has, strong.MsgAppendAck)
			put := s.ask(p, core.OpPut, strongBucket, "v2", within(2*time.Second))
			s.run(100 * time.Millisecond)
			s.expect(s.sget(has, at(core.LevelQuorum), within(500*time.Millisecond)), "v1", "read_quorum_timeout", "primary_unavailable", "quorum_unavailable")
			s.w.onSend = nil
			s.mended(lag)
			s.wait(put)
		}},
	{name: "a quorum read of a lone replica", about: "it needs a majority", draw: strongly,
		bugs: []plant.Bug{plant.StrongPeekOne}, tell: func(s *script) {
			s.tame()
			lag := s.follow()[1]
			s.made(s.lead(), "v1")
			s.run(time.Second)
			s.cutOff(lag)
			s.made(s.lead(), "v2")
			s.expect(s.sget(lag, at(core.LevelQuorum), within(time.Second)), "read_quorum_timeout", "primary_unavailable", "quorum_unavailable")
			s.mended(lag)
		}},
	{name: "a read and the round under way", about: "a read is confirmed by a round that began after it came", draw: strongly,
		bugs: []plant.Bug{plant.StrongRoundBefore}, tell: func(s *script) {
			s.tame()
			old, next := s.lead(), s.follow()[0]
			s.made(old, "v1")
			s.run(time.Second)
			s.strongKeptTo(old, strong.MsgConfirmAck, strong.MsgAppendAck)
			one := s.ask(old, core.OpGet, strongBucket, "", within(3*time.Second))
			s.run(20 * time.Millisecond)
			s.w.onSend = func(a, b *node, _ *core.Message) verdict {
				if a == old || b == old {
					return drop
				}
				return deliver
			}
			old.deaf++
			s.moved(next)
			s.made(next, "v2")
			two := s.ask(old, core.OpGet, strongBucket, "", within(time.Second))
			s.run(time.Millisecond)
			s.letGo()
			s.cutOff(old)
			s.expect(s.wait(two), "read_quorum_timeout", "primary_unavailable", "quorum_unavailable")
			s.wait(one)
			old.deaf--
			s.mended(old)
		}},
	{name: "a refusal by an old primary", about: "what a refusal saw is confirmed", draw: strongly,
		bugs: []plant.Bug{plant.StrongRefusesUnconfirmed}, tell: func(s *script) {
			s.tame()
			old := s.lead()
			s.made(old, "v1")
			s.run(time.Second)
			s.cutOff(old)
			old.deaf++
			s.moved(s.follow()[0])
			v := s.made(s.lead(), "v2")
			if got := show(s.sput(old, "v3", ifMatch(v), within(time.Second))); got == "precondition_failed not_applied" {
				s.fail("it refuses what fits")
			}
			old.deaf--
			s.mended(old)
		}},
	{name: "a refusal by what is in flight", about: "a refusal waits until what it saw is committed", draw: strongly,
		bugs: []plant.Bug{plant.StrongRefusesAtOnce}, tell: func(s *script) {
			s.tame()
			p := s.lead()
			s.strongLost(p, strong.MsgAppend)
			one := s.ask(p, core.OpPut, strongBucket, "v1", within(2*time.Second))
			s.run(50 * time.Millisecond)
			if got := show(s.sput(p, "v2", ifNone, within(300*time.Millisecond))); got == "precondition_failed not_applied" {
				s.fail("it tells of what is not committed")
			}
			p.kill(true)
			s.w.onSend = nil
			s.moved(s.follow()[0])
			s.made(s.away(), "v3", ifNone)
			s.wait(one)
		}},
	{name: "two conditions on one version", about: "the second one is judged by what the first one will have made", draw: strongly,
		bugs: []plant.Bug{plant.StrongNoOverlay}, tell: func(s *script) {
			v := s.made(s.lead(), "v1")
			s.hang(100*time.Millisecond, s.follow()...)
			one, two := s.ask(s.lead(), core.OpPut, strongBucket, "v2", ifMatch(v)), s.ask(s.lead(), core.OpPut, strongBucket, "v3", ifMatch(v))
			s.expect(s.wait(one), "applied")
			s.expect(s.wait(two), "precondition_failed not_applied")
			s.shows(s.away(), "v2")
		}},
	{name: "a refusal that is repeated", about: "a request that was refused stays so, whatever the key holds later", draw: strongly,
		bugs: []plant.Bug{plant.StrongRefusalUnlogged}, tell: func(s *script) {
			s.made(s.lead(), "v1")
			id := s.key()
			s.expect(s.sput(s.lead(), "v2", ifNone, keyed(id)), "precondition_failed not_applied")
			s.expect(s.wait(s.ask(s.lead(), core.OpDelete, strongBucket, "")), "applied")
			s.expect(s.sput(s.lead(), "v2", ifNone, keyed(id)), "precondition_failed not_applied")
		}},
	{name: "a repeat within its window", about: "it is known for what it is to the window's end", draw: func(d *Draw) { strongly(d); d.Strong.Window = time.Minute },
		bugs: []plant.Bug{plant.StrongExpiresEarly}, tell: func(s *script) {
			id := s.key()
			s.made(s.lead(), "v1", keyed(id))
			s.run(20 * time.Second)
			for _, v := range values(5) {
				s.made(s.lead(), v)
				s.run(time.Second)
			}
			s.expect(s.sput(s.lead(), "v1", keyed(id)), "applied")
			s.shows(s.away(), "w4")
		}},
	{name: "a value that fails its checksum", about: "its store does not answer from it, and mends it", draw: strongly,
		tell: func(s *script) {
			s.tame()
			bad := s.follow()[0]
			s.made(s.lead(), "v1")
			s.run(time.Second)
			bad.rotValue(s.w.load.rand)
			s.expect(s.sget(bad, at(core.LevelReplica), within(time.Second)), "v1", "read_quorum_timeout", "primary_unavailable", "quorum_unavailable")
			s.run(5 * time.Second)
			if n := bad.eng.damaged(); n > 0 {
				s.fail("%d values are damaged five seconds after a read", n)
			}
		}},
}

// oldIndex: an answer to a replica's question is late; meanwhile something is written
// that the replica does not have, and another read comes, to the same process or, after a
// restart, to the next one.
func (s *script) oldIndex(restart bool) {
	s.tame()
	p, lag := s.lead(), s.follow()[0]
	s.made(p, "v1")
	s.run(time.Second)
	s.strongKept(p, lag, strong.MsgReadIndexReply)
	one := s.ask(lag, core.OpGet, strongBucket, "", at(core.LevelReplica), within(2*time.Second))
	s.run(5 * time.Millisecond)
	kept := s.w.onSend
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if a == p && b == lag && holdsKind(m, []strong.MessageKind{strong.MsgAppend}) {
			return drop
		}
		if restart {
			return deliver
		}
		return kept(a, b, m)
	}
	if restart {
		lag.kill(false)
		lag.start()
		s.until(5*time.Second, func() bool { return lag.confirmed })
		s.run(100 * time.Millisecond)
		s.w.onSend = nil
		s.strongLost(p, strong.MsgAppend, strong.MsgReadIndexReply)
		lost := s.w.onSend
		s.w.onSend = func(a, b *node, m *core.Message) verdict {
			if b != lag {
				return deliver
			}
			return lost(a, b, m)
		}
	}
	s.made(p, "v2")
	two := s.ask(lag, core.OpGet, strongBucket, "", at(core.LevelReplica), within(time.Second))
	s.run(time.Millisecond)
	still := s.w.onSend
	s.letGo()
	s.w.onSend = still
	s.expect(s.wait(two), "v2", "read_quorum_timeout", "primary_unavailable")
	s.wait(one)
}
