package load

import (
	"errors"
	"slices"
	"time"
)

// Point is one operation of an open loop: when it was due and how long it took from then.
type Point struct {
	Due    time.Time
	Took   time.Duration
	Failed bool
}

// Curve is what a run's operations took, in no order.
type Curve []Point

// note keeps an operation that was due at a time and has just ended.
func (t *tally) note(due time.Time, err error) {
	if t.curve && !errors.Is(err, ErrShed) {
		t.points = append(t.points, Point{due, time.Since(due), err != nil})
	}
}

// Between are the points due from one time on and before another.
func (c Curve) Between(from, to time.Time) (out Curve) {
	for _, p := range c {
		if !p.Due.Before(from) && p.Due.Before(to) {
			out = append(out, p)
		}
	}
	return out
}

// P99 is the latency that one operation of a hundred exceeds, 0 of none.
func (c Curve) P99() time.Duration {
	if len(c) == 0 {
		return 0
	}
	took := make([]time.Duration, len(c))
	for i := range c {
		took[i] = c[i].Took
	}
	slices.Sort(took)
	return took[(len(took)*99-1)/100]
}

// Windows cuts the time from one moment to another into windows of the same length, the
// last one as long as is left if that is at least half, and gives each its p99. Windows
// in which nothing was due are left out.
func (c Curve) Windows(from, to time.Time, each time.Duration) (p99 []time.Duration) {
	for at := from; to.Sub(at) >= each/2; at = at.Add(each) {
		end := at.Add(each)
		if end.After(to) {
			end = to
		}
		if w := c.Between(at, end); len(w) > 0 {
			p99 = append(p99, w.P99())
		}
	}
	return p99
}

// Failures counts the points that failed.
func (c Curve) Failures() (n int) {
	for i := range c {
		if c[i].Failed {
			n++
		}
	}
	return n
}
