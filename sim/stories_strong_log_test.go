package sim

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongLogs are stories of what a follower takes, cuts off and takes for committed.
var strongLogs = []story{
	{name: "a promise and a power cut", about: "what is attested is on disk: a store does not forget that it has promised", draw: strongly,
		bugs: []plant.Bug{plant.StrongSealUnsynced}, tell: func(s *script) {
			s.tame()
			old, next, both := s.lead(), s.follow()[0], s.follow()[1]
			s.made(old, "v1")
			s.run(time.Second)
			s.untold(old)
			s.cut(old, next)
			s.hang(time.Minute, both)
			s.name(next)
			s.run(300 * time.Millisecond)
			s.cutPower(both)
			s.cut(next, both)
			both.start()
			s.until(10*time.Second, func() bool { return both.confirmed && s.w.link(old, both).up })
			put := s.ask(old, core.OpPut, strongBucket, "v2", within(2*time.Second))
			s.run(time.Second)
			s.mend(next, both)
			s.run(5 * time.Second)
			s.wait(put)
			s.w.onSend = nil
			s.mend(old, next)
			old.deaf--
		}},
	{name: "an append that comes once more", about: "it is short by now, and cuts nothing off", draw: strongly,
		bugs: []plant.Bug{plant.StrongShortTruncates}, tell: func(s *script) {
			s.tame()
			p, has, lag := s.lead(), s.follow()[0], s.follow()[1]
			s.made(p, "v1")
			s.run(time.Second)
			s.cutOff(lag)
			s.strongCopied(p, has)
			s.made(p, "v2")
			s.kept = slices.DeleteFunc(s.kept, func(k kept) bool {
				return !slices.ContainsFunc(k.m.Strong, func(m *strong.Message) bool { return len(m.Entries) > 0 })
			})
			s.strongLostAfter(p, has)
			s.made(p, "v3")
			s.kept = s.kept[:1]
			s.letGo()
			s.strongLost(p, strong.MsgAppend)
			s.run(100 * time.Millisecond)
			p.kill(true)
			s.w.onSend = nil
			s.mended(lag)
			s.moved(has)
			s.shows(s.away(), "v3")
		}},
	{name: "a tail that nobody committed", about: "a follower commits what an append covers, and takes nothing that does not follow what it has", draw: strongly,
		bugs: []plant.Bug{plant.StrongCommitUnmatched}, tell: func(s *script) { s.tail(func(m *strong.Message) { m.Entries = nil }) }},
	{name: "an append that does not follow", about: "entries whose predecessor is another one are refused", draw: strongly,
		bugs: []plant.Bug{plant.StrongNoPrevCheck}, tell: func(s *script) {
			s.tail(func(m *strong.Message) {
				if len(m.Entries) > 1 {
					m.Prev, m.Entries = m.Entries[0].At(), m.Entries[1:]
				}
			})
		}},
}

// tail: an old primary comes back with entries that nobody else has, and the new one's
// appends to it are changed for a while.
func (s *script) tail(change func(m *strong.Message)) {
	s.tame()
	old, next := s.lead(), s.follow()[0]
	s.made(old, "v1")
	s.run(time.Second)
	quiet := true // nothing waits for the links to be mended
	s.strongEdited(func(a, b *node, m *strong.Message) *strong.Message {
		if quiet && (a == old || b == old) {
			return nil
		}
		c := *m
		if a == next && b == old && m.Kind == strong.MsgAppend {
			change(&c)
		}
		return &c
	})
	s.cut(old, s.w.nodes...)
	lost := s.ask(old, core.OpPut, strongBucket, "v2", within(time.Second))
	more := s.ask(old, core.OpPut, strongBucket, "v3", within(time.Second), onKey("other"))
	s.run(100 * time.Millisecond)
	s.moved(next)
	for _, v := range values(4) {
		s.made(next, v)
	}
	s.mend(old, s.w.nodes...)
	s.until(10*time.Second, func() bool { return s.w.link(old, next).up })
	quiet = false
	s.run(2 * time.Second)
	s.w.onSend = nil
	s.wait(lost)
	s.wait(more)
	s.shows(s.away(), "w3")
	s.expect(s.sget(old, at(core.LevelReplica)), "w3")
}
