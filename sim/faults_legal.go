package sim

import (
	"math/rand/v2"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

// legalFaults break nothing: they make the production code do what it may do, and
// seldom does, all the time.
var legalFaults = []class{
	{name: "twice", about: "every message but a forward is sent twice", least: 2, draw: drawSpell, begin: func(w *World, f *Fault) {
		f.X, f.nodes = 1, nil
		w.rates(f, func() []float64 { return w.wire.dup })
	}},
	{name: "sparse", about: "writes go to as few replicas as a quorum needs, the others are left to stand-ins and repair", least: 3, draw: drawSpell, begin: func(w *World, f *Fault) {
		w.wire.sparse++
		f.undone(func() { w.wire.sparse = max(0, w.wire.sparse-1) })
	}},
	{name: "tiny_batches", about: "a step takes one event, a commit one batch", draw: drawSpell, begin: func(w *World, f *Fault) {
		w.probe.hit(pTinyBatches)
		for _, n := range w.nodes {
			n.tiny = true
		}
		f.undone(func() {
			for _, n := range w.nodes {
				n.tiny = false
			}
		})
	}},
	{name: "hasty", about: "clients give requests 1 to 50 ms", draw: drawSpell, begin: func(w *World, f *Fault) {
		w.probe.hit(pHasty)
		w.load.hasty = true
		f.undone(func() { w.load.hasty = false })
	}},
	{name: "late_word", about: "what a disk has synced its process hears of up to two seconds later", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		drawSpell(f, r, d)
		f.nodes, f.X = some(r, d, 1+r.IntN(2)), 2*r.Float64()
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pLateWord)
		for _, i := range f.nodes {
			n := w.nodes[i]
			n.disk.lateWord = time.Duration(f.X * float64(time.Second))
			f.undone(func() { n.disk.lateWord = 0 })
		}
	}},
}

func drawSpell(f *Fault, r *rand.Rand, _ *Draw) { f.For = lasting(r, 8*time.Second, 30*time.Second) }

// thin drops one copy in three of the writes, mostly never two of one write.
func (w *World) thin(to *node, m *core.Message) bool {
	if w.wire.sparse == 0 || m.Kind != core.MsgWrite || (m.ID+uint64(to.idx))%3 != 0 {
		return false
	}
	w.probe.hit(pSparse)
	return true
}
