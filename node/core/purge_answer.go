package core

import (
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	maxSurveys    = 8                          // at a time in a shard; a lead asks again
	maxSurveyRows = 64 << 10                   // of one; what is left is for the next round
	purgeSlice    = 4 * LoadSliceBytes         // of records that a slice walks over, about: most are passed by
	maxSeen       = hashring.MaxClockBytes / 9 // actors: more would not fit a purge clock
)

// onRoundAsk answers a lead. A store that has not been confirmed may be one that was
// rolled back: it says nothing (D6). Nor does one that has heard of a newer ring than
// it knows. That makes the answer speak for all that this store knows: had it taken a
// dot from a store that the lead does not count yet, the lead would hear of that ring.
func (c *Core) onRoundAsk(m *Message) {
	switch {
	case !c.purges() || c.out || m.Round == nil || !c.confirmed && !plant.Is(plant.ReportUnconfirmed):
	case c.heard > c.ring.Version:
		c.park(m)
	case m.Round.Report != nil:
		c.report(m)
	case m.Round.Confirmation != nil && m.Round.Survey:
		c.surveyFor(m)
	case m.Round.Confirmation != nil:
		c.confirm(m.From, m.Partition, m.Round.Confirmation.Ask, nil)
	}
}

// report says in one step what this store owes the partition and what it has minted.
// It leaves after all that it speaks of is synced: a hint that is gone stays gone, a
// dot that was minted is in this store's record.
func (c *Core) report(m *Message) {
	p := c.part(m.Partition)
	rep := &antientropy.Report{Ask: m.Round.Report.Ask, Boot: c.cfg.Starts, Epoch: c.ring.Partitions[p.id].PlanEpoch(),
		Generation: c.ring.Purge(p.id).Generation, Cut: p.cut(), WallMS: c.now.WallMS}
	if rep.Hints, rep.Marks = c.book.Pending(p.id); plant.Is(plant.PurgeSkipsHints) {
		rep.Hints, rep.Marks = 0, 0
	}
	seq := c.lastSeq
	if plant.Is(plant.ReportBeforeSync) {
		seq = 0
	}
	c.sendAfter(seq, &Message{Kind: MsgRoundWord, To: m.From, Partition: p.id, Round: &RoundWords{Report: rep}})
}

// cut is the highest counter that each of the partition's actors has minted here, what
// is only staged included.
func (p *part) cut() (v version.Vector) {
	for i := range p.actors {
		if a := &p.actors[i]; a.minted > 0 {
			v = append(v, version.Dot{Actor: a.name, Counter: a.minted})
		}
	}
	slices.SortFunc(v, version.Dot.Compare)
	return v
}

func (c *Core) confirm(to hashring.SID, partition uint32, ask uint64, seen version.Vector) {
	c.sendAfter(c.lastSeq, &Message{Kind: MsgRoundWord, To: to, Partition: partition, Round: &RoundWords{Survey: seen != nil, Confirmation: &antientropy.Confirmation{
		Ask: ask, Boot: c.cfg.Starts, Epoch: c.ring.Partitions[partition].PlanEpoch(), Generation: c.ring.Purge(partition).Generation, Seen: seen}}})
}

// survey reads what waits to be purged in one partition and joins its contexts.
type survey struct {
	part  *part
	from  hashring.SID
	ask   uint64
	seen  version.Vector
	after antientropy.Pos
	rows  int
	most  int
	end   func(*Core, *survey)
}

// surveyFor answers a lead's survey. The same question again is being answered; a newer
// one takes its place.
func (c *Core) surveyFor(m *Message) {
	p := c.part(m.Partition)
	ask := m.Round.Confirmation.Ask
	if s := p.rounds.survey; s != nil && s.from == m.From && s.ask == ask || c.purge.surveys >= maxSurveys {
		return
	}
	c.beginSurvey(p, &survey{from: m.From, ask: ask, most: maxSurveyRows, seen: version.Vector{}, end: func(c *Core, s *survey) {
		c.confirm(s.from, p.id, s.ask, s.seen)
	}})
}

func (c *Core) beginSurvey(p *part, s *survey) {
	s.part = p
	if p.rounds.survey == nil {
		c.purge.surveys++
	}
	p.rounds.survey = s
	s.read(c)
}

func (s *survey) read(c *Core) {
	l := Load{Kind: LoadPurgeable, Partition: s.part.id, LeafAfter: s.after, AtMS: c.now.WallMS, MaxRows: min(purgeRows, s.most), MaxBytes: LoadSliceBytes, Brief: true}
	c.purgeLoad(l, func(l *Loaded) {
		if s.part.rounds.survey == s { // else a newer one has taken its place
			s.loaded(c, l)
		}
	})
}

func (s *survey) loaded(c *Core, l *Loaded) {
	for i := range l.Rows {
		if o := l.Rows[i].Object; o != nil && len(s.seen)+len(o.Context) <= maxSeen {
			s.seen = s.seen.Join(o.Context)
		}
	}
	s.rows, s.after = s.rows+len(l.Rows), l.Last
	if l.Err == nil && l.More && s.rows < s.most {
		s.read(c)
		return
	}
	s.part.rounds.survey = nil
	c.purge.surveys--
	if l.Err == nil {
		s.end(c, s)
	}
}

// purgeLoad reads a slice when the pacer lets it. What a slice walks over is at most the
// partition, and the engine ends it after a few times its bytes.
func (c *Core) purgeLoad(l Load, then func(*Loaded)) {
	cost := int64(min(c.part(l.Partition).counters.Bytes, purgeSlice))
	c.pay(antientropy.ClassExchange, cost, func() {
		if len(c.loads) >= MaxLoads {
			then(&Loaded{Err: errTooManyLoads})
			return
		}
		c.load(l, then)
	})
}
