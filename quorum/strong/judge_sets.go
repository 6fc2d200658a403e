package strong

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// sets brings a partition's sets to its replica list, one step at a time: the stores that
// are missing learn the log first, then both sets count, then only the new one does.
func (c *court) sets(d *docket, part *hashring.Partition) (finding, bool) {
	cfg := part.Strong
	if len(cfg.Sets) == 2 {
		return c.settle(d, part)
	}
	if len(cfg.Learners) == 0 && sameStores(cfg.Sets[0], part.Replicas) {
		return finding{}, false
	}
	missing := c.missing(part)
	if !slices.Equal(missing, cfg.Learners) {
		if len(missing) > len(cfg.Learners) && !c.mayLearn() {
			c.wake(c.now + again)
			return finding{}, false
		}
		return finding{hashring.StrongChange{Kind: hashring.StrongLearners, Stores: missing}, toLearn}, true
	}
	next, ok := c.nextSet(d, part, missing)
	if !ok {
		return finding{}, false
	}
	return finding{hashring.StrongChange{Kind: hashring.StrongJoint, Stores: next}, toJoin}, true
}

// settle ends a joint configuration: T3 once it is active, T4 if it hangs or a store of
// the new set has gone. Both keep the primary where they can.
func (c *court) settle(d *docket, part *hashring.Partition) (finding, bool) {
	cfg := part.Strong
	kind, set := hashring.StrongSettle, cfg.Sets[1]
	if !cfg.Activated {
		kind, set = hashring.StrongAbort, cfg.Sets[0]
		lost := slices.ContainsFunc(cfg.Sets[1], func(s hashring.SID) bool { return !slices.Contains(set, s) && !c.serves(s) })
		if !lost && c.now < d.joint+c.opts.Abort {
			c.wake(d.joint + c.opts.Abort)
			return finding{}, false
		}
	}
	change := hashring.StrongChange{Kind: kind}
	if !slices.Contains(set, part.Primary) {
		to, ok := c.choose(d, set, part.Primary, hashring.SID{})
		if !ok {
			c.wake(c.now + again)
			return finding{}, false
		}
		c.name(to)
		change.Primary = to
	}
	return finding{change, toSettle}, true
}

// missing are the stores of the list that should learn, sorted: in no set, not lost, and
// up. A list
// of an even number that is about to grow is waited for: a set of two stands no loss.
func (c *court) missing(part *hashring.Partition) (out []hashring.SID) {
	set := part.Strong.Sets[0]
	if n := len(part.Replicas); n > len(set) && n%2 == 0 && n < c.st.Replicas && c.grows(part) {
		return nil
	}
	for _, sid := range part.Replicas {
		if slices.Contains(set, sid) || slices.Contains(part.Strong.Lost, sid) {
			continue
		}
		if state, known := c.state(sid); known && state == hashring.StoreUp {
			out = append(out, sid)
		}
	}
	slices.SortFunc(out, hashring.SID.Compare)
	return out
}

// grows tells whether there is a live store that the list can take.
func (c *court) grows(part *hashring.Partition) bool {
	return slices.ContainsFunc(c.st.Stores, func(s hashring.Store) bool {
		return s.State == hashring.StoreUp && !slices.Contains(part.Replicas, s.SID) && c.alive(s.SID)
	})
}

// nextSet is V' of T2 if it may come now: what the set and the list have in common, and
// the learners that are ready; every live learner must be. Stores that leave the set stay
// as long as their places are not taken, so that it never gets shorter than the list.
func (c *court) nextSet(d *docket, part *hashring.Partition, missing []hashring.SID) ([]hashring.SID, bool) {
	set := part.Strong.Sets[0]
	var next []hashring.SID
	for _, sid := range part.Replicas {
		switch {
		case slices.Contains(set, sid), c.ready(d, part, sid) || plant.Is(plant.JudgeUnready) && slices.Contains(missing, sid):
			next = append(next, sid)
		case slices.Contains(missing, sid) && c.alive(sid):
			return nil, false
		}
	}
	for _, sid := range set {
		if len(next) < len(part.Replicas) && !slices.Contains(next, sid) {
			next = append(next, sid)
		}
	}
	return next, !sameStores(next, set)
}

// ready tells whether the primary of this epoch says that a learner keeps up.
func (c *court) ready(d *docket, part *hashring.Partition, sid hashring.SID) bool {
	return slices.ContainsFunc(d.ready, func(o order) bool {
		return o.to == sid && o.by == part.Primary && o.epoch == part.Strong.Epoch && c.fresh(c.now, o.at)
	})
}

// mayLearn tells whether another partition may have learners.
func (c *court) mayLearn() bool {
	if c.busy < 0 {
		c.busy = 0
		for p := range c.st.Partitions {
			if cfg := c.st.Partitions[p].Strong; cfg != nil && (len(cfg.Sets) == 2 || slices.ContainsFunc(cfg.Learners, c.alive)) {
				c.busy++
			}
		}
	}
	if c.busy >= c.opts.Learning {
		return false
	}
	c.busy++
	return true
}

func sameStores(a, b []hashring.SID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s hashring.SID) bool { return !slices.Contains(b, s) })
}
