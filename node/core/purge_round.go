package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// roundRun is a round that this shard leads.
type roundRun struct {
	*antientropy.Round
	part   *part
	config antientropy.RoundConfig
	stores []antientropy.Member
	wake   time.Duration
	ask    uint64 // of the passes
	passes []roundPass
	token  uint64 // of the proposal
	over   bool
}

// roundPass is one owner that the lead exchanges with in a phase.
type roundPass struct {
	with    hashring.SID
	tickets []ticket
	until   time.Duration
	done    bool
}

func (c *Core) beginRound(p *part, stores []antientropy.Member) {
	at := &c.ring.Partitions[p.id]
	c.purge.named++
	cfg := antientropy.RoundConfig{Round: uint32(c.cfg.Boot) + c.purge.named, Partition: p.id, Epoch: at.PlanEpoch(), Generation: c.ring.Purge(p.id).Generation,
		Self: c.cfg.Self, Owners: c.members(c.ring.Full(p.id, len(at.Replicas))), Stores: stores}
	r := &roundRun{part: p, config: cfg, stores: stores}
	var do antientropy.RoundDo
	r.Round, do = antientropy.NewRound(cfg, c.now.Mono)
	c.purge.rounds[p.id] = r
	c.purge.stats.Begun++
	c.roundDo(r, do)
}

// roundDo carries out what the round wants done.
func (c *Core) roundDo(r *roundRun, do antientropy.RoundDo) {
	if r.over {
		return
	}
	r.wake = do.Wake
	for _, s := range do.Report {
		c.askRound(r, s, &RoundWords{Report: &antientropy.Report{Ask: do.Ask}})
	}
	for _, s := range do.Confirm {
		c.askRound(r, s, &RoundWords{Confirmation: &antientropy.Confirmation{Ask: do.Ask}, Survey: r.Phase() == antientropy.Surveying})
	}
	if len(do.Exchange) > 0 && do.Ask != r.ask {
		r.ask, r.passes = do.Ask, nil
	}
	for _, s := range do.Exchange {
		r.exchange(c, s)
	}
	if do.Propose != nil {
		c.proposePurge(r, do.Propose)
	}
	if do.Done {
		c.endRound(r)
	}
}

// askRound asks a store, this one like any other.
func (c *Core) askRound(r *roundRun, store hashring.SID, words *RoundWords) {
	c.send(&Message{Kind: MsgRoundAsk, To: store, Partition: r.part.id, Round: words})
}

// exchange wants thorough exchanges with an owner, begun from now on.
func (r *roundRun) exchange(c *Core, with hashring.SID) {
	pass := roundPass{with: with, tickets: c.wantExchange(r.part.id, with), until: c.now.Mono + passPatience}
	for i := range r.passes {
		if r.passes[i].with == with {
			r.passes[i] = pass
			return
		}
	}
	r.passes = append(r.passes, pass)
}

// roundTick goes on with what time or an exchange has brought.
func (c *Core) roundTick(r *roundRun) {
	if r.wake != 0 && r.wake <= c.now.Mono {
		c.roundDo(r, r.Wake(c.now.Mono))
	}
	c.roundPasses(r)
}

// roundPasses tells the round of exchanges that have ended since.
func (c *Core) roundPasses(r *roundRun) {
	for i := 0; i < len(r.passes) && !r.over; i++ {
		pass := &r.passes[i]
		if pass.done {
			continue
		}
		if slices.ContainsFunc(pass.tickets, func(t ticket) bool { return t.wish == never }) {
			pass.tickets = c.wantExchange(r.part.id, pass.with) // it may be compared with by now
		}
		met := c.exchangesMet(pass.tickets) || plant.Is(plant.PurgeSkipsPasses)
		if !met && c.now.Mono < pass.until {
			continue
		}
		ask := r.ask
		pass.done = met
		if c.roundDo(r, r.Passed(c.now.Mono, ask, pass.with, met)); r.ask != ask {
			return // the next phase has passes of its own
		}
	}
}

