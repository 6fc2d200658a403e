package sim

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongStories are of strong mode: who leads, and what a write or a read may show.
var strongStories = []story{
	{name: "F01 an old primary goes on", about: "a primary that stood still with a sequenced write neither acks it as if nothing had happened nor answers a read",
		draw: strongly, bugs: []plant.Bug{plant.StrongNoConfirm, plant.StrongConfirmAny, plant.StrongOldEpoch}, tell: func(s *script) {
			old := s.lead()
			s.made(old, "v1")
			s.untold(old)
			s.cut(old, s.w.nodes...)
			put := s.ask(old, core.OpPut, strongBucket, "v2", within(time.Second))
			s.run(20 * time.Millisecond)
			old.pause(false)
			s.failsOver(old, 15*time.Second)
			s.made(s.lead(), "v3")
			old.resume()
			s.expect(s.sget(old, within(300*time.Millisecond)), "primary_unavailable", "read_quorum_timeout")
			get := s.ask(old, core.OpGet, strongBucket, "", within(3*time.Second))
			s.mend(old, s.w.nodes...)
			s.expect(s.wait(get), "primary_unavailable", "read_quorum_timeout", "v3")
			s.w.onSend = nil
			s.wait(put)
		}},
	{name: "F02 a primary that hears nothing", about: "it can send and not receive: somebody else leads within a bound, and it serves nobody", draw: strongly, tell: func(s *script) {
		old := s.lead()
		s.made(old, "v1")
		for _, n := range s.w.nodes {
			s.w.cutLink(n, old, 1)
		}
		s.failsOver(old, 15*time.Second)
		s.made(s.lead(), "v2")
		s.shows(s.away(), "v2")
		get := s.sget(old, within(time.Second))
		s.expect(get, "primary_unavailable", "read_quorum_timeout", "no answer")
	}},
	{name: "F04 a ring of majorities", about: "every node sees another majority, and one role commits", draw: strongly, tell: func(s *script) {
		ms := append([]*node{s.lead()}, s.follow()...)
		s.made(ms[0], "v1")
		s.cut(ms[0], ms[1])
		s.name(ms[1])
		one, two := s.ask(ms[0], core.OpPut, strongBucket, "v2", within(3*time.Second)), s.ask(ms[1], core.OpPut, strongBucket, "v3", within(3*time.Second))
		s.wait(one)
		s.wait(two)
		s.mend(ms[0], ms[1])
		s.served()
	}},
	{name: "F05 the only one that gossip calls alive", about: "a store that lags leads only with all that was acked", draw: strongly,
		bugs: []plant.Bug{plant.StrongNoPull, plant.StrongNoBarrier}, tell: func(s *script) {
			old, lag := s.lead(), s.follow()[1]
			s.tame()
			s.cut(lag, s.w.nodes...)
			for _, v := range values(5) {
				s.made(old, v)
			}
			s.mend(lag, s.w.nodes...)
			old.kill(true)
			s.name(lag)
			s.run(3 * time.Second)
			s.shows(s.away(), "w4")
		}},
	{name: "the longer log is the older one", about: "how far a log goes is told by its epoch first", draw: strongly,
		bugs: []plant.Bug{plant.StrongLongestLog}, tell: func(s *script) {
			s.tame()
			old, next := s.lead(), s.follow()[0]
			s.made(old, "v1")
			s.run(time.Second)
			s.cut(old, s.w.nodes...)
			var lost []*call
			for range 8 {
				lost = append(lost, s.ask(old, core.OpPut, strongBucket, s.value(), within(time.Second)))
			}
			s.run(100 * time.Millisecond)
			s.moved(next)
			s.made(next, "v2")
			next.kill(true)
			s.mend(old, s.w.nodes...)
			s.moved(old)
			s.shows(s.away(), "v2")
			for _, c := range lost {
				s.wait(c)
			}
		}},
	{name: "F07 an old entry replicated anew", about: "an entry of an older epoch commits only beneath one of the present", draw: strongly,
		bugs: []plant.Bug{plant.StrongOldEpochCommits, plant.StrongNoPrevCheck}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			s.made(ms[0], "v0")
			s.cutOff(ms[1], ms[2])
			lost := s.ask(ms[0], core.OpPut, strongBucket, "v1", within(time.Second)) // at a alone
			s.run(100 * time.Millisecond)
			ms[0].kill(true)
			s.mended(ms[1], ms[2])
			s.name(ms[2])
			s.strongLost(ms[2], strong.MsgAppend) // b has sealed, and gets nothing of c's epoch
			s.run(time.Second)
			other := s.ask(ms[2], core.OpPut, strongBucket, "v2", within(time.Second))
			s.run(200 * time.Millisecond)
			ms[2].kill(true)
			s.w.onSend = nil
			ms[0].start()
			s.run(2 * time.Second)
			s.name(ms[0])
			epoch := s.epoch()
			s.strongEdited(func(a, _ *node, m *strong.Message) *strong.Message { // b gets v1 anew, and nothing of the new epoch
				c := *m
				if a == ms[0] && m.Kind == strong.MsgAppend {
					c.Entries = slices.DeleteFunc(slices.Clone(m.Entries), func(e *strong.Entry) bool { return e.Epoch == epoch })
				}
				return &c
			})
			s.run(2 * time.Second)
			ms[0].kill(true)
			s.w.onSend = nil
			ms[2].start()
			s.run(2 * time.Second)
			s.moved(ms[2])
			s.wait(lost)
			s.wait(other)
			ms[0].start()
		}},
	{name: "F08 a primary numbers anew", about: "it sends before its own sync, dies, and gives no number of that epoch again", draw: strongly,
		bugs: []plant.Bug{plant.StrongOwnUnsynced, plant.StrongRestartLeads}, tell: func(s *script) {
			s.tame()
			old := s.lead()
			s.made(old, "v0")
			has, lacks := s.follow()[0], s.follow()[1]
			s.hang(time.Minute, old)
			s.cut(old, lacks)
			put := s.ask(old, core.OpPut, strongBucket, "v1", within(500*time.Millisecond))
			s.run(300 * time.Millisecond)
			s.cutPower(old)
			s.cut(old, has)
			s.mend(old, lacks)
			old.start()
			s.until(10*time.Second, func() bool { return s.w.link(old, lacks).up })
			s.run(time.Second)
			again := s.ask(old, core.OpPut, strongBucket, "v2", within(time.Second))
			s.wait(again)
			s.mend(old, has)
			s.wait(put)
			s.moved(s.follow()[0])
		}},
	{name: "F13 an append of an epoch that was promised away", about: "it is refused, however late it comes", draw: strongly,
		bugs: []plant.Bug{plant.StrongOldEpoch}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			v := s.made(ms[0], "v0")
			s.strongKept(ms[0], nil, strong.MsgAppend)
			put := s.ask(ms[0], core.OpPut, strongBucket, "v1", ifMatch(v), within(5*time.Second))
			s.run(50 * time.Millisecond)
			s.cutOff(ms[0])
			s.moved(ms[1])
			s.made(ms[1], "v2")
			s.mended(ms[0])
			s.letGo()
			s.run(time.Second)
			s.expect(s.wait(put), "precondition_failed not_applied") // it went on to the next primary
			s.shows(s.away(), "v2")
		}},
	{name: "F15 a follower restarts and leads", about: "it forgets nothing that it has acked, committed as far as it knows or not", draw: strongly,
		bugs: []plant.Bug{plant.StrongRestartTruncates}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			for _, v := range values(5) {
				s.made(ms[0], v)
			}
			s.run(time.Second)
			s.cutOff(ms[2])
			s.strongLostAfter(ms[0], ms[1]) // it acks, and does not hear that it is committed
			s.made(ms[0], "v1")
			ms[1].kill(true)
			ms[1].start()
			s.run(time.Second)
			ms[0].kill(true)
			s.w.onSend = nil
			s.mended(ms[2])
			s.moved(ms[1])
			s.shows(s.away(), "v1")
		}},
	{name: "F16 two judges", about: "two leaders of the group name a primary for one epoch, and one of them is too late", draw: strongly,
		bugs: []plant.Bug{plant.StrongNoSwap, plant.StrongEpochKept}, tell: func(s *script) {
			ms := s.follow()
			s.made(s.lead(), "v1")
			epoch := s.epoch()
			for _, n := range ms {
				s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: epoch, Kind: hashring.StrongPrimary, Primary: n.sid}})
			}
			if s.lead() != ms[0] {
				s.fail("the second judge's primary was taken too")
			}
			s.served()
			s.made(s.away(), "v2")
		}},
	{name: "F17 ten minutes without the group", about: "reads and writes go on", draw: strongly, tell: func(s *script) {
		s.made(s.lead(), "v1")
		s.w.auth.outage++
		for range 10 {
			s.run(time.Minute)
			s.made(s.away(), s.value())
			s.sget(s.away(), at(core.LevelLeader))
			s.expect(s.sget(s.a, at(core.LevelQuorum)), s.last)
			s.expect(s.sget(s.b, at(core.LevelReplica)), s.last)
		}
		s.w.auth.outage--
	}},
	{name: "F19 a read before the barrier", about: "a new primary answers no read before it knows what was committed", draw: strongly,
		bugs: []plant.Bug{plant.StrongNoBarrierWait}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			s.made(ms[0], "v1")
			s.run(time.Second)
			s.strongLostAfter(ms[0], ms[1]) // b has v2 in its log, and does not know that it is committed
			s.made(ms[0], "v2")
			s.name(ms[1])
			ms[0].kill(true)
			s.strongLost(ms[1], strong.MsgAppend)
			s.run(50 * time.Millisecond)
			get := s.ask(ms[1], core.OpGet, strongBucket, "", within(2*time.Second))
			s.run(500 * time.Millisecond)
			s.w.onSend = nil
			s.expect(s.wait(get), "v2", "primary_unavailable", "read_quorum_timeout")
		}},
	{name: "F20 a read of what failover drops", about: "no read at any level shows what is not committed", draw: strongly,
		bugs: []plant.Bug{plant.StrongReadsOverlay, plant.StrongApplyUncommitted, plant.StrongReplyEarly}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			s.made(ms[0], "v1")
			s.strongLost(ms[0], strong.MsgAppend)
			put := s.ask(ms[0], core.OpPut, strongBucket, "v2", within(time.Second))
			s.run(50 * time.Millisecond)
			s.expect(s.sget(ms[0], within(300*time.Millisecond), at(core.LevelStale)), "v1")
			s.expect(s.sget(ms[0], within(300*time.Millisecond)), "v1", "read_quorum_timeout", "primary_unavailable")
			ms[0].kill(true)
			s.w.onSend = nil
			s.moved(ms[1])
			s.shows(ms[2], "v1")
			s.wait(put)
		}},
}

