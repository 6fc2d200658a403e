package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// putOp is one write under way at its coordinator: minted, staged here, sent to
// the other owners, counted until W full ones have synced it. It lives on after the answer
// until every owner has it or a stand-in keeps it for them.
type putOp struct {
	id       uint64
	origin   origin
	plan     plan
	req      *Request // of use until it is answered
	key      []byte
	object   *version.Object // what every owner is to hold
	context  version.Context // for the client
	tally    *quorum.Put
	local    []localCopy
	room     [1]localCopy // most writes have one
	started  time.Duration
	deadline time.Duration
	owner    bool // of the key; else it stands in for all of them
	stalled  bool // waits for a newer ring
	answered bool
}

// localCopy is a copy staged in this store: as an owner, or as a hint.
type localCopy struct {
	target hashring.SID
	seq    uint64
	acked  bool
}

// coordinateWrite mints and replicates a write here, as a full owner or as a fallback.
func (c *Core) coordinateWrite(to origin, r *Request, pl plan, owner bool) {
	policy, err := c.writePolicy(&pl, r)
	if err != nil {
		c.impossible(to, r, &pl, err)
		return
	}
	if c.overlay.bytes > MaxOverlay {
		c.refuse(to, r, pl.partition, Overloaded, fmt.Sprintf("%d bytes wait for the disk", c.overlay.bytes))
		return
	}
	if c.lowSpace && r.Op == OpPut {
		c.refuse(to, r, pl.partition, InsufficientStorage, "this node's disk is below its reserve of free space")
		return
	}
	tally := c.newTally(policy, &pl, owner)
	if tally.Verdict() == quorum.Lost {
		c.noQuorum(to, r, &pl, tally)
		return
	}
	local, err := c.localObject(&pl, r.Key, owner)
	if err != nil {
		c.cannotMint(to, r, &pl)
		return
	}
	if why := c.skewed(&pl, r, local); why != "" {
		c.refuse(to, r, pl.partition, ClockSkew, why)
		return
	}
	object, context, code := c.mintWrite(&pl, r, local)
	if code != OK {
		c.refuse(to, r, pl.partition, code, tooMany(code))
		return
	}
	o := &putOp{origin: to, plan: pl, req: r, key: r.Key, object: object, context: context, tally: tally, owner: owner, started: c.now.Mono, deadline: c.deadlineOf(r)}
	o.id, o.local = c.addOp(o), o.room[:0]
	if owner {
		o.stageOwn(c, local)
	} else {
		c.part(pl.partition).stoodIn = true
	}
	c.timers.add(o.started+lateAfter, o.id, timerLate)
	c.timers.add(o.deadline, o.id, timerDeadline)
	o.pump(c)
}

func tooMany(code Code) string {
	if code == SiblingLimit {
		return fmt.Sprintf("the key has %d concurrent values; read it and write with the context of that answer", MaxSiblings)
	}
	return fmt.Sprintf("the key's concurrent values together would exceed %d bytes", MaxObject)
}

// newTally plans the slots. A fallback coordinates only when no owner can be had;
// it is the first stand-in itself, since it must hold what it mints (E1).
func (c *Core) newTally(policy quorum.Policy, pl *plan, owner bool) *quorum.Put {
	if owner {
		return quorum.NewPut(policy, pl.owners, pl.roles, c.fallbacks(pl), c.reachable)
	}
	stand := []hashring.SID{c.cfg.Self}
	for _, s := range c.onlyReachable(c.ring.Fallbacks(pl.partition, len(pl.owners))) {
		if s != c.cfg.Self {
			stand = append(stand, s)
		}
	}
	return quorum.NewPut(policy, pl.owners, pl.roles, stand, func(hashring.SID) bool { return false })
}

// localObject is what this store has of the key: its record, or as a fallback all
// hints it keeps for it.
func (c *Core) localObject(pl *plan, key []byte, owner bool) (*version.Object, error) {
	if owner {
		o, _, err := c.record(pl.partition, pl.bucket.ID, key)
		return o, err
	}
	o, _, err := c.hintsOf(pl, key)
	return o, err
}

