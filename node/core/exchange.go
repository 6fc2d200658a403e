package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// lead is an exchange that this shard leads.
type lead struct {
	id      uint64
	pair    antientropy.Pair
	x       *antientropy.Exchange
	tree    *antientropy.Tree
	class   antientropy.Class
	wake    time.Duration // of the timer that is set
	sending bool          // a request waits for the pacer
	over    bool
}

// leadNext begins the exchanges that the schedule names.
func (c *Core) leadNext() {
	r := &c.repair
	for {
		due, ok := r.sched.Next(c.now.Mono)
		if !ok {
			return
		}
		c.lead(due)
	}
}

func (c *Core) lead(due antientropy.Due) {
	r := &c.repair
	tree := c.part(due.Partition).treeOf(due.N)
	if tree == nil || !tree.Known() {
		c.ended(due.Pair, antientropy.Result{Reason: antientropy.ReasonRebuilding, Resume: due.Resume})
		return
	}
	c.lastOp++
	l := &lead{id: uint64(c.cfg.Shard)<<56 | c.lastOp, pair: due.Pair, tree: tree, class: antientropy.ClassExchange}
	if role, _ := c.ring.Role(due.Partition, due.Peer); role == hashring.Building {
		l.class = antientropy.ClassRefill
	}
	at := &c.ring.Partitions[due.Partition]
	cfg := antientropy.Config{Exchange: l.id, Epoch: at.PlanEpoch(), Generation: c.ring.Purge(due.Partition).Generation, Thorough: due.Thorough, Resume: due.Resume}
	x, do := antientropy.Start(cfg, tree, c.now.Mono)
	l.x = x
	r.leads = append(r.leads, l)
	r.stats.Led++
	c.carry(l, do)
}

// carry does what an exchange wants done.
func (c *Core) carry(l *lead, do antientropy.Do) {
	if l.over {
		return
	}
	if do.Wake != 0 && (l.wake == 0 || do.Wake < l.wake) {
		l.wake = do.Wake
		c.timers.add(do.Wake, l.id, timerExchange)
	}
	alive := func() bool { return !l.over }
	switch {
	case do.Done != nil:
		c.endLead(l, do)
	case do.Load != nil:
		c.exchangeLoad(l.pair, l.class, do.Load, alive, func(in *antientropy.Loaded) { c.carry(l, l.x.Loaded(c.now.Mono, in)) })
	case do.Apply != nil:
		c.exchangeApply(l.pair, l.class, do.Apply, alive, func(why antientropy.Reason) { c.carry(l, l.x.Applied(c.now.Mono, why)) })
	case do.Send != nil && !l.sending:
		l.sending = true
		c.pay(l.class, int64(do.Send.Size()), func() {
			if l.sending = false; !l.over {
				c.sendExchange(l.pair, do.Send)
			}
		})
	}
}

// endLead: the result counts once all it speaks of is durable here; at the other end
// it is.
func (c *Core) endLead(l *lead, do antientropy.Do) {
	r := &c.repair
	l.over = true
	r.leads = slices.DeleteFunc(r.leads, func(o *lead) bool { return o == l })
	if do.Send != nil {
		c.sendExchange(l.pair, do.Send)
	}
	result := *do.Done
	if plant.Is(plant.ExchangeCutCounts) {
		result.Reason, result.Complete = antientropy.ReasonNone, true
	}
	r.stats.count(&result)
	c.whenDurable(c.lastSeq, func() { c.ended(l.pair, result) })
}

func (c *Core) ended(pair antientropy.Pair, result antientropy.Result) {
	c.repair.sched.End(c.now.Mono, pair, result)
	c.repair.due = true
	c.exchangesEnded(pair.Partition)
}

// leadChanged ends an exchange that began under another epoch or purge generation, or
// with a tree that is not used any more.
func (c *Core) leadChanged(l *lead) {
	switch {
	case int(l.pair.Partition) >= len(c.ring.Partitions):
	case c.part(l.pair.Partition).treeOf(l.pair.N) != l.tree:
		c.carry(l, l.x.Stop(antientropy.ReasonRebuilding))
	default:
		c.carry(l, l.x.Changed(c.ring.Partitions[l.pair.Partition].PlanEpoch(), c.ring.Purge(l.pair.Partition).Generation))
	}
}

// sendExchange: what is said of this replica, digests too, is durable here before it
// leaves. Else two replicas might agree on what one of them then loses.
func (c *Core) sendExchange(pair antientropy.Pair, m *antientropy.Message) {
	c.repair.stats.OutBytes += m.Size()
	seq := c.lastSeq
	if plant.Is(plant.ExchangeBeforeSync) {
		seq = 0
	}
	c.sendAfter(seq, &Message{Kind: MsgExchange, To: pair.Peer, Partition: pair.Partition, N: uint8(pair.N), ID: m.Exchange, Exchange: m})
}

// onExchange takes a message of the other end of an exchange, led here or there.
func (c *Core) onExchange(m *Message) {
	x := m.Exchange
	pair := antientropy.Pair{Partition: m.Partition, N: int(m.N), Peer: m.From}
	c.repair.stats.InBytes += x.Size()
	known, sound := c.nameRows(pair, x.Rows)
	if !x.Kind.IsReply() {
		c.serveRequest(pair, x, known, sound)
		return
	}
	for _, l := range c.repair.leads {
		if l.id != x.Exchange || l.pair != pair {
			continue
		}
		switch {
		case !sound:
			c.carry(l, l.x.Stop(antientropy.ReasonGarbled))
		case !known:
			c.carry(l, l.x.Stop(antientropy.ReasonEpoch))
		default:
			c.carry(l, l.x.Receive(c.now.Mono, x))
			c.repair.sched.Progress(pair, l.x.Estimate())
		}
		return
	}
}

// nameRows gives the rows of a message their placement hashes. known: all their buckets
// are; sound: they belong to the pair's tree.
func (c *Core) nameRows(pair antientropy.Pair, rows []antientropy.Row) (known, sound bool) {
	known, sound = true, true
	for i := range rows {
		r := &rows[i]
		bucket, ok := c.ring.BucketByID(r.Bucket)
		if !ok {
			known = false
			continue
		}
		r.Hash = hashring.Hash(bucket.Name, r.Key)
		sound = sound && bucket.N == pair.N && c.ring.PartitionOf(r.Hash) == pair.Partition
	}
	return known, sound
}
