package core

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

const (
	// A request that nobody takes is tried again after strongFirst, then twice that, up
	// to strongMost, and at once when the ring state or the role of a store here changes.
	strongFirst = 20 * time.Millisecond
	strongMost  = 160 * time.Millisecond
	// strongAgain is when an unanswered forward that acts once however often it comes is
	// sent again: well above a commit, below Tfail.
	strongAgain = 800 * time.Millisecond
	// strongMargin is what a forward's deadline is before its request's, at most: an
	// answer of the primary, "there is none" included, says more than silence.
	strongMargin = 100 * time.Millisecond
)

// strongOp is a request to a strong bucket at the node that a client has asked, or at
// the one that it was forwarded to. Whatever it needs one store for, it is with that
// store's replica, on its way to it, or waiting for one to be had.
type strongOp struct {
	id       uint64 // in c.ops; 0: not there, as long as the replica here has it
	at       int    // in sp.ops, if id is not 0
	origin   origin
	req      *Request
	sp       *strongPart
	bucket   hashring.BucketID
	level    Level // of a read
	started  time.Duration
	deadline time.Duration

	read strong.Read
	q    *strong.QuorumRead
	peek uint64 // id of its present question

	here   bool         // the replica of this store has it
	copies []strongCopy // forwards that are not answered
	tries  int          // since something was heard that helped
	last   uint64       // turns the choice of a member
	// maybe: a copy of it may have been carried out, and nobody will tell.
	maybe bool
	ended bool          // it is answered, or declined
	wake  time.Duration // of q
}

// strongCopy is one forward. Its id is its own: an answer that comes twice must not
// stand for another copy.
type strongCopy struct {
	id   uint64
	to   hashring.SID
	sent time.Duration
}

func (r *Request) isWrite() bool { return r.Op == OpPut || r.Op == OpDelete || r.Op == OpIncrement }

// repeatable tells that copies of the request act once.
func (o *strongOp) repeatable() bool {
	return !o.req.isWrite() || !o.req.StrongID.IsZero() || plant.Is(plant.StrongResends)
}

// beginStrong takes a client's request to a strong bucket.
func (c *Core) beginStrong(to origin, r *Request, bucket *hashring.Bucket) {
	if r.Op == OpList {
		c.startList(to, r, bucket)
		return
	}
	p := c.ring.PartitionOf(hashring.Hash(bucket.Name, r.Key))
	sp := c.strong.parts[p]
	switch {
	case r.HasContext || r.HasAfter:
		c.refuse(to, r, p, InvalidArgument, "a strong bucket has no contexts: its versions are ETags")
	case r.R != 0 || r.W != 0 || r.PW != 0 || r.Sloppy != Unset:
		c.refuse(to, r, p, InvalidArgument, "r, w, pw and sloppy have no meaning in a strong bucket")
	case r.TTL != 0:
		c.refuse(to, r, p, NotSupported, "values of a strong bucket do not expire")
	case sp == nil:
		c.refuse(to, r, p, PrimaryUnavailable, "the partition has no configuration of strong mode yet")
	case r.OwnerOnly && !c.strongOwner(sp, r):
		reply := refusal(r, p, NotOwner, "this node is not the store that the request needs")
		reply.Owners = c.strongOwners(p)
		c.answer(to, reply)
	case r.Op == OpInspect:
		c.startStrongInspect(to, r, sp, bucket)
	default:
		c.startStrong(to, r, sp, bucket)
	}
}

// onStrongForward takes a request that another node has for a store: for the primary,
// or, of reads at a replica, for any member.
func (c *Core) onStrongForward(m *Message, bucket *hashring.Bucket) {
	to, r := origin{from: m.From, id: m.ID}, m.Request
	sp := c.strong.parts[m.Partition]
	switch {
	case c.ring.PartitionOf(hashring.Hash(bucket.Name, r.Key)) != m.Partition, sp == nil:
		c.decline(to, m.Partition, quorum.ReasonStaleEpoch)
	case len(c.ops)+c.strong.running >= MaxOps:
		c.decline(to, m.Partition, quorum.ReasonOverloaded)
	case r.Op != OpGet && !r.isWrite():
		c.decline(to, m.Partition, quorum.ReasonNotOwner)
	default:
		r.Timeout = m.Timeout
		c.startStrong(to, r, sp, bucket)
	}
}

func (c *Core) startStrong(to origin, r *Request, sp *strongPart, bucket *hashring.Bucket) {
	o := &strongOp{origin: to, req: r, sp: sp, bucket: bucket.ID, level: r.Level, started: c.now.Mono, deadline: c.deadlineOf(r), last: c.lastOp}
	if o.level == LevelDefault {
		o.level = LevelLeader
	}
	if plant.Is(plant.StrongReadsHere) && o.level == LevelLeader && sp.r != nil && c.ring.Strong(sp.id).IsMember(c.cfg.Self) {
		o.level = LevelStale
	}
	if r.isWrite() {
		o.level = LevelLeader
	}
	o.try(c)
}

// primarys tells that only the primary can carry the request out.
func (o *strongOp) primarys() bool { return o.level == LevelLeader || o.level == LevelLease }

