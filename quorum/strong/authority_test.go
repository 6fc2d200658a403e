package strong

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// authority is the Raft group: it takes commands one by one, and holds T1 to T4.
type authority struct {
	w       *world
	cfg     Config
	silent  []hashring.SID // reporters against the primary of cfg.Epoch
	changed time.Duration
	ready   []hashring.SID // learners
	target  []hashring.SID // V' of the move under way
}

func (a *authority) draw() string {
	var sets []string
	for _, set := range a.cfg.Sets {
		var names []string
		for _, s := range set {
			names = append(names, a.w.name(s))
		}
		sets = append(sets, strings.Join(names, ","))
	}
	return fmt.Sprintf("e%d primary %s [%s] activated=%v", a.cfg.Epoch, a.w.name(a.cfg.Primary), strings.Join(sets, " | "), a.cfg.Activated)
}

func (a *authority) set(why string, change func(c *Config)) {
	c := a.cfg
	c.Epoch++
	c.Activated = false
	change(&c)
	a.cfg, a.silent, a.changed = c, nil, a.w.now
	a.w.count[why]++
	a.w.trace("RING %s: %s", why, a.draw())
	a.tellAll()
}

func (a *authority) tellAll() {
	for _, n := range a.w.nodes {
		a.w.tellRing(n)
	}
}

// tellRing brings the present ring state to a node, late.
func (w *world) tellRing(n *node) {
	d := w.between(ms, 40*ms)
	if w.now < n.deaf {
		d = 100 * ms
	}
	if !w.calm && w.chance(0.2) {
		d = w.between(40*ms, 1500*ms)
	}
	life := n.life
	w.after(d, func() {
		c := w.ring.cfg
		if w.now < n.deaf {
			w.tellRing(n)
			return
		}
		if n.life != life || c.Epoch < n.knows.Epoch {
			return
		}
		n.input(func() {
			if c.Epoch >= n.knows.Epoch {
				n.knows = c
				n.r.Configure(c)
			}
		})
	})
}

// usable are members that may lead.
func (a *authority) usable() (out []hashring.SID) {
	for _, s := range a.cfg.Members() {
		if n := a.w.at(s); n != nil && n.up && !n.suspect && n.r.fit() {
			out = append(out, s)
		}
	}
	return out
}

func (a *authority) propose(from hashring.SID, p Proposal) {
	if p.Epoch != a.cfg.Epoch {
		return
	}
	switch p.Kind {
	case Activate:
		if !a.cfg.Activated && from == a.cfg.Primary {
			a.cfg.Activated = true
			a.w.count["activate"]++
			a.w.trace("RING activated e%d", p.Epoch)
			a.tellAll()
		}
	case Silent:
		if !slices.Contains(a.silent, from) {
			a.silent = append(a.silent, from)
		}
		// A majority of the stores that are not the primary's is enough in a set of two.
		if a.w.now-a.changed > 200*ms && a.cfg.majority(func(s hashring.SID) bool {
			return slices.Contains(a.silent, s) || s == a.cfg.Primary && len(a.silent) > 0
		}) {
			a.newPrimary(hashring.SID{})
		}
	case AskOut:
		if from == a.cfg.Primary && a.w.now-a.changed > 50*ms {
			a.newPrimary(p.Prefer)
		}
	case LearnerReady:
		if !slices.Contains(a.ready, p.Prefer) {
			a.ready = append(a.ready, p.Prefer)
		}
	}
}

// newPrimary is T1.
func (a *authority) newPrimary(prefer hashring.SID) {
	from := a.usable()
	if len(from) == 0 {
		return
	}
	next := from[a.w.rng.IntN(len(from))]
	if !prefer.IsZero() && slices.Contains(from, prefer) {
		next = prefer
	}
	a.set("T1", func(c *Config) { c.Primary = next })
}

// move takes one step of a change of members: learners, T2, T3 or T4.
func (a *authority) move() {
	w := a.w
	switch {
	case len(a.cfg.Sets) == 2 && w.chance(0.15):
		a.set("T4", func(c *Config) {
			c.Sets = c.Sets[:1]
			if !slices.Contains(c.Sets[0], c.Primary) {
				c.Primary = c.Sets[0][w.rng.IntN(len(c.Sets[0]))]
			}
		})
	case len(a.cfg.Sets) == 2:
		if a.cfg.Activated || plant.Is(plant.StrongJointUnactivated) {
			a.set("T3", func(c *Config) {
				c.Sets = c.Sets[1:]
				if !slices.Contains(c.Sets[0], c.Primary) {
					c.Primary = c.Sets[0][w.rng.IntN(len(c.Sets[0]))]
				}
			})
		}
	case len(a.cfg.Learners) > 0:
		left := slices.ContainsFunc(a.cfg.Learners, func(s hashring.SID) bool { return !slices.Contains(a.ready, s) })
		if !left || w.faults.rot == 0 && w.chance(0.1) {
			a.set("T2", func(c *Config) { c.Sets, c.Learners = [][]hashring.SID{c.Sets[0], a.target}, nil })
		}
	default:
		a.begin()
	}
}

// begin draws V'. A new store learns first, mostly.
func (a *authority) begin() {
	w := a.w
	var all []hashring.SID
	for _, i := range w.rng.Perm(len(w.nodes)) {
		if n := w.nodes[i]; !n.suspect {
			all = append(all, n.sid)
		}
	}
	keep := 0
	if w.chance(0.7) { // most changes are of one store
		keep = len(a.cfg.Sets[0]) - 1
	}
	a.target = nil
	for _, s := range all {
		if len(a.target) < keep && slices.Contains(a.cfg.Sets[0], s) {
			a.target = append(a.target, s)
		}
	}
	size := w.faults.v
	if w.chance(0.1) && w.faults.rot == 0 { // of two that differ nobody knows which is wrong
		size = 1 + w.rng.IntN(5)
	}
	for _, s := range all {
		if len(a.target) < size && !slices.Contains(a.target, s) {
			a.target = append(a.target, s)
		}
	}
	var learners []hashring.SID
	for _, s := range a.target {
		if !a.cfg.IsMember(s) {
			learners = append(learners, s)
		}
	}
	if len(learners) == 0 || w.faults.rot == 0 && w.chance(0.2) {
		a.set("T2", func(c *Config) { c.Sets = [][]hashring.SID{c.Sets[0], a.target} })
		return
	}
	a.ready = nil
	a.cfg.Learners = learners // no change of epoch
	w.count["learners"]++
	a.tellAll()
}