// mintWrite is the object after the request, and the context its client gets.
func (c *Core) mintWrite(pl *plan, r *Request, local *version.Object) (*version.Object, version.Context, Code) {
	seen := r.Context.Seen
	if again := findRequest(local, r.ID); again != nil { // E16: a re-sent write that has been minted here
		switch { // what was read for this try of a delete is not what it deleted at first
		case r.HasContext && !r.ReadFirst:
		case len(local.Siblings) == 1 || plant.Is(plant.ResentContext):
			seen = local.Context
		default:
			seen = nil
		}
		return local, contextOf(pl, again.HLC, seen.With(again.Dot)), OK
	}
	whole := local == nil && len(seen) == 0 // the writer has seen all there is
	if (!r.HasContext || plant.Is(plant.EmptyContext) && len(seen) == 0) && r.Op == OpPut && local != nil {
		seen, whole = local.Context, true
	}
	stamp := c.stamp(max(local.MaxHLC(), r.Context.HLC))
	s := version.Sibling{HLC: stamp, Tombstone: r.Op == OpDelete, Request: r.ID}
	if r.Op == OpPut {
		s.Value, s.ContentType, s.Sum = r.Value, r.ContentType, r.Sum
		if ttl := ttlOf(pl.bucket, r); ttl > 0 {
			s.ExpiryMS = c.now.WallMS + ttl.Milliseconds()
		}
	}
	s.Dot = c.mint(c.part(pl.partition), local, seen)
	object := version.Write(local, seen, s)
	switch {
	case pl.bucket.Conflict == hashring.LWW:
		object = c.reduce(object)
	case plant.Is(plant.SiblingDropped) && len(object.Siblings) > MaxSiblings:
		object.Siblings = object.Siblings[1:]
	case len(object.Siblings) > MaxSiblings && len(object.Siblings) > len(local.Siblings):
		return nil, version.Context{}, SiblingLimit
	}
	if object.Size() > MaxObject && r.Op == OpPut {
		return nil, version.Context{}, ValueTooLarge
	}
	if plant.Is(plant.ContextTooWide) {
		seen = object.Context
	}
	if whole {
		return object, contextOf(pl, stamp, object.Context), OK
	}
	return object, contextOf(pl, stamp, seen.With(s.Dot)), OK
}

func ttlOf(b *hashring.Bucket, r *Request) time.Duration {
	if r.TTL > 0 {
		return r.TTL
	}
	return b.TTL
}

func findRequest(o *version.Object, id version.RequestID) *version.Sibling {
	if o == nil || id.IsZero() || plant.Is(plant.ResentMintedAgain) {
		return nil
	}
	for i := range o.Siblings {
		if o.Siblings[i].Request == id {
			return &o.Siblings[i]
		}
	}
	return nil
}

// reduce is the merge order of a last-write-wins bucket; what it drops is counted.
func (c *Core) reduce(o *version.Object) *version.Object {
	out, dropped := version.ReduceLWW(o)
	c.stats.LWWDropped += uint64(dropped)
	return out
}

// stageOwn puts the object into this owner's record.
func (o *putOp) stageOwn(c *Core, local *version.Object) {
	if version.Same(local, o.object) { // a re-sent write: it may be durable, or staged
		_, seq, _ := c.record(o.plan.partition, o.plan.bucket.ID, o.key)
		o.local = append(o.local, localCopy{seq: seq})
		return
	}
	seq := c.stageRecord(c.part(o.plan.partition), o.plan.bucket.ID, o.key, o.plan.hash, local, o.object)
	o.local = append(o.local, localCopy{seq: seq})
}

// pump carries out what the tally asks for, until it asks for nothing, and answers
// when it has a verdict.
func (o *putOp) pump(c *Core) {
	for {
		asks := o.tally.Take()
		if len(asks) == 0 {
			break
		}
		for _, a := range asks {
			o.ask(c, a)
		}
	}
	o.owe(c, false)
	o.settle(c)
}

// owe marks the owners that will not get the write though they should have, in this
// very batch: it is all there is where no store can stand in for them (E3).
func (o *putOp) owe(c *Core, over bool) {
	for _, owner := range o.tally.Forsaken(over) {
		if owner != c.cfg.Self { // it has it, only nobody has confirmed its start yet
			c.missed(c.part(o.plan.partition), owner)
		}
	}
}

func (o *putOp) ask(c *Core, a quorum.Ask) {
	switch {
	case a.To == c.cfg.Self && !a.Target.IsZero():
		o.keepHint(c, a.Target)
	case a.To == c.cfg.Self && !c.confirmed && !plant.Is(plant.UnconfirmedSelf):
		o.tally.Fail(a.To, a.Target, quorum.ReasonStarting) // durable here, and not yet an owner's word (D6)
	case a.To == c.cfg.Self && plant.Is(plant.OwnAckBeforeSync):
		o.tally.Ack(a.To, a.Target)
	case a.To == c.cfg.Self:
		c.awaitSync(o.local[0].seq, o.id)
	case !c.reachable(a.To):
		o.tally.Fail(a.To, a.Target, quorum.ReasonUnreachable)
	default:
		c.sendAfter(c.stampBound(), o.message(a, c.now.Mono)) // E1 lets it leave before its own sync, E9 not before its stamp's bound
	}
}

func (o *putOp) message(a quorum.Ask, now time.Duration) *Message {
	m := &Message{Kind: MsgWrite, To: a.To, ID: o.id, Partition: o.plan.partition, Bucket: o.plan.bucket.ID, Key: o.key, Hash: o.plan.hash, Object: o.object}
	switch {
	case !a.Target.IsZero():
		m.Kind, m.Target = MsgHint, a.Target
	case o.plan.bucket.Conflict == hashring.LWW: // says that it is fresh (E9)
		m.Timeout = max(o.deadline-now, time.Millisecond)
	}
	return m
}

