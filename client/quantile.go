package client

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// quantile follows the 95th percentile of latencies: a histogram with four steps to
// each doubling, so that what it says is at most 19 % too high, whose counts are
// halved again and again, so that it forgets. Adding is one atomic increment.
type quantile struct {
	counts [quantileSteps]atomic.Uint32
	n      atomic.Uint32 // since the last look
	p95    atomic.Int64  // nanoseconds; 0: not enough seen yet
}

const (
	quantileSteps = 128 // 2^32 microseconds
	// quantileLook is how many latencies pass between two looks: often enough to
	// follow a change within a second of light load.
	quantileLook = 64
	// quantileKeep is the weight at which counts are halved.
	quantileKeep = 4096
)

// step of a latency: four to each doubling of microseconds.
func step(d time.Duration) int {
	us := uint64(max(d, 0)) / 1000
	if us < 4 {
		return int(us)
	}
	top := bits.Len64(us) - 1 // 2 and above
	return min(4*(top-1)+int(us>>(top-2)&3), quantileSteps-1)
}

// upper is the end of a step.
func upper(step int) time.Duration {
	if step < 4 {
		return time.Duration(step+1) * time.Microsecond
	}
	top := step/4 + 1
	return time.Duration((uint64(step&3)+5)<<(top-2)) * time.Microsecond
}

func (q *quantile) add(d time.Duration) {
	q.counts[step(d)].Add(1)
	if q.n.Add(1)%quantileLook == 0 {
		q.look()
	}
}

// look computes the percentile anew. Two at once do no harm.
func (q *quantile) look() {
	total := uint32(0)
	for i := range q.counts {
		total += q.counts[i].Load()
	}
	beyond := total / 20
	for i := quantileSteps - 1; i >= 0; i-- {
		n := q.counts[i].Load()
		if n > beyond {
			q.p95.Store(int64(upper(i)))
			break
		}
		beyond -= n
	}
	if total < quantileKeep {
		return
	}
	for i := range q.counts {
		q.counts[i].Store(q.counts[i].Load() / 2)
	}
}

// get gives the percentile; 0 while too little was seen.
func (q *quantile) get() time.Duration { return time.Duration(q.p95.Load()) }
