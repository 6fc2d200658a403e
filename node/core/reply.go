package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// origin is who waits for a request: a client of this node, or a node that
// forwarded it.
type origin struct {
	from   hashring.SID // zero: a client here
	id     uint64
	waiter any
	// maybe: an owner that the request was forwarded to before may have applied it,
	// so nobody may say not_applied any more.
	maybe bool
	began time.Duration // of a client here, when its time counts for the pacer; else 0
}

// answer sends a reply to where the request came from. Everything in it must be
// durable by now.
func (c *Core) answer(to origin, r *Reply) {
	if to.maybe && r.Outcome == NotApplied && !plant.Is(plant.NotAppliedForgets) {
		r.Outcome = Unknown
		if r.Code == QuorumUnavailable {
			r.Code = ReplicaFailure
		}
	}
	if c.ring != nil {
		r.RingVersion = c.ring.Version
		if int(r.Partition) < len(c.ring.Partitions) {
			c.replyEpoch(r)
		}
	}
	if r.ServedBy.IsZero() {
		r.ServedBy = c.cfg.Self
	}
	if to.from.IsZero() {
		if to.began != 0 {
			c.repair.pace.took.add(c.now.Mono - to.began)
		}
		c.ready.Now = append(c.ready.Now, Out{Reply: r, Waiter: to.waiter})
		return
	}
	c.send(&Message{Kind: MsgForwarded, To: to.from, ID: to.id, Partition: r.Partition, Reply: r, Echo: c.echo()})
}

// decline tells a forwarding node that nothing happened here and why, so that it
// can go on to the next owner.
func (c *Core) decline(to origin, p uint32, why quorum.Reason) {
	c.send(&Message{Kind: MsgForwarded, To: to.from, ID: to.id, Partition: p, Reason: why, Echo: c.echo()})
}

// send queues a message that depends on nothing that is not durable.
func (c *Core) send(m *Message) { c.sendAfter(0, m) }

// sendAfter queues a message that reveals batch seq.
func (c *Core) sendAfter(seq uint64, m *Message) {
	if c.ring != nil {
		m.RingVersion = c.ring.Version
		if int(m.Partition) < len(c.ring.Partitions) {
			m.Epoch = c.ring.Partitions[m.Partition].PlanEpoch()
		}
	}
	if seq <= c.durable {
		c.ready.Now = append(c.ready.Now, Out{Message: m})
		return
	}
	c.ready.AfterSync = append(c.ready.AfterSync, Gated{Seq: seq, Out: Out{Message: m}})
}

// refuse answers a request that has changed nothing.
func (c *Core) refuse(to origin, r *Request, p uint32, code Code, detail string) {
	c.stats.Refused++
	c.answer(to, refusal(r, p, code, detail))
}

func refusal(r *Request, p uint32, code Code, detail string) *Reply {
	reply := &Reply{Code: code, Detail: detail, Partition: p}
	if r.isWrite() {
		reply.Outcome = NotApplied
	}
	switch code {
	case Overloaded, QuorumUnavailable, Starting, Draining, ClockSkew, PrimaryUnavailable:
		reply.RetryAfter = retryAfter
	}
	return reply
}

// retryAfter is what clients are told to wait: about as long as suspicion lasts.
const retryAfter = time.Second

func contextOf(pl *plan, h version.HLC, seen version.Vector) version.Context {
	return version.Context{Bucket: uint64(pl.bucket.ID), KeyHash: pl.hash, HLC: h, Seen: seen}
}

// replyEpoch is what the ring has now; what a strong partition's store has said of its
// own epoch stays.
func (c *Core) replyEpoch(r *Reply) {
	p := &c.ring.Partitions[r.Partition]
	switch {
	case r.Strong == nil:
		r.Epoch = p.Epoch
	case r.Epoch == 0 && p.Strong != nil:
		r.Epoch = p.Strong.Epoch
	}
}
