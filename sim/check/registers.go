package check

import (
	"cmp"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// RegisterOptions bound the search of Registers. The zero value is right for tests.
type RegisterOptions struct {
	// MaxOps is the most operations of one search, 0: 200. A longer history of a key
	// is cut into windows; where that needs operations left out, only such are that
	// cannot make a legal history look wrong.
	MaxOps int
	// MaxWindows is the most searches for one key, spread evenly, 0: 8.
	MaxWindows int
	// MaxKeys is the most keys looked at, spread evenly, 0: all.
	MaxKeys int
	// MaxSteps bounds one search, 0: 200,000, about 0.2 s. It counts steps and not
	// time so that the same history always gets the same verdict. A search that would
	// need more counts as unknown: the problem is NP-hard.
	MaxSteps int
	// Plain takes a CAS for a blind write: right where contexts are no conditions.
	Plain bool
	// AnyStart lets keys hold anything at first; otherwise they begin absent.
	AnyStart bool
}

func (o RegisterOptions) filled() RegisterOptions {
	for _, d := range []struct {
		field  *int
		normal int
	}{{&o.MaxOps, 200}, {&o.MaxWindows, 8}, {&o.MaxKeys, math.MaxInt}, {&o.MaxSteps, 200_000}} {
		if *d.field <= 0 {
			*d.field = d.normal
		}
	}
	return o
}

// RegisterReport is the result of SearchRegisters.
type RegisterReport struct {
	Violations []Violation
	Keys       int // looked at
	Windows    int // searches made
	Ops        int // operations in them
	Unknown    int // searches that ran out of steps: neither right nor wrong
}

// Registers tells whether every key behaves as one linearizable register (read,
// write, delete, CAS), by porcupine. It reports NotLinearizable; in the window where
// an order exists up to some operation and not with it, that operation comes first.
// It misses what lies outside its windows and what it has no steps for.
func Registers(h []Op, o RegisterOptions) []Violation { return SearchRegisters(h, o).Violations }

// SearchRegisters is Registers with an account of how far it looked.
func SearchRegisters(ops []Op, o RegisterOptions) RegisterReport {
	h := newHistory("registers", ops)
	var out RegisterReport
	if !h.broken() {
		o = o.filled()
		for _, k := range sample(h.keys, o.MaxKeys) {
			out.Keys++
			for _, w := range sample(h.windows(k, o), o.MaxWindows) {
				out.Windows++
				out.Ops += len(w.at)
				h.search(k, w, o, &out)
			}
		}
	}
	out.Violations = h.found.done()
	return out
}

// sample keeps n of s, spread evenly, the first among them.
func sample[T any](s []T, n int) []T {
	if len(s) <= n {
		return s
	}
	out := make([]T, n)
	for i := range out {
		out[i] = s[i*len(s)/n]
	}
	return out
}

// search looks for an order of a window, and without one for the operation that
// spoils it: orders are prefix-closed, so that can be bisected.
func (h *history) search(k KeyRef, w window, o RegisterOptions, out *RegisterReport) {
	switch h.linearizable(w, o) {
	case porcupine.Unknown:
		out.Unknown++
		return
	case porcupine.Ok:
		return
	}
	ends := h.ends(w)
	guilty, _ := slices.BinarySearchFunc(ends, true, func(at int, _ bool) int {
		if h.linearizable(h.until(w, h.ops[at].Return), o) == porcupine.Illegal {
			return 0
		}
		return -1
	})
	if guilty == len(ends) { // no steps left to tell which
		h.found.add(NotLinearizable, k, w.at, "no order of these %d operations explains their answers", len(w.at))
		return
	}
	at := ends[guilty]
	ops := []int{at}
	for _, v := range append(slices.Clone(h.ops[at].Read), h.ops[at].Context...) {
		if i, known := h.writer[v]; known {
			ops = append(ops, i)
		}
	}
	h.found.add(NotLinearizable, k, ops, "operations that ended before %v can be put in order, with this one they cannot: %s", h.ops[at].Return, h.ops[at].String())
}

// ends are the operations of known end, by it.
func (h *history) ends(w window) []int {
	out := slices.DeleteFunc(slices.Clone(w.at), func(i int) bool { return h.ops[i].Outcome == Unknown })
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(h.ops[a].Return, h.ops[b].Return) })
	return out
}

// linearizable runs one search of at most MaxSteps steps.
func (h *history) linearizable(w window, o RegisterOptions) porcupine.CheckResult {
	m := newRegister(h, w, o)
	result := porcupine.CheckOperationsTimeout(m.model(o.MaxSteps), m.operations(h, w), 0)
	if result == porcupine.Illegal && m.steps > o.MaxSteps {
		return porcupine.Unknown
	}
	return result
}
