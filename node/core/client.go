package core

import (
	"fmt"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
)

// onClient takes a request of this node's own front end.
func (c *Core) onClient(r *Request) {
	to := origin{waiter: r.Waiter}
	if r.Op == OpGet || r.Op == OpPut || r.Op == OpDelete {
		to.began = c.now.Mono
	}
	switch {
	case c.draining:
		c.refuse(to, r, 0, Draining, "this node is stopping")
	case c.ring == nil || !c.ring.HasRing():
		c.refuse(to, r, 0, Starting, "this node does not know the ring yet")
	case len(c.ops)+c.strong.running >= MaxOps:
		c.refuse(to, r, 0, Overloaded, fmt.Sprintf("%d requests are in flight", len(c.ops)+c.strong.running))
	default:
		c.begin(to, r)
	}
}

// onForward takes a request that another node could not coordinate as an owner.
func (c *Core) onForward(m *Message) {
	to := origin{from: m.From, id: m.ID}
	r := m.Request
	bucket, ok := c.ring.Bucket(r.Bucket)
	if ok && former(m, bucket.ID) { // maybe of another mode
		c.decline(to, m.Partition, quorum.ReasonStaleEpoch)
		return
	}
	if ok && bucket.Mode == hashring.Strong {
		c.onStrongForward(m, bucket)
		return
	}
	switch {
	case r.Op == OpDelete && !r.HasContext: // who forwards one has read what it deletes
		c.decline(to, m.Partition, quorum.ReasonNotOwner)
	case !ok || c.stale(m):
		c.decline(to, m.Partition, quorum.ReasonStaleEpoch)
	case c.late(m):
		c.decline(to, m.Partition, quorum.ReasonLate)
	case len(c.ops) >= MaxOps, c.draining:
		c.decline(to, m.Partition, quorum.ReasonOverloaded)
	default:
		pl := c.plan(bucket, r.Key)
		if !pl.leads(c.cfg.Self) {
			c.decline(to, m.Partition, c.notLeading(&pl))
			return
		}
		r.Timeout = m.Timeout
		c.coordinateWrite(to, r, pl, true)
	}
}

// notLeading is why this store coordinates no write of a key.
func (c *Core) notLeading(pl *plan) quorum.Reason {
	switch {
	case c.out:
		return quorum.ReasonSuspect
	case pl.owns(c.cfg.Self):
		return quorum.ReasonBuilding
	}
	return quorum.ReasonNotOwner
}

// begin plans a client's request and takes the road of its kind.
func (c *Core) begin(to origin, r *Request) {
	bucket, ok := c.ring.Bucket(r.Bucket)
	if !ok {
		c.refuse(to, r, 0, BucketNotFound, "there is no such bucket")
		return
	}
	if bucket.Mode == hashring.Strong {
		c.beginStrong(to, r, bucket)
		return
	}
	if r.Op == OpIncrement {
		c.refuse(to, r, 0, NotSupported, "counters are for strong buckets")
		return
	}
	if r.Op == OpList {
		c.startList(to, r, bucket)
		return
	}
	pl := c.plan(bucket, r.Key)
	owner := pl.leads(c.cfg.Self)
	switch {
	case r.HasContext && !fits(r.Context.Bucket, r.Context.KeyHash, &pl), r.HasAfter && !fits(r.After.Bucket, r.After.KeyHash, &pl):
		c.refuse(to, r, pl.partition, ContextInvalid, "the context belongs to another bucket or key")
	case r.OwnerOnly && !owner:
		reply := refusal(r, pl.partition, NotOwner, "this node does not own the key's partition")
		reply.Owners = pl.full
		c.answer(to, reply)
	case r.Op == OpGet:
		c.startGet(to, r, pl)
	case r.Op == OpInspect:
		c.startInspect(to, r, pl)
	case r.Op == OpDelete && !r.HasContext:
		c.readThenDelete(to, r, pl)
	default:
		c.beginWrite(to, r, pl)
	}
}

// beginWrite mints a write here, at a full owner, or takes it to one.
func (c *Core) beginWrite(to origin, r *Request, pl plan) {
	if pl.leads(c.cfg.Self) {
		c.coordinateWrite(to, r, pl, true)
		return
	}
	c.startForward(to, r, pl)
}

func fits(bucket, hash uint64, pl *plan) bool {
	return hashring.BucketID(bucket) == pl.bucket.ID && hash == pl.hash
}

// stale tells that m was planned under an older epoch of its partition.
func (c *Core) stale(m *Message) bool {
	return m.Epoch < c.ring.Partitions[m.Partition].PlanEpoch() && !plant.Is(plant.OldEpoch)
}

// ahead tells that m was planned with ring state this shard does not have yet.
func (c *Core) ahead(m *Message) bool {
	if m.RingVersion <= c.ring.Version {
		return false
	}
	if int(m.Partition) < len(c.ring.Partitions) && m.Epoch > c.ring.Partitions[m.Partition].PlanEpoch() {
		return true
	}
	if m.Kind == MsgForward {
		_, ok := c.ring.Bucket(m.Request.Bucket)
		return !ok
	}
	_, ok := c.ring.BucketByID(m.Bucket)
	return !ok && m.Bucket != 0
}
