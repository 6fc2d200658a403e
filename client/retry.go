package client

import (
	"context"
	"errors"
	"time"
)

const (
	// backoffFirst and backoffMost bound the wait before a retry, doubled each time
	// and jittered.
	backoffFirst = 10 * time.Millisecond
	backoffMost  = time.Second
	// swapFirst and swapMost bound the wait before a Swap that lost begins again: about
	// the time that a write takes.
	swapFirst = time.Millisecond
	swapMost  = 50 * time.Millisecond
)

// decision is what to do after an attempt that failed.
type decision struct {
	again   bool // make another attempt
	now     bool // at once: it is this node's trouble and another one can be asked
	refresh bool // after a fetch of the ring
	costs   bool // it takes from the budget of retries
	heed    bool // Retry-After speaks of the cluster, not of this node
}

// decide is the table of retries. A read may always be repeated; a write only if it
// was not applied, or if a repeat is the same write: that is what its idempotency
// key is for.
func decide(o op, once bool, f *Error) decision {
	if o.write() && f.Outcome != NotApplied && (once || o == opAdmin) {
		return decision{}
	}
	switch f.Code {
	case codeNotOwner:
		return decision{again: true, now: true, refresh: true, costs: true}
	case codeDraining, codeStarting:
		return decision{again: true, now: true, costs: true}
	case codePrimaryUnavailable, codePrimaryChanged:
		// The node has waited for a primary already; by now there may be another one.
		return decision{again: f.Retryable, refresh: true, costs: true}
	case codeOverloaded, codeStaleReplica:
		return decision{again: f.Retryable, costs: true}
	case codeUnreachable:
		// A refused connection costs the cluster nothing; a closed one is not its fault.
		var ne *netError
		free := errors.As(f.Err, &ne) && (!ne.sent || ne.stale)
		return decision{again: true, now: true, costs: !free}
	case codeInternal, codeBadAnswer:
		// What one node cannot do, or show, another one may. A write is not tried again:
		// nobody knows what went wrong.
		return decision{again: !o.write(), costs: true}
	}
	return decision{again: f.Retryable, costs: true, heed: true}
}

// ready waits until the next attempt may be made; false says that there is no time
// for it.
func (c *Client) ready(ctx context.Context, k *call, n *node, d decision, f *Error) bool {
	if d.refresh {
		within, cancel := context.WithDeadline(ctx, k.deadline)
		_ = c.refresh(within, n, f.Ring) // without a newer ring the next node forwards
		cancel()
		c.allow(k, f.Owners)
		c.allowPrimary(k, n)
	}
	wait := time.Duration(0)
	if !d.now || k.nTried >= c.reachable(k) {
		wait = jitter(min(backoffFirst<<min(k.attempts-1, 10), backoffMost))
	}
	if d.heed || k.nTried >= c.reachable(k) {
		wait = max(wait, f.RetryAfter)
	}
	if wait >= time.Until(k.deadline) {
		return false
	}
	return c.pause(ctx, wait)
}

// allow forgets that the named nodes were tried: an answer has named them as owners.
func (c *Client) allow(k *call, names []string) {
	v := c.ring.Load()
	if v == nil {
		return
	}
	for _, name := range names {
		for i := range k.nTried {
			if n := v.byName[name]; n != nil && k.tried[i] == n {
				k.nTried--
				k.tried[i] = k.tried[k.nTried]
				break
			}
		}
	}
}

// reachable is how many nodes a call may go to.
func (c *Client) reachable(k *call) int {
	if v := c.ring.Load(); v != nil && !c.cfg.NoOwnerRouting && len(v.nodes) > 0 {
		return len(v.nodes)
	}
	return len(c.seeds)
}
