package core

import (
	"bytes"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// A listing merges the partitions of a bucket into one ordered page. Keys are
// spread by hash, so every partition may hold the next key: one full owner of each is
// asked for a slice (R=1), slices are merged, and a partition whose slice runs out
// before the page is full is asked again. The partition is the unit of everything
// else here, so it is the unit of listing too; frames are coalesced, so asking by
// partition costs little more than asking by node.

// scanAfter is when a silent owner is given up for the next one.
const scanAfter = 700 * time.Millisecond

type listOp struct {
	id       uint64
	origin   origin
	req      *Request
	bucket   *hashring.Bucket
	parts    []listPart
	open     int // slices asked for and not here
	rows     []ListRow
	complete bool
	slice    int
}

type listPart struct {
	owners []hashring.SID // not tried
	from   hashring.SID   // asked now; zero: not waiting
	since  time.Duration
	rows   []Row
	cursor []byte
	more   bool
}

func (c *Core) startList(to origin, r *Request, bucket *hashring.Bucket) {
	o := &listOp{origin: to, req: r, bucket: bucket, complete: true}
	n := len(c.ring.Partitions)
	o.parts = make([]listPart, n)
	o.slice = max(8, 2*r.List.Limit/n+1)
	o.id = c.addOp(o)
	c.timers.add(c.deadlineOf(r), o.id, timerDeadline)
	c.timers.add(c.now.Mono+scanAfter, o.id, timerLate)
	for i := range o.parts {
		p := &o.parts[i]
		if bucket.Mode == hashring.Strong {
			p.owners = c.strongOwners(uint32(i))
		} else {
			p.owners = c.listOrder(c.ring.Full(uint32(i), c.ring.N(bucket, uint32(i))))
		}
		p.cursor, p.more = r.List.After, true
		o.ask(c, i)
	}
	o.settle(c)
}

// listOrder is this store first if it owns the partition, else the list's order.
func (c *Core) listOrder(owners []hashring.SID) []hashring.SID {
	out := make([]hashring.SID, 0, len(owners))
	for _, s := range owners {
		if s == c.cfg.Self {
			out = append(out, s)
		}
	}
	for _, s := range owners {
		if s != c.cfg.Self {
			out = append(out, s)
		}
	}
	return out
}

// ask sends for the partition's next slice; with no owner left the page says that
// it is incomplete.
func (o *listOp) ask(c *Core, i int) {
	p := &o.parts[i]
	if p.from.IsZero() {
		o.open++
	}
	for len(p.owners) > 0 && !c.reachable(p.owners[0]) {
		p.owners = p.owners[1:]
	}
	if len(p.owners) == 0 {
		p.from, p.more, o.complete = hashring.SID{}, false, false
		o.open--
		return
	}
	p.from, p.since = p.owners[0], c.now.Mono
	l := &o.req.List
	c.send(&Message{Kind: MsgScan, To: p.from, ID: o.id, Partition: uint32(i), Bucket: o.bucket.ID, Prefix: l.Prefix, Key: l.Start,
		Cursor: p.cursor, Limit: uint32(o.slice), Values: l.Values})
}

// onScan (owner): one slice of the partition's live keys.
func (c *Core) onScan(m *Message) {
	reply := &Message{Kind: MsgScanReply, To: m.From, ID: m.ID, Partition: m.Partition}
	if b, ok := c.ring.BucketByID(m.Bucket); ok && b.Mode == hashring.Strong {
		c.onStrongScan(m, reply)
		return
	}
	bucket, why := c.admit(m)
	if why == quorum.ReasonNone {
		why = c.answers(m.Partition, bucket)
	}
	switch {
	case why != quorum.ReasonNone:
	case len(c.loads) >= MaxLoads:
		why = quorum.ReasonOverloaded
	}
	if why != quorum.ReasonNone {
		reply.Reason = why
		c.send(reply)
		return
	}
	l := Load{Kind: LoadRecords, Partition: m.Partition, Bucket: bucket.ID, Prefix: m.Prefix, Start: m.Key, After: m.Cursor,
		MaxRows: int(min(m.Limit, MaxListLimit)), MaxBytes: LoadSliceBytes, Brief: !m.Values}
	c.load(l, func(l *Loaded) {
		if l.Err != nil {
			reply.Reason = quorum.ReasonCorrupt
			c.send(reply)
			return
		}
		if n := len(l.Rows); n > 0 {
			reply.Cursor = l.Rows[n-1].Key
		}
		for _, row := range l.Rows {
			if row.Object.IsLive(c.now.WallMS) {
				reply.Rows = append(reply.Rows, row)
			}
		}
		reply.More = l.More
		c.send(reply)
	})
}

func (o *listOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgScanReply || int(m.Partition) >= len(o.parts) {
		return
	}
	p := &o.parts[m.Partition]
	if p.from != m.From {
		return
	}
	if m.Reason != quorum.ReasonNone {
		o.retry(c, int(m.Partition))
		o.settle(c)
		return
	}
	p.from = hashring.SID{}
	o.open--
	p.rows, p.more = m.Rows, m.More
	if len(m.Cursor) > 0 {
		p.cursor = m.Cursor
	}
	o.settle(c)
}

// retry goes on with the partition's next owner, from the same cursor.
func (o *listOp) retry(c *Core, i int) {
	o.parts[i].owners = o.parts[i].owners[1:]
	o.ask(c, i)
}

// settle merges while every partition that may have more has something to offer.
func (o *listOp) settle(c *Core) {
	for o.open == 0 {
		short := false
		for i := range o.parts {
			if p := &o.parts[i]; len(p.rows) == 0 && p.more {
				o.ask(c, i)
				short = true
			}
		}
		if short {
			continue // asked again, or found that nobody can answer
		}
		if o.merge() {
			o.finish(c)
			return
		}
	}
}

// merge takes the least keys until the page is full (true), until a partition that
// may have more runs dry (false), or until there is nothing left (true).
func (o *listOp) merge() bool {
	for len(o.rows) < o.req.List.Limit {
		least := -1
		for i := range o.parts {
			p := &o.parts[i]
			switch {
			case len(p.rows) == 0 && p.more:
				return false
			case len(p.rows) > 0 && (least < 0 || bytes.Compare(p.rows[0].Key, o.parts[least].rows[0].Key) < 0):
				least = i
			}
		}
		if least < 0 {
			return true
		}
		row := o.parts[least].rows[0]
		o.parts[least].rows = o.parts[least].rows[1:]
		o.rows = append(o.rows, ListRow{Key: row.Key, Object: row.Object, Strong: row.Strong})
	}
	return true
}

func (o *listOp) finish(c *Core) {
	delete(c.ops, o.id)
	page := &ListPage{Rows: o.rows, Complete: o.complete}
	for i := range o.parts {
		if (len(o.parts[i].rows) > 0 || o.parts[i].more) && len(o.rows) > 0 {
			page.Next = o.rows[len(o.rows)-1].Key
		}
	}
	c.answer(o.origin, &Reply{List: page, Receipt: quorum.Receipt{N: len(o.parts), Need: 1, Acks: 1, Owners: 1}})
}

func (o *listOp) onDown(c *Core, s hashring.SID) {
	for i := range o.parts {
		if o.parts[i].from == s {
			o.retry(c, i)
		}
	}
	o.settle(c)
}

func (o *listOp) onTimer(c *Core, k timerKind) {
	if k == timerDeadline {
		delete(c.ops, o.id)
		c.answer(o.origin, &Reply{Code: ReadTimeout, Detail: "not every partition had answered by the deadline"})
		return
	}
	c.timers.add(c.now.Mono+scanAfter, o.id, timerLate)
	for i := range o.parts {
		if p := &o.parts[i]; !p.from.IsZero() && c.now.Mono >= p.since+scanAfter {
			o.retry(c, i)
		}
	}
	o.settle(c)
}

func (o *listOp) onDurable(*Core) {}
