package check

import (
	"cmp"
	"slices"
)

// Sessions tells whether answered reads at Level Session are not behind their token:
// each value that it covers is there or may have been replaced by something that is
// itself there or replaced (read your writes, monotonic reads), and nothing is there
// that it covers as replaced or deleted. It reports SessionBroken. A 503 is a failed
// read and right. Long chains of replacements are given the benefit of the doubt.
func Sessions(ops []Op) []Violation {
	h := newHistory("sessions", ops)
	if h.broken() {
		return h.found.done()
	}
	holder := func(i int) bool {
		return ops[i].Kind == Read && ops[i].Outcome == OK && ops[i].Level == Session
	}
	for _, k := range h.keys {
		if !slices.ContainsFunc(h.byKey[k], holder) {
			continue
		}
		w := newWeb(h, k)
		for _, i := range h.byKey[k] {
			if holder(i) {
				w.forgets(i)
				w.goesBack(i)
			}
		}
	}
	return h.found.done()
}

// forgets: a value of the token is not there and not replaced.
func (w *web) forgets(i int) {
	o := &w.h.ops[i]
	for _, v := range o.Session {
		if x, known := w.byID[v]; known && !slices.Contains(o.Read, v) && !w.excused(x, o) {
			w.h.found.add(SessionBroken, w.key, []int{i, w.nodes[x].op}, "a read with a token that covers %s shows %v", v, o.Read)
		}
	}
}

// goesBack: a value is there that the token covers as gone.
func (w *web) goesBack(i int) {
	o := &w.h.ops[i]
	if len(o.Session)+len(o.SessionGone) == 0 {
		return
	}
	var token []int
	for _, v := range o.Session {
		if x, known := w.byID[v]; known {
			token = append(token, x)
		}
	}
	for _, v := range o.Read {
		u, known := w.byID[v]
		if !known || w.nodes[u].resent {
			continue
		}
		if by := w.hasSeen(token, u); by >= 0 {
			w.h.found.add(SessionBroken, w.key, []int{i, w.nodes[u].op, w.nodes[by].op}, "a read shows %s, and its token covers %s, which had replaced it", v, w.nodes[by].id)
		} else if slices.Contains(o.SessionGone, v) {
			w.h.found.add(SessionBroken, w.key, []int{i, w.nodes[u].op}, "a read shows %s, which its token covers as gone", v)
		}
	}
}

// excusesMax is how many possible replacements are looked at for one missing value.
const excusesMax = 256

// excused: u was replaced by something called before the read ended that is in the
// answer, or is a deletion, or is excused itself.
func (w *web) excused(u int, read *Op) bool {
	steps := 0
	tried := map[int]bool{}
	var visit func(x int) bool
	by := func(x int) bool {
		steps++
		return steps > excusesMax || w.nodes[x].tomb || visit(x)
	}
	visit = func(u int) bool {
		switch {
		case slices.Contains(read.Read, w.nodes[u].id):
			return true
		case tried[u]:
			return false
		}
		tried[u] = true
		for _, x := range w.nodes[u].over {
			if w.nodes[x].call <= read.Return && by(x) {
				return true
			}
		}
		// The latest are the likeliest to be there still.
		at, _ := slices.BinarySearchFunc(w.blind, read.Return, func(x int, t Time) int {
			if w.nodes[x].call <= t {
				return -1
			}
			return 1
		})
		for _, x := range slices.Backward(w.blind[:at]) {
			if steps++; steps > excusesMax || w.mayReplace(x, u) && by(x) {
				return true
			}
		}
		return false
	}
	return visit(u)
}

// SiblingCaps tells whether no answer shows more than most values, or one value
// twice. It reports TooManySiblings.
func SiblingCaps(ops []Op, most int) []Violation {
	h := newHistory("siblings", ops)
	if h.broken() {
		return h.found.done()
	}
	for i := range ops {
		o := &ops[i]
		if o.Kind != Read || o.Outcome != OK || len(o.Read) < 2 && len(o.Read) <= most {
			continue
		}
		sorted := slices.Sorted(slices.Values(o.Read))
		switch {
		case len(slices.Compact(sorted)) < len(o.Read):
			h.found.add(TooManySiblings, o.Ref(), []int{i}, "a read shows one value twice: %v", o.Read)
		case len(o.Read) > most:
			h.found.add(TooManySiblings, o.Ref(), []int{i}, "a read shows %d values, the cap is %d", len(o.Read), most)
		}
	}
	return h.found.done()
}

// Convergence tells whether all replicas of each key hold the same: values, or
// whatever stands for them, as version hashes, in any order. For after healing. It
// reports Diverged.
func Convergence(replicas map[KeyRef]map[string][]string) []Violation {
	f := findings{check: "convergence"}
	keys := make([]KeyRef, 0, len(replicas))
	for k := range replicas {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, KeyRef.compare)
	for _, k := range keys {
		nodes := make([]string, 0, len(replicas[k]))
		for n := range replicas[k] {
			nodes = append(nodes, n)
		}
		slices.SortFunc(nodes, cmp.Compare[string])
		var first []string
		for i, n := range nodes {
			held := slices.Sorted(slices.Values(replicas[k][n]))
			if i == 0 {
				first = held
			} else if !slices.Equal(first, held) {
				f.add(Diverged, k, nil, "%s holds %v, %s holds %v", nodes[0], first, n, held)
				break
			}
		}
	}
	return f.done()
}
