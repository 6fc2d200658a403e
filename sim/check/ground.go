package check

import (
	"cmp"
	"slices"
)

// grounding explains absences in a final state. A node is explained if it is there,
// or if an explained one replaced it, or may have; deletions leave nothing and need
// no explanation. Whoever is not explained is lost: in a join of versions a value is
// missing only where something that had seen it is known, and that is there itself or
// was replaced in turn.
type grounding struct {
	w         *web
	explained []bool
	queue     []int
	blind     []int // explained blind nodes
	limit     Time  // the latest end among them
	next      int   // nodes before this one were tried against some limit
	waiting   []int // tried, and seen beside what would have explained them
}

// ground is the explanation that a final state gives by itself.
func (w *web) ground(present []int) *grounding {
	g := &grounding{w: w, explained: make([]bool, len(w.nodes)), limit: -1}
	for _, x := range present {
		g.add(x)
	}
	for x := range w.nodes {
		if w.nodes[x].tomb {
			g.add(x)
		}
	}
	g.run()
	return g
}

// run follows what was added to the end.
func (g *grounding) run() {
	for len(g.queue) > 0 {
		for len(g.queue) > 0 {
			x := g.queue[len(g.queue)-1]
			g.queue = g.queue[:len(g.queue)-1]
			g.spread(x)
		}
		g.retry()
	}
}

func (g *grounding) add(x int) {
	if !g.explained[x] {
		g.explained[x] = true
		g.queue = append(g.queue, x)
	}
}

// spread explains what x replaced. Blind nodes replace a prefix of the nodes by call,
// so it is enough to move one limit up.
func (g *grounding) spread(x int) {
	n := &g.w.nodes[x]
	for _, u := range n.covers {
		g.add(u)
	}
	if !n.blind {
		return
	}
	g.blind = append(g.blind, x)
	if n.end <= g.limit {
		return
	}
	g.limit = n.end
	for ; g.next < len(g.w.nodes) && g.w.nodes[g.next].call <= g.limit; g.next++ {
		switch u := g.next; {
		case g.explained[u]:
		case g.w.mayReplace(x, u):
			g.add(u)
		default:
			g.waiting = append(g.waiting, u)
		}
	}
}

// retry looks for another blind node for those that were seen beside the latest.
func (g *grounding) retry() {
	if len(g.waiting) == 0 {
		return
	}
	slices.SortStableFunc(g.blind, func(a, b int) int { return cmp.Compare(g.w.nodes[b].end, g.w.nodes[a].end) })
	g.waiting = slices.DeleteFunc(g.waiting, func(u int) bool {
		for _, x := range g.blind {
			if g.w.nodes[x].end < g.w.nodes[u].call {
				break
			}
			if g.w.mayReplace(x, u) {
				g.add(u)
				break
			}
		}
		return g.explained[u]
	})
}
