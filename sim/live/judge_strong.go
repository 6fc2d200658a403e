package live

import (
	"fmt"

	"github.com/quoratedb/quorate/sim/check"
)

// Bounds of the search for orders in strong buckets. The versions have judged everything
// by then; the search does not believe in versions.
const (
	strongKeys    = 400
	strongWindows = 4
	strongSteps   = 200_000
)

// judgeStrong holds strong buckets against their promises.
func (r *run) judgeStrong(rep *Report, ops []check.Op, finals map[check.KeyRef][]string) {
	rep.add("linearizable", ops, "every read but the stale ones and every condition fits the one order that the versions tell", check.VersionOrder(ops))
	got := check.SearchRegisters(ops, check.RegisterOptions{MaxKeys: strongKeys, MaxWindows: strongWindows, MaxSteps: strongSteps})
	rep.add("registers", ops, fmt.Sprintf("some order explains every answer, without regard to versions: %d windows of %d keys, %d without a verdict", got.Windows, got.Keys, got.Unknown), got.Violations)
	rep.Checks[len(rep.Checks)-1].Looked = got.Ops
	if mine := r.of(ops, appending); mine != nil {
		rep.add("lists", mine, "every acked append is in its list once, no refused one, and lists only grow", r.lists.check(mine, finals))
	}
	if mine := r.of(ops, counting); mine != nil {
		rep.add("counters", mine, "every acked increment is in every later sum, each once", check.Counters(mine))
	}
	if mine := append(r.of(ops, locking), r.of(ops, creating)...); mine != nil {
		rep.add("locks", mine, "a lock has one holder, and tokens grow from one to the next", check.Locks(mine))
	}
	rep.list("request ids", len(ops), "all copies of one request are told the same", "CONTRADICTION", r.book.differ)
}

// of are the operations of one workload.
func (r *run) of(ops []check.Op, workload string) (mine []check.Op) {
	for i := range ops {
		if r.is(ops[i].Bucket, workload) {
			mine = append(mine, ops[i])
		}
	}
	return mine
}
