package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// getOp is one read under way: R replies gathered and joined; replicas that were
// behind are repaired, in a strict read before the answer (E11).
type getOp struct {
	id       uint64
	origin   origin
	plan     plan
	req      *Request
	key      []byte
	tally    *quorum.Get
	stalled  bool // waits for a newer ring
	strict   bool
	round    uint64          // of purges, when it was planned
	heard    uint64          // the newest ring version that a reply was given by
	own      *version.Object // read here, waiting for its batch
	started  time.Duration
	deadline time.Duration
	hedged   bool
	spare    hashring.SID // that was asked because another was late
	repair   *quorum.Put  // E11: the write-back that the answer waits for
	repairAt uint64       // the batch that makes this store's copy of it durable
	object   *version.Object
	done     func(c *Core, g *getOp, code Code)
}

func (c *Core) startGet(to origin, r *Request, pl plan) {
	policy, err := c.readPolicy(&pl, r)
	if err != nil {
		c.impossible(to, r, &pl, err)
		return
	}
	if policy.Need == 1 && !r.HasAfter && c.readHere(to, r, &pl, policy) {
		return
	}
	c.stats.Reads++
	c.read(to, r, pl, policy, nil)
}

// readHere is the whole of a read with R=1 at an owner whose copy is settled.
func (c *Core) readHere(to origin, r *Request, pl *plan, policy quorum.Policy) bool {
	if !c.confirmed || !pl.leads(c.cfg.Self) {
		return false
	}
	o, seq, err := c.record(pl.partition, pl.bucket.ID, r.Key)
	if err != nil || seq > c.durable {
		return false
	}
	c.stats.Reads++
	reply := c.readReply(pl, o)
	reply.Receipt = quorum.Receipt{N: policy.N, Need: 1, Acks: 1, Owners: 1}
	c.answer(to, reply)
	return true
}

// read starts gathering; done is called once, with OK and the joined object in g,
// or with why there is none. nil: it is answered.
func (c *Core) read(to origin, r *Request, pl plan, policy quorum.Policy, done func(*Core, *getOp, Code)) {
	g := &getOp{origin: to, plan: pl, req: r, key: r.Key, started: c.now.Mono, deadline: c.deadlineOf(r), done: done}
	w := pl.bucket.W
	if w == 0 {
		w = pl.write
	}
	g.strict = !policy.Sloppy && policy.Need+w > policy.N
	g.round = c.ring.Purge(pl.partition).Generation
	var after version.Vector
	if r.HasAfter {
		after = r.After.Seen
	}
	purged := c.purgeClock(pl.partition)
	if plant.Is(plant.NoReadGuard) {
		purged = nil
	}
	c.pace.began()
	g.tally = quorum.NewGet(policy, c.readOrder(&pl), c.fallbacks(&pl), c.reachable, after, purged)
	g.id = c.addOp(g)
	c.timers.add(g.deadline, g.id, timerDeadline)
	if len(pl.full) > policy.Need {
		c.timers.add(c.now.Mono+c.pace.hedgeAfter(g.waiting(c)), g.id, timerHedge)
		c.timers.add(c.now.Mono+lateAfter, g.id, timerLate)
	}
	g.pump(c)
}

// readOrder puts this store first, then the other full owners, beginning behind it, so
// that the reads of different coordinators fall on different replicas; a store that
// answers much later than the next one comes after it. It is valid
// until the next call.
func (c *Core) readOrder(pl *plan) []hashring.SID {
	n := len(pl.full)
	at := int(c.lastOp) % n
	for i, s := range pl.full {
		if s == c.cfg.Self {
			at = i
		}
	}
	c.order = append(append(c.order[:0], pl.full[at:]...), pl.full[:at]...)
	c.pace.shun(c.order)
	return c.order
}

func (g *getOp) pump(c *Core) {
	for {
		asks := g.tally.Take()
		if len(asks) == 0 {
			break
		}
		for _, a := range asks {
			g.ask(c, a)
		}
	}
	g.settle(c)
}

func (g *getOp) ask(c *Core, a quorum.Ask) {
	fallback := !a.Target.IsZero()
	if g.hedged && g.spare.IsZero() {
		g.spare = a.To
	}
	switch {
	case a.To == c.cfg.Self:
		g.readOwn(c, fallback)
	case !c.reachable(a.To):
		g.tally.Fail(a.To, quorum.ReasonUnreachable)
	default:
		c.send(&Message{Kind: MsgRead, To: a.To, ID: g.id, Partition: g.plan.partition, Bucket: g.plan.bucket.ID, Key: g.key, Hash: g.plan.hash, Fallback: fallback})
	}
}

