package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

// forward sends the request to a store.
func (o *strongOp) forward(c *Core, to hashring.SID) {
	o.enlist(c)
	c.stats.Forwards++
	r := *o.req
	if r.Hops, r.Level = r.Hops+1, o.level; plant.Is(plant.StrongIDDropped) {
		r.StrongID = strong.RequestID{}
	}
	if r.Level == LevelLease && c.ring.Feature < hashring.FeatureLease {
		r.Level = LevelLeader // which is the same without a lease
	}
	left := o.deadline - c.now.Mono
	id := c.addOp(o)
	o.copies = append(o.copies, strongCopy{id, to, c.now.Mono})
	c.send(&Message{Kind: MsgForward, To: to, ID: id, Partition: o.sp.id, Request: &r, Timeout: left - min(left/8, strongMargin)})
	if o.repeatable() {
		c.timers.add(c.now.Mono+strongAgain, o.id, timerLate)
	}
}

// idle tells that the request may be sent, again if it acts once: nobody has it, or who
// has it is silent or the primary no more.
func (o *strongOp) idle(c *Core) bool {
	if o.waits() {
		return true
	}
	n := len(o.copies)
	return o.repeatable() && !o.here && o.q == nil && n < strongCopies &&
		(c.now.Mono >= o.copies[n-1].sent+strongAgain || o.primarys() && o.strays(c))
}

// strongKick tries what waits for the partition: its configuration or this store's role
// has changed.
func (c *Core) strongKick(sp *strongPart) {
	if len(sp.ops) == 0 {
		return
	}
	for _, o := range append([]*strongOp(nil), sp.ops...) {
		if o.id == 0 {
			continue
		}
		o.tries = 0
		switch {
		case o.waits():
			o.try(c)
		case o.q != nil:
			o.askAnew(c)
		case o.primarys() && !o.here && o.strays(c):
			o.changed(c)
		}
	}
}

// strays tells that no copy is where the primary is now.
func (o *strongOp) strays(c *Core) bool {
	primary := c.ring.Partitions[o.sp.id].Primary
	for i := range o.copies {
		if o.copies[i].to == primary {
			return false
		}
	}
	return true
}

// changed: the store that a copy was sent to is the primary no more. It may have been
// carried out there, so only what acts once is sent to the next one; for the rest a last
// word is waited for.
func (o *strongOp) changed(c *Core) {
	if o.repeatable() {
		o.maybe = o.maybe || o.req.isWrite()
		o.try(c)
		return
	}
	c.timers.add(c.now.Mono+strongLastWord, o.id, timerOver)
}

// strongLastWord is how long a deposed primary has to say what has become of a write.
const strongLastWord = 300 * time.Millisecond

func (o *strongOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgForwarded || !o.take(c, m.ID, m.From) {
		return
	}
	if m.Reply == nil || former(m, o.bucket) { // nothing has happened there
		if o.level == LevelReplica || o.level == LevelStale {
			o.declined(c, m.Reason)
			return
		}
		if o.waits() {
			o.wait(c)
		}
		return
	}
	m.Reply.ServedBy = m.From
	o.answered(c, m.Reply)
}

// declined: a replica cannot prove itself, so the primary is asked; or it is none, so
// another one is.
func (o *strongOp) declined(c *Core, why quorum.Reason) {
	if o.level == LevelReplica && why == quorum.ReasonStarting {
		o.level = LevelLeader
	}
	if o.tries++; o.tries > len(c.ring.StrongMembers(o.sp.id)) {
		o.wait(c)
		return
	}
	o.try(c)
}

// take removes the copy that an answer is for; false: there is none.
func (o *strongOp) take(c *Core, id uint64, from hashring.SID) bool {
	for i := range o.copies {
		if o.copies[i].id == id && o.copies[i].to == from {
			delete(c.ops, id)
			o.copies = append(o.copies[:i], o.copies[i+1:]...)
			return true
		}
	}
	return false
}

// onDown: what was sent over the lost connection may have been taken.
func (o *strongOp) onDown(c *Core, store hashring.SID) {
	lost := false
	for i := 0; i < len(o.copies); {
		if f := o.copies[i]; f.to == store {
			o.take(c, f.id, store)
			lost = true
			continue
		}
		i++
	}
	if !lost {
		return
	}
	o.maybe = o.maybe || o.req.isWrite()
	switch {
	case len(o.copies) > 0:
	case o.repeatable():
		o.wait(c)
	default:
		o.end(c, &Reply{Code: PrimaryChanged, Outcome: Unknown, Detail: "the connection to the primary was lost before its answer"})
	}
}

func (o *strongOp) onTimer(c *Core, k timerKind) {
	switch {
	case k == timerDeadline && o.here: // a replica keeps the deadline of what it has
	case k == timerDeadline:
		o.end(c, o.late())
	case k == timerHedge && o.q != nil:
		o.stepRead(c)
	case (k == timerRetry || k == timerLate) && o.idle(c):
		o.maybe = o.maybe || len(o.copies) > 0 && o.req.isWrite()
		o.try(c)
	case k == timerOver && o.primarys() && !o.here && o.strays(c):
		o.end(c, &Reply{Code: PrimaryChanged, Outcome: Unknown, Detail: "another store became the primary before the write was answered"})
	}
}

// strongDownFor is how long a store whose connection was lost, and of which nothing was
// heard since, gets no write that must not be sent twice: as long as it takes until
// another one is the primary, mostly. Sent there and lost, its fate would be unknown.
const strongDownFor = 3 * time.Second

// strongCopies bounds the unanswered copies of a request: more of them help nobody.
const strongCopies = 8

func (o *strongOp) onDurable(*Core) {}
