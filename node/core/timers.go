package core

import (
	"container/heap"
	"time"
)

// timerKind says which of an op's timers fired.
type timerKind uint8

const (
	timerDeadline timerKind = iota + 1 // the client's deadline, or the op's own end
	timerLate                          // a store is overdue: ask another
	timerHedge                         // a read reply is later than most: ask a spare one
	timerOver                          // a copy of a forward is too old to be minted
)

type timer struct {
	at   time.Duration
	op   uint64 // 0: the shard's own tick
	kind timerKind
}

// timers is a heap by time, then op, then kind: the order must not depend on how
// the heap happened to be built.
type timers struct{ heap timerHeap }

func (t *timers) add(at time.Duration, op uint64, kind timerKind) {
	heap.Push(&t.heap, timer{at, op, kind})
}

func (t *timers) next() time.Duration {
	if len(t.heap) == 0 {
		return 0
	}
	return t.heap[0].at
}

// fireTimers runs what is due. Timers of finished ops are dropped here.
func (c *Core) fireTimers() {
	for len(c.timers.heap) > 0 && c.timers.heap[0].at <= c.now.Mono {
		t := heap.Pop(&c.timers.heap).(timer)
		if t.op == 0 {
			c.tick()
		} else if o := c.ops[t.op]; o != nil {
			o.onTimer(c, t.kind)
		}
	}
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if a.op != b.op {
		return a.op < b.op
	}
	return a.kind < b.kind
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// quantile follows the 95th percentile of a stream by small steps (Robbins-Monro):
// no window, no memory, replayable.
type quantile struct{ estimate time.Duration }

func (q *quantile) add(d time.Duration) {
	step := max(q.estimate/32, 10*time.Microsecond)
	if d > q.estimate {
		q.estimate += step * 19 / 20
	} else {
		q.estimate -= step / 20
	}
	q.estimate = max(q.estimate, 0)
}
