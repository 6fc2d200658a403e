package core

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Timers come in the order of time, op, kind, in whatever order they were added and
// taken in between.
func TestTimersComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ts timers
		var want []timer
		now, op := time.Duration(0), uint64(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "what") > 0 {
				op++
				wait := time.Duration(rapid.SampledFrom([]int{2, 2, 2, 5, 1, 60}).Draw(t, "wait"))
				x := timer{now + wait, op - uint64(rapid.IntRange(0, min(2, int(op))).Draw(t, "back")), timerKind(rapid.IntRange(0, int(timerKinds)-1).Draw(t, "kind"))}
				ts.add(x.at, x.op, x.kind)
				want = append(want, x)
				continue
			}
			now++
			slices.SortFunc(want, func(a, b timer) int {
				return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.op, b.op), cmp.Compare(a.kind, b.kind))
			})
			for {
				if first := ts.next(); len(want) > 0 && first != want[0].at || len(want) == 0 && first != 0 {
					t.Fatalf("the next is said to be at %v of %v", first, want)
				}
				got, ok := ts.due(now)
				if due := len(want) > 0 && want[0].at <= now; due != ok || ok && got != want[0] {
					t.Fatalf("at %v: %v %v of %v", now, got, ok, want)
				}
				if !ok {
					break
				}
				want = want[1:]
			}
		}
	})
}

// A fifo gives back what was pushed, in order, and its array does not grow with what
// has passed through it.
func TestFifo(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var q fifo[*int]
		var want []*int
		most := 0
		for i := range 3000 {
			if rng.IntN(2) == 0 {
				q.push(&i)
				want = append(want, &i)
			} else if len(want) > 0 {
				if *q.first() != want[0] || *q.last() != want[len(want)-1] || q.pop() != want[0] {
					t.Fatal("another item came first")
				}
				want = want[1:]
			}
			most = max(most, len(want))
			if q.len() != len(want) || len(q.items) > 4*most+4 {
				t.Fatalf("%d queued, %d wanted, an array of %d", q.len(), len(want), len(q.items))
			}
			for _, x := range q.items[:q.head] {
				if x != nil {
					t.Fatal("what was taken is still held")
				}
			}
		}
	}
}
