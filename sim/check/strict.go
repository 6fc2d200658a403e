package check

import (
	"cmp"
	"slices"
)

// StrictReads tells whether strict reads (Level Strict, R+W>N with owners only) see every
// strict write that was acked, and every value that another strict read had shown,
// before they were called, or something that may have replaced it by the time they
// ended; and whether they show nothing that such a write had replaced. It reports
// Stale. Other operations only count as possible replacements. What a later write
// without a context may have replaced is excused. Time n log n for histories whose
// keys have a bounded number of siblings.
func StrictReads(ops []Op) []Violation {
	h := newHistory("strict", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keys {
		if slices.ContainsFunc(h.byKey[k], func(i int) bool { return ops[i].Kind == Read && ops[i].Level == Strict }) {
			newWeb(h, k).strict()
		}
	}
	return h.found.done()
}

// settled says that from a time on every strict read must know a node.
type settled struct {
	at   Time
	node int
	by   int // the write that was acked, or the read that showed it
}

func (w *web) strict() {
	due := w.settling()
	reads := slices.DeleteFunc(slices.Clone(w.h.byKey[w.key]), func(i int) bool { return !w.strictly(i) || w.h.ops[i].Kind != Read })
	slices.SortStableFunc(reads, func(a, b int) int { return cmp.Compare(w.h.ops[a].Call, w.h.ops[b].Call) })
	var current []settled // not yet replaced when the read is called, at the latest
	known := make([]bool, len(w.nodes))
	for _, i := range reads {
		o := &w.h.ops[i]
		for ; len(due) > 0 && due[0].at < o.Call; due = due[1:] {
			if !known[due[0].node] {
				known[due[0].node] = true
				current = append(current, due[0])
			}
		}
		current = slices.DeleteFunc(current, func(s settled) bool { return w.replacedFrom(s.node) <= o.Call })
		for _, s := range current {
			if id := w.nodes[s.node].id; w.replacedFrom(s.node) > o.Return && !slices.Contains(o.Read, id) {
				w.h.found.add(Stale, w.key, []int{i, s.by, w.nodes[s.node].op}, "a strict read called at %v misses %s, settled since %v", o.Call, id, s.at)
			}
		}
		w.showsReplaced(i)
	}
}

func (w *web) strictly(i int) bool {
	return w.h.ops[i].Level == Strict && w.h.ops[i].Outcome == OK
}

// settling lists, by time, when values become known to all strict reads.
func (w *web) settling() (out []settled) {
	for x := range w.nodes {
		if n := &w.nodes[x]; !n.tomb && w.strictly(n.op) {
			out = append(out, settled{w.h.ops[n.op].Return, x, n.op})
		}
	}
	for _, i := range w.h.byKey[w.key] {
		if o := &w.h.ops[i]; o.Kind == Read && w.strictly(i) {
			for _, v := range o.Read {
				if x, known := w.byID[v]; known {
					out = append(out, settled{o.Return, x, i})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b settled) int { return cmp.Compare(a.at, b.at) })
	return out
}

// replacersMax is how many replacements of one value are looked at. They are
// concurrent with each other, so there are few, and the first ones end first.
const replacersMax = 16

func (w *web) showsReplaced(i int) {
	o := &w.h.ops[i]
	for _, v := range o.Read {
		u, known := w.byID[v]
		if !known || w.nodes[u].resent {
			continue
		}
		over := w.nodes[u].over
		for _, x := range over[:min(len(over), replacersMax)] {
			if by := w.nodes[x].op; w.strictly(by) && w.h.ops[by].Return < o.Call {
				w.h.found.add(Stale, w.key, []int{i, by, w.nodes[u].op}, "a strict read called at %v shows %s, replaced at %v", o.Call, v, w.h.ops[by].Return)
				break
			}
		}
	}
}
