package sim

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// lossStories are of what is really lost: rows that nobody can read, and more stores than
// a partition can do without.
var lossStories = []story{
	{name: "F31 a promise that cannot be read", about: "its store says nothing of the partition, and is replaced when it can be", draw: strongly,
		bugs: []plant.Bug{plant.StrongDamageIsBlank}, tell: func(s *script) {
			old, lag, bad := s.lead(), s.follow()[0], s.follow()[1]
			s.made(old, "v1")
			s.run(time.Second)
			s.cut(lag, old)
			s.made(old, "v2") // at old and bad
			s.run(time.Second)
			was := bad.sid
			bad.damageHard(0)
			bad.kill(false)
			old.kill(true)
			s.mend(lag, old)
			bad.start()
			s.run(10 * time.Second)
			s.expect(s.sget(lag, within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
			s.expect(s.sget(lag, at(core.LevelQuorum), within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
			old.start()
			s.served()
			s.shows(s.away(), "v2")
			if !s.until(time.Minute, func() bool { return bad.sid != was && bad.up }) {
				s.fail("%s was not replaced", bad.name)
			}
			s.served()
			s.shows(s.away(), "v2")
		}},
	{name: "T5 two of three are gone", about: "what the third has goes on by an operator's word, under a new incarnation; the others come back as new stores", draw: strongly,
		tell: func(s *script) {
			old, gone := s.lead(), s.follow()
			first := s.made(old, "v1")
			s.run(2 * time.Second)
			for _, n := range gone {
				n.kill(true)
			}
			s.run(5 * time.Second)
			s.expect(s.sget(old, within(time.Second)), "primary_unavailable", "read_quorum_timeout", "quorum_unavailable")
			s.w.auth.change([]hashring.StrongChange{{Partition: 0, Epoch: s.epoch(), Kind: hashring.StrongRecover, Primary: old.sid, Stores: []hashring.SID{old.sid}}})
			s.served()
			s.shows(s.away(), "v1")
			if next := s.made(old, "v2"); next.Incarnation != first.Incarnation+1 {
				s.fail("version %v after %v", next, first)
			}
			for _, n := range gone {
				n.loseStore("wiped")
				n.start()
			}
			if !s.until(5*time.Minute, func() bool { return s.w.auth.whole() == "" && len(s.w.auth.state.Partitions[0].Strong.Sets[0]) == 3 }) {
				s.fail("the members are not three again: %s", s.w.auth.drawConfig(0))
			}
			s.served()
			s.shows(s.away(), "v2")
			if c := s.w.auth.state.Partitions[0].Strong; !c.PossibleLoss {
				s.fail("%s", s.w.auth.drawConfig(0))
			}
		}},
}
