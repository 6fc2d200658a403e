package node

import (
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

const (
	// delayTarget is how long events may wait for their shard without end. In normal
	// service they wait for one step, below a millisecond.
	delayTarget = 50 * time.Millisecond
	// delayInterval is how long no event may have waited less before the shard counts
	// as late: a burst that it works off in this time is none of anybody's concern.
	delayInterval = 100 * time.Millisecond
)

// delay measures the standing queue in front of one taker, as CoDel does: what
// counts is not the longest wait, which any burst makes long, but that even the
// shortest one stays long.
type delay struct {
	began time.Time // times are counted from here
	above time.Duration
	until atomic.Int64 // late until then, time.Duration; 0: not late
}

// note is the taker's: something has waited since then.
func (d *delay) note(since time.Duration) {
	now := time.Since(d.began)
	switch {
	case now-since <= delayTarget:
		d.above = 0
		if d.until.Load() != 0 {
			d.until.Store(0)
		}
	case d.above == 0:
		d.above = now
	case now-d.above >= delayInterval:
		// It ends by itself: when all is refused, nothing may be left to measure.
		d.until.Store(int64(now + delayInterval))
	}
}

// late tells that what is put now would only make the queue longer.
func (d *delay) late() bool {
	until := d.until.Load()
	return until != 0 && int64(time.Since(d.began)) < until
}

// admit tells whether the shard of a request keeps up with what it is given.
func (r *router) admit(ring *hashring.Ring, req *core.Request) bool {
	for _, s := range r.shards {
		if s.mailbox.late() {
			return !r.shards[r.shardOf(ring, req)].mailbox.late()
		}
	}
	return true
}