// strongSmall are stories of the shard that drives a partition.
var strongSmall = []story{
	{name: "a primary's slow disk", about: "it answers from what it has staged, once a majority has it", draw: strongly,
		bugs: []plant.Bug{plant.StrongOverlayGone}, tell: func(s *script) {
			s.made(s.lead(), "v1")
			s.run(time.Second)
			s.hang(500*time.Millisecond, s.lead())
			s.made(s.lead(), "v2")
			s.expect(s.sget(s.lead()), "v2")
			s.made(s.lead(), "v3")
			s.expect(s.sget(s.lead()), "v3")
		}},
	{name: "a member that does not lead", about: "a read by the leader is done there, whoever is asked", draw: strongly,
		bugs: []plant.Bug{plant.StrongReadsHere}, tell: func(s *script) {
			for range 5 {
				s.made(s.lead(), s.value())
				s.expect(s.sget(s.follow()[0]), s.last)
				s.expect(s.sget(s.follow()[1]), s.last)
			}
		}},
	{name: "two batches of a strong partition", about: "a batch that is durable says nothing of the next one", draw: strongly,
		bugs: []plant.Bug{plant.StrongSyncedAhead, plant.StrongGateIgnored}, tell: func(s *script) {
			for i := range 12 {
				s.hang(30*time.Millisecond, s.w.nodes...)
				var calls []*call
				for range 8 { // some come while the batches of others are on their way
					calls = append(calls, s.ask(s.lead(), core.OpPut, strongBucket, s.value(), onKey("k"+s.last)))
					s.run(time.Duration(1+i) * time.Millisecond)
				}
				s.hang(30*time.Millisecond, s.w.nodes...)
				for _, c := range calls {
					s.wait(c)
				}
			}
		}},
	{name: "an answer that never comes", about: "a write without an id is not sent again", draw: strongly,
		bugs: []plant.Bug{plant.StrongResends}, tell: func(s *script) {
			s.made(s.lead(), "v1")
			s.lose(s.lead(), core.MsgForwarded)
			s.expect(s.sput(s.away(), "v2", within(3*time.Second)), "write_quorum_timeout unknown")
			s.w.onSend = nil
			s.shows(s.away(), "v2")
		}},
	{name: "no of one copy", about: "what one copy is refused for says nothing of another", draw: strongly,
		bugs: []plant.Bug{plant.StrongCopyIsNo}, tell: func(s *script) {
			p := s.lead()
			s.made(p, "v1")
			s.lose(p, core.MsgForwarded)
			put := s.ask(s.away(), core.OpPut, strongBucket, "v2", keyed(s.key()), within(3*time.Second))
			s.run(200 * time.Millisecond)
			p.space(+1)
			s.w.onSend = nil
			s.expect(s.wait(put), "primary_changed unknown", "applied")
			p.space(-1)
			s.shows(s.away(), "v2")
		}},
}
