package strong

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// The log's time decides which request ids are still known, and nothing else (3.5). It
// stands in the log, so that it is the same for every store, and never goes back: what
// was forgotten by it stays forgotten (S12), however wrong a clock was.
//
// It must not follow one wrong clock either: a log that is a day ahead takes every request
// id of a day for expired. So it is the lower median of the members' clocks: the primary's,
// and those that came with the others' last acks, run on by the primary's monotonic clock.
// Of a majority with one wrong clock the lower median is at most a right one. Until a
// majority of every set has shown its clock, the log's time stands still: nothing expires
// meanwhile, and all that is younger is still known.

// logTime is the time that the next entry would be stamped with.
func (r *Replica) logTime() int64 {
	t := r.hard.LogTimeMS
	if e := r.log.cached(r.log.lastIndex()); e != nil {
		t = max(t, e.TimeMS)
	}
	if plant.Is(plant.StrongOwnClock) {
		return max(t, r.now.WallMS)
	}
	if plant.Is(plant.StrongClockBack) {
		t = 0
	}
	clocks, enough := r.clocks()
	if !enough {
		return t
	}
	slices.Sort(clocks.all())
	return max(t, clocks.at[(clocks.n-1)/2])
}

// latest is the greatest clock of a member that is known here, or the log's time. A request
// id from beyond it has a stamp that nobody's clock has shown.
func (r *Replica) latest() int64 {
	clocks, _ := r.clocks()
	return max(r.logTime(), slices.Max(clocks.all()))
}

// clocks of the members, as far as they are known.
type clocks struct {
	n  int
	at [2 * hashring.MaxReplicas]int64
}

func (c *clocks) all() []int64 { return c.at[:c.n] }

// clocks gives what the members' clocks show now, the own one always among them, and
// whether they are those of a majority of every set.
func (r *Replica) clocks() (out clocks, enough bool) {
	out.at[0], out.n = r.now.WallMS, 1
	l := r.lead
	if l == nil {
		return out, false
	}
	for _, p := range l.peers {
		if p.member && p.clocked && out.n < len(out.at) {
			out.at[out.n] = p.clock + r.now.Mono.Milliseconds()
			out.n++
		}
	}
	return out, r.cfg.majority(func(s hashring.SID) bool {
		p := l.peer(s)
		return s == r.self || p != nil && p.clocked
	})
}

// showClock takes the clock that an ack came with; 0: its store does not say.
func (r *Replica) showClock(p *peer, wallMS int64) {
	if wallMS > 0 {
		p.clock, p.clocked = wallMS-r.now.Mono.Milliseconds(), true
	}
}
