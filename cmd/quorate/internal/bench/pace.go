package bench

import (
	"context"
	"sync/atomic"
	"time"
)

// pacer says when the next operation is due. In closed loop that is now. In open loop
// operation i is due at start + i/rate whether or not earlier ones have ended, and its
// latency counts from there: a server that stalls cannot hide the requests that
// should have been sent meanwhile (no coordinated omission).
type pacer struct {
	start, end time.Time // end zero: for ever
	rate       float64
	issued     atomic.Int64
}

// next waits for a turn; false when the run is over.
func (p *pacer) next(ctx context.Context) (time.Time, bool) {
	now := time.Now()
	if ctx.Err() != nil || p.over(now) {
		return now, false
	}
	if p.rate == 0 {
		return now, true
	}
	i := p.issued.Add(1) - 1
	due := p.start.Add(time.Duration(float64(i) / p.rate * float64(time.Second)))
	if p.over(due) {
		p.issued.Add(-1)
		return due, false
	}
	if wait := due.Sub(now); wait > 0 && !sleep(ctx, wait) {
		p.issued.Add(-1)
		return due, false
	}
	return due, true
}

func (p *pacer) over(t time.Time) bool { return !p.end.IsZero() && !t.Before(p.end) }

// unserved counts the operations of an open loop that were due by the end and never
// sent because all workers were busy.
func (p *pacer) unserved() int64 {
	if p.rate == 0 || p.end.IsZero() {
		return 0
	}
	due := int64(p.end.Sub(p.start).Seconds() * p.rate)
	return max(0, due-p.issued.Load())
}
