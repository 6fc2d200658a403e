package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// cloneFault: a machine is copied while it is off, and later the copy comes up in its
// place for a while. It is off by default: what a copy acks before it is found out goes
// with it.
var cloneFault = class{name: "clone", about: "a copy of a store is started in its place: it must not answer as an owner", draw: func(f *Fault, r *rand.Rand, d *Draw) {
	f.nodes, f.For = some(r, d, 1), between(r, 5*time.Second, 30*time.Second)
}, begin: func(w *World, f *Fault) {
	n := w.nodes[f.nodes[0]]
	if n.doubted || n.eng.boots == 0 {
		return
	}
	n.kill(true)
	copied, store := n.eng.clone(), n.store
	n.start()
	f.undone(func() {
		if w.canLose(n) { // what it acks before it is found out goes with it
			n.startCopy(copied, store)
		}
	})
}}

// startCopy has a copy of the store run instead of it, if the store has been
// registered since the copy was made: only then can anybody tell them apart (D6). The
// copy ends with its first process, and then the store comes back.
func (n *node) startCopy(copied *engine, store int) {
	w := n.w
	ring := w.auth.ringAt(w.auth.state.Version)
	if st, known := ring.Store(n.sid); !known || n.doubted || n.original != nil || n.store != store || slices.Contains(copied.starts, st.Nonce) {
		return
	}
	n.kill(true)
	w.note("%s: a copy starts", n.name)
	w.probe.hit(pCloned)
	n.original, n.eng = n.eng, copied
	n.start()
	inc := n.inc
	w.do(copyRuns, func() {
		if n.inc == inc && n.confirmed {
			w.violate(Violation{Check: "owner", Kind: "D6", Detail: n.name + ": a copy of the store is let in as an owner"})
		}
		if n.inc == inc {
			n.kill(true)
		}
		n.start()
	})
}

// copyRuns is how long a copy is up.
const copyRuns = 2 * time.Second

// copyEnds puts the store back in the place of its copy, which has died.
func (n *node) copyEnds() {
	if n.original != nil {
		copied := n.eng
		n.eng, n.original = n.original, nil
		n.w.truth.lost(n, copied)
	}
}
