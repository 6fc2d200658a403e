package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// forwardAfter is when an owner that has taken a forwarded write and not answered
// is given up for the next one: above lateAfter, so that an owner which waits for
// another store has its turn. Re-sending is safe by the request id (E16).
const forwardAfter = 800 * time.Millisecond

// forwardOp hands a write to an owner, then to the next one, and when none can be
// had and the quorum is sloppy, coordinates it here as a fallback.
type forwardOp struct {
	id       uint64
	origin   origin
	req      *Request
	plan     plan
	left     []hashring.SID // owners not tried
	to       hashring.SID
	since    time.Duration
	deadline time.Duration
	// maybe: an earlier owner may have applied the write, so nobody may say
	// not_applied any more.
	maybe bool
	why   []quorum.Failure
}

func (c *Core) startForward(to origin, r *Request, pl plan) {
	c.stats.Forwards++
	o := &forwardOp{origin: to, req: r, plan: pl, deadline: c.deadlineOf(r)}
	for _, s := range pl.owners {
		if s != c.cfg.Self {
			o.left = append(o.left, s)
		}
	}
	o.id = c.addOp(o)
	c.timers.add(o.deadline, o.id, timerDeadline)
	o.next(c)
}

// next tries the next owner.
func (o *forwardOp) next(c *Core) {
	for len(o.left) > 0 {
		s := o.left[0]
		o.left = o.left[1:]
		if !c.reachable(s) {
			o.why = append(o.why, quorum.Failure{Store: s, Reason: quorum.ReasonUnreachable})
			continue
		}
		o.to, o.since = s, c.now.Mono
		r := *o.req
		r.Hops++
		c.send(&Message{Kind: MsgForward, To: s, ID: o.id, Partition: o.plan.partition, Request: &r, Timeout: o.deadline - c.now.Mono})
		c.timers.add(c.now.Mono+forwardAfter, o.id, timerLate)
		return
	}
	o.exhausted(c)
}

// exhausted: no owner took it.
func (o *forwardOp) exhausted(c *Core) {
	policy, err := c.policy(&o.plan, o.req, o.req.W, o.plan.bucket.W)
	if err != nil {
		delete(c.ops, o.id)
		c.refuse(o.origin, o.req, o.plan.partition, QuorumImpossible, err.Error())
		return
	}
	if !policy.Sloppy || policy.PW > 0 || o.plan.owns(c.cfg.Self) {
		o.fail(c, QuorumUnavailable, "no owner of the key can be reached")
		return
	}
	delete(c.ops, o.id)
	r := *o.req
	r.Timeout = max(o.deadline-c.now.Mono, time.Millisecond)
	o.to, o.origin.maybe = hashring.SID{}, o.maybe
	c.coordinateWrite(o.origin, &r, o.plan, false)
}

func (o *forwardOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgForwarded {
		return
	}
	if m.Reply == nil {
		if m.From == o.to {
			o.why = append(o.why, quorum.Failure{Store: m.From, Reason: m.Reason})
			o.next(c)
		}
		return
	}
	// An answer counts from whichever owner it comes, the one given up included.
	r := m.Reply
	r.ServedBy = m.From
	delete(c.ops, o.id)
	o.origin.maybe = o.maybe
	c.answer(o.origin, r)
}

func (o *forwardOp) onDown(c *Core, store hashring.SID) {
	if store == o.to {
		o.maybe = true
		o.why = append(o.why, quorum.Failure{Store: store, Reason: quorum.ReasonUnreachable})
		o.next(c)
	}
}

func (o *forwardOp) onTimer(c *Core, k timerKind) {
	switch {
	case k == timerDeadline:
		o.maybe = true
		o.fail(c, WriteTimeout, "the owner had not answered by the deadline")
	case c.now.Mono >= o.since+forwardAfter && len(o.left) > 0:
		o.maybe = true
		o.why = append(o.why, quorum.Failure{Store: o.to, Reason: quorum.ReasonTimeout})
		c.suspect(o.to)
		o.next(c)
	}
}

func (o *forwardOp) fail(c *Core, code Code, detail string) {
	delete(c.ops, o.id)
	o.origin.maybe = o.maybe
	c.answer(o.origin, &Reply{Code: code, Outcome: NotApplied, Detail: detail, Partition: o.plan.partition, Failed: o.why,
		Receipt: quorum.Receipt{N: len(o.plan.owners)}, RetryAfter: retryAfter})
}

func (o *forwardOp) onDurable(*Core) {}