// exchangesEnded looks after the rounds of a partition one of whose exchanges has ended.
func (c *Core) exchangesEnded(p uint32) {
	if r := c.purge.rounds[p]; r != nil {
		c.roundPasses(r)
	}
}

// onRoundWord takes an answer. One that speaks of a newer ring waits for that: the
// stores of the round may be others in it.
func (c *Core) onRoundWord(m *Message) {
	if c.heard > c.ring.Version {
		c.park(m)
		return
	}
	r := c.purge.rounds[m.Partition]
	if r == nil || m.Round == nil {
		return
	}
	switch w := m.Round; {
	case w.Report != nil:
		c.roundDo(r, r.Reported(c.now.Mono, m.From, *w.Report))
	case w.Confirmation != nil:
		c.roundDo(r, r.Confirmed(c.now.Mono, m.From, *w.Confirmation))
	}
}

// roundRing ends the round unless all is as it was, or its commit has come.
func (c *Core) roundRing(r *roundRun, stores []antientropy.Member) {
	at := &c.ring.Partitions[r.part.id]
	gen := c.ring.Purge(r.part.id).Generation
	if r.Phase() == antientropy.Committing && gen == r.config.Generation+1 {
		c.roundDo(r, r.Committed(c.now.Mono, true)) // the state came before the word of it
		return
	}
	c.roundDo(r, r.Changed(c.now.Mono, at.PlanEpoch(), gen, c.members(c.ring.Full(r.part.id, len(at.Replicas))), stores))
}

// proposePurge asks for the commit; the ring state refuses it unless all is as it was.
func (c *Core) proposePurge(r *roundRun, k *antientropy.Commit) {
	clock := clockOf(k.Clock)
	if c.ring.PurgeClock(k.Partition).Join(clock).Bytes() > c.ring.ClockRoom() {
		c.roundDo(r, r.Bar(c.now.Mono, antientropy.ClockFull))
		return
	}
	c.lastOp++
	r.token = uint64(c.cfg.Shard)<<56 | c.lastOp
	c.ready.Proposals = append(c.ready.Proposals, Proposal{Token: r.token, Purge: &hashring.PurgeRound{
		Partition: k.Partition, Epoch: k.Epoch, Generation: k.Generation, Stores: len(c.ring.Stores), Clock: clock, TimeMS: k.ExpireMS}})
}

// onDecided tells what became of a proposal.
func (c *Core) onDecided(d *Decided) {
	for _, id := range sortedKeys(c.purge.rounds) {
		if r := c.purge.rounds[id]; r.token == d.Token {
			c.roundDo(r, r.Committed(c.now.Mono, d.Applied))
			return
		}
	}
}

func (c *Core) endRound(r *roundRun) {
	p := r.part
	r.over = true
	delete(c.purge.rounds, p.id)
	if r.Phase() == antientropy.Purged {
		c.purge.stats.Committed++
		p.rounds.last, p.rounds.aborts, p.rounds.expired, p.rounds.block = c.now.Mono, 0, false, antientropy.Block{}
		p.rounds.due = c.now.Mono + c.cfg.PurgeEvery<<p.rounds.idle // the walk sets it anew
		return
	}
	c.purge.stats.Aborted[r.Blocked().Why]++
	p.blocked(c.now.Mono, r.Blocked())
	p.rounds.due = c.now.Mono + max(c.cfg.PurgeEvery/4, tickEvery)<<p.rounds.aborts
	p.rounds.aborts = min(p.rounds.aborts+1, abortsMost)
}

// clockOf is a vector as the ring state has it. Both are sorted.
func clockOf(v version.Vector) hashring.Clock {
	out := make(hashring.Clock, len(v))
	for i, d := range v {
		out[i] = hashring.Dot{Actor: uint64(d.Actor), Counter: d.Counter}
	}
	return out
}
