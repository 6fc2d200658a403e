package core

import "time"

// timerKind says which of an op's timers fired.
type timerKind uint8

const (
	timerDeadline timerKind = iota + 1 // the client's deadline, or the op's own end
	timerLate                          // a store is overdue: ask another
	timerHedge                         // a read reply is later than most: ask a spare one
	timerOver                          // a copy of a forward is too old to be minted
	timerFill                          // the shard's: go on filling stores that are being built
	timerExchange                      // of an exchange that is led here; its op is the exchange
	timerPace                          // the shard's own: the pacer has more to grant
	timerRetry                         // a request to a strong bucket is tried again
	timerKinds
)

type timer struct {
	at   time.Duration
	op   uint64 // 0: the shard's own
	kind timerKind
}

func (t *timer) before(o *timer) bool {
	if t.at != o.at {
		return t.at < o.at
	}
	if t.op != o.op {
		return t.op < o.op
	}
	return t.kind < o.kind
}

// timers come in the order of time, then op, then kind, however they were added.
// Most timers of a kind are added in the order in which they are due, since they wait
// equally long: those stand in a queue of their kind. The others are in a heap.
type timers struct {
	lanes [timerKinds]fifo[timer]
	heap  []timer
}

func (t *timers) add(at time.Duration, op uint64, kind timerKind) {
	x := timer{at, op, kind}
	if lane := &t.lanes[kind]; lane.len() == 0 || lane.last().before(&x) {
		lane.push(x)
		return
	}
	t.heap = append(t.heap, x)
	for i := len(t.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !t.heap[i].before(&t.heap[up]) {
			break
		}
		t.heap[i], t.heap[up] = t.heap[up], t.heap[i]
		i = up
	}
}

// first is the timer that is due first and the lane it heads, -1: the heap; nil:
// there is none.
func (t *timers) first() (x *timer, lane int) {
	lane = -1
	if len(t.heap) > 0 {
		x = &t.heap[0]
	}
	for i := range t.lanes {
		if l := &t.lanes[i]; l.len() > 0 && (x == nil || l.first().before(x)) {
			x, lane = l.first(), i
		}
	}
	return x, lane
}

func (t *timers) next() time.Duration {
	if x, _ := t.first(); x != nil {
		return x.at
	}
	return 0
}

// due takes the first timer if it is due by now.
func (t *timers) due(now time.Duration) (timer, bool) {
	x, lane := t.first()
	if x == nil || x.at > now {
		return timer{}, false
	}
	if lane >= 0 {
		return t.lanes[lane].pop(), true
	}
	return t.popHeap(), true
}

func (t *timers) popHeap() timer {
	h := t.heap
	top, n := h[0], len(h)-1
	h[0], h = h[n], h[:n]
	for i := 0; ; {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < n; down++ {
			if h[down].before(&h[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	t.heap = h
	return top
}

// fireTimers runs what is due. Timers of finished ops are dropped here.
func (c *Core) fireTimers() {
	for {
		t, ok := c.timers.due(c.now.Mono)
		switch {
		case !ok:
			return
		case t.op == 0 && t.kind == timerFill:
			c.fillTick()
		case t.kind == timerPace:
			c.repair.pace.asked = true
		case t.kind == timerExchange:
			c.repairTimer(t.op)
		case t.op == 0:
			c.tick()
		default:
			if o := c.ops[t.op]; o != nil {
				o.onTimer(c, t.kind)
			}
		}
	}
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
