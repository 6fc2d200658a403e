package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongClients are stories of requests, their ids and their outcomes.
var strongClients = []story{
	{name: "F22 a reply that was lost", about: "the repeat of an applied compare-and-set is told so, and not that it does not fit", draw: strongly,
		bugs: []plant.Bug{plant.StrongDedupeApplied, plant.StrongIDDropped}, tell: func(s *script) {
			s.hang(100*time.Millisecond, s.follow()...)
			both := s.key()
			one, two := s.ask(s.lead(), core.OpPut, strongBucket, "v0", keyed(both)), s.ask(s.lead(), core.OpPut, strongBucket, "v0", keyed(both))
			s.wait(one)
			s.wait(two)
			v := s.made(s.lead(), "v1")
			id := s.key()
			s.w.load.replyLost = 1
			s.sput(s.away(), "v2", ifMatch(v), keyed(id), within(time.Second))
			s.w.load.replyLost = 0
			s.expect(s.sput(s.away(), "v2", ifMatch(v), keyed(id)), "applied")
			s.shows(s.away(), "v2")
		}},
	{name: "F23 a repeat after somebody else's write", about: "it does nothing, also at a new primary", draw: strongly, tell: func(s *script) {
		old := s.lead()
		id := s.key()
		s.made(old, "v1", keyed(id))
		s.moved(s.follow()[0])
		s.made(s.lead(), "v2")
		s.expect(s.sput(s.away(), "v1", keyed(id)), "applied")
		s.shows(s.away(), "v2")
	}},
	{name: "F25 F75 a repeat after its window", about: "it is not carried out, and its outcome is unknown", draw: func(d *Draw) { strongly(d); d.Strong.Window = 10 * time.Second },
		bugs: []plant.Bug{plant.StrongExpiredRuns}, tell: func(s *script) {
			id := s.key()
			s.made(s.lead(), "v1", keyed(id))
			s.run(30 * time.Second)
			s.made(s.lead(), "v2")
			s.run(time.Second)
			s.made(s.lead(), "v3", onKey("other"))
			s.expect(s.sput(s.away(), "v1", keyed(id)), "idempotency_expired unknown")
			s.shows(s.away(), "v2")
		}},
	{name: "F26 a timeout is no failure", about: "a write that may be applied is unknown", draw: strongly, bugs: []plant.Bug{plant.StrongUnknownIsNo}, tell: func(s *script) {
		old := s.lead()
		s.made(old, "v1")
		s.strongLost(s.follow()[0], strong.MsgAppendAck)
		other := s.follow()[1]
		s.cut(other, old)
		put := s.ask(old, core.OpPut, strongBucket, "v2", within(time.Second))
		s.run(20 * time.Millisecond)
		if r := s.wait(put); r != nil && r.Outcome != core.Unknown {
			s.fail("a write without acks is answered %s", show(r))
		}
		s.w.onSend = nil
		s.mend(other, old)
	}},
	{name: "F27 F28 a primary's disk hangs", about: "it gives its role up, and is not named again at once", draw: strongly, tell: func(s *script) {
		old := s.lead()
		s.made(old, "v1")
		s.hang(time.Minute, old)
		put := s.ask(old, core.OpPut, strongBucket, "v2", within(500*time.Millisecond))
		from := s.w.now
		s.failsOver(old, 15*time.Second)
		took, epoch := s.w.now-from, s.epoch()
		s.wait(put)
		s.made(s.lead(), "v3")
		s.run(20 * time.Second)
		if s.lead() == old || s.epoch() > epoch+2 || took > 8*time.Second {
			s.fail("after %v another primary served; 20 s later it is %s, epoch %d was %d", took, s.lead().name, s.epoch(), epoch)
		}
	}},
	{name: "F30 a strong store from an older image", about: "it promises and attests nothing", draw: strongly, bugs: []plant.Bug{plant.StrongUnconfirmed}, tell: func(s *script) {
		old, b, c := s.lead(), s.follow()[0], s.follow()[1]
		s.made(old, "v1")
		image, store := b.eng.clone(), b.store
		b.kill(true)
		b.start()
		s.run(2 * time.Second)
		s.cutOff(c)
		s.made(old, "v2") // at old and b alone
		old.kill(true)
		s.w.auth.outage++
		b.rollBack(image, store)
		s.mended(c)
		s.w.auth.outage--
		b.deaf++ // nobody tells it what it is
		s.run(500 * time.Millisecond)
		s.name(c)
		s.run(2 * time.Second)
		s.expect(s.sget(c, within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
		b.deaf--
		for _, n := range s.w.nodes {
			n.start()
		}
		s.run(5 * time.Second)
		s.served()
		s.shows(s.away(), "v2")
	}},
	{name: "F31 a log damaged in the middle", about: "its store attests nothing: a log that is short or holed does not win", draw: strongly, tell: func(s *script) {
		old, lag, bad := s.lead(), s.follow()[0], s.follow()[1]
		s.made(old, "v1")
		s.run(time.Second)
		s.cut(lag, old)
		s.made(old, "v2")
		s.made(old, "v3")
		s.run(time.Second)
		bad.damageLog(0, bad.eng.parts[0].strong.lastIndex())
		bad.kill(false)
		old.kill(true)
		s.mend(lag, old)
		bad.start()
		s.run(5 * time.Second)
		s.expect(s.sget(lag, within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
		s.expect(s.sget(lag, at(core.LevelQuorum), within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
		old.start()
		s.served()
		s.run(2 * time.Second)
		s.shows(s.away(), "v3")
	}},
	{name: "F33 power cut after a strong ack", about: "what was acked is there", draw: strongly, bugs: []plant.Bug{plant.StrongAckUnsynced, plant.StrongGateIgnored}, tell: func(s *script) {
		s.made(s.lead(), "v1")
		s.hang(200*time.Millisecond, s.follow()...)
		put := s.ask(s.lead(), core.OpPut, strongBucket, "v2", within(time.Second))
		s.run(100 * time.Millisecond)
		acked := put.done
		for _, n := range s.w.nodes {
			n.kill(true)
		}
		for _, n := range s.w.nodes {
			n.start()
		}
		s.served()
		if acked {
			s.shows(s.away(), "v2")
		}
		s.wait(put)
	}},
	{name: "F38 power cut while values are held", about: "a start carries out again what has no row yet", draw: strongly, bugs: []plant.Bug{plant.StrongHeldBehind, plant.StrongCarriesHalf}, tell: func(s *script) {
		s.made(s.lead(), "v1")
		s.run(5 * time.Second)
		s.made(s.lead(), "v2")
		s.run(300 * time.Millisecond) // all have applied it
		s.moved(s.follow()[0])        // and all promise the next epoch
		s.run(200 * time.Millisecond)
		for _, n := range s.w.nodes {
			n.kill(true)
		}
		for _, n := range s.w.nodes {
			n.start()
		}
		s.served()
		s.shows(s.away(), "v2")
	}},
	{name: "F42 an eventual write into a strong key", about: "a replica takes none, nor a hint", draw: strongly, bugs: []plant.Bug{plant.StrongTakesWrites}, tell: func(s *script) {
		s.made(s.lead(), "v1")
		o := object(1, "v2")
		b := s.follow()[0]
		for _, k := range []core.Kind{core.MsgWrite, core.MsgHint} {
			s.w.send(s.away(), &core.Message{Kind: k, From: s.away().sid, To: b.sid, ID: 1, Bucket: s.w.strong.bucket, Key: []byte("k"), Object: o, Target: b.sid, Epoch: s.w.auth.state.Partitions[0].PlanEpoch(), RingVersion: s.w.auth.state.Version})
		}
		s.run(time.Second)
		for _, n := range s.w.nodes {
			if rows := &n.eng.parts[0]; len(rows.hints) > 0 || rows.records[recordKey{s.w.strong.bucket, "k"}] != nil {
				s.fail("%s keeps an eventual object of a strong key", n.name)
			}
		}
		s.shows(s.away(), "v1")
	}},
	{name: "F43 a primary's clock an hour off, and strobing", about: "no answer depends on it", draw: strongly, tell: func(s *script) {
		p := s.lead()
		for i := range 40 { // a jump within every write and every read
			by := int64(3600_000) * int64(1-2*(i%2))
			put := s.ask(s.away(), core.OpPut, strongBucket, s.value())
			s.run(time.Duration(i%5) * time.Millisecond)
			p.clock.offMS += by
			s.expect(s.wait(put), "applied")
			s.shows(s.away(), s.last)
		}
		for i, by := range []int64{3600_000, -7200_000, 3600_000} {
			s.made(p, s.value())
			p.clock.offMS += by
			s.made(p, s.value())
			s.shows(s.away(), s.last)
			if i == 1 {
				s.moved(s.follow()[0])
			}
		}
	}},
	{name: "F44 deleted and created anew", about: "an old version fits nothing", draw: strongly, bugs: []plant.Bug{plant.StrongNoCondition}, tell: func(s *script) {
		v := s.made(s.lead(), "v1")
		s.wait(s.ask(s.away(), core.OpDelete, strongBucket, "", ifMatch(v)))
		s.made(s.away(), "v2", ifNone)
		s.expect(s.sput(s.away(), "v3", ifMatch(v)), "precondition_failed not_applied")
		s.expect(s.wait(s.ask(s.away(), core.OpDelete, strongBucket, "", ifMatch(v))), "precondition_failed not_applied")
		s.shows(s.away(), "v2")
	}},
	{name: "F45 a primary that stood still for a minute", about: "no constant is outlived", draw: strongly, tell: func(s *script) {
		old := s.lead()
		s.made(old, "v1")
		put := s.ask(old, core.OpPut, strongBucket, "v2", within(30*time.Second))
		old.pause(true)
		s.failsOver(old, 15*time.Second)
		s.made(s.lead(), "v3")
		s.run(time.Minute)
		old.resume()
		s.wait(put)
		s.expect(s.sget(old), "v3", "v2") // its clock stood still too: the deadline had not passed
	}},
	{name: "F74 a tombstone that one peer dropped", about: "a quorum read goes by the log, not by the version of the key", draw: func(d *Draw) { strongly(d); d.Strong.LogEntries = 8 },
		bugs: []plant.Bug{plant.StrongPeekByVersion}, tell: func(s *script) {
			s.tame()
			lag := s.follow()[1]
			s.made(s.lead(), "v1")
			s.run(time.Second)
			s.cutOff(lag)
			s.wait(s.ask(s.lead(), core.OpDelete, strongBucket, ""))
			for _, v := range values(40) {
				s.made(s.lead(), v, onKey("other"))
			}
			s.met(pLogCut)
			if s.valueOf(s.follow()[0]) != nil || s.valueOf(lag) == nil {
				s.fail("the tombstone is not dropped at one peer alone")
			}
			s.lead().kill(true)
			s.mended(lag)
			s.expect(s.sget(s.away(), at(core.LevelQuorum), within(3*time.Second)), "key_not_found", "read_quorum_timeout", "primary_unavailable")
		}},
	{name: "F37 a crash between any two batches", about: "what is applied and how far agree", draw: strongly, tell: func(s *script) {
		for i := range 12 {
			n := s.w.nodes[i%len(s.w.nodes)]
			s.hang(time.Duration(i%4)*5*time.Millisecond, n)
			put := s.ask(s.lead(), core.OpPut, strongBucket, s.value(), within(300*time.Millisecond))
			s.run(time.Duration(i) * time.Millisecond)
			n.kill(i%2 == 0)
			s.run(50 * time.Millisecond)
			n.start()
			s.wait(put)
			s.run(time.Second)
		}
		s.met(pTornCommit)
	}},
	{name: "a write while its primary is moved", about: "without a request id too it is known what became of it", draw: strongly, tell: func(s *script) {
		s.tame()
		ms := append([]*node{s.lead()}, s.follow()...)
		s.made(ms[0], "v0")
		s.strongKeptTo(ms[0], strong.MsgAppendAck)
		put := s.ask(s.away(), core.OpPut, strongBucket, "v1", within(5*time.Second))
		s.run(50 * time.Millisecond)
		s.moved(ms[1])
		s.letGo()
		s.expect(s.wait(put), "applied")
		s.shows(s.away(), "v1")
	}},
	{name: "strong increments", about: "every retry is sent twice, and each counts once", draw: strongly, tell: func(s *script) {
		id := s.key()
		add := func(r *core.Request) { r.Delta, r.StrongID, r.Key = 1, id, []byte(counterKeys+"1") }
		for i := range 3 {
			r := s.wait(s.ask(s.w.nodes[i], core.OpIncrement, strongBucket, "", add))
			if r == nil || r.Outcome != core.Applied || r.Strong.Count != 1 || r.Strong.Again != (i > 0) {
				s.fail("increment %d is answered %s", i, show(r))
			}
		}
	}},
}
