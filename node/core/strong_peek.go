package core

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A quorum read is run by the shard of the partition at the node that was asked; its
// questions go to the members as any of their messages do, to this store's own replica
// too, and the answers come back by their ids.

// peeker waits for the answer to a question of that id.
type peeker interface {
	peeked(c *Core, from hashring.SID, m *strong.Message)
}

// newPeek is a number that no life of this store has used for a question before.
func (c *Core) newPeek(p peeker) uint64 {
	s := &c.strong
	s.lastPeek++
	s.peeks[s.lastPeek] = p
	return s.lastPeek
}

func (c *Core) strongPeeked(from hashring.SID, m *strong.Message) {
	if p := c.strong.peeks[m.ID]; p != nil {
		p.peeked(c, from, m)
	}
}

// ask begins the read under the configuration of now.
func (o *strongOp) ask(c *Core) {
	o.enlist(c)
	cfg, _ := strong.ConfigOf(&c.ring.Partitions[o.sp.id])
	read := strong.Read{Bucket: o.bucket, Key: o.req.Key, Deadline: o.deadline}
	o.q = strong.NewQuorumRead(cfg, read, c.cfg.Strong, func() uint64 {
		c.forgetPeeks(o)
		o.peek = c.newPeek(o)
		return o.peek
	})
	o.stepRead(c)
}

// askAnew begins again: the configuration has changed.
func (o *strongOp) askAnew(c *Core) {
	c.forgetPeeks(o)
	o.ask(c)
}

func (c *Core) forgetPeeks(o *strongOp) {
	delete(c.strong.peeks, o.peek)
	o.peek = 0
}

func (o *strongOp) peeked(c *Core, from hashring.SID, m *strong.Message) {
	if o.q != nil {
		o.q.Receive(from, m)
		o.stepRead(c)
	}
}

// stepRead lets the read draw its conclusions.
func (o *strongOp) stepRead(c *Core) {
	out := o.q.Step(c.now.Mono)
	switch {
	case out.WantRing != 0:
		c.forgetPeeks(o)
		o.q = nil
		c.want(c.ring.Version+1, hashring.SID{})
		o.wait(c)
		return
	case out.Reply != nil && out.Reply.Code == strong.Redirect:
		c.forgetPeeks(o)
		o.q, o.level = nil, LevelLeader
		o.try(c)
		return
	case out.Reply != nil:
		c.forgetPeeks(o)
		o.q = nil
		o.end(c, o.outcome(out.Reply))
		return
	}
	c.strongSend(o.sp.id, out.Sends)
	if o.q != nil && out.Wake != 0 && (o.wake <= c.now.Mono || out.Wake < o.wake) {
		o.wake = out.Wake
		c.timers.add(out.Wake, o.id, timerHedge)
	}
}
