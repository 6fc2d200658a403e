package sim

import (
	"slices"
	"testing"

	"github.com/quoratedb/quorate/quorum/version"
	"github.com/quoratedb/quorate/sim/check"
)

// Checkers are given parts of the history; what they blame is named by its place in
// the whole, which is what reports and users have.
func TestViolationsNameOperationsOfTheWholeHistory(t *testing.T) {
	s := newScript(quiet(), Options{KeepHistory: true})
	s.acked(s.a, "lww", "w1") // in no part: what comes after it has another place there
	s.acked(s.a, "ttl", "t1", ttlOf(1<<40))
	s.acked(s.a, "lww", "w2", onKey("other"))
	s.acked(s.a, "sloppy", "v1")
	s.get(s.a, "lww")
	s.acked(s.b, "sloppy", "v2", fresh)
	s.get(s.c, "sloppy", rOf(3))
	left := map[check.KeyRef]*version.Object{}
	for _, kt := range s.w.truth.order {
		o := s.w.truth.onDisks(kt)
		if kt.name == "sloppy" { // one of two siblings is gone
			o = &version.Object{Context: o.Context, Siblings: slices.Clone(o.Siblings)}
			o.Siblings = slices.DeleteFunc(o.Siblings, func(x version.Sibling) bool { return string(x.Value) == "v1" })
		}
		left[check.KeyRef{Bucket: kt.name, Key: kt.key}] = o
	}
	s.w.judge(left)
	r := s.w.result()
	kinds := map[string]bool{}
	for _, v := range r.Violations {
		kinds[v.Check+" "+v.Kind] = true
		if v.Kind != check.Lost || len(v.Ops) == 0 || r.History[v.Ops[0]].Value != "v1" {
			t.Errorf("%v names %v of %d", v, v.Ops, len(r.History))
		}
	}
	if !kinds["eventual LOST"] || !kinds["causal LOST"] || len(kinds) != 2 {
		t.Errorf("%v", r.Violations)
	}
}