// keepHint stands in for target in this very store.
func (o *putOp) keepHint(c *Core, target hashring.SID) {
	seq, why := c.mergeHint(o.plan.partition, o.plan.bucket, o.key, target, o.object)
	if why != quorum.ReasonNone {
		if !plant.Is(plant.ActorAfterLostHint) {
			c.part(o.plan.partition).forgetActors() // E1: it may have minted what it does not hold
		}
		o.tally.Fail(c.cfg.Self, target, why)
		return
	}
	o.local = append(o.local, localCopy{target: target, seq: seq})
	c.awaitSync(seq, o.id)
}

func (o *putOp) onDurable(c *Core) {
	for i := range o.local {
		if l := &o.local[i]; !l.acked && l.seq <= c.durable {
			l.acked = true
			o.tally.Ack(c.cfg.Self, l.target)
		}
	}
	o.settle(c)
}

func (o *putOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgWriteAck {
		return
	}
	if m.Reason == quorum.ReasonNone {
		o.tally.Ack(m.From, m.Target)
	} else {
		o.tally.Fail(m.From, m.Target, m.Reason)
	}
	o.pump(c)
}

func (o *putOp) onDown(c *Core, store hashring.SID) {
	for _, owner := range o.plan.owners {
		o.tally.Fail(store, owner, quorum.ReasonUnreachable)
	}
	o.tally.Fail(store, hashring.SID{}, quorum.ReasonUnreachable)
	o.pump(c)
}

func (o *putOp) onTimer(c *Core, k timerKind) {
	switch {
	case k == timerLate:
		for _, s := range o.tally.Waiting() {
			if s != c.cfg.Self {
				c.suspect(s)
				o.tally.Late(s)
			}
		}
		o.pump(c)
	case !o.answered && o.stalled:
		o.fail(c, ReplicaFailure, tooFewTook)
		c.timers.add(o.started+finishFor, o.id, timerDeadline)
	case !o.answered:
		o.fail(c, WriteTimeout, "not enough replicas had synced the write by the deadline")
		c.timers.add(o.started+finishFor, o.id, timerDeadline)
	case c.now.Mono >= o.started+finishFor:
		o.owe(c, true)
		delete(c.ops, o.id)
	default:
		c.timers.add(o.started+finishFor, o.id, timerDeadline)
	}
}

// settle answers once there is a verdict, and ends the op once nothing is open.
func (o *putOp) settle(c *Core) {
	if !o.answered {
		switch o.tally.Verdict() {
		case quorum.Won:
			if c.outlived(o.origin, o.plan.bucket.ID) {
				o.fail(c, ReplicaFailure, "the bucket was deleted before the write was answered")
				break
			}
			o.answered = true
			c.stats.Writes++
			c.answer(o.origin, &Reply{Outcome: Applied, Object: o.object.Brief(), Context: o.context, Receipt: o.tally.Receipt(), Partition: o.plan.partition})
		case quorum.Lost:
			o.lost(c)
		}
	}
	if o.answered && o.tally.Done() {
		delete(c.ops, o.id)
	}
}

const tooFewTook = "too few replicas took the write; it may still spread"

// lost: too few stores take a write planned like this. Was it refused for its plan's
// age, it is planned anew.
func (o *putOp) lost(c *Core) {
	switch {
	case o.stalled:
	case o.owner && refusedAsOld(o.tally.Failures()):
		o.stalled = true
		c.stall(o, o.id, &o.plan)
	default:
		o.fail(c, ReplicaFailure, tooFewTook)
	}
}

// fail answers a write that was minted here and did not get its quorum: it is in
// this store's batch and may be on others, so its fate is unknown. The reply carries
// no context: a write without one took the local object's, and where it was kept
// nowhere that would let the client overwrite what neither it nor its write has seen.
func (o *putOp) fail(c *Core, code Code, detail string) {
	o.answered = true
	c.answer(o.origin, &Reply{Code: code, Outcome: Unknown, Detail: detail, Receipt: o.tally.Receipt(), Failed: o.tally.Failures(), Partition: o.plan.partition})
}

// noQuorum refuses a write before anything was staged.
func (c *Core) noQuorum(to origin, r *Request, pl *plan, tally *quorum.Put) {
	c.stats.Refused++
	// The others were not asked, so they have not failed.
	failed := slices.DeleteFunc(tally.Failures(), func(f quorum.Failure) bool { return f.Reason == quorum.ReasonTimeout })
	c.answer(to, &Reply{Code: QuorumUnavailable, Outcome: NotApplied, Detail: "too few replicas can be reached", Receipt: tally.Receipt(),
		Failed: failed, Partition: pl.partition, RetryAfter: retryAfter})
}

// cannotMint: this store's copy of the key is quarantined, so it must not mint for
// it (E1). Another owner can.
func (c *Core) cannotMint(to origin, r *Request, pl *plan) {
	switch {
	case !to.from.IsZero():
		c.decline(to, pl.partition, quorum.ReasonCorrupt)
	case !pl.owns(c.cfg.Self): // a fallback's turn comes when no owner can be reached
		c.refuse(to, r, pl.partition, QuorumUnavailable, "no owner of the key can be reached, and this node's hint of it is quarantined")
	default:
		c.startForward(to, r, *pl)
	}
}
