package client

import (
	"context"
	"sync"
	"time"
)

const (
	// hedgeLeast keeps hedges out of the noise of a scheduler.
	hedgeLeast = 500 * time.Microsecond
	// hedgeBurst is how many hedges may be sent before their share of the reads counts.
	hedgeBurst = 10
	// hedgeGrace is how long a second request that has lost may go on: its node serves
	// it anyway, and a cancelled one costs its connection.
	hedgeGrace = 50 * time.Millisecond
	// patienceMost is how many times the 95th percentile is waited for at most.
	patienceMost = 8
	// A hedge that wins makes the next ones come by a tenth sooner, one that loses by a
	// thirty-third later; so about every fifth wins, and where all nodes are equally
	// late, at saturation, they cease.
	patienceWon, patienceLost = 900, 1030
)

// learn moves the patience, in thousandths, after a hedge.
func (c *Client) learn(won bool) {
	factor := int64(patienceLost)
	if won {
		factor = patienceWon
	}
	c.patience.Store(min(max(c.patience.Load()*factor/1000, 1000), patienceMost*1000))
}

// hedgeAfter is when a second node is asked too; 0: never.
func (c *Client) hedgeAfter(k *call, share time.Duration) time.Duration {
	if k.noHedge || !k.keyed || k.req.op.write() || c.hedges == nil || k.primaryOnly() {
		return 0
	}
	c.hedges.earn()
	wait := c.slow[k.req.op].get()
	if wait == 0 {
		return 0
	}
	wait = max(wait, hedgeLeast) * time.Duration(c.patience.Load()) / 1000
	if wait >= share {
		return 0
	}
	return wait
}

// duel is a read that may be sent to two nodes. The first good answer wins; the
// other request is cancelled.
type duel struct {
	mu     sync.Mutex
	over   bool               // the first request has its answer
	cancel context.CancelFunc // of the second, once it is sent
	second chan *Error        // what became of the second
	node   *node
	resp   response
}

// hedged is one, with a second request once the first is late. cancel1 ends the
// first one's context, one1.
func (c *Client) hedged(ctx, one1 context.Context, cancel1 context.CancelFunc, k *call, n *node, share, wait time.Duration) *Error {
	d := &duel{second: make(chan *Error, 1)}
	q := k.req // the first changes k.req while the second runs
	timer := time.AfterFunc(wait, func() {
		if c.enter() {
			defer c.wg.Done()
			c.second(ctx, d, k, n, &q, share-wait, cancel1)
		}
	})
	f := c.one(ctx, one1, k, n, &k.req, &k.resp, true)
	timer.Stop()
	d.mu.Lock()
	d.over = true
	cancel2 := d.cancel
	d.mu.Unlock()
	if cancel2 == nil {
		return f
	}
	if f == nil || !f.Retryable && f.Code != codeCanceled {
		time.AfterFunc(hedgeGrace, cancel2)
		c.learn(false)
		return f // the first is the answer
	}
	defer cancel2()
	var f2 *Error
	select {
	case f2 = <-d.second:
	case <-ctx.Done():
		return f
	}
	k.try(d.node)
	if f2 == nil {
		c.stats.hedgeWins.Add(1)
		c.learn(true)
		k.resp = d.resp
		return nil
	}
	if ctx.Err() == nil && f.Code == codeCanceled || !f2.Retryable {
		return f2
	}
	return f
}

// second is the other request of a duel.
func (c *Client) second(ctx context.Context, d *duel, k *call, first *node, q *request, share time.Duration, cancel1 context.CancelFunc) {
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		return
	}
	n := c.spare(k, first)
	if n == nil || !c.hedges.take() {
		d.mu.Unlock()
		return
	}
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), share)
	d.cancel = cancel
	d.node = n
	d.mu.Unlock()
	c.stats.hedges.Add(1)
	q.timeout = nodeTimeout(share)
	f := c.one(ctx, one, k, n, q, &d.resp, false)
	d.second <- f
	cancel()
	if f == nil || !f.Retryable && f.Code != codeCanceled {
		cancel1()
	}
}