// readOwn reads this store's copy. One that is not durable yet counts when it is.
func (g *getOp) readOwn(c *Core, fallback bool) {
	o, seq, why := c.replicaRead(g.plan.partition, g.plan.bucket, g.key, fallback)
	switch {
	case why != quorum.ReasonNone:
		g.tally.Fail(c.cfg.Self, why)
	case seq > c.durable && !plant.Is(plant.OwnReadBeforeSync):
		g.own = o
		c.awaitSync(seq, g.id)
	default:
		g.tally.Reply(c.cfg.Self, o)
	}
}

func (g *getOp) onDurable(c *Core) {
	switch {
	case g.repair == nil:
		g.tally.Reply(c.cfg.Self, g.own)
	case g.repairAt != 0 && g.repairAt <= c.durable: // not the older copy that the read has waited for
		g.repair.Ack(c.cfg.Self, hashring.SID{})
	}
	g.pump(c)
}

func (g *getOp) onMessage(c *Core, m *Message) {
	switch {
	case m.Kind == MsgWriteAck && g.repair != nil:
		if m.Reason == quorum.ReasonNone {
			g.repair.Ack(m.From, hashring.SID{})
		} else {
			g.repair.Fail(m.From, hashring.SID{}, m.Reason)
		}
	case m.Kind != MsgReadReply:
		return
	case m.Reason != quorum.ReasonNone:
		g.tally.Fail(m.From, m.Reason)
	default:
		g.heard = max(g.heard, m.RingVersion)
		if m.From != g.spare { // it was not asked at the start
			c.pace.took(m.From, c.now.Mono-g.started)
		}
		g.tally.Reply(m.From, m.Object)
	}
	g.pump(c)
}

func (g *getOp) onDown(c *Core, store hashring.SID) {
	g.tally.Fail(store, quorum.ReasonUnreachable)
	if g.repair != nil {
		g.repair.Fail(store, hashring.SID{}, quorum.ReasonUnreachable)
	}
	g.pump(c)
}

func (g *getOp) onTimer(c *Core, k timerKind) {
	switch k {
	case timerHedge:
		if g.repair == nil {
			g.hedge(c)
		}
	case timerLate:
		if g.repair != nil {
			return
		}
		for _, s := range g.tally.Waiting() {
			if s != c.cfg.Self {
				c.suspect(s)
				g.tally.More()
			}
		}
		g.pump(c)
	case timerDeadline:
		if plant.Is(plant.DeadlineForgotten) {
			return
		}
		code := ReadTimeout
		if g.stalled {
			code = QuorumUnavailable
		}
		if g.tally.Stale() {
			code = StaleReplica
		}
		g.finish(c, code)
	}
}

// hedge asks a spare store beside those that are late.
func (g *getOp) hedge(c *Core) {
	waiting := g.waiting(c)
	for _, s := range waiting {
		if s != c.cfg.Self {
			c.pace.took(s, c.now.Mono-g.started+1) // at least: it may not be waited for any more
		}
	}
	if len(waiting) == 0 || !c.pace.spend() {
		return
	}
	g.hedged = true
	if g.tally.More() {
		c.stats.Hedges++
	}
	g.pump(c)
}

// waiting lists the stores that this read waits for; valid until the next call.
func (g *getOp) waiting(c *Core) []hashring.SID {
	c.waiting = g.tally.AppendWaiting(c.waiting[:0])
	return c.waiting
}

func (g *getOp) settle(c *Core) {
	if c.ops[g.id] == nil {
		return // answered while it was being pumped
	}
	if g.repair != nil {
		switch g.repair.Verdict() {
		case quorum.Won:
			g.finish(c, OK)
		case quorum.Lost:
			g.lost(c, QuorumUnavailable, g.repair.Failures())
		}
		return
	}
	switch g.tally.Verdict() {
	case quorum.Won:
		g.won(c)
	case quorum.Lost:
		code := QuorumUnavailable
		if g.tally.Stale() {
			code = StaleReplica
		}
		g.lost(c, code, g.tally.Failures())
	}
}

// lost: too few stores answer a read planned like this. Was it refused for its plan's
// age, it is planned anew.
func (g *getOp) lost(c *Core, code Code, failed []quorum.Failure) {
	switch {
	case g.stalled:
	case refusedAsOld(failed):
		g.stalled = true
		c.stall(g, g.id, &g.plan)
	default:
		g.finish(c, code)
	}
}

