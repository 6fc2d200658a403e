package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// docket is what is remembered of a partition.
type docket struct {
	epoch  uint64        // that the ring state had when it was last looked at
	since  time.Duration // when it began, as far as is known here
	joint  time.Duration // when the joint configuration began, over all its epochs; 0: it is none
	level  int           // doublings of Spacing when it began
	heard  []voice
	active order // Activate: by
	out    order // AskOut: by, for
	ready  []order
	move   order // an operator's: for
	said   struct {
		epoch uint64
		kind  hashring.StrongKind
		at    time.Duration
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

// observe notes the configuration that the ring state has.
func (d *docket) observe(now time.Duration, cfg *hashring.StrongConfig, o *JudgeOptions) {
	switch {
	case len(cfg.Sets) == 1:
		d.joint = 0
	case d.joint == 0:
		d.joint = max(now, 1)
	}
	if cfg.Epoch == d.epoch {
		return
	}
	if d.epoch != 0 {
		ours := d.said.epoch == d.epoch && d.said.kind != hashring.StrongActivate && d.said.kind != hashring.StrongLearners
		if ours {
			now = d.said.at
		}
		d.level = d.levelAt(now, o)
		if !ours || d.said.kind == hashring.StrongPrimary {
			d.level = min(d.level+1, maxLevel)
		}
	}
	d.epoch, d.since = cfg.Epoch, now
}

// levelAt is the number of doublings that are left.
func (d *docket) levelAt(now time.Duration, o *JudgeOptions) int {
	return max(0, d.level-int((now-d.since)/o.Calm))
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
