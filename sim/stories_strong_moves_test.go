package sim

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongMoves are stories of changes of the sets.
var strongMoves = []story{
	{name: "F09 two replicas changed at once", about: "a set is replaced through a joint configuration, and never has two majorities apart", draw: strongly,
		bugs: []plant.Bug{plant.StrongSubstitutes, plant.StrongOneSetCommits, plant.StrongOneSetSeals}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			s.made(ms[0], "v1")
			s.cutOff(ms[0], ms[1])
			s.joins(ms[2], s.x, s.y)
			s.run(2 * time.Second)
			one := s.ask(ms[0], core.OpPut, strongBucket, "v2", within(2*time.Second))
			two := s.ask(ms[2], core.OpPut, strongBucket, "v3", within(2*time.Second))
			s.run(time.Second)
			three := s.ask(s.x, core.OpGet, strongBucket, "", within(2*time.Second))
			s.wait(one)
			s.wait(two)
			s.wait(three)
			s.mended(ms[0], ms[1])
			s.served()
			s.cutOff(ms[0], ms[1])
			four := s.sput(ms[2], "v4", within(2*time.Second))
			if s.w.auth.state.Partitions[0].Strong.Sets[0][0] == ms[0].sid {
				s.expect(four, "write_quorum_timeout unknown", "primary_changed unknown", "primary_unavailable not_applied")
			}
			s.mended(ms[0], ms[1])
			s.served()
			s.sget(s.x)
		}},
	{name: "F10 a joint configuration without activation", about: "it ends by going back, not by going on", draw: strongly,
		bugs: []plant.Bug{plant.StrongJointUnactivated, plant.StrongAbortForward}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			s.made(ms[0], "v1")
			s.cutOff(s.x, s.y)
			s.joins(ms[2], s.x, s.y)
			s.leaves(hashring.StrongSettle, ms[2])
			s.leaves(hashring.StrongAbort, ms[2])
			ms[2].kill(true)
			s.mended(s.x, s.y)
			s.name(s.w.bySID[s.w.auth.state.Partitions[0].Strong.Sets[0][1]])
			s.served()
			ms[2].start()
			s.shows(s.away(), "v1")
		}},
	{name: "F11 a learner", about: "it gets the log and counts for nothing", draw: strongly, bugs: []plant.Bug{plant.StrongLearnerCounts}, tell: func(s *script) {
		s.tame()
		old := s.lead()
		s.made(old, "v1")
		s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: s.epoch(), Kind: hashring.StrongLearners, Stores: []hashring.SID{s.away().sid}}})
		s.run(2 * time.Second)
		for _, n := range s.follow() {
			n.kill(true)
		}
		s.expect(s.sput(old, "v2", within(2*time.Second)), "write_quorum_timeout unknown", "primary_changed unknown")
		for _, n := range s.follow() {
			n.start()
		}
	}},
	{name: "F12 removed replicas", about: "a coordinator that knows only the old set reads nothing old from it", draw: strongly, bugs: []plant.Bug{plant.StrongPeekOldEpoch}, tell: func(s *script) {
		s.tame()
		ms := append([]*node{s.lead()}, s.follow()...)
		s.made(ms[0], "v1")
		s.run(time.Second)
		ms[1].deaf, ms[2].deaf = 1, 1
		s.cut(ms[1], ms[0], s.x, s.y)
		s.joins(ms[0], s.x, s.y)
		s.served()
		s.leaves(hashring.StrongSettle, ms[0])
		s.served()
		s.made(ms[0], "v2")
		s.expect(s.sget(ms[1], at(core.LevelQuorum), within(2*time.Second)), "read_quorum_timeout", "primary_unavailable", "quorum_unavailable", "v2")
		ms[1].deaf, ms[2].deaf = 0, 0
		s.mend(ms[1], ms[0], s.x, s.y)
	}},
	{name: "F24 a request id after a move", about: "a repeat is known to stores that came later", draw: func(d *Draw) { strongly(d); d.Strong.LogEntries = 8 },
		bugs: []plant.Bug{plant.StrongNoCompletion, plant.StrongNoDedupe, plant.StrongSnapshotForgets}, tell: func(s *script) {
			s.tame()
			ms := append([]*node{s.lead()}, s.follow()...)
			id := s.key()
			first := s.made(ms[0], "v1", keyed(id))
			for _, v := range values(60) { // the log is cut meanwhile
				s.made(ms[0], v)
			}
			s.met(pLogCut)
			s.joins(ms[2], s.x, s.y)
			s.served()
			s.leaves(hashring.StrongSettle, s.x)
			s.served()
			s.met(pSnapshot)
			if r := s.sput(s.x, "v1", keyed(id)); r == nil || r.Outcome != core.Applied || r.Strong.Version != first {
				s.fail("the repeat is answered %s, the first try made %v", show(r), first)
			}
			s.shows(s.away(), "w59")
		}},
	{name: "F29 a wiped store", about: "it is another store: it learns, and then takes the place", draw: strongly, tell: func(s *script) {
		old := s.lead()
		s.made(old, "v1")
		old.loseStore("wiped")
		s.run(3 * time.Second)
		old.start()
		s.failsOver(s.w.nodes[0], 0)
		s.run(40 * time.Second)
		if !s.w.auth.state.Partitions[0].Strong.IsMember(old.sid) {
			s.fail("the new store is no member after 40 s: %s", s.w.auth.drawConfig(0))
		}
		s.shows(s.away(), "v1")
	}},
	{name: "F38 a crash inside a snapshot", about: "the old state stands until the new one counts", draw: func(d *Draw) { strongly(d); d.Strong.LogEntries, d.Strong.SliceRows = 8, 1 }, tell: func(s *script) {
		s.tame()
		lag := s.follow()[1]
		for i, v := range values(6) {
			s.made(s.lead(), v, onKey("k"+string(rune('a'+i))))
		}
		slices := 0
		s.w.onSend = func(_, b *node, m *core.Message) verdict {
			if b == lag && holdsKind(m, []strong.MessageKind{strong.MsgSnapReply}) {
				slices++
			}
			return deliver
		}
		for round := range 8 {
			generation := lag.eng.parts[0].strong.hard.Generation
			s.cutOff(lag)
			for i, v := range values(40) {
				s.made(s.lead(), v+"r"+string(rune('a'+round)), onKey("k"+string(rune('a'+i%7))))
			}
			s.mended(lag)
			slices = 0
			s.w.runUntil(s.w.now+10*time.Second, func() bool { return slices > round })
			if slices == 0 || lag.eng.parts[0].strong.hard.Generation != generation {
				s.fail("round %d: %d slices of a snapshot, and generation %d", round, slices, lag.eng.parts[0].strong.hard.Generation)
			}
			s.run(2 * time.Millisecond)
			lag.kill(true)
			s.run(100 * time.Millisecond)
			lag.start()
			s.run(15 * time.Second) // it is there, and the log is not kept for it any more
		}
		s.run(5 * time.Second)
		s.met(pSnapshot)
		for i := 33; i < 40; i++ {
			s.expect(s.sget(lag, at(core.LevelReplica), onKey("k"+string(rune('a'+i%7)))), fmt.Sprintf("w%drh", i))
		}
	}},
	{name: "F39 RF 5, 3 and 5 again during partitions", about: "no count goes wrong", draw: func(d *Draw) { strongly(d); d.Replicas = 5 }, tell: func(s *script) {
		s.tame()
		ms := append([]*node{s.lead()}, s.follow()...)
		s.made(ms[0], "v0")
		s.cutOff(ms[4])
		s.joins(ms[0], ms[1], ms[2])
		s.served()
		s.leaves(hashring.StrongSettle, ms[0])
		s.served()
		s.cutOff(ms[1])
		s.made(ms[0], "v1") // two of three
		s.mended(ms[1])
		s.mended(ms[4])
		s.joins(ms...)
		s.served()
		s.leaves(hashring.StrongSettle, ms[0])
		s.served()
		if c := s.w.auth.state.Partitions[0].Strong; len(c.Sets) != 1 || len(c.Sets[0]) != 5 {
			s.fail("%s", s.w.auth.drawConfig(0))
		}
		s.cutOff(ms[1], ms[2])
		s.made(ms[0], "v2") // three of five
		s.cutOff(ms[3])
		s.expect(s.sput(ms[0], "v3", within(2*time.Second)), "write_quorum_timeout unknown", "primary_changed unknown")
		s.mended(ms[3])
		s.mended(ms[1], ms[2])
		s.moved(ms[4])
		if got := show(s.sget(ms[1])); got != "v2" && got != "v3" {
			s.fail("a read shows %s", got)
		}
	}},
	{name: "F39 RF 3, 1 and 3 again during partitions", about: "no count goes wrong", draw: strongly, tell: func(s *script) {
		s.tame()
		ms := append([]*node{s.lead()}, s.follow()...)
		s.made(ms[0], "v1")
		s.cutOff(ms[1])
		s.joins(ms[0])
		s.served()
		s.leaves(hashring.StrongSettle, ms[0])
		s.served()
		s.made(ms[0], "v2")
		s.mended(ms[1])
		s.joins(ms[0], ms[1], ms[2])
		s.cutOff(ms[2])
		s.served()
		s.leaves(hashring.StrongSettle, ms[1])
		s.served()
		s.made(ms[1], "v3")
		s.mended(ms[2])
		s.shows(s.away(), "v3")
	}},
	{name: "F40 a primary moved under load", about: "the old one answers nothing after the hand-over", draw: strongly, tell: func(s *script) {
		for i := range 8 {
			old := s.lead()
			var calls []*call
			for range 10 {
				calls = append(calls, s.ask(old, core.OpPut, strongBucket, s.value()), s.ask(s.away(), core.OpGet, strongBucket, ""))
			}
			s.run(time.Duration(i) * 3 * time.Millisecond)
			s.name(s.follow()[i%2])
			for _, c := range calls {
				s.wait(c)
			}
			s.served()
		}
	}},
	{name: "primaries after a rolling restart", about: "they come back to the nodes that were restarted", draw: func(d *Draw) { strongly(d); d.Partitions = 12 }, tell: func(s *script) {
		led := func() (least, most int) {
			by := map[*node]int{}
			for p := range s.w.auth.state.Partitions {
				by[s.w.bySID[s.w.auth.state.Partitions[p].Primary]]++
			}
			least = len(s.w.auth.state.Partitions)
			for _, n := range s.w.nodes {
				least, most = min(least, by[n]), max(most, by[n])
			}
			return least, most
		}
		for _, n := range s.w.nodes {
			n.kill(false)
			s.run(5 * time.Second)
			n.start()
			s.run(5 * time.Second)
		}
		if least, most := led(); least > 0 {
			s.fail("the node that was last leads %d, another %d", least, most)
		}
		s.run(90 * time.Second)
		if least, most := led(); most > least+1 {
			s.fail("after a while one node leads %d, another %d", least, most)
		}
		s.served()
		s.made(s.a, "on")
	}},
	{name: "F41 a node with many primaries dies", about: "all of its partitions serve again within a bound", draw: func(d *Draw) { strongly(d); d.Partitions = 300 }, tell: func(s *script) {
		old := s.w.nodes[0]
		old.kill(true)
		from := s.w.now
		behind := func() (n int) {
			for p := range s.w.auth.state.Partitions {
				part := &s.w.auth.state.Partitions[p]
				if part.Primary == old.sid || !part.Strong.Activated {
					n++
				}
			}
			return n
		}
		s.w.runUntil(from+30*time.Second, func() bool { return behind() == 0 })
		if n := behind(); n > 0 || s.w.now-from > 15*time.Second {
			s.fail("%d partitions without an active primary %v later", n, s.w.now-from)
		}
	}},
}
