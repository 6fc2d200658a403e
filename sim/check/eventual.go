package check

import "slices"

// Eventual holds a bucket that keeps siblings to its promises, as far as clients can
// know them. final is what is left of each key after everything is quiet, with all
// that replicas hold joined; keys that it does not name are judged by their reads
// alone. It reports
//
//	Lost            an acked write is gone and nobody replaced it
//	Resurrected     a value is left, or shown, beside a write that had seen it
//	Phantom         a value that nobody wrote to that key, or not yet
//	RefusedYetSeen  a value whose write was refused for certain
//
// A write without a context replaces whatever its coordinator held: it may have
// replaced anything written before it ended, except what some answer shows beside it,
// and need not have replaced anything. So with such writes a loss can hide behind a
// later one; Causal, from inside the store, is exact. Acked writes are taken to be
// durable: call the outcome of one unknown if all stores that acked it were lost.
// Values of Resent writes are never called resurrected. Not for buckets where the
// last write wins or values expire: there values may go without having been replaced.
// Time n log n.
func Eventual(ops []Op, final map[KeyRef][]string) []Violation {
	h := newHistory("eventual", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keysWith(final) {
		w := newWeb(h, k)
		w.reads()
		if left, asked := final[k]; asked {
			present := w.present(left)
			w.lost(present)
			w.resurrected(present)
		}
	}
	return h.found.done()
}

// Durability tells whether every acked write is left, or was replaced: the part of
// Eventual that holds even before replicas have met, if final joins what all stores
// have on disk. For after a power cut of all of them. It reports Lost, Phantom and
// RefusedYetSeen. For registers too: a CAS has seen what it compares with, and a
// plain write replaces anything.
func Durability(ops []Op, final map[KeyRef][]string) []Violation {
	h := newHistory("durability", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keysWith(final) {
		if left, asked := final[k]; asked {
			w := newWeb(h, k)
			w.lost(w.present(left))
		}
	}
	return h.found.done()
}

// keysWith are the keys of the history and those of the final state.
func (h *history) keysWith(final map[KeyRef][]string) []KeyRef {
	out := slices.Clone(h.keys)
	for k := range final {
		if _, known := h.byKey[k]; !known {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, KeyRef.compare)
	return out
}

// present are the nodes of what is left.
func (w *web) present(left []string) (out []int) {
	for _, v := range left {
		if !w.h.phantom(w.key, v, -1) {
			out = append(out, w.byID[v])
		}
	}
	return out
}

// lost reports the latest of the lost writes, and what only that one can have
// replaced is not lost by itself, and so on.
func (w *web) lost(present []int) {
	g := w.ground(present)
	for x := len(w.nodes) - 1; x >= 0; x-- {
		if n := &w.nodes[x]; n.proven && !g.explained[x] {
			o := &w.h.ops[n.op]
			w.h.found.add(Lost, w.key, []int{n.op}, "%s, acked at %v, is gone, and no write that had seen it replaced it; left are %d values", n.id, o.Return, len(present))
			g.add(x)
			g.run()
		}
	}
}

// resurrected: acked writes and those that are left stand for all they have seen.
func (w *web) resurrected(present []int) {
	from := slices.Clone(present)
	for x := range w.nodes {
		if w.nodes[x].proven {
			from = append(from, x)
		}
	}
	seenBy := w.past(from)
	for _, u := range present {
		n := &w.nodes[u]
		if by := seenBy[u]; by >= 0 && !n.resent {
			w.h.found.add(Resurrected, w.key, []int{n.op, w.nodes[by].op}, "%s is left, and a %v that had seen it replaced it", n.id, w.h.ops[w.nodes[by].op].Kind)
		}
	}
}

// reads judges single answers: what is in one object has not been replaced by
// anything else in it.
func (w *web) reads() {
	for _, i := range w.h.byKey[w.key] {
		o := &w.h.ops[i]
		if o.Kind != Read || o.Outcome != OK {
			continue
		}
		var shown []int
		for _, v := range o.Read {
			if !w.h.phantom(w.key, v, i) {
				shown = append(shown, w.byID[v])
			}
		}
		if len(shown) < 2 {
			continue
		}
		for _, u := range shown {
			if by := w.hasSeen(shown, u); by >= 0 && !w.nodes[u].resent {
				w.h.found.add(Resurrected, w.key, []int{i, w.nodes[u].op, w.nodes[by].op}, "a read shows %s beside %s, which had replaced it", w.nodes[u].id, w.nodes[by].id)
			}
		}
	}
}

// pastMax is how many steps into the past a single answer is followed. Siblings are
// nearly of one age, so a few steps tell; the final state is followed to the end.
const pastMax = 64

// hasSeen is one of from that has seen u, or has seen one that has, or -1.
func (w *web) hasSeen(from []int, u int) int {
	steps := 0
	var visit func(x int) bool
	visit = func(x int) bool {
		if steps++; steps > pastMax || w.nodes[x].call < w.nodes[u].call {
			return false
		}
		return slices.Contains(w.nodes[x].covers, u) || slices.ContainsFunc(w.nodes[x].covers, visit)
	}
	for _, x := range from {
		if x != u && visit(x) {
			return x
		}
	}
	return -1
}