// won: the replies are joined. Replicas that were behind get the join; a strict
// read waits until a write quorum has it.
func (g *getOp) won(c *Core) {
	if c.ring.Purge(g.plan.partition).Generation != g.round {
		// A reply from before the purge may show what was deleted, and one from behind it
		// has no tombstone to say so (E6).
		c.stats.Replans++
		g.replan(c)
		return
	}
	if g.strict && g.heard > c.ring.Version { // it tells whether that was so
		if !g.stalled {
			g.stalled = true
			c.wait(stalled{g.id, &g.plan, g.heard})
		}
		return
	}
	g.object = g.tally.Object()
	if g.plan.bucket.Conflict == hashring.LWW {
		g.object = c.reduce(g.object)
	}
	behind := g.tally.Behind(g.object)
	if len(behind) == 0 {
		g.finish(c, OK)
		return
	}
	c.stats.ReadRepairs += uint64(len(behind))
	if !g.strict || plant.Is(plant.NoWriteBack) {
		for _, s := range behind {
			g.repairOne(c, s, 0)
		}
		for i, role := range g.plan.roles { // those being built get every repair too
			if role == hashring.Building && c.reachable(g.plan.owners[i]) {
				g.repairOne(c, g.plan.owners[i], 0)
			}
		}
		g.finish(c, OK)
		return
	}
	n := len(g.plan.full)
	policy := quorum.Policy{N: n, Need: min(n, max(g.plan.write, g.plan.bucket.W))}
	g.repair = quorum.NewPut(policy, g.plan.owners, g.plan.roles, nil, c.reachable)
	for _, s := range g.tally.Abreast(g.object) {
		g.repair.Ack(s, hashring.SID{})
	}
	for _, s := range g.repair.Waiting() {
		g.repairOne(c, s, g.id)
	}
	g.settle(c)
}

// repairOne sends the joined object to one owner; id 0: nobody waits for the ack.
func (g *getOp) repairOne(c *Core, s hashring.SID, id uint64) {
	if s != c.cfg.Self {
		c.send(&Message{Kind: MsgWrite, To: s, ID: id, Partition: g.plan.partition, Bucket: g.plan.bucket.ID, Key: g.key, Hash: g.plan.hash, Object: g.object})
		return
	}
	seq, why := c.mergeRecord(g.plan.partition, g.plan.bucket, g.key, g.plan.hash, g.object)
	switch {
	case id == 0:
	case why != quorum.ReasonNone:
		g.repair.Fail(s, hashring.SID{}, why)
	case seq <= c.durable:
		g.repair.Ack(s, hashring.SID{})
	default:
		g.repairAt = seq
		c.awaitSync(seq, g.id)
	}
}

func (g *getOp) finish(c *Core, code Code) {
	delete(c.ops, g.id)
	if g.done == nil {
		c.answer(g.origin, g.reply(c, code))
		return
	}
	g.done(c, g, code)
}

// reply is the answer to a client's read.
func (g *getOp) reply(c *Core, code Code) *Reply {
	if code == OK {
		r := c.readReply(&g.plan, g.object)
		r.Receipt, r.Failed = g.tally.Receipt(), g.tally.Failures()
		return r
	}
	r := &Reply{Code: code, Partition: g.plan.partition, Receipt: g.tally.Receipt(), Failed: g.tally.Failures(), RetryAfter: retryAfter}
	switch code {
	case ReadTimeout:
		r.Detail = "not enough replicas had answered by the deadline"
	case StaleReplica:
		r.Detail = "no replica that answered has what Quorate-Read-After asks for"
	default:
		r.Detail = "too few replicas that may answer can be reached"
	}
	return r
}

// readReply shows an object to a reader at this moment.
func (c *Core) readReply(pl *plan, o *version.Object) *Reply {
	r := &Reply{Code: OK, Object: o, Partition: pl.partition}
	if !o.IsLive(c.now.WallMS) {
		r.Code, r.Detail = KeyNotFound, "the key does not exist"
	}
	if o != nil {
		r.Context = contextOf(pl, o.MaxHLC(), o.Context)
	}
	return r
}

// readThenDelete is a delete without a context: it covers what R owners hold, and
// writes nothing when all of them hold nothing. The node that the client asked does
// the reading, so that a forwarded write is always minted at once (late.go).
func (c *Core) readThenDelete(to origin, r *Request, pl plan) {
	policy, err := c.readPolicy(&pl, r)
	if err == nil {
		_, err = c.writePolicy(&pl, r)
	}
	if err != nil {
		c.impossible(to, r, &pl, err)
		return
	}
	deadline := c.deadlineOf(r)
	c.read(to, r, pl, policy, func(c *Core, g *getOp, code Code) {
		switch {
		case code != OK:
			reply := g.reply(c, code)
			reply.Outcome = NotApplied
			if code == ReadTimeout {
				reply.Code = QuorumUnavailable
			}
			c.answer(to, reply)
		case g.object == nil:
			reply := g.reply(c, OK)
			reply.Code, reply.Detail, reply.Outcome, reply.NothingWritten = OK, "", Applied, true
			reply.Context = contextOf(&pl, 0, nil) // a client that has seen nothing: a write with it takes away nothing either
			c.answer(to, reply)
		default:
			rest := *r
			// E9: the tombstone is newer than what it deletes.
			rest.HasContext, rest.ReadFirst, rest.Context = true, true, contextOf(&pl, g.object.MaxHLC(), g.object.Context)
			rest.Timeout = max(deadline-c.now.Mono, time.Millisecond)
			c.beginWrite(to, &rest, pl)
		}
	})
}
