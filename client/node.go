package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// latencyFloor is what a node counts as that has not been used lately: low, so that
	// it is tried again.
	latencyFloor = 50 * time.Microsecond
	// latencyHalf is how long a latency that is not renewed takes to count half.
	latencyHalf = 250 * time.Millisecond
	// penaltyFirst and penaltyMost bound how long a node that failed is left alone
	// before it is probed: a restart takes a second or so.
	penaltyFirst = 100 * time.Millisecond
	penaltyMost  = 5 * time.Second
	// busyMost bounds how long a node is avoided because it asked for it.
	busyMost = time.Second
	// probeTimeout is short: a node that answers /readyz later is of no use.
	probeTimeout = time.Second
)

// node is a target and what this client has seen of it.
type node struct {
	target
	inFlight atomic.Int64
	latency  atomic.Int64  // nanoseconds, a moving mean
	renewed  atomic.Int64  // when, on the client's clock
	until    atomic.Int64  // avoided until then, on the client's clock; 0: not
	probing  atomic.Bool   // it is down and being probed
	gone     atomic.Bool   // not in the ring any more
	known    atomic.Uint64 // newest ring version it has shown
	told     atomic.Uint64 // newest ring version it was told of
}

// clock is nanoseconds since the client was made; monotonic.
func (c *Client) clock() int64 { return int64(time.Since(c.began)) }

// usable tells that the node should be given requests.
func (n *node) usable(now int64) bool { return !n.probing.Load() && n.until.Load() <= now }

// seen takes a latency into the mean: a higher one by a quarter, a lower one by an
// eighth, so that a node that turns slow is left sooner than it is trusted again, and
// a single late answer does not turn the load away.
func (n *node) seen(now int64, d time.Duration) {
	old := n.load(now)
	if d > old {
		d = old + (d-old)/4
	} else {
		d = old - (old-d)/8
	}
	n.latency.Store(int64(d))
	n.renewed.Store(now)
}

// load is the mean latency, fading while it is not renewed.
func (n *node) load(now int64) time.Duration {
	age := (now - n.renewed.Load()) / int64(latencyHalf)
	return time.Duration(n.latency.Load() >> min(max(age, 0), 62))
}

// cost is what one more request to the node is expected to take.
func (n *node) cost(now int64) int64 {
	return (n.inFlight.Load() + 1) * int64(max(n.load(now), latencyFloor))
}

// avoid leaves a node alone that asked for it.
func (n *node) avoid(now int64, d time.Duration) {
	n.until.Store(now + int64(min(d, busyMost)))
}

// failed takes a node out until a probe finds it ready again.
func (c *Client) failed(n *node) {
	if n.gone.Load() || n.probing.Swap(true) {
		return
	}
	c.stats.downs.Add(1)
	if !c.spawn(func() { c.probe(n) }) {
		n.probing.Store(false)
	}
}

// probe asks a node again and again, later each time, until it is ready, leaves the
// ring, or the client is closed.
func (c *Client) probe(n *node) {
	defer n.probing.Store(false)
	for wait := penaltyFirst; !n.gone.Load(); wait = min(2*wait, penaltyMost) {
		if !c.pause(c.ctx, jitter(wait)) {
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, probeTimeout)
		err := c.link.probe(ctx, &n.target)
		cancel()
		if err == nil {
			return
		}
	}
}

// pause waits; false says that ctx or the client ended.
func (c *Client) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil && c.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}

// jitter is between half of d and d, so that clients that failed together do not
// come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
