package client

import (
	"context"
	"errors"
	"time"
)

// call is one call of the caller, through all its attempts.
type call struct {
	req     request
	resp    response
	keyed   bool       // req.key decides who is asked
	once    bool       // never repeat what may have been applied
	unnamed bool       // without an idempotency key; once goes with it
	strong  bool       // it has a meaning in strong buckets only
	noHedge bool       // one node only
	prefer  *node      // for the first attempt; nil: choose
	known   *knowledge // of the bucket; nil: none
	// exchange carries one attempt; nil: the transport.
	exchange func(ctx context.Context, to *target, q *request, p *response) error

	deadline time.Time // of the whole call
	attempts int
	unknown  bool // an earlier attempt may have been applied
	nTried   int
	tried    [triedMax]*node
}

func (k *call) try(n *node) {
	if k.nTried < triedMax {
		k.tried[k.nTried] = n
		k.nTried++
	}
}

func (k *call) hasTried(n *node) bool {
	for i := range k.nTried {
		if k.tried[i] == n {
			return true
		}
	}
	return false
}

// run makes attempts until one of them is the answer. On success k.resp holds it.
func (c *Client) run(ctx context.Context, k *call) *Error {
	c.stats.calls.Add(1)
	c.retries.earn()
	var has bool
	if k.deadline, has = ctx.Deadline(); !has {
		k.deadline = time.Now().Add(c.cfg.Timeout)
		if k.req.op == opAdmin {
			k.deadline = time.Now().Add(max(c.cfg.Timeout, adminTimeout))
		}
	}
	if k.exchange != nil {
		// What a transport does ends with Close anyway.
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
	}
	for {
		if f := c.over(ctx, k); f != nil {
			return c.end(k, f)
		}
		n := c.pick(k)
		f := c.attempt(ctx, k, n)
		if f == nil {
			return nil
		}
		k.unknown = (k.unknown || k.req.op.write() && f.Outcome == Unknown) && !k.settled(f)
		d := decide(k.req.op, k.once, f)
		if !d.again || k.attempts >= c.cfg.MaxAttempts {
			return c.end(k, f)
		}
		if d.costs && !c.retries.take() {
			c.stats.noBudget.Add(1)
			return c.end(k, f)
		}
		if !c.ready(ctx, k, n, d, f) {
			if f.Err == nil {
				f.Err = ctx.Err()
			}
			return c.end(k, f)
		}
		c.stats.retries.Add(1)
	}
}

// over says why no further attempt can be made, if so.
func (c *Client) over(ctx context.Context, k *call) *Error {
	fate := NotApplied // of this attempt, which is not made
	err := ctx.Err()
	if err == nil && !time.Now().Before(k.deadline) {
		err = context.DeadlineExceeded
	}
	switch {
	case c.ctx.Err() != nil:
		return &Error{Code: codeClosed, Outcome: fate, Err: ErrClosed}
	case errors.Is(err, context.Canceled):
		return &Error{Code: codeCanceled, Outcome: fate, Err: err}
	case err != nil:
		return &Error{Code: codeTimeout, Outcome: fate, Retryable: true, Err: err}
	}
	return nil
}

// end completes the error of the whole call.
func (c *Client) end(k *call, f *Error) *Error {
	f.Op, f.Bucket, f.Attempts = k.req.op.String(), k.req.bucket, k.attempts
	switch {
	case !k.req.op.write():
		f.Outcome = OutcomeNone
	case k.unknown:
		f.Outcome = Unknown
	case f.Outcome == OutcomeNone:
		f.Outcome = Unknown // a server that does not say
	}
	if k.req.op.write() {
		f.IdempotencyKey = k.req.idempotency
	}
	return f
}

const (
	// leastShare is the least time worth an attempt that is to leave room for another.
	leastShare = 100 * time.Millisecond
	// enough is plenty for a single key while latencies are as usual: longer than a slow
	// sync, or the time in which the nodes find one of them dead by themselves.
	enough = time.Second
	// hopMost is the most of an attempt's time that is kept back for the way there and
	// back, so that the node's own verdict on a late quorum still arrives.
	hopMost = 50 * time.Millisecond
	// nodeTimeoutMost is the longest deadline a node takes.
	nodeTimeoutMost = 60 * time.Second
	// adminTimeout is the least for a change of the ring without a deadline of its own:
	// a Raft election fits in.
	adminTimeout = 10 * time.Second
	// stuckAfter is how long a node may leave a request without any verdict before it
	// counts as down: every node answers by itself within the deadline it was given.
	stuckAfter = 200 * time.Millisecond
)

