package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// docket is what is remembered of a partition.
type docket struct {
	epoch   uint64        // that the ring state had when it was last looked at
	since   time.Duration // when it began, as far as is known here
	joint   time.Duration // when the joint configuration began, over all its epochs; 0: it is none
	level   int           // doublings of Spacing when it began
	calm    time.Duration // since when it is active; 0: it is not
	doubt   time.Duration // since when its primary is called silent and speaks; 0: it is not
	doubted time.Duration // when that was last so
	heard   []voice
	active  order // Activate: by
	out     order // AskOut: by, for
	ready   []order
	move    order // an operator's: for
	spare   order // Spare: by, for
	said    struct {
		epoch  uint64
		kind   hashring.StrongKind
		at     time.Duration
		spread bool
	}
}

// voice is what a store last said.
type voice struct {
	from   hashring.SID
	at     time.Duration
	last   Position
	full   bool
	silent uint64 // the epoch whose primary it called silent,
	said   time.Duration
}

// order is a word with a subject.
type order struct {
	by, to hashring.SID
	epoch  uint64
	at     time.Duration
}

// voice finds the place of a store's words; the longest silent one makes room.
func (d *docket) voice(from hashring.SID) *voice {
	oldest := 0
	for i := range d.heard {
		switch {
		case d.heard[i].from == from:
			return &d.heard[i]
		case d.heard[i].at < d.heard[oldest].at:
			oldest = i
		}
	}
	if len(d.heard) < maxVoices {
		d.heard = append(d.heard, voice{})
		oldest = len(d.heard) - 1
	}
	d.heard[oldest] = voice{from: from}
	return &d.heard[oldest]
}

func (d *docket) learned(o order) {
	for i := range d.ready {
		if d.ready[i].to == o.to {
			d.ready[i] = o
			return
		}
	}
	if len(d.ready) >= hashring.MaxReplicas {
		d.ready = slices.Delete(d.ready, 0, 1)
	}
	d.ready = append(d.ready, o)
}

// observe notes the configuration that the ring state has, and tells whether that is news
// of anything but a primary that was spread.
func (d *docket) observe(now time.Duration, cfg *hashring.StrongConfig, o *JudgeOptions) (news bool) {
	switch {
	case len(cfg.Sets) == 1:
		d.joint = 0
	case d.joint == 0:
		d.joint = max(now, 1)
	}
	if cfg.Epoch == d.epoch {
		if cfg.Activated && d.calm == 0 {
			d.calm = max(now, 1)
		}
		return false
	}
	at := now
	if d.epoch != 0 {
		news = d.said.epoch != d.epoch || !d.said.spread
		ours := d.said.epoch == d.epoch && d.said.kind != hashring.StrongActivate && d.said.kind != hashring.StrongLearners
		if ours {
			at = d.said.at
		}
		d.level = d.levelAt(at, o)
		if !ours || d.said.kind == hashring.StrongPrimary {
			d.level = min(d.level+1, maxLevel)
		}
	}
	d.epoch, d.since, d.calm, d.doubt = cfg.Epoch, at, 0, 0
	if cfg.Activated {
		d.calm = max(now, 1)
	}
	return news
}

// levelAt is the number of doublings that are left. Only a partition that is served is
// calm: one that never becomes active between its changes has no rest from them.
func (d *docket) levelAt(now time.Duration, o *JudgeOptions) int {
	if d.calm == 0 && !plant.Is(plant.JudgeCalmAlways) {
		return d.level
	}
	return max(0, d.level-max(0, int((now-max(d.calm, d.since))/o.Calm)))
}

// pace allows so many things a second, and a burst of them after a rest.
type pace struct {
	each, ahead time.Duration
	at          time.Duration // when all that was allowed is paid for
}

func newPace(rate, burst int) pace {
	each := time.Second / time.Duration(rate)
	return pace{each: each, ahead: each * time.Duration(burst)}
}

func (p *pace) take(now time.Duration) bool {
	if p.at < now {
		p.at = now
	}
	if p.at+p.each-now > p.ahead {
		return false
	}
	p.at += p.each
	return true
}
