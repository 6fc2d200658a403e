package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// mostDrift of a clock of the model, either way: two of them are then apart by less than
// one part in leaseDrift.
const mostDrift = 0.05

// drawLeases has stores lend their promises, in some worlds: with clocks that drift, and
// machines that are suspended.
func (w *world) drawLeases() {
	if !w.chance(0.6) {
		return
	}
	w.opts.Lease = w.between(80*ms, 600*ms)
	for _, n := range w.nodes {
		n.rate = 1 + (2*w.rng.Float64()-1)*mostDrift
		if w.chance(0.4) {
			n.rate = 1 + mostDrift*float64(1-2*w.rng.IntN(2))
		}
	}
}

// leaseOf is what a store is configured to at a start: it may change.
func (n *node) leaseOf() time.Duration {
	l := n.w.opts.Lease
	switch {
	case n.w.chance(0.9):
	case n.w.chance(0.5):
		l = 0
	default:
		l /= 2
	}
	return l
}

// boot is the node's clock that runs while it is suspended, mono the one that does not.
func (n *node) bootTime() time.Duration { return time.Duration(float64(n.w.now) * n.rate) }

func (n *node) time() Now {
	return Now{Mono: n.bootTime() - n.slept, WallMS: n.w.wallStart + n.w.now.Milliseconds() + n.skew, Boot: n.bootTime()}
}

// real is when the node's monotonic clock will show t, if it is not suspended meanwhile.
func (n *node) real(t time.Duration) time.Duration {
	return time.Duration(float64(t+n.slept)/n.rate) + 1
}

// pause stops a node; suspended its monotonic clock too.
func (n *node) pause(suspended bool) {
	n.paused, n.pausedAt = true, n.bootTime()
	if n.suspended = suspended; suspended {
		n.w.count["suspend"]++
	}
}

func (n *node) resume() {
	if n.paused && n.suspended {
		n.slept += n.bootTime() - n.pausedAt
	}
	n.paused = false
}

// handOver has the primary give its role up in good order; now and then it does not hear
// of its successor.
func (w *world) handOver() {
	p := w.at(w.ring.cfg.Primary)
	if p == nil || !w.hist.leadsAt(p) {
		return
	}
	w.count["hand-over"]++
	p.input(func() { p.r.HandOver(hashring.SID{}) })
	if !w.chance(0.5) {
		return
	}
	d := w.between(100*ms, 1500*ms)
	w.deafen(p, d)
	w.after(w.between(30*ms, 60*ms), func() {
		for _, n := range w.nodes {
			w.link[[2]int{n.slot, p.slot}] = n != p
		}
	})
	w.after(d, func() { clear(w.link) })
}
