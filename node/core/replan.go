package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/quorum"
)

// A request is planned by one ring. When a stage of its partition has begun meanwhile,
// the owners that know of it refuse the plan, as they must, and between them and those
// that do not know yet there may be no quorum. That is no lack of replicas: the request
// waits for the ring that was spoken of and is planned anew, within its deadline. It
// waits as long as a message does at the other end that was planned by a newer ring.

// replanner is an op that can be planned anew, by the ring of now.
type replanner interface{ replan(c *Core) }

// stalled is a request that waits for a newer ring: for one that outdates its plan, or for
// a version.
type stalled struct {
	id      uint64
	plan    *plan
	version uint64 // 0: any that outdates the plan
}

// refusedAsOld tells whether a store refused a plan for its age.
func refusedAsOld(failed []quorum.Failure) bool {
	return slices.ContainsFunc(failed, func(f quorum.Failure) bool { return f.Reason == quorum.ReasonStaleEpoch })
}

// stall has an op planned anew as soon as the ring is newer than its plan, which may be
// at once.
func (c *Core) stall(o replanner, id uint64, pl *plan) {
	if c.outdated(pl) {
		c.stats.Replans++
		o.replan(c)
		return
	}
	c.wait(stalled{id: id, plan: pl})
}

// wait has an op planned anew by the ring that it waits for. Its deadline timer is called if
// that takes too long.
func (c *Core) wait(s stalled) {
	c.stalled = append(c.stalled, s)
	c.timers.add(c.now.Mono+parkedFor, s.id, timerDeadline)
}

// outdated tells whether a newer stage of its partition has begun than a plan is of, or
// its bucket has gone.
func (c *Core) outdated(pl *plan) bool {
	_, there := c.ring.BucketByID(pl.bucket.ID)
	return !there || c.ring.Partitions[pl.partition].PlanEpoch() > pl.epoch
}

// replanRing plans anew what has waited for this ring. Requests that have ended are
// forgotten.
func (c *Core) replanRing() {
	waiting := c.stalled
	c.stalled = nil
	for _, s := range waiting {
		switch o, ok := c.ops[s.id].(replanner); {
		case !ok:
		case c.outdated(s.plan), s.version != 0 && c.ring.Version >= s.version:
			c.stats.Replans++
			o.replan(c)
		default:
			c.stalled = append(c.stalled, s)
		}
	}
}

// anew begins a request of which nothing was minted here again, with what its deadline
// has left.
func (c *Core) anew(to origin, r *Request, deadline time.Duration) {
	again := *r
	again.Timeout = max(deadline-c.now.Mono, time.Millisecond)
	c.begin(to, &again)
}

// replan of a read: none of the older plan's replies counts any more.
func (g *getOp) replan(c *Core) {
	delete(c.ops, g.id)
	c.anew(g.origin, g.req, g.deadline)
}

// replan of a forward: no copy of it can be minted any more.
func (o *forwardOp) replan(c *Core) {
	delete(c.ops, o.id)
	o.origin.maybe = o.maybe
	c.anew(o.origin, o.req, o.deadline)
}

// replan of a write that was minted here: the same object goes to the owners of now, and
// what was acked under the older plan is asked for again.
func (o *putOp) replan(c *Core) {
	bucket, ok := c.ring.BucketByID(o.plan.bucket.ID)
	if !ok {
		o.fail(c, ReplicaFailure, "the bucket was deleted meanwhile")
		o.settle(c)
		return
	}
	pl := c.plan(bucket, o.key)
	policy, err := c.writePolicy(&pl, o.req)
	if err != nil || !pl.leads(c.cfg.Self) {
		o.fail(c, ReplicaFailure, "too few replicas took the write before the key's owners changed; it may still spread")
		o.settle(c)
		return
	}
	delete(c.ops, o.id)
	o.id = c.addOp(o)
	o.plan, o.stalled = pl, false
	o.tally = quorum.NewPut(policy, pl.owners, pl.roles, c.fallbacks(&pl), c.reachable)
	o.local = append(o.local[:0], localCopy{seq: o.local[0].seq})
	c.timers.add(c.now.Mono+lateAfter, o.id, timerLate)
	c.timers.add(o.deadline, o.id, timerDeadline)
	o.pump(c)
}
