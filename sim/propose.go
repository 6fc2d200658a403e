package sim

import (
	"errors"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// propose takes what a shard wants committed to the ring state on its way: to the
// leader of the Raft group, which may change or be out of reach meanwhile, and back.
// The answer may be lost though the command was carried out, and a shard that dies
// meanwhile hears nothing.
func (s *shard) propose(p core.Proposal) {
	n, w, inc := s.n, s.n.w, s.n.inc
	answer := func(applied bool) {
		w.do(between(w.ctlRand, time.Millisecond, 50*time.Millisecond), func() {
			if n.inc == inc {
				s.take(core.Event{Decided: &core.Decided{Token: p.Token, Applied: applied}})
			}
		})
	}
	d := between(w.ctlRand, time.Millisecond, 50*time.Millisecond)
	if w.ctlRand.IntN(20) == 0 { // there is no leader just now
		d += between(w.ctlRand, 0, 2*time.Second)
	}
	luck := w.ctlRand.IntN(40)
	w.do(d, func() {
		a := &w.auth
		if a.outage > 0 || luck == 0 || n.inc == inc && !a.serves(n) {
			w.probe.hit(pProposalLost)
			w.do(between(w.ctlRand, 0, time.Second), func() { answer(false) })
			return
		}
		err := a.apply(command(&p))
		if err != nil && !errors.Is(err, hashring.ErrStaleEpoch) && !errors.Is(err, hashring.ErrUnsettled) && !errors.Is(err, hashring.ErrSame) {
			w.note("%s: proposal refused: %v", n.name, err)
			w.probe.hit(pProposalRefused)
		}
		w.probe.hitIf(err != nil, pProposalStale)
		w.probe.hitIf(luck == 1 && err == nil, pProposalUnknown)
		answer(err == nil && luck != 1)
	})
}

func command(p *core.Proposal) hashring.Command {
	if p.Filled != nil {
		return hashring.Command{Kind: hashring.KindFilled, Filled: &hashring.Filled{Places: []hashring.Place{*p.Filled}}}
	}
	return hashring.Command{Kind: hashring.KindPurge, Purge: &hashring.PurgeRounds{Rounds: []hashring.PurgeRound{*p.Purge}}}
}

// happened lets the truth look at what a command has changed.
func (a *authority) happened(c *hashring.Command) {
	switch c.Kind {
	case hashring.KindReplaceStore:
		a.staged = a.w.now
	case hashring.KindFilled:
		a.staged = a.w.now
		a.w.probe.hit(pFilled)
		for _, pl := range c.Filled.Places {
			a.w.truth.filled(pl)
		}
	case hashring.KindPurge:
		a.w.probe.hit(pPurged)
		for i := range c.Purge.Rounds {
			a.w.truth.purged(&c.Purge.Rounds[i])
		}
	}
}
