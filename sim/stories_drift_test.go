package sim

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// driftStories are of values that change by themselves (D5).
var driftStories = []story{
	{name: "a value that is not what the log says", about: "a scrub finds it; from then on its store answers nothing and does not lead until it is mended (D5)", draw: strongly,
		bugs: []plant.Bug{plant.StrongScrubBlind, plant.StrongSumIgnored, plant.StrongDivergedServes, plant.StrongDivergedLeads}, tell: func(s *script) {
			s.tame()
			bad := s.follow()[0]
			s.made(s.lead(), "v1")
			s.run(3 * time.Second) // values go to the disk in strides
			old := s.valueOf(bad)
			s.made(s.lead(), "v2")
			s.run(3 * time.Second)
			s.putBack(bad, old)
			s.strongEdited(func(_, b *node, m *strong.Message) *strong.Message { // it cannot be mended yet
				if b == bad && (m.Kind == strong.MsgSnapReply || m.Kind == strong.MsgSnapOffer) {
					return nil
				}
				return m
			})
			s.run(2 * time.Minute)
			for _, l := range []core.Level{core.LevelReplica, core.LevelQuorum, core.LevelStale} {
				if got := show(s.sget(bad, at(l), within(time.Second))); got == "v1" {
					s.fail("a read of level %d shows %s", l, got)
				}
			}
			s.name(bad)
			s.run(2 * time.Second)
			if s.w.auth.state.Partitions[0].Strong.Activated {
				s.fail("it leads")
			}
			s.w.onSend = nil
			s.name(s.follow()[0])
			s.run(10 * time.Second)
			s.shows(bad, "v2")
		}},
	{name: "a snapshot of values that are not right", about: "a primary adds its own values up before another store has them: two that are wrong would outvote the third (D5)",
		draw: func(d *Draw) { strongly(d); d.Strong.LogEntries = 8 }, bugs: []plant.Bug{plant.StrongSnapshotUnproven}, tell: func(s *script) {
			right, bad, lag := s.wrongWhileOneLags()
			s.mended(lag)
			s.run(5 * time.Second) // lag takes what it lacks, if it is let
			s.moved(right)
			s.rightAgain(right, bad, lag)
		}},
	{name: "a primary that was wrong leads again", about: "it remembers that its values did not add up, and is not the one that others take theirs from (D5)",
		draw: func(d *Draw) { strongly(d); d.Strong.LogEntries = 8 }, bugs: []plant.Bug{plant.StrongStrayForgotten}, tell: func(s *script) {
			right, bad, lag := s.wrongWhileOneLags()
			s.run(time.Minute) // its scrub finds it, and it gives up
			if r := s.sget(bad, within(time.Second)); r != nil && r.Code == core.OK {
				s.fail("%s serves still", bad.name)
			}
			s.moved(bad)
			s.mended(lag)
			s.run(50 * time.Second)
			s.moved(right)
			s.rightAgain(right, bad, lag)
		}},
}

// valueOf is what a store has on its disk of the key, and putBack puts something else
// there behind its back.
func (s *script) valueOf(n *node) *strong.Value {
	return n.eng.parts[0].strong.values()[recordKey{s.w.strong.bucket, "k"}]
}

func (s *script) putBack(n *node, v *strong.Value) {
	n.eng.parts[0].strong.values()[recordKey{s.w.strong.bucket, "k"}] = v
	s.w.probe.hit(pDrifted)
}

// wrongWhileOneLags makes a store the primary whose value changes by itself, while another
// one lacks more than the log has.
func (s *script) wrongWhileOneLags() (right, bad, lag *node) {
	s.tame()
	right, bad, lag = s.lead(), s.follow()[0], s.follow()[1]
	s.made(right, "v1")
	s.run(3 * time.Second) // values go to the disk in strides
	old := s.valueOf(bad)
	s.made(right, "v2")
	s.cutOff(lag)
	for _, v := range values(60) { // the log is cut meanwhile
		s.made(right, v, onKey("other"))
	}
	s.run(3 * time.Second)
	s.putBack(bad, old)
	s.moved(bad)
	return right, bad, lag
}

// rightAgain expects the value that was written last at all three.
func (s *script) rightAgain(nodes ...*node) {
	s.run(20 * time.Second)
	s.shows(s.away(), "v2")
	for _, n := range nodes {
		if got := valueName(s.valueOf(n).Data); got != "v2" {
			s.fail("%s has %s", n.name, got)
		}
	}
}
