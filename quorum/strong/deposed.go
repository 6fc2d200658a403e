package strong

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// A primary whose successor is named does not know what becomes of the writes that it has
// sequenced and not committed. It is a member as before, so it will see: what is committed
// is one sequence, in all logs (S4). Once something is committed here at a write's place,
// that is its entry, and it is applied, or it is another one, and it never will be (S14).
// That an entry was cut off proves nothing: a later primary may find it elsewhere.
//
// Only writes without a request id wait for that. Who has one asks the next primary.

// orphan is such a write.
type orphan struct {
	pending
	epoch uint64
}

// depose ends the role, for another epoch.
func (r *Replica) depose() {
	l := r.lead
	l.pend = slices.DeleteFunc(l.pend, func(p pending) bool {
		e := r.log.cached(p.index)
		keep := e != nil && e.Epoch == l.epoch && e.Kind == Effect && e.Done == nil && len(r.orphans) < r.opts.Pending
		if keep {
			r.orphans = append(r.orphans, orphan{p, l.epoch})
		}
		return keep
	})
	r.stepDown()
}

// lastWords answers those whose fate is known, and those that cannot wait any longer.
func (r *Replica) lastWords() {
	r.orphans = slices.DeleteFunc(r.orphans, func(p orphan) bool {
		at := r.log.epochAt(p.index)
		certain := r.hard.Applied >= p.index || plant.Is(plant.StrongCutIsNo) && at > p.epoch
		switch {
		case !certain && !r.due(p.deadline, 0):
			return false
		case !certain:
			r.giveUp(p.reply, Timeout, true)
		case at == 0: // a snapshot has gone over it
			r.giveUp(p.reply, PrimaryChanged, true)
		case at == p.epoch || plant.Is(plant.StrongPlaceIsYes):
			p.reply.Members, p.reply.Acks = len(r.members), hashring.Majority(len(r.cfg.Sets[0]))
			r.reply(p.reply)
		default:
			r.giveUp(p.reply, PrimaryChanged, false)
		}
		return true
	})
}

// forsake answers all of them: nothing will be heard of their fate here.
func (r *Replica) forsake() {
	for _, p := range r.orphans {
		r.giveUp(p.reply, PrimaryChanged, true)
	}
	r.orphans = nil
}
