package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// nemesis starts what goes wrong, each at its own pace.
func (w *world) nemesis() {
	every := func(d time.Duration, do func()) {
		if d == 0 {
			return
		}
		var loop func()
		loop = func() {
			if !w.calm {
				do()
				w.after(w.between(d/4, 2*d), loop)
			}
		}
		w.after(w.between(d/4, 2*d), loop)
	}
	f := &w.faults
	w.scrubs()
	every(f.crash, func() { w.crashOne(w.anyNode()) })
	every(f.pause, func() { w.pauseOne(w.anyNode()) })
	every(f.cut, w.cutSome)
	every(f.island, w.island)
	every(f.betray, w.betray)
	every(f.burst, w.burst)
	every(f.lag, w.lagSome)
	every(f.deafen, func() { w.deafen(w.anyNode(), w.between(300*ms, 5*time.Second)) })
	every(f.change, func() {
		if w.chance(0.4) {
			w.ring.newPrimary(hashring.SID{})
		} else {
			w.ring.move()
		}
	})
	if f.clock {
		every(300*ms, func() { w.anyNode().skew = int64(w.rng.IntN(4000) - 2000) })
	}
	every(f.handOver, w.handOver)
	every(500*ms, w.reformat)
	every(f.rot, w.rot)
	every(f.rot/2, w.putCold)
}

func (w *world) anyNode() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (w *world) crashOne(n *node) {
	if !n.up {
		return
	}
	if w.chance(0.1) { // all power lost
		for _, o := range w.nodes {
			if o.up {
				w.crashFor(o, w.between(5*ms, 400*ms))
			}
		}
		return
	}
	w.crashFor(n, w.between(2*ms, 1500*ms))
}

func (w *world) crashFor(n *node, d time.Duration) {
	n.crash()
	if w.faults.suspect && w.chance(0.3) && !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.suspect }) {
		w.damage(n)
	}
	w.after(d, func() {
		if !n.up {
			n.start()
		}
	})
}

// crashPromised ends a store in the middle of a promise, now and then.
func (w *world) crashPromised(n *node) {
	if w.calm || w.faults.crash == 0 || n.r.hard.Promised <= n.disk.hard.Promised || !w.chance(0.03) {
		return
	}
	life := n.life
	w.after(w.between(0, 4*ms), func() {
		if n.life == life && n.up {
			w.count["crash in a promise"]++
			w.crashFor(n, w.between(ms, 30*ms))
		}
	})
}

// damage makes a store forget what it promised and acked; it knows that something is
// wrong with it (D4).
func (w *world) damage(n *node) {
	if slices.Contains(w.ring.target, n.sid) || len(w.ring.cfg.Sets[0]) < 3 || len(w.ring.cfg.Sets[len(w.ring.cfg.Sets)-1]) < 3 {
		return
	}
	n.suspect = true
	w.count["suspect"]++
	w.trace("%s has forgotten", n.name())
	d := n.disk
	keep := d.hard.Commit
	for i := d.hard.Commit + 1; d.entries[i] != nil; i++ {
		if w.chance(0.5) {
			keep = i
		} else {
			break
		}
	}
	d.apply(Write{Kind: CutTail, Index: keep + 1})
	d.hard.Promised = d.hard.Base.Epoch
	if e := d.entries[keep]; e != nil {
		d.hard.Promised = e.Epoch
	}
}

// reformat gives a suspect store that counts nowhere a new disk and name.
func (w *world) reformat() {
	for _, n := range w.nodes {
		if !n.suspect || w.ring.cfg.Holds(n.sid) || !w.ring.cfg.Activated || slices.Contains(w.ring.target, n.sid) {
			continue
		}
		if n.up {
			n.crash()
		}
		n.sid, n.disk, n.suspect = w.newSID(), newDisk(), false
		n.start()
	}
}

