package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/quorum"
)

// forwardAfter is when an owner that has taken a forwarded write and not answered
// is given up for the next one: above lateAfter, so that an owner which waits for
// another store has its turn. Re-sending is safe by the request id (E16) and by
// what stands in late.go.
const forwardAfter = 800 * time.Millisecond

// forwardOp hands a write to an owner, then to the next one, and when none can be
// had and the quorum is sloppy, coordinates it here as a fallback.
type forwardOp struct {
	id       uint64
	origin   origin
	req      *Request
	plan     plan
	left     []hashring.SID // owners not tried
	to       hashring.SID   // the owner whose turn it is; zero: the next one's comes when no copy is left
	copies   []forwardCopy  // at most one for each owner
	reply    *Reply         // of an owner; the client gets it when no copy is left
	deadline time.Duration
	// maybe: an earlier owner may have applied the write, so nobody may say
	// not_applied any more.
	maybe   bool
	why     []quorum.Failure
	stalled bool // waits for a newer ring; no copy is left
}

func (c *Core) startForward(to origin, r *Request, pl plan) {
	c.stats.Forwards++
	o := &forwardOp{origin: to, maybe: to.maybe, req: r, plan: pl, deadline: c.deadlineOf(r)}
	for _, s := range pl.full {
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
	assert.That(o.over(c), "E16", "a forwarded write goes on while a copy of it may still be minted: %v", o.copies)
	for len(o.left) > 0 {
		s := o.left[0]
		o.left = o.left[1:]
		if !c.reachable(s) {
			o.why = append(o.why, quorum.Failure{Store: s, Reason: quorum.ReasonUnreachable})
			continue
		}
		o.copies = append(o.copies, forwardCopy{to: s})
		o.send(c, &o.copies[len(o.copies)-1])
		return
	}
	o.exhausted(c)
}

func (o *forwardOp) send(c *Core, f *forwardCopy) {
	o.to, f.sent, f.echo, f.done = f.to, c.now.Mono, c.echoes[f.to], false
	r := *o.req
	r.Hops++
	c.send(&Message{Kind: MsgForward, To: f.to, ID: o.id, Partition: o.plan.partition, Request: &r, Timeout: o.deadline - c.now.Mono, Echo: f.echo})
	c.timers.add(c.now.Mono+forwardAfter, o.id, timerLate)
}

// over tells that no copy can be minted any more.
func (o *forwardOp) over(c *Core) bool {
	for i := range o.copies {
		if !o.copies[i].over(c.now.Mono) {
			return false
		}
	}
	return true
}

const noOwner = "no owner of the key can be reached"

// exhausted: no owner took it.
func (o *forwardOp) exhausted(c *Core) {
	if o.stalled {
		return
	}
	if refusedAsOld(o.why) {
		o.stalled = true
		c.stall(o, o.id, &o.plan)
		return
	}
	policy, err := c.writePolicy(&o.plan, o.req)
	if err != nil {
		delete(c.ops, o.id)
		o.origin.maybe = o.maybe
		c.impossible(o.origin, o.req, &o.plan, err)
		return
	}
	if !policy.Sloppy || policy.PW > 0 || o.plan.owns(c.cfg.Self) || c.out {
		o.fail(c, QuorumUnavailable, noOwner)
		return
	}
	delete(c.ops, o.id)
	r := *o.req
	r.Timeout = max(o.deadline-c.now.Mono, time.Millisecond)
	o.origin.maybe = o.maybe
	c.coordinateWrite(o.origin, &r, o.plan, false)
}

func (o *forwardOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgForwarded {
		return
	}
	c.echoes[m.From] = m.Echo
	f := o.copyTo(m.From)
	switch {
	case f == nil:
	case m.Reply != nil && former(m, o.plan.bucket.ID):
		f.done = true
		o.giveUp(c, f.to, quorum.ReasonStaleEpoch)
	case m.Reply != nil: // it counts from whichever owner it comes, the one given up included
		f.done = true
		if o.reply == nil || m.Reply.Outcome == Applied {
			o.reply = m.Reply
			o.reply.ServedBy = m.From
		}
		o.finish(c)
	case f.done, f.before(m.Echo):
	case m.Reason == quorum.ReasonLate && !f.again && o.to == f.to:
		f.again = true
		o.send(c, f)
	default:
		f.done = true
		o.giveUp(c, f.to, m.Reason)
	}
}

func (o *forwardOp) copyTo(s hashring.SID) *forwardCopy {
	for i := range o.copies {
		if o.copies[i].to == s {
			return &o.copies[i]
		}
	}
	return nil
}

// giveUp ends an owner's turn.
func (o *forwardOp) giveUp(c *Core, s hashring.SID, why quorum.Reason) {
	if s == o.to && o.reply == nil {
		o.why = append(o.why, quorum.Failure{Store: s, Reason: why})
		o.to = hashring.SID{}
	}
	o.finish(c)
}

// finish answers or goes on to the next owner, once no copy can be minted any more.
func (o *forwardOp) finish(c *Core) {
	switch {
	case !o.over(c):
		for i := range o.copies {
			if f := &o.copies[i]; !f.over(c.now.Mono) {
				c.timers.add(f.sent+forwardOver, o.id, timerOver)
			}
		}
	case o.reply != nil:
		delete(c.ops, o.id)
		o.origin.maybe = o.maybe
		c.answer(o.origin, o.reply)
	case o.to.IsZero():
		o.next(c)
	}
}

func (o *forwardOp) onDown(c *Core, store hashring.SID) {
	if f := o.copyTo(store); f != nil && !f.done {
		o.maybe = true
		o.giveUp(c, store, quorum.ReasonUnreachable)
	}
}

func (o *forwardOp) onTimer(c *Core, k timerKind) {
	switch {
	case k == timerDeadline && o.reply != nil: // forwards end before their request does
		o.copies = nil
		o.finish(c)
	case k == timerDeadline && o.stalled:
		o.fail(c, QuorumUnavailable, noOwner)
	case k == timerDeadline:
		o.maybe = true
		o.fail(c, WriteTimeout, "the owner had not answered by the deadline")
	case k == timerOver:
		o.finish(c)
	case o.reply == nil && !o.to.IsZero() && len(o.left) > 0 && c.now.Mono >= o.copyTo(o.to).sent+forwardAfter:
		o.maybe = true
		c.suspect(o.to)
		o.giveUp(c, o.to, quorum.ReasonTimeout)
	}
}

func (o *forwardOp) fail(c *Core, code Code, detail string) {
	delete(c.ops, o.id)
	o.origin.maybe = o.maybe
	c.answer(o.origin, &Reply{Code: code, Outcome: NotApplied, Detail: detail, Partition: o.plan.partition, Failed: o.why,
		Receipt: quorum.Receipt{N: len(o.plan.full)}, RetryAfter: retryAfter})
}

func (o *forwardOp) onDurable(*Core) {}