// strongRoom refuses writes that this store, if it is the primary, has no room for.
func (c *Core) strongRoom(r *Request) (Code, string) {
	switch {
	case !r.isWrite():
	case c.overlay.bytes > MaxOverlay:
		return Overloaded, fmt.Sprintf("%d bytes wait for the disk", c.overlay.bytes)
	case c.lowSpace && r.Op != OpDelete:
		return InsufficientStorage, "this node's disk is below its reserve of free space"
	}
	return OK, ""
}

func strongKind(op Op) strong.OpKind {
	switch op {
	case OpDelete:
		return strong.OpDelete
	case OpIncrement:
		return strong.OpIncrement
	}
	return strong.OpPut
}

// try takes the request to where it can be served, as long as there is its bucket: another
// one of its name may be of another mode.
func (o *strongOp) try(c *Core) {
	if !c.ring.IsStrong(o.bucket) {
		o.end(c, refusal(o.req, o.sp.id, BucketNotFound, "the bucket was deleted meanwhile"))
		return
	}
	switch o.level {
	case LevelQuorum:
		o.ask(c)
	case LevelReplica, LevelStale:
		o.tryMember(c)
	default:
		o.tryPrimary(c)
	}
}

// tryPrimary: a forward never bounces, so what another node has sent here waits here for
// as long as the ring names this store.
func (o *strongOp) tryPrimary(c *Core) {
	primary := c.ring.Partitions[o.sp.id].Primary
	switch {
	case primary == c.cfg.Self && o.sp.r != nil && o.sp.r.Leads():
		o.submit(c)
	case primary == c.cfg.Self:
		o.wait(c)
	case !o.origin.from.IsZero():
		o.drop(c)
		c.decline(o.origin, o.sp.id, quorum.ReasonNotOwner)
	case primary.IsZero() || !c.reachable(primary) || !o.repeatable() && c.now.Mono < c.strong.downs[primary]:
		o.wait(c)
	default:
		o.forward(c, primary)
	}
}

// tryMember reads at this store if it is a member, else at one that can be reached.
func (o *strongOp) tryMember(c *Core) {
	if conf := c.ring.Partitions[o.sp.id].Strong; o.sp.r != nil && conf.Holds(c.cfg.Self) {
		o.submit(c)
		return
	}
	if !o.origin.from.IsZero() {
		o.drop(c)
		c.decline(o.origin, o.sp.id, quorum.ReasonNotOwner)
		return
	}
	members := c.ring.StrongMembers(o.sp.id)
	for range members {
		o.last++
		if s := members[o.last%uint64(len(members))]; s != c.cfg.Self && c.reachable(s) {
			o.forward(c, s)
			return
		}
	}
	o.wait(c)
}

// submit gives the request to the replica of this store.
func (o *strongOp) submit(c *Core) {
	if code, why := c.strongRoom(o.req); code != OK {
		c.stats.Refused++
		o.end(c, refusal(o.req, o.sp.id, code, why))
		return
	}
	c.touchStrong(o.sp)
	o.here = true
	c.strong.running++
	if r := o.req; r.isWrite() {
		o.sp.r.Submit(&strong.Op{Kind: strongKind(r.Op), Bucket: o.bucket, Key: r.Key, Data: r.Value, ContentType: r.ContentType, Sum: r.Sum, Delta: r.Delta,
			If: r.If, ID: r.StrongID, Deadline: o.deadline, Waiter: o})
		return
	}
	o.read = strong.Read{Level: strong.Leader, Bucket: o.bucket, Key: o.req.Key, Deadline: o.deadline, Waiter: o}
	switch o.level {
	case LevelReplica:
		o.read.Level = strong.Validated
	case LevelStale:
		o.read.Level = strong.Stale
	case LevelLease:
		o.read.Level = strong.Lease
	}
	o.sp.r.Read(&o.read)
}

// wait keeps the request until it can be tried again.
func (o *strongOp) wait(c *Core) {
	o.enlist(c)
	pause := min(strongFirst<<min(o.tries, 10), strongMost)
	o.tries++
	c.timers.add(c.now.Mono+pause, o.id, timerRetry)
}

// enlist gives the request an end of its own: as long as a replica here has it, that
// one keeps its deadline.
func (o *strongOp) enlist(c *Core) {
	if o.id != 0 {
		return
	}
	o.id, o.at = c.addOp(o), len(o.sp.ops)
	o.sp.ops = append(o.sp.ops, o)
	c.timers.add(o.deadline, o.id, timerDeadline)
}

// drop forgets the request: it is answered.
func (o *strongOp) drop(c *Core) {
	o.ended = true
	for i := range o.copies {
		delete(c.ops, o.copies[i].id)
	}
	o.copies = nil
	if o.q != nil {
		c.forgetPeeks(o)
	}
	if o.id == 0 {
		return
	}
	delete(c.ops, o.id)
	list := o.sp.ops
	last := list[len(list)-1]
	list[o.at], last.at = last, o.at
	list[len(list)-1] = nil
	o.sp.ops, o.id = list[:len(list)-1], 0
}

// waits tells that the request is nowhere now.
func (o *strongOp) waits() bool { return !o.here && o.q == nil && len(o.copies) == 0 }
