package check

import (
	"cmp"
	"slices"
)

// window is a stretch of a key's history that is searched by itself.
type window struct {
	at   []int // operations, by call
	any  bool  // the register may hold anything at first
	stop Time  // operations that end later are open (writes) or left out (reads)
}

// windows cuts a key's history where no write of known end is under way: then all
// writes of a window took effect after all of the one before, except open ones,
// which every later window gets too if one of its answers can need them.
func (h *history) windows(k KeyRef, o RegisterOptions) (out []window) {
	ops := h.registerOps(k)
	var open []int
	for from := 0; from < len(ops); {
		to, next := h.cut(ops[from:], o.MaxOps)
		w := window{any: o.AnyStart || from > 0, stop: Forever}
		begin := h.ops[ops[from]].Call
		if from+next < len(ops) {
			w.stop = h.ops[ops[from+next]].Call - 1
		}
		if to < next { // no place to cut: the window is a prefix of its stretch
			w.stop = min(w.stop, h.ops[ops[from+to]].Call-1)
		}
		w.at = h.within(ops[from:from+to], open, begin, w.stop)
		out = append(out, w)
		for _, i := range ops[from : from+next] {
			if h.ops[i].Outcome == Unknown {
				open = append(open, i)
			}
		}
		from += next
	}
	return out
}

// registerOps are the operations that tell or do something now, by call.
func (h *history) registerOps(k KeyRef) (out []int) {
	for _, i := range h.byKey[k] {
		if o := &h.ops[i]; o.applicable() || o.observed() && o.Level != Past {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(h.ops[a].Call, h.ops[b].Call) })
	return out
}

// cut takes from ops, which are sorted by call, a stretch up to a quiet moment: the
// last one within the first most operations, or else the first one after. The first
// to operations of the stretch fit, the stretch has next.
func (h *history) cut(ops []int, most int) (to, next int) {
	if len(ops) <= most {
		return len(ops), len(ops)
	}
	var busy Time // until then a write is under way
	last := 0
	for n, i := range ops {
		o := &h.ops[i]
		if n > 0 && o.Call > busy {
			if n > most && last > 0 {
				break
			}
			if last = n; n >= most {
				break
			}
		}
		if n > most && last > 0 {
			break
		}
		if o.applicable() && o.Outcome == OK {
			busy = max(busy, o.Return)
		}
	}
	if last == 0 {
		last = len(ops)
	}
	return min(last, most), last
}

// within is the window of ops that ends at stop, with those open writes, earlier ones
// among them, that its answers can need. An open write that no answer shows and no
// CAS compares with can come last, so it matters only where a CAS was refused.
func (h *history) within(ops, open []int, begin, stop Time) (out []int) {
	shown, absent, refused := map[string]bool{}, false, false
	for _, i := range slices.Concat(open, ops) {
		o := &h.ops[i]
		if o.Outcome == OK && o.Return <= stop || o.Kind == CAS {
			refused = refused || o.Outcome == Mismatch
			absent = absent || o.Kind == Read && len(o.Read) == 0 || o.Kind == CAS && len(o.Context) == 0
			for _, v := range slices.Concat(o.Read, o.Context) {
				shown[v] = true
			}
		}
	}
	for _, i := range slices.Concat(open, ops) {
		o := &h.ops[i]
		switch {
		case o.applicable() && (o.Outcome == Unknown || o.Return > stop):
			if refused || shown[o.Value] || o.deletes() && absent {
				out = append(out, i)
			}
		case o.Call >= begin && o.Return <= stop:
			out = append(out, i)
		}
	}
	return out
}

// until is the part of the window that was known at a time.
func (h *history) until(w window, stop Time) window {
	out := window{any: w.any, stop: min(stop, w.stop)}
	for _, i := range w.at {
		o := &h.ops[i]
		if o.Call <= stop && (o.applicable() || o.Return <= stop) {
			out.at = append(out.at, i)
		}
	}
	return out
}
