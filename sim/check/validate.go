package check

import "slices"

// Validate tests what all checkers rely on: operations end after they begin, values
// are unique, versions are well formed, contexts and sessions name values of the same
// key that had been written by then. It reports BrokenHistory only. Every checker
// calls it first.
func Validate(h []Op) []Violation { return newHistory("validate", h).found.done() }

// history is an indexed and validated history.
type history struct {
	ops    []Op
	writer map[string]int // value -> its write
	keys   []KeyRef       // sorted, so that verdicts come in one order
	byKey  map[KeyRef][]int
	// counters are the operations on counters, which are not in byKey.
	counters map[KeyRef][]int
	found    findings
}

// newHistory indexes and validates. If something is broken, found says so and the
// index is not to be used.
func newHistory(check string, ops []Op) *history {
	h := &history{ops: ops, writer: make(map[string]int, len(ops)), byKey: map[KeyRef][]int{}, counters: map[KeyRef][]int{}, found: findings{check: check}}
	for i := range ops {
		k := ops[i].Ref()
		if len(h.byKey[k])+len(h.counters[k]) == 0 {
			h.keys = append(h.keys, k)
		}
		if ops[i].counts() {
			h.counters[k] = append(h.counters[k], i)
		} else {
			h.byKey[k] = append(h.byKey[k], i)
		}
		h.validateShape(i)
		h.validateValue(i)
	}
	slices.SortFunc(h.keys, KeyRef.compare)
	h.validateVersions()
	h.validateReferences()
	return h
}

func (h *history) broken() bool { return len(h.found.list) > 0 }

func (h *history) bad(i int, format string, args ...any) {
	h.found.add(BrokenHistory, h.ops[i].Ref(), []int{i}, format, args...)
}

func (h *history) validateShape(i int) {
	o := &h.ops[i]
	if o.Kind > Total || o.Outcome > Mismatch || o.Level > Past {
		h.bad(i, "kind %d, outcome %d or level %d does not exist", o.Kind, o.Outcome, o.Level)
		return
	}
	fits := o.Outcome == OK || o.Outcome == NotApplied || o.Outcome == Unknown || o.Outcome == Mismatch && o.Kind == CAS
	if !o.writes() {
		fits = o.Outcome == OK || o.Outcome == Failed
	}
	if !fits {
		h.bad(i, "a %v cannot end as %v", o.Kind, o.Outcome)
	}
	if o.Call < 0 || o.Outcome != Unknown && o.Return < o.Call {
		h.bad(i, "called at %v and returned at %v", o.Call, o.Return)
	}
	if !o.HasContext && len(o.Context) > 0 {
		h.bad(i, "it names a context and has none")
	}
	if o.Kind == Add && o.Delta <= 0 {
		h.bad(i, "an add of %d: only what grows can be told apart", o.Delta)
	}
	if o.Kind == CAS && len(o.Context) > 1 {
		h.bad(i, "a CAS compares with %d values", len(o.Context))
	}
	if slices.Contains(o.Read, "") {
		h.bad(i, "a read shows an empty value")
	}
}

func (h *history) validateValue(i int) {
	o := &h.ops[i]
	switch {
	case o.Value == "" && o.Kind == Write:
		h.bad(i, "a write without a value")
	case o.Value != "" && o.Kind != Write && o.Kind != CAS:
		h.bad(i, "a %v with value %s", o.Kind, o.Value)
	case o.Value == "":
	default:
		if j, known := h.writer[o.Value]; known {
			h.bad(i, "value %s was written before, by operation %d", o.Value, j)
			return
		}
		h.writer[o.Value] = i
	}
}

func (h *history) validateVersions() {
	for _, k := range h.keys {
		parts, unversioned := 0, -1
		for _, i := range h.byKey[k] {
			o := &h.ops[i]
			if o.Version == "" {
				if o.Outcome == OK && (o.Kind == Write || o.Kind == CAS) {
					unversioned = i
				}
				continue
			}
			_, n, ok := parseVersion(o.Version)
			switch {
			case !ok:
				h.bad(i, "version %q is not one to %d numbers joined by dots", o.Version, versionParts)
			case parts == 0:
				parts = n
			case parts != n:
				h.bad(i, "version %q has %d numbers, others of this key have %d", o.Version, n, parts)
			}
		}
		if parts > 0 && unversioned >= 0 {
			h.bad(unversioned, "an acked write has no version, others of this key have")
		}
	}
}

// validateReferences: what a client says to have seen was written to that key by
// then, or some read invented it, which is the store's fault and not the history's.
func (h *history) validateReferences() {
	invented := map[string]bool{}
	for i := range h.ops {
		for _, v := range h.ops[i].Read {
			if j, known := h.writer[v]; !known || h.ops[j].Ref() != h.ops[i].Ref() {
				invented[v] = true
			}
		}
	}
	for i := range h.ops {
		o := &h.ops[i]
		for _, seen := range [...][]string{o.Context, o.Session, o.SessionGone} {
			for _, v := range seen {
				j, known := h.writer[v]
				switch {
				case invented[v]:
				case !known:
					h.bad(i, "it has seen %s, which nobody wrote", v)
				case h.ops[j].Ref() != o.Ref():
					h.bad(i, "it has seen %s, which was written to %v", v, h.ops[j].Ref())
				case h.ops[j].Call > o.Call:
					h.bad(i, "called at %v it has seen %s, written from %v on", o.Call, v, h.ops[j].Call)
				}
			}
		}
	}
}

// phantom reports a value in a read, or with read < 0 in the final state, that
// cannot be there, and tells whether it did.
func (h *history) phantom(key KeyRef, value string, read int) bool {
	ops := []int{read}
	if read < 0 {
		ops = nil
	}
	i, known := h.writer[value]
	if !known || h.ops[i].Ref() != key {
		h.found.add(Phantom, key, ops, "%s is there, and nobody wrote it to this key", value)
		return true
	}
	w := &h.ops[i]
	ops = append(ops, i)
	switch {
	case w.Outcome == NotApplied || w.Outcome == Mismatch:
		h.found.add(RefusedYetSeen, key, ops, "%s is there, and its write was refused (%v)", value, w.Outcome)
	case read >= 0 && w.Call > h.ops[read].Return:
		h.found.add(Phantom, key, ops, "a read that ended at %v shows %s, written from %v on", h.ops[read].Return, value, w.Call)
	default:
		return false
	}
	return true
}
