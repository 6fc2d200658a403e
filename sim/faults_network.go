package sim

import (
	"math/rand/v2"
	"time"
)

var networkFaults = []class{
	{name: "halves", about: "the nodes fall into two groups that hear nothing of each other", least: 2, draw: drawGroup, begin: func(w *World, f *Fault) {
		w.probe.hit(pPartition)
		in := f.members(w)
		w.cutWhere(f, func(a, b *node) bool { return in[a.idx] != in[b.idx] })
	}},
	{name: "isolate", about: "one node is cut off", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 1), lasting(r, 8*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pPartition)
		n := f.nodes[0]
		w.cutWhere(f, func(a, b *node) bool { return a.idx == n || b.idx == n })
	}},
	{name: "one_way", about: "a node hears and is not heard, or the other way round", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For, f.X = some(r, d, 1), lasting(r, 8*time.Second, time.Minute), float64(r.IntN(2))
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pOneWay)
		r, n := f.rand(), f.nodes[0]
		w.cutWhere(f, func(a, b *node) bool {
			return (f.X == 0 && a.idx == n || f.X == 1 && b.idx == n) && r.IntN(3) > 0
		})
	}},
	{name: "bridge", about: "two halves with one node that sees both", least: 3, draw: drawGroup, begin: func(w *World, f *Fault) {
		w.probe.hit(pBridge)
		in := f.members(w)
		bridge := int(f.seed % uint64(len(w.nodes)))
		w.cutWhere(f, func(a, b *node) bool { return in[a.idx] != in[b.idx] && a.idx != bridge && b.idx != bridge })
	}},
	{name: "majorities", about: "a ring in which every node sees another majority", least: 4, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, d.Nodes), lasting(r, 8*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.probe.hit(pMajorities)
		at := map[int]int{}
		for i, n := range f.nodes {
			at[n] = i
		}
		n := len(f.nodes)
		w.cutWhere(f, func(a, b *node) bool {
			d := (at[a.idx] - at[b.idx] + n) % n
			return min(d, n-d) > (n/2)/2
		})
	}},
	{name: "flap", about: "a link comes and goes", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 2), lasting(r, 10*time.Second, 30*time.Second)
	}, begin: func(w *World, f *Fault) {
		a, b := w.nodes[f.nodes[0]], w.nodes[f.nodes[1]]
		r := f.rand()
		by := 1
		var again func()
		again = func() {
			w.cutLink(a, b, by)
			w.cutLink(b, a, by)
			by = -by
			f.later(w, between(r, 50*time.Millisecond, 5*time.Second), again)
		}
		again()
		f.undone(func() {
			if by < 0 {
				w.cutLink(a, b, -1)
				w.cutLink(b, a, -1)
			}
		})
	}},
	{name: "clog", about: "a link takes everything and delivers it late", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes, f.For = some(r, d, 2), between(r, 50*time.Millisecond, 2900*time.Millisecond)
	}, begin: func(w *World, f *Fault) {
		a, b := w.nodes[f.nodes[0]], w.nodes[f.nodes[1]]
		w.cutLink(a, b, 1)
		f.undone(func() { w.cutLink(a, b, -1) })
	}},
	{name: "reset", about: "connections break, with what was on its way", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For = between(r, time.Second, 10*time.Second)
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		var again func()
		again = func() {
			a, b := w.nodes[r.IntN(len(w.nodes))], w.nodes[r.IntN(len(w.nodes))]
			if a != b {
				w.breakPair(w.link(a, b))
			}
			f.later(w, between(r, time.Millisecond, 500*time.Millisecond), again)
		}
		again()
		f.undone(func() {})
	}},
	{name: "stragglers", about: "what was on its way in a broken connection may still arrive", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For = between(r, 10*time.Second, time.Minute)
	}, begin: func(w *World, f *Fault) {
		w.wire.late++
		f.undone(func() { w.wire.late = max(0, w.wire.late-1) })
	}},
	{name: "loss", about: "up to 30 % of messages vanish", least: 2, draw: drawRate(0.3), begin: func(w *World, f *Fault) { w.rates(f, func() []float64 { return w.wire.loss }) }},
	{name: "duplicates", about: "up to 50 % of messages come twice", least: 2, draw: drawRate(0.5), begin: func(w *World, f *Fault) { w.rates(f, func() []float64 { return w.wire.dup }) }},
	{name: "reorder", about: "up to 50 % of messages overtake each other", least: 2, draw: drawRate(0.5), begin: func(w *World, f *Fault) { w.rates(f, func() []float64 { return w.wire.reorder }) }},
	{name: "ghosts", about: "up to 5 % of messages come once more, up to a minute later", least: 2, draw: drawRate(0.05), begin: func(w *World, f *Fault) { w.rates(f, func() []float64 { return w.wire.ghost }) }},
	{name: "delay", about: "messages take up to 10 s", least: 2, draw: drawRate(0.3), begin: func(w *World, f *Fault) {
		w.rates(f, func() []float64 { return w.wire.slow })
		w.wire.slowBy = between(f.rand(), 50*time.Millisecond, 10*time.Second)
	}},
	{name: "client_links", about: "requests and replies of clients are lost", draw: drawRate(0.2), begin: func(w *World, f *Fault) {
		w.load.requestLost, w.load.replyLost = f.X/2, f.X
		f.undone(func() { w.load.requestLost, w.load.replyLost = 0, 0 })
	}},
}

func drawGroup(f *Fault, r *rand.Rand, d *Draw) {
	f.nodes, f.For = some(r, d, 1+r.IntN(max(1, d.Nodes/2))), lasting(r, 8*time.Second, time.Minute)
}

func drawRate(most float64) func(*Fault, *rand.Rand, *Draw) {
	return func(f *Fault, r *rand.Rand, d *Draw) {
		f.For, f.X = lasting(r, 10*time.Second, time.Minute), most*r.Float64()
		if r.IntN(2) == 0 {
			f.nodes = some(r, d, 1+r.IntN(d.Nodes))
		}
	}
}

func (f *Fault) members(w *World) []bool {
	in := make([]bool, len(w.nodes))
	for _, i := range f.nodes {
		in[i] = true
	}
	return in
}

// cutWhere cuts the directed links that the fault names.
func (w *World) cutWhere(f *Fault, cut func(a, b *node) bool) {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != b && cut(a, b) {
				w.cutLink(a, b, 1)
				f.undone(func() { w.cutLink(a, b, -1) })
			}
		}
	}
}

// rates sets a chance for every link out of the fault's nodes, or of all.
func (w *World) rates(f *Fault, of func() []float64) {
	n := len(w.nodes)
	if w.wire.loss == nil {
		w.wire.loss, w.wire.dup, w.wire.reorder, w.wire.slow, w.wire.ghost = make([]float64, n*n), make([]float64, n*n), make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
	}
	in := f.members(w)
	rates := of()
	for i := range rates {
		if len(f.nodes) == 0 || in[i/n] {
			rates[i] += f.X
			f.undone(func() { rates[i] = max(0, rates[i]-f.X) })
		}
	}
}
