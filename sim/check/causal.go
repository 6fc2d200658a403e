package check

import "slices"

// Causal is Eventual from inside the store, and exact: every write names the versions
// that were made for it and what each of them may rightly replace (Op.Mints), and
// final names the ids of the versions that are left, tombstones included as far as
// they were not purged. It reports Lost, Resurrected, Phantom and RefusedYetSeen (a
// version was made for a write that was refused for certain). An acked delete without
// versions had nothing to delete; any other acked write without is lost.
func Causal(ops []Op, final map[KeyRef][]string) []Violation {
	h := newHistory("causal", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keysWith(final) {
		w := newMintWeb(h, k)
		if w == nil {
			continue
		}
		if left, asked := final[k]; asked {
			w.judgeMints(left)
		}
	}
	return h.found.done()
}

// newMintWeb is the web of a key's versions, nil if their ids are not unique.
func newMintWeb(h *history, k KeyRef) *web {
	w := &web{h: h, key: k, byID: map[string]int{}}
	var covers [][]string
	for _, i := range h.byKey[k] {
		o := &h.ops[i]
		if len(o.Mints) > 0 && (o.Kind == Read || !o.applicable()) {
			h.found.add(RefusedYetSeen, k, []int{i}, "%d versions were made for an operation that ended as %v", len(o.Mints), o.Outcome)
		}
		if o.Outcome == OK && (o.Kind == Write || o.Kind == CAS) && len(o.Mints) == 0 {
			h.found.add(Lost, k, []int{i}, "%s was acked, and no version was made for it", o.Value)
		}
		for _, m := range o.Mints {
			if _, known := w.byID[m.ID]; known || m.ID == "" {
				h.found.add(BrokenHistory, k, []int{i}, "version id %q is empty or was there before", m.ID)
				return nil
			}
			w.byID[m.ID] = len(w.nodes)
			w.nodes = append(w.nodes, node{op: i, id: m.ID, call: o.Call, tomb: o.deletes(), proven: m.Acked && o.Outcome == OK})
			covers = append(covers, m.Covers)
		}
	}
	for x := range w.nodes {
		w.link(x, covers[x])
	}
	return w
}

func (w *web) judgeMints(left []string) {
	var present []int
	for _, id := range left {
		if x, known := w.byID[id]; known {
			present = append(present, x)
		} else {
			w.h.found.add(Phantom, w.key, nil, "version %s is left, and no operation made it", id)
		}
	}
	w.lostMints(w.ground(present))
	w.resurrected(present)
}

// lostMints reports acked writes of which no version is explained, but not those that
// another of them had replaced: they are gone with it. If re-sent ones replaced each
// other, so that nobody is left to blame, all are.
func (w *web) lostMints(g *grounding) {
	kept := map[int]bool{}
	for x, ok := range g.explained {
		op := w.nodes[x].op
		kept[op] = kept[op] || ok || w.h.ops[op].Outcome != OK
	}
	with := map[int]bool{}
	for _, n := range w.nodes {
		with[n.op] = with[n.op] || slices.ContainsFunc(n.over, func(by int) bool { return w.nodes[by].op != n.op && !kept[w.nodes[by].op] })
	}
	var gone, first []int
	for _, i := range w.h.byKey[w.key] {
		if o := &w.h.ops[i]; len(o.Mints) > 0 && o.applicable() && !kept[i] {
			gone = append(gone, i)
			if !with[i] {
				first = append(first, i)
			}
		}
	}
	if len(first) == 0 {
		first = gone
	}
	for _, i := range first {
		o := &w.h.ops[i]
		w.h.found.add(Lost, w.key, []int{i}, "a %v of %q, acked at %v, is gone, and nothing that had seen it replaced it", o.Kind, o.Value, o.Return)
	}
}
