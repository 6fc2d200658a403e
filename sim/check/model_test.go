package check

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const ms = time.Millisecond

// registerHistory is what clients see of correct, linearizable registers: each
// operation takes effect at one moment within its interval. Some answers get lost.
func registerHistory(r *rand.Rand, ops, clients, keys int) []Op {
	type register struct {
		value, version string
		epoch, index   uint64
	}
	state := make([]register, keys)
	known := make([][]string, keys) // values clients have seen, for CAS
	free := make([]Time, clients)
	type pending struct {
		op     Op
		effect Time
	}
	plan := make([]pending, ops)
	for i := range plan {
		c := r.IntN(clients)
		o := Op{Client: c, Bucket: "b", Key: fmt.Sprint(r.IntN(keys)), Call: free[c] + Time(r.IntN(3))*ms, Level: Strict}
		effect := o.Call + Time(r.IntN(8))*ms
		o.Return = effect + Time(r.IntN(8))*ms
		switch n := r.IntN(20); {
		case n < 9:
		case n < 15:
			o.Kind = Write
		case n < 17:
			o.Kind = Delete
		default:
			o.Kind = CAS
			o.HasContext = true
		}
		if o.Kind == Write || o.Kind == CAS {
			o.Value = fmt.Sprintf("v%d", i)
		}
		if r.IntN(12) == 0 {
			o.Outcome = Unknown
			if o.Kind == Read {
				o.Outcome = Failed
			} else if r.IntN(2) == 0 {
				effect += Time(r.IntN(200)) * ms // long after its client gave up
			} else if r.IntN(2) == 0 {
				effect = Forever
			}
		} else if o.Kind != Read && r.IntN(20) == 0 {
			o.Outcome, effect = NotApplied, Forever
		}
		free[c] = o.Return + 1
		plan[i] = pending{o, effect}
	}
	order := make([]int, ops)
	for i := range order {
		order[i] = i
	}
	// A CAS compares with what was known when it was called, so calls are events too.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(plan[a].effect, plan[b].effect) })
	for _, i := range order {
		p := &plan[i]
		o := &p.op
		var k int
		fmt.Sscan(o.Key, &k)
		s := &state[k]
		if p.effect == Forever {
			continue
		}
		if o.Kind == CAS { // an expectation that the client can have had: something written before its call
			var seen []string
			for _, v := range known[k][max(0, len(known[k])-8):] {
				var w int
				fmt.Sscanf(v, "v%d", &w)
				if plan[w].op.Call <= o.Call {
					seen = append(seen, v)
				}
			}
			if n := len(seen); n > 0 && r.IntN(4) > 0 {
				o.Context = []string{seen[max(0, n-1-r.IntN(3))]}
			}
			if s.value == "" != (len(o.Context) == 0) || s.value != "" && o.Context[0] != s.value {
				if o.Outcome == OK {
					o.Outcome, o.Version = Mismatch, s.version
				}
				continue
			}
		}
		switch {
		case o.Kind == Read && o.Outcome == OK:
			if o.Version = s.version; s.value != "" {
				o.Read = []string{s.value}
			} else if r.IntN(2) == 0 {
				o.Version = "" // a deletion need not tell its version
			}
		case o.Kind == Read:
		default:
			s.index++
			if r.IntN(20) == 0 {
				s.epoch, s.index = s.epoch+1, 1
			}
			s.value, s.version = o.Value, FormatVersion(s.epoch, s.index)
			if o.Value != "" {
				known[k] = append(known[k], o.Value)
			}
			if o.Outcome == OK {
				o.Version = s.version
			}
		}
	}
	out := make([]Op, ops)
	for i := range plan {
		out[i] = plan[i].op
	}
	return out
}

// without versions, as a black box.
func unversioned(h []Op) []Op {
	out := slices.Clone(h)
	for i := range out {
		out[i].Version = ""
	}
	return out
}
