package check

import (
	"cmp"
	"slices"
)

// web is who replaced whom among the writes of one key. A node is a write that took
// effect or may have, or, seen from inside the store, one version that it made.
type web struct {
	h     *history
	key   KeyRef
	nodes []node         // sorted by call
	byID  map[string]int // value, or id of a version -> node
	blind []int          // nodes without a context, by call
	// reach is, for each of blind, the least call among it and all that can take
	// effect as late: they by their end, and that least call.
	reach []reached
	// beside are pairs (node, blind node) that one answer showed together: the blind
	// one has not replaced the other.
	beside map[[2]int]bool
}

type reached struct {
	end  Time
	call Time // the least call of the blind nodes with that end or a later one
}

type node struct {
	op     int
	id     string
	covers []int // nodes that it has seen and so replaced
	over   []int // the other way round: nodes that have seen it, by call
	call   Time
	end    Time // latest time of taking effect
	tomb   bool
	blind  bool // it replaced whatever its coordinator held: any node called before its end
	resent bool // it may be made again later
	proven bool // it took effect and is durable
}

// newWeb is the web of a key as clients know it.
func newWeb(h *history, k KeyRef) *web {
	w := &web{h: h, key: k, byID: map[string]int{}, beside: map[[2]int]bool{}}
	for _, i := range h.byKey[k] {
		if o := &h.ops[i]; o.applicable() {
			n := node{op: i, id: o.Value, call: o.Call, end: o.end(), tomb: o.deletes(), blind: !o.HasContext, resent: o.Resent, proven: o.Outcome == OK}
			if o.Resent {
				n.end = Forever
			}
			w.nodes = append(w.nodes, n)
		}
	}
	slices.SortStableFunc(w.nodes, func(a, b node) int { return cmp.Compare(a.call, b.call) })
	w.index()
	for x := range w.nodes {
		w.link(x, h.ops[w.nodes[x].op].Context)
	}
	w.reaches()
	w.seenTogether()
	return w
}

func (w *web) index() {
	for x := range w.nodes {
		n := &w.nodes[x]
		if n.id != "" {
			w.byID[n.id] = x
		}
		if n.blind {
			w.blind = append(w.blind, x)
		}
	}
}

func (w *web) link(x int, covers []string) {
	for _, id := range covers {
		if u, known := w.byID[id]; known && u != x {
			w.nodes[x].covers = append(w.nodes[x].covers, u)
			w.nodes[u].over = append(w.nodes[u].over, x)
		}
	}
}

func (w *web) reaches() {
	byEnd := slices.Clone(w.blind)
	slices.SortStableFunc(byEnd, func(a, b int) int { return cmp.Compare(w.nodes[a].end, w.nodes[b].end) })
	w.reach = make([]reached, len(byEnd))
	least := Forever
	for i := len(byEnd) - 1; i >= 0; i-- {
		n := &w.nodes[byEnd[i]]
		least = min(least, n.call)
		w.reach[i] = reached{n.end, least}
	}
}

// togetherMax is how many values of one answer are paired: it only sharpens verdicts,
// and answers with more are rare.
const togetherMax = 16

func (w *web) seenTogether() {
	if len(w.blind) == 0 {
		return
	}
	for _, i := range w.h.byKey[w.key] {
		o := &w.h.ops[i]
		if o.Kind != Read || o.Outcome != OK || len(o.Read) < 2 {
			continue
		}
		for _, a := range o.Read[:min(len(o.Read), togetherMax)] {
			x, known := w.byID[a]
			if !known || !w.nodes[x].blind || w.nodes[x].resent {
				continue
			}
			for _, b := range o.Read[:min(len(o.Read), togetherMax)] {
				if u, known := w.byID[b]; known && u != x && !w.nodes[u].resent {
					w.beside[[2]int{u, x}] = true
				}
			}
		}
	}
}

// mayReplace: blind node x may have replaced u.
func (w *web) mayReplace(x, u int) bool {
	return x != u && w.nodes[u].call <= w.nodes[x].end && !w.beside[[2]int{u, x}]
}

// replacedFrom is the earliest time at which something can have replaced u.
func (w *web) replacedFrom(u int) Time {
	at := Forever
	if over := w.nodes[u].over; len(over) > 0 {
		at = w.nodes[over[0]].call
	}
	if !w.nodes[u].blind {
		i, _ := slices.BinarySearchFunc(w.reach, w.nodes[u].call, func(r reached, t Time) int { return cmp.Compare(r.end, t) })
		if i < len(w.reach) {
			at = min(at, w.reach[i].call)
		}
		return at
	}
	return min(at, w.blindAfter(u))
}

// blindAfter is replacedFrom for a blind node, which does not replace itself: the
// first of the others, and only the first few can end before u is called.
func (w *web) blindAfter(u int) Time {
	i, _ := slices.BinarySearchFunc(w.reach, w.nodes[u].call, func(r reached, t Time) int { return cmp.Compare(r.end, t) })
	if i == len(w.reach) {
		return Forever
	}
	if w.reach[i].call < w.nodes[u].call { // somebody else's
		return w.reach[i].call
	}
	at, _ := slices.BinarySearch(w.blind, u)
	if at > 0 && w.nodes[w.blind[at-1]].call == w.nodes[u].call {
		return w.nodes[u].call
	}
	if at+1 < len(w.blind) { // called later, so it ends later than u's call
		return w.nodes[w.blind[at+1]].call
	}
	return Forever
}

// past marks what the given nodes have seen, and what those have seen, and so on:
// the result is, for each node, one that has seen it, or -1.
func (w *web) past(from []int) []int {
	seenBy := make([]int, len(w.nodes))
	for i := range seenBy {
		seenBy[i] = -1
	}
	visited := make([]bool, len(w.nodes))
	queue := slices.Clone(from)
	for _, x := range queue {
		visited[x] = true
	}
	for len(queue) > 0 {
		x := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, u := range w.nodes[x].covers {
			seenBy[u] = x
			if !visited[u] {
				visited[u] = true
				queue = append(queue, u)
			}
		}
	}
	return seenBy
}
