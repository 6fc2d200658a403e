package check

import (
	"cmp"
	"slices"
)

// sweep holds the order of versions against real time. An operation's floor is the
// highest version that anybody had written or seen before it was called: a read must
// be at it or above, a write above it. Both orders together have a cycle exactly if
// two operations contradict each other like that (real time is an interval order), so
// this is all there is to linearizability once versions are known. Reads of the past
// have no floor, and raise it: what they show is committed.
func (v *versioned) sweep() {
	calls := slices.Clone(v.h.byKey[v.key])
	slices.SortStableFunc(calls, func(a, b int) int { return cmp.Compare(v.h.ops[a].Call, v.h.ops[b].Call) })
	ends := slices.DeleteFunc(slices.Clone(calls), func(i int) bool { return v.h.ops[i].Outcome == Unknown })
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(v.h.ops[a].Return, v.h.ops[b].Return) })
	gone := v.deletions()
	var floor stamp
	floorBy := -1
	for _, i := range calls {
		o := &v.h.ops[i]
		for ; len(ends) > 0 && v.h.ops[ends[0]].Return < o.Call; ends = ends[1:] {
			if s := v.of[ends[0]]; s.compare(floor) > 0 {
				floor, floorBy = s, ends[0]
			}
		}
		if o.Kind == Read && o.Outcome == OK && len(o.Read) == 0 && o.Version == "" {
			if o.Level != Past {
				v.absent(i, floor, floorBy, gone)
			}
			continue
		}
		s, known := v.of[i]
		switch {
		case !known:
		case o.applicable() && s.compare(floor) <= 0:
			v.add(Disorder, []int{i, floorBy}, "a write called at %v got version %s, and %s was there before", o.Call, v.text(s), v.text(floor))
		case o.observed() && o.Level != Past && s.compare(floor) < 0:
			v.add(Stale, []int{i, floorBy}, "a read called at %v shows version %s, and %s was there before", o.Call, v.text(s), v.text(floor))
		}
	}
}

// text shows a stamp with as many numbers as the key's versions have.
func (v *versioned) text(s stamp) string { return FormatVersion(s[:v.parts]...) }

// deletions are the versions of the tombstones, in order, and before them the time
// before all writes.
func (v *versioned) deletions() []stamp {
	out := []stamp{{}}
	for s, at := range v.slots {
		if at.value == "" {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, stamp.compare)
	return out
}

// absent finds the earliest deletion that a read which found nothing can have seen.
func (v *versioned) absent(i int, floor stamp, floorBy int, gone []stamp) {
	o := &v.h.ops[i]
	if v.mayBeGone(o.Return) {
		return
	}
	from, _ := slices.BinarySearchFunc(gone, floor, stamp.compare)
	for _, s := range gone[from:] {
		if at := v.slots[s]; at == nil || at.call <= o.Return {
			v.of[i] = s
			return
		}
	}
	v.add(Stale, []int{i, floorBy}, "a read called at %v finds nothing, version %s was there before, and no deletion explains it", o.Call, v.text(floor))
}

// mayBeGone: a deletion of unknown version can have taken effect by then.
func (v *versioned) mayBeGone(by Time) bool {
	return len(v.hidden) > 0 && v.h.ops[v.hidden[0]].Call <= by
}

// compareAndSet: a CAS must be the next version after the one it compared with.
func (v *versioned) compareAndSet() {
	order := make([]stamp, 0, len(v.slots)+1)
	order = append(order, stamp{})
	for s := range v.slots {
		order = append(order, s)
	}
	slices.SortFunc(order, stamp.compare)
	for _, i := range v.h.byKey[v.key] {
		o := &v.h.ops[i]
		if o.Kind != CAS || !o.HasContext {
			continue
		}
		s, known := v.of[i]
		expected, seen := v.expected(o)
		switch {
		case !known:
		case o.Outcome == Mismatch:
			if seen && expected == s {
				v.add(FalseMismatch, []int{i}, "a CAS that compares with version %s was refused, and told that version", o.Version)
			}
		default:
			at, _ := slices.BinarySearchFunc(order, s, stamp.compare)
			v.successor(i, order[at-1], expected, seen)
		}
	}
}

// expected is the version of the value that a CAS compares with.
func (v *versioned) expected(o *Op) (s stamp, known bool) {
	if len(o.Context) == 0 {
		return stamp{}, false
	}
	w, known := v.h.writer[o.Context[0]]
	if known {
		s, known = v.of[w]
	}
	return s, known
}

// successor judges a CAS that took effect right after version before.
func (v *versioned) successor(i int, before, expected stamp, seen bool) {
	o := &v.h.ops[i]
	at := v.slots[before]
	switch {
	case len(o.Context) > 0 && seen && before != expected:
		v.add(LostUpdate, []int{i}, "a CAS over %s, version %s, took effect after version %s", o.Context[0], v.text(expected), v.text(before))
	case len(o.Context) == 0 && at != nil && at.value != "" && !v.mayBeGone(o.end()):
		v.add(LostUpdate, []int{i, at.by}, "a CAS over nothing took effect after version %s, which is %s", v.text(before), at.value)
	}
}
