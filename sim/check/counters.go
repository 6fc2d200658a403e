package check

import (
	"cmp"
	"math/bits"
	"slices"
)

// Counters tells whether counters (Add, Total) are what their increments make of them:
// each acked one is in every sum that was asked for later, none that was not asked for
// yet, and each once; sums never go back, in real time or in the order of versions. It
// reports Miscount, Disorder and Duplicate. Where the increments of a counter are
// different powers of two a sum tells which of them are in it, and an increment that was
// made twice shows; otherwise only sums outside of what is possible do. Time n log n.
func Counters(ops []Op) []Violation {
	h := newHistory("counters", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keys {
		if list := h.counters[k]; len(list) > 0 {
			c := &counter{h: h, key: k, ops: list}
			c.sums()
			c.versions()
		}
	}
	return h.found.done()
}

type counter struct {
	h   *history
	key KeyRef
	ops []int
}

// told: the operation gave a sum.
func (o *Op) told() bool { return o.counts() && o.Outcome == OK }

// sums holds each sum against what must and what may be in it by real time.
func (c *counter) sums() {
	exact := c.powers()
	calls := slices.Clone(c.ops)
	slices.SortStableFunc(calls, func(a, b int) int { return cmp.Compare(c.h.ops[a].Call, c.h.ops[b].Call) })
	ends := slices.DeleteFunc(slices.Clone(calls), func(i int) bool { return !c.h.ops[i].told() })
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(c.h.ops[a].Return, c.h.ops[b].Return) })
	may := c.askedBy(calls, ends)
	var must, floor int64
	floorBy := -1
	for _, i := range calls {
		o := &c.h.ops[i]
		for ; len(ends) > 0 && c.h.ops[ends[0]].Return < o.Call; ends = ends[1:] {
			e := &c.h.ops[ends[0]]
			must += e.Delta
			if e.Count > floor {
				floor, floorBy = e.Count, ends[0]
			}
		}
		if !o.told() {
			continue
		}
		least, most := must+o.Delta, may[i]
		if o.Level == Past {
			least = 0
		}
		switch {
		case exact && (o.Count&least != least || o.Count&^most != 0), o.Count < least, o.Count > most:
			c.h.found.add(Miscount, c.key, []int{i}, "a counter is %d for one who asked at %v: what was acked before makes %d, all that was asked for %d", o.Count, o.Call, least, most)
		case o.Level != Past && o.Count < floor+o.Delta:
			c.h.found.add(Disorder, c.key, []int{i, floorBy}, "a counter is %d for one who asked at %v, and was %d before", o.Count, o.Call, floor)
		}
	}
}

// askedBy is, for each operation that gave a sum, all that had been asked for by its end.
func (c *counter) askedBy(calls, ends []int) map[int]int64 {
	out := make(map[int]int64, len(ends))
	var sum int64
	for _, i := range ends {
		for ; len(calls) > 0 && c.h.ops[calls[0]].Call <= c.h.ops[i].Return; calls = calls[1:] {
			if o := &c.h.ops[calls[0]]; o.Kind == Add && o.Outcome != NotApplied {
				sum += o.Delta
			}
		}
		out[i] = sum
	}
	return out
}

// powers tells whether all increments are different powers of two.
func (c *counter) powers() bool {
	var all int64
	for _, i := range c.ops {
		o := &c.h.ops[i]
		if o.Kind != Add {
			continue
		}
		if bits.OnesCount64(uint64(o.Delta)) != 1 || all&o.Delta != 0 {
			return false
		}
		all |= o.Delta
	}
	return true
}

// versions holds the sums against the order of versions.
func (c *counter) versions() {
	type place struct {
		at stamp
		op int
	}
	var list []place
	for _, i := range c.ops {
		if at, _, ok := parseVersion(c.h.ops[i].Version); ok && c.h.ops[i].told() {
			list = append(list, place{at, i})
		}
	}
	slices.SortStableFunc(list, func(a, b place) int { return a.at.compare(b.at) })
	for n := 1; n < len(list); n++ {
		a, b := &c.h.ops[list[n-1].op], &c.h.ops[list[n].op]
		same := list[n-1].at == list[n].at
		switch ops := []int{list[n].op, list[n-1].op}; {
		case same && (a.Count != b.Count || a.Kind == Add && b.Kind == Add):
			c.h.found.add(Duplicate, c.key, ops, "version %s of a counter is %d and %d", b.Version, a.Count, b.Count)
		case !same && a.Count >= b.Count:
			c.h.found.add(Disorder, c.key, ops, "version %s of a counter is %d, and %s is %d", a.Version, a.Count, b.Version, b.Count)
		}
	}
}
