package sim

import "slices"

// Shrunk is a smaller run that fails in the same way.
type Shrunk struct {
	Options Options
	Result  Result
	Tries   int // runs that it took
}

// Shrink looks for a run with fewer faults and fewer operations that still breaks the
// same promise: delta debugging on the list of faults, then halving of the number of
// operations. It plays at most tries runs.
func Shrink(o Options, r Result, tries int) Shrunk {
	s := shrinking{kind: r.Violations[0].Kind, best: Shrunk{Options: o, Result: r}, most: tries}
	ids := make([]int, len(r.FaultList))
	for i := range r.FaultList {
		ids[i] = r.FaultList[i].ID
	}
	// What came after the violation cannot have caused it; what is found at the end
	// may have had its cause at any time.
	if at := r.Violations[0].At; at < o.Duration {
		ids = slices.DeleteFunc(ids, func(id int) bool {
			return r.FaultList[slices.IndexFunc(r.FaultList, func(f Fault) bool { return f.ID == id })].At > at
		})
	}
	s.faults(ids)
	s.operations()
	s.best.Tries = s.tried
	return s.best
}

type shrinking struct {
	kind        string
	best        Shrunk
	tried, most int
}

// fails plays a candidate and keeps it if it breaks the same promise.
func (s *shrinking) fails(o Options) bool {
	if s.tried >= s.most {
		return false
	}
	s.tried++
	r, err := Run(o)
	if err != nil || r.OK() || r.Violations[0].Kind != s.kind {
		return false
	}
	s.best.Options, s.best.Result = o, r
	return true
}

// faults is ddmin: leave out ever smaller parts of the list, as long as it fails.
func (s *shrinking) faults(ids []int) {
	with := func(keep []int) Options {
		o := s.best.Options
		o.Keep, o.HasKeep = keep, true
		return o
	}
	if !s.fails(with(ids)) {
		ids = ids[:0:0]
		for i := range s.best.Result.FaultList {
			ids = append(ids, s.best.Result.FaultList[i].ID)
		}
	}
	if s.fails(with([]int{})) {
		return
	}
	for parts := 2; len(ids) > 1 && s.tried < s.most; {
		size := (len(ids) + parts - 1) / parts
		smaller := false
		for at := 0; at < len(ids); at += size {
			rest := slices.Concat(ids[:at], ids[min(at+size, len(ids)):])
			if s.fails(with(rest)) {
				ids, smaller = rest, true
				parts = max(parts-1, 2)
				break
			}
		}
		if !smaller {
			if size == 1 {
				return
			}
			parts = min(2*parts, len(ids))
		}
	}
}

// operations looks for the least number of operations that still fails.
func (s *shrinking) operations() {
	lo, hi := 0, s.best.Result.Operations
	for hi-lo > 1 && s.tried < s.most {
		o := s.best.Options
		o.MaxOps = (lo + hi) / 2
		if s.fails(o) {
			hi = o.MaxOps
		} else {
			lo = o.MaxOps
		}
	}
}
