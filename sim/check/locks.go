package check

import (
	"cmp"
	"slices"
)

// Locks tells whether keys that are used as locks have one holder at a time. Who creates
// the key by a CAS over nothing has the lock; it is free again when a deletion, or
// another write, may have taken effect. Tokens (the versions of the creations) must grow
// from holder to holder. It reports TwoHolders and Disorder. Keys without such a CAS are
// passed over. Time n log n.
func Locks(ops []Op) []Violation {
	h := newHistory("locks", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keys {
		h.holders(k)
	}
	return h.found.done()
}

// holders follows one lock. Only who was let in before another asked for it was surely
// there first.
func (h *history) holders(k KeyRef) {
	var taken, open []int      // creations that were acked; writes that end anybody's time
	freed := map[string]bool{} // holders whose own time somebody may have ended
	for _, i := range h.byKey[k] {
		switch o := &h.ops[i]; {
		case o.Kind == CAS && o.HasContext && len(o.Context) == 0 && o.Value != "":
			if o.Outcome == OK {
				taken = append(taken, i)
			}
		case o.applicable() && o.Kind == CAS && o.HasContext:
			freed[o.Context[0]] = true
		case o.applicable():
			open = append(open, i)
		}
	}
	ends := slices.Clone(taken)
	byCall := func(a, b int) int { return cmp.Compare(h.ops[a].Call, h.ops[b].Call) }
	slices.SortStableFunc(taken, byCall)
	slices.SortStableFunc(open, byCall)
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(h.ops[a].Return, h.ops[b].Return) })
	latest := Time(-1) // end of those of open that were asked for by then
	held, last := -1, -1
	var token stamp
	for _, i := range taken {
		b := &h.ops[i]
		for ; len(ends) > 0 && h.ops[ends[0]].Return < b.Call; ends = ends[1:] {
			a := &h.ops[ends[0]]
			if s, _, ok := parseVersion(a.Version); ok && s.compare(token) > 0 {
				token, last = s, ends[0]
			}
			if !freed[a.Value] && (held < 0 || a.Call > h.ops[held].Call) {
				held = ends[0]
			}
		}
		for ; len(open) > 0 && h.ops[open[0]].Call <= b.Return; open = open[1:] {
			latest = max(latest, h.ops[open[0]].end())
		}
		if held >= 0 && latest < h.ops[held].Call {
			a := &h.ops[held]
			h.found.add(TwoHolders, k, []int{i, held}, "%s is let in at %v, and %s has held it since %v", b.Value, b.Return, a.Value, a.Return)
		}
		if s, _, ok := parseVersion(b.Version); ok && last >= 0 && s.compare(token) <= 0 {
			a := &h.ops[last]
			h.found.add(Disorder, k, []int{i, last}, "the token %s of %s is not above %s of %s, which held the lock before", b.Version, b.Value, a.Version, a.Value)
		}
	}
}
