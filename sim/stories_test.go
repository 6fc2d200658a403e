package sim

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// story is one scripted scenario. It must end well in the product, and badly with each
// of its bugs planted.
type story struct {
	name  string // with the scenario it plays, if it has a number
	about string
	bugs  []plant.Bug
	draw  func(d *Draw)
	tell  func(s *script)
}

func (st *story) play(o Options) *script {
	d := quiet()
	if st.draw != nil {
		st.draw(&d)
	}
	s := newScript(d, o)
	s.w.guard("the story", func() {
		st.tell(s)
		s.end()
	})
	return s
}

var basicStories = []story{
	{name: "F33 power cut after an ack", about: "all lose power in the moment of the ack, and the value is there afterwards",
		bugs: []plant.Bug{plant.AckBeforeSync}, tell: func(s *script) {
			s.acked(s.a, "sloppy", "v1")
			for _, n := range s.w.nodes {
				n.kill(true)
			}
			s.w.truth.durable("power loss")
			for _, n := range s.w.nodes {
				n.start()
			}
			s.run(2 * time.Second)
			s.expect(s.get(s.x, "sloppy"), "v1")
		}},
	{name: "own disk hangs", about: "a coordinator's own copy counts when it is on disk, not before", bugs: []plant.Bug{plant.OwnAckBeforeSync}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v0", onKey("other")) // moves the clock's bound, which the first stamp waits for
		s.hang(time.Second, s.a)
		c := s.ask(s.a, core.OpPut, "sloppy", "v1", wOf(core.All))
		s.run(300 * time.Millisecond)
		if c.done {
			s.fail("acked while a disk hangs")
		}
		s.expect(s.wait(c), "applied")
	}},
	{name: "two batches", about: "a batch that is durable says nothing of the next one", bugs: []plant.Bug{plant.SyncCountsAhead}, tell: func(s *script) {
		for i := range 5 {
			s.acked(s.a, "sloppy", "u"+string(rune('a'+i)), onKey("bound"))
			s.hang(50*time.Millisecond, s.a)
			one := s.ask(s.a, core.OpPut, "sloppy", "v"+string(rune('a'+i)), wOf(core.All), onKey("one"))
			s.run(2 * time.Millisecond)
			two := s.ask(s.a, core.OpPut, "sloppy", "w"+string(rune('a'+i)), wOf(core.All), onKey("two"))
			s.expect(s.wait(one), "applied")
			s.expect(s.wait(two), "applied")
		}
	}},
	{name: "reads while disks hang", about: "no read shows what is on no disk", bugs: []plant.Bug{plant.OwnReadBeforeSync, plant.ReadBeforeSync}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.hang(900*time.Millisecond, s.w.nodes...)
		put := s.ask(s.a, core.OpPut, "sloppy", "v2")
		s.run(20 * time.Millisecond)
		here, there := s.ask(s.a, core.OpGet, "sloppy", "", rOf(2)), s.ask(s.x, core.OpGet, "sloppy", "", rOf(1))
		s.wait(here)
		s.wait(there)
		s.expect(s.wait(put), "applied", "write_quorum_timeout unknown")
	}},
	{name: "F47 one stand-in for two owners", about: "a store counts once, whatever it stands in for", bugs: []plant.Bug{plant.StandInTwice}, tell: func(s *script) {
		s.down(s.b, s.c, s.y)
		s.expect(s.put(s.a, "sloppy", "v1", wOf(3)), "write_quorum_timeout unknown", "replica_failure unknown", "quorum_unavailable not_applied")
	}},
	{name: "F72 one ack heard twice", about: "acks count by store", bugs: []plant.Bug{plant.AckTwice}, tell: func(s *script) {
		s.hang(1900*time.Millisecond, s.c)
		s.w.onSend = func(a, _ *node, m *core.Message) verdict {
			if a == s.b && m.Kind == core.MsgWriteAck {
				c := *m
				s.w.do(20*time.Millisecond, func() { s.w.send(s.b, &c) })
			}
			return deliver
		}
		s.put(s.a, "strict", "v1", wOf(3))
	}},
	{name: "strict without owners", about: "in a strict write stand-ins count for nothing", bugs: []plant.Bug{plant.StrictCountsHints}, tell: func(s *script) {
		s.down(s.b, s.c)
		s.expect(s.put(s.a, "strict", "v1"), "write_quorum_timeout unknown", "replica_failure unknown", "quorum_unavailable not_applied")
	}},
	{name: "pw owners", about: "pw owners have it before the ack, whatever stands in", bugs: []plant.Bug{plant.PrimaryWritesWaived}, tell: func(s *script) {
		s.down(s.b, s.c)
		s.expect(s.put(s.a, "sloppy", "v1", wOf(2), pwOf(2)), "write_quorum_timeout unknown", "replica_failure unknown", "quorum_unavailable not_applied")
	}},
	{name: "D6 a start that nobody confirmed", about: "it gives no owner's word, and does not count its own copy",
		bugs: []plant.Bug{plant.UnconfirmedOwner, plant.UnconfirmedSelf}, tell: func(s *script) {
			s.down(s.b)
			s.w.auth.outage++
			s.cut(s.b, s.c, s.x, s.y)
			s.cut(s.a, s.c, s.x, s.y)
			s.b.start()
			s.run(time.Second)
			s.put(s.a, "strict", "v1", within(time.Second))
			s.get(s.a, "strict", within(time.Second))
			s.put(s.b, "strict", "v2", within(time.Second))
		}},
	{name: "F34 a sync fails once", about: "the process ends, and what it had not acked may be gone; what was acked is not", tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.a.disk.eio = true
		c := s.ask(s.a, core.OpPut, "sloppy", "v2")
		s.run(100 * time.Millisecond)
		if s.a.up {
			s.fail("the process lives on after its sync has failed")
		}
		s.wait(c)
		s.a.start()
		s.run(time.Second)
	}},
	{name: "F35 no space", about: "a store below its reserve refuses values and takes deletes", tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.a.space(+1)
		s.run(10 * time.Millisecond)
		s.expect(s.put(s.a, "sloppy", "v2"), "insufficient_storage not_applied")
		s.expect(s.del(s.a, "sloppy"), "applied")
		s.a.space(-1)
	}},
	{name: "old epoch", about: "a plan made under an older epoch is refused (W16)", bugs: []plant.Bug{plant.OldEpoch}, tell: func(s *script) {
		s.hush()
		s.a.deaf++
		s.w.auth.moveEpoch(0)
		s.run(100 * time.Millisecond)
		s.expect(s.put(s.a, "sloppy", "v1"), "applied", "replica_failure unknown", "write_quorum_timeout unknown")
		s.run(time.Second)
		s.acked(s.a, "sloppy", "v2")
	}},
	{name: "an overtaken ring state", about: "a node never goes back to an older ring state", bugs: []plant.Bug{plant.RingRegresses}, tell: func(s *script) {
		old := s.b.ring
		s.a.deaf++
		s.w.auth.moveEpoch(0)
		s.run(100 * time.Millisecond)
		s.b.tell(core.Event{Ring: old})
		s.run(time.Millisecond)
		s.put(s.a, "sloppy", "v1")
	}},
	{name: "F49 an actor that a crash has cut off", about: "what a crash has taken from its coordinator and others have keeps its name", bugs: []plant.Bug{plant.ActorSurvivesCrash}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v0", onKey("other")) // reserves the clock
		s.hang(100*time.Millisecond, s.a)
		s.acked(s.a, "sloppy", "v1")
		s.cutPower(s.a)
		s.a.start()
		s.run(time.Second)
		s.cut(s.a, s.b, s.c)
		s.acked(s.a, "sloppy", "v2", wOf(1))
	}},
	{name: "F50 siblings through one coordinator", about: "a write's answer covers no value that its client has not seen",
		bugs: []plant.Bug{plant.OneActor, plant.ContextTooWide, plant.EmptyContext}, tell: func(s *script) {
			s.acked(s.a, "sloppy", "v1")
			t := s.acked(s.a, "sloppy", "v2", fresh)
			s.acked(s.a, "sloppy", "v3", with(t))
			s.expect(s.get(s.b, "sloppy"), "v1 v3")
		}},
	{name: "a stale context", about: "a write replaces what its context has seen, and nothing else", bugs: []plant.Bug{plant.StaleContextWins}, tell: func(s *script) {
		t := s.acked(s.a, "sloppy", "v1")
		s.acked(s.a, "sloppy", "v2", fresh)
		s.acked(s.b, "sloppy", "v3", with(t))
		s.expect(s.get(s.c, "sloppy"), "v2 v3")
	}},
	{name: "two sides of a split", about: "writes on both sides are there afterwards",
		bugs: []plant.Bug{plant.JoinDropsConcurrent, plant.MergeReplaces}, tell: func(s *script) {
			s.cut(s.a, s.b, s.c, s.x, s.y)
			s.acked(s.a, "sloppy", "v1", wOf(1))
			s.acked(s.b, "sloppy", "v2")
			s.mend(s.a, s.b, s.c, s.x, s.y)
			s.run(15 * time.Second)
			s.expect(s.get(s.c, "sloppy", rOf(3)), "v1 v2")
		}},
	{name: "a replaced value at one owner", about: "a join drops what the other side has replaced", bugs: []plant.Bug{plant.JoinKeepsCovered}, tell: func(s *script) {
		t := s.acked(s.a, "sloppy", "v1")
		s.cut(s.c, s.a, s.b, s.x, s.y)
		s.acked(s.a, "sloppy", "v2", with(t))
		s.mend(s.c, s.a, s.b, s.x, s.y)
		s.run(15 * time.Second)
		s.expect(s.get(s.b, "sloppy", rOf(3)), "v2")
	}},
	{name: "a delete that one owner missed", about: "deleted stays deleted while a replica has the old value", bugs: []plant.Bug{plant.TombstoneDropped}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.down(s.c)
		s.expect(s.del(s.a, "sloppy"), "applied")
		s.c.start()
		s.run(15 * time.Second)
		s.expect(s.get(s.b, "sloppy", rOf(3)), "key_not_found")
	}},
	{name: "F71 a loop of writes with a stale context", about: "at the cap they are refused, and no sibling is dropped", bugs: []plant.Bug{plant.SiblingDropped}, tell: func(s *script) {
		for i := range core.MaxSiblings {
			s.acked(s.a, "sloppy", "v"+string(rune('A'+i)), fresh)
		}
		s.expect(s.put(s.a, "sloppy", "more", fresh), "sibling_limit not_applied")
		s.expect(s.put(s.a, "sloppy", "all of them", with(s.read(s.a, "sloppy"))), "applied")
	}},
	{name: "F53 a tombstone parked in a hint", about: "it arrives after the key was made anew, and takes nothing with it", bugs: []plant.Bug{plant.CountersDrift}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.down(s.c)
		s.expect(s.del(s.a, "sloppy"), "applied")
		s.keep(s.c, s.x, core.MsgHintPull)
		s.c.start()
		s.run(2 * time.Second)
		s.acked(s.a, "sloppy", "v2", wOf(3))
		s.letGo()
		s.run(10 * time.Second)
		s.expect(s.get(s.c, "sloppy", rOf(1)), "v2")
	}},
	{name: "a hint and its target's disk", about: "a hint goes when its target has it on disk", bugs: []plant.Bug{plant.HintDoneBeforeSync, plant.HintDroppedOnSend, plant.HintsNeverOffered}, tell: func(s *script) {
		s.down(s.c)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.c.start()
		s.run(500 * time.Millisecond)
		s.hang(5*time.Second, s.c)
		s.run(8 * time.Second)
	}},
	{name: "F78 a hint rewritten on its way", about: "the old hand-off's end does not take the new hint", bugs: []plant.Bug{plant.HintGeneration}, tell: func(s *script) {
		s.down(s.c)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.keep(s.c, s.x, core.MsgHintDone)
		s.c.start()
		s.run(10 * time.Second)
		if len(s.kept) == 0 {
			s.fail("no hint was handed off")
		}
		s.cut(s.c, s.a)
		s.cut(s.c, s.b)
		t := s.read(s.a, "sloppy")
		s.acked(s.a, "sloppy", "v2", wOf(3), with(t))
		s.letGo()
		s.run(100 * time.Millisecond)
	}},
	{name: "F78 a crash before the hint is dropped", about: "the hint comes a second time, and changes nothing", tell: func(s *script) {
		s.down(s.c)
		s.acked(s.a, "sloppy", "v1", wOf(3))
		s.hang(20*time.Second, s.x)
		s.c.start()
		s.run(10 * time.Second)
		s.down(s.x) // it knows that the hint is delivered, its disk does not
		s.hang(0, s.x)
		s.x.start()
		if s.x.eng.hintCount() != 1 {
			s.fail("%d hints after the crash", s.x.eng.hintCount())
		}
		s.acked(s.a, "sloppy", "v2")
		s.run(10 * time.Second)
		s.expect(s.get(s.c, "sloppy", rOf(3)), "v2")
	}},
	{name: "a hint of two coordinators", about: "a stand-in joins what it is given with what it keeps", bugs: []plant.Bug{plant.HintReplaced}, tell: func(s *script) {
		s.cut(s.x, s.a, s.b, s.c, s.y)
		s.cut(s.y, s.a, s.b, s.c)
		s.acked(s.x, "sloppy", "v1", wOf(1))
		s.mend(s.x, s.y)
		s.run(5 * time.Second)
		s.acked(s.y, "sloppy", "v2", wOf(2))
	}},
	{name: "F48 a stand-in hands off and stands in again", about: "its second dot covers nothing of its first", bugs: []plant.Bug{plant.FallbackKeepsActor}, tell: func(s *script) {
		s.cut(s.x, s.a, s.b, s.c, s.y)
		s.acked(s.x, "sloppy", "v1", wOf(1))
		s.mend(s.x, s.a, s.b, s.c)
		s.run(15 * time.Second)
		if s.x.eng.hintCount() != 0 {
			s.fail("%d hints are left", s.x.eng.hintCount())
		}
		s.cut(s.x, s.a, s.b, s.c)
		s.acked(s.x, "sloppy", "v2", wOf(1), fresh)
	}},
	{name: "a stand-in without room", about: "what it could not keep itself it never names as seen", bugs: []plant.Bug{plant.ActorAfterLostHint},
		draw: func(d *Draw) { d.HintBytes = 900 }, tell: func(s *script) {
			s.cut(s.x, s.a, s.b, s.c, s.y)
			s.cut(s.y, s.a, s.b, s.c)
			s.acked(s.x, "sloppy", "v0", wOf(1), onKey("filler"), func(r *core.Request) { r.Value = make([]byte, 180) })
			s.mend(s.x, s.y)
			s.run(5 * time.Second)
			s.put(s.x, "sloppy", "v1", wOf(1))
			s.put(s.x, "sloppy", "v2", wOf(1), fresh)
		}},
	{name: "F46 a session after a sloppy write", about: "an owner without it says so, and never answers with less", bugs: []plant.Bug{plant.SessionIgnored}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v0")
		s.cut(s.x, s.a, s.b, s.c)
		s.cut(s.y, s.a, s.b, s.c)
		t := s.acked(s.x, "sloppy", "v1", wOf(2), fresh)
		s.expect(s.get(s.a, "sloppy", rOf(1), after(t), within(time.Second)), "stale_replica", "read_quorum_timeout", "quorum_unavailable")
	}},
	{name: "a stand-in that holds nothing", about: "its silence is no reply", bugs: []plant.Bug{plant.FallbackAbsence}, tell: func(s *script) {
		s.acked(s.a, "sloppy", "v1")
		s.run(time.Second)
		s.down(s.b, s.c)
		s.expect(s.get(s.a, "sloppy", rOf(2), within(time.Second)), "quorum_unavailable", "read_quorum_timeout")
	}},
	{name: "E11 a read that has shown it", about: "strict reads never go back to before a write that was never acked", bugs: []plant.Bug{plant.NoWriteBack}, tell: func(s *script) {
		s.acked(s.a, "strict", "v1")
		s.lose(s.a, core.MsgWrite, core.MsgHint)
		s.hush()
		s.put(s.a, "strict", "v2", within(300*time.Millisecond))
		s.run(5 * time.Second)
		s.get(s.a, "strict", within(300*time.Millisecond))
		s.down(s.a)
		s.get(s.b, "strict")
	}},
	{name: "an owner that may have applied it", about: "nobody says not_applied any more", bugs: []plant.Bug{plant.NotAppliedForgets}, tell: func(s *script) {
		s.lose(s.a, core.MsgForwarded, core.MsgWrite, core.MsgHint)
		c := s.ask(s.x, core.OpPut, "strict", "v1")
		s.run(50 * time.Millisecond)
		s.down(s.b, s.c)
		s.expect(s.wait(c), "replica_failure unknown", "write_quorum_timeout unknown")
	}},
	{name: "a write sent twice", about: "the second time it is where it stands, and its answer covers nothing beside it",
		bugs: []plant.Bug{plant.ResentContext, plant.ResentMintedAgain}, tell: func(s *script) {
			s.acked(s.a, "sloppy", "v1", idOf(7))
			s.acked(s.a, "sloppy", "v2", fresh)
			t := s.acked(s.a, "sloppy", "v1", idOf(7))
			s.acked(s.a, "sloppy", "v3", with(t))
			s.expect(s.get(s.b, "sloppy"), "v2 v3")
		}},
}

// read reads and returns the token.
func (s *script) read(n *node, bucket string) *token {
	s.get(n, bucket)
	return s.token(bucket)
}

func (s *script) expectMissing(r *core.Reply) {
	if r == nil || r.Code != core.KeyNotFound {
		s.fail("%s, not key_not_found", show(r))
	}
}

// Every scenario that the code can reach, as a script.
func TestScenarios(t *testing.T) {
	for i := range stories {
		st := &stories[i]
		t.Run(st.name, func(t *testing.T) {
			s := st.play(Options{})
			if f := s.finding(); f != "" {
				t.Errorf("%s: %s", st.about, f)
			}
		})
	}
}