func (w *world) pauseOne(n *node) {
	if !n.up || n.paused {
		return
	}
	n.pause(w.opts.Lease > 0 && w.chance(0.5))
	w.count["pause"]++
	life := n.life
	w.after(w.between(20*ms, 2*time.Second), func() {
		if n.life == life {
			n.resume()
			n.schedule()
		}
	})
}

// cutSome cuts links: one way, one store off, two halves.
func (w *world) cutSome() {
	clear(w.link)
	if w.chance(0.3) {
		return
	}
	w.count["cut"]++
	off := w.rng.IntN(len(w.nodes))
	half := w.rng.Perm(len(w.nodes))
	for i := range w.nodes {
		for j := range w.nodes {
			switch kind := w.rng.IntN(6); {
			case i == off && j != off && half[0]%3 != 0, j == off && i != off && half[0]%3 != 1:
				w.link[[2]int{i, j}] = half[1]%2 == 0
			case half[1]%2 == 1 && (half[i] < len(w.nodes)/2) != (half[j] < len(w.nodes)/2):
				w.link[[2]int{i, j}] = true
			case kind == 0:
				w.link[[2]int{i, j}] = half[0]%2 == 0
			}
		}
	}
}

// deafen: the node hears nothing of the ring for a while.
func (w *world) deafen(n *node, d time.Duration) {
	w.count["deaf"]++
	n.deaf = max(n.deaf, w.now+d)
}

// island leaves the primary, or a coordinator, alone with its clients: it hears of no
// ring and of no other store, or hears and cannot be heard, or the other way round.
func (w *world) island() {
	w.count["island"]++
	off := w.at(w.ring.cfg.Primary)
	if off == nil || w.chance(0.2) {
		off = w.anyNode()
	}
	clear(w.link)
	way := w.rng.IntN(3)
	for i := range w.nodes {
		w.link[[2]int{i, off.slot}] = way != 1
		w.link[[2]int{off.slot, i}] = way != 2
	}
	w.link[[2]int{off.slot, off.slot}] = false
	d := w.between(800*ms, 3*time.Second)
	w.deafen(off, d+w.between(0, 60*ms))
	w.after(d, func() { clear(w.link) })
}

// betray gives the role to another store while the old primary hears nothing of it, and
// nothing of the new one, but goes on talking with the others; what it hears is late.
func (w *world) betray() {
	old := w.at(w.ring.cfg.Primary)
	if old == nil {
		return
	}
	w.count["betray"]++
	d := w.between(100*ms, 1500*ms)
	w.deafen(old, d)
	lag := w.between(0, 300*ms)
	for _, n := range w.nodes {
		w.lags[[2]int{n.slot, old.slot}] = lag
	}
	w.after(w.between(0, lag+ms), func() {
		w.ring.newPrimary(hashring.SID{})
		if p := w.at(w.ring.cfg.Primary); p != nil && p != old {
			w.link[[2]int{p.slot, old.slot}], w.link[[2]int{old.slot, p.slot}] = true, true
		}
	})
	w.after(d, func() { clear(w.link); clear(w.lags) })
}

// burst names one primary after the other, with other links cut each time.
func (w *world) burst() {
	w.count["burst"]++
	at := time.Duration(0)
	for range 3 + w.rng.IntN(4) {
		at += w.between(4*ms, 80*ms)
		w.after(at, func() {
			if w.calm {
				return
			}
			clear(w.link)
			for i := range w.nodes {
				for j := range w.nodes {
					if i != j && w.chance(0.25) {
						w.link[[2]int{i, j}] = true
					}
				}
			}
			w.ring.newPrimary(hashring.SID{})
		})
	}
	w.after(at+w.between(10*ms, 200*ms), func() { clear(w.link) })
}

// lagSome makes what goes into one node late.
func (w *world) lagSome() {
	clear(w.lags)
	n, lag := w.anyNode(), w.between(10*ms, 180*ms)
	for _, o := range w.nodes {
		w.lags[[2]int{o.slot, n.slot}] = lag
	}
	w.after(w.between(200*ms, 2*time.Second), func() { clear(w.lags) })
}