// share is the time of the next attempt: half of what is left, so that a node that
// says nothing never takes all of it; for a single key, of which it is known how long
// it takes, less if that is plenty. It is all of it when there is no further attempt,
// and for a change of the ring, which is not repeated once it may have been made.
func (c *Client) share(left time.Duration, k *call) time.Duration {
	if k.req.op == opAdmin || k.attempts+1 >= c.cfg.MaxAttempts || left < 2*leastShare {
		return left
	}
	if k.keyed {
		return min(left/2, max(enough, 4*c.slow[k.req.op].get()))
	}
	return left / 2
}

// attempt sends the call to n, and for a read perhaps to one more node. A nil
// result is a success.
func (c *Client) attempt(ctx context.Context, k *call, n *node) *Error {
	now := time.Now()
	share := c.share(k.deadline.Sub(now), k)
	k.attempts++
	k.try(n)
	k.req.timeout = nodeTimeout(share)
	one, cancel := context.WithDeadline(ctx, now.Add(share))
	defer cancel()
	if wait := c.hedgeAfter(k, share); wait > 0 {
		return c.hedged(ctx, one, cancel, k, n, share, wait)
	}
	return c.one(ctx, one, k, n, &k.req, &k.resp, true)
}

// nodeTimeout is what a node is told of an attempt's time.
func nodeTimeout(share time.Duration) time.Duration {
	return min(max(share-min(share/8, hopMost), time.Millisecond), nodeTimeoutMost)
}

// one is one request to one node. ctx is the caller's, one that of this request.
// observe counts it among those that say when to hedge: a hedge itself must not, or
// only the late ones' losers would be seen.
func (c *Client) one(ctx, one context.Context, k *call, n *node, q *request, p *response, observe bool) *Error {
	began := c.clock()
	*p = response{}
	q.ring = 0
	if v := c.ring.Load(); v != nil && n.known.Load() < v.version && n.told.Swap(v.version) != v.version {
		q.ring = v.version
	}
	exchange := k.exchange
	if exchange == nil {
		exchange = c.link.roundTrip
	}
	c.stats.attempts.Add(1)
	n.inFlight.Add(1)
	err := exchange(one, &n.target, q, p)
	n.inFlight.Add(-1)
	now := c.clock()
	took := time.Duration(now - began)
	n.seen(now, took)
	if observe {
		c.slow[q.op].add(took) // a late one that is cancelled counts as late
	}
	if err != nil {
		return c.noVerdict(ctx, one, k, n, took, err)
	}
	c.noted(n, p.ring)
	if p.fault == nil {
		k.known.learn(p)
		return nil
	}
	return c.refused(n, now, p)
}

// refused completes a node's refusal and remembers what it says of the node.
func (c *Client) refused(n *node, now int64, p *response) *Error {
	f := p.fault
	if p.context != "" {
		f.Context = p.context
	}
	f.Node, f.RequestID = p.servedBy, p.requestID
	switch f.Code {
	case codeDraining, codeStarting:
		c.failed(n)
	case codeOverloaded:
		n.avoid(now, f.RetryAfter)
	}
	return f
}

// noVerdict is the error of an attempt without an answer.
func (c *Client) noVerdict(ctx, one context.Context, k *call, n *node, took time.Duration, err error) *Error {
	f := &Error{Code: codeUnreachable, Outcome: Unknown, Retryable: true, Err: err}
	var ne *netError
	known := errors.As(err, &ne)
	if known && !ne.sent {
		f.Outcome = NotApplied
	}
	switch {
	case c.ctx.Err() != nil:
		f.Code, f.Err, f.Retryable = codeClosed, ErrClosed, false
		return f
	case errors.Is(one.Err(), context.Canceled): // by the caller, or a hedge has won
		f.Code, f.Err, f.Retryable = codeCanceled, context.Canceled, false
		return f
	case !time.Now().Before(k.deadline) || ctx.Err() != nil: // the end of the call, not of the attempt's share
		f.Code, f.Err = codeTimeout, context.DeadlineExceeded
		if took >= stuckAfter {
			c.failed(n)
		}
		return f
	case errors.Is(err, errBadAnswer):
		f.Code = codeBadAnswer
	}
	if !known || !ne.stale {
		if !errors.Is(err, context.DeadlineExceeded) || took >= stuckAfter {
			c.failed(n)
		}
	}
	return f
}
