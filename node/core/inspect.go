package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// inspectAfter is how long a silent store is waited for.
const inspectAfter = time.Second

// inspectOp asks every owner and every possible stand-in what it has of a key. It
// repairs nothing.
type inspectOp struct {
	id      uint64
	origin  origin
	plan    plan
	rows    []InspectRow
	objects []*version.Object
	open    []bool
	own     *version.Object // staged here, shown once it is durable
}

func (c *Core) startInspect(to origin, r *Request, pl plan) {
	o := &inspectOp{origin: to, plan: pl}
	o.id = c.addOp(o)
	stores := append(append([]hashring.SID{}, pl.owners...), c.ring.Fallbacks(pl.partition, len(pl.owners))...)
	for i, s := range stores {
		o.rows = append(o.rows, InspectRow{Store: s, Fallback: i >= len(pl.owners), State: Unreachable})
		o.objects = append(o.objects, nil)
		o.open = append(o.open, true)
	}
	c.timers.add(min(c.deadlineOf(r), c.now.Mono+inspectAfter), o.id, timerDeadline)
	for i, s := range stores {
		switch {
		case i < len(pl.roles) && pl.roles[i] == hashring.Out:
			o.set(i, nil, quorum.ReasonSuspect)
		case s == c.cfg.Self:
			obj, seq, why := c.replicaRead(pl.partition, pl.bucket, r.Key, o.rows[i].Fallback)
			if seq > c.durable {
				o.own = obj
				c.awaitSync(seq, o.id)
			} else {
				o.set(i, obj, why)
			}
		case c.reachable(s):
			c.send(&Message{Kind: MsgRead, To: s, ID: o.id, Partition: pl.partition, Bucket: pl.bucket.ID, Key: r.Key, Hash: pl.hash, Fallback: o.rows[i].Fallback})
		default:
			o.open[i] = false
		}
	}
	o.settle(c)
}

func (o *inspectOp) set(i int, obj *version.Object, why quorum.Reason) {
	row := &o.rows[i]
	o.objects[i], o.open[i] = obj, false
	switch {
	case why == quorum.ReasonCorrupt, why == quorum.ReasonSuspect:
		row.State = Suspect
	case why == quorum.ReasonBuilding:
		row.State = Building
	case why != quorum.ReasonNone:
		row.State = Unreachable
	case obj == nil:
		row.State = Absent
	default:
		row.State = Present
		if onlyTombstones(obj) {
			row.State = TombstoneState
		}
		row.Hash, row.HLC = obj.Hash(), obj.MaxHLC()
		for j := range obj.Siblings {
			row.Dots = append(row.Dots, obj.Siblings[j].Dot)
			row.Size += len(obj.Siblings[j].Value)
		}
	}
}

func (o *inspectOp) find(s hashring.SID) int {
	for i := range o.rows {
		if o.rows[i].Store == s {
			return i
		}
	}
	return -1
}

func (o *inspectOp) onMessage(c *Core, m *Message) {
	if i := o.find(m.From); i >= 0 && m.Kind == MsgReadReply && o.open[i] {
		o.set(i, m.Object, m.Reason)
		o.settle(c)
	}
}

func (o *inspectOp) onDown(c *Core, s hashring.SID) {
	if i := o.find(s); i >= 0 && o.open[i] {
		o.open[i] = false
		o.settle(c)
	}
}

func (o *inspectOp) onDurable(c *Core) {
	if i := o.find(c.cfg.Self); i >= 0 {
		o.set(i, o.own, quorum.ReasonNone)
	}
	o.settle(c)
}

func (o *inspectOp) onTimer(c *Core, _ timerKind) { o.finish(c) }

func (o *inspectOp) settle(c *Core) {
	for _, open := range o.open {
		if open {
			return
		}
	}
	o.finish(c)
}

// finish compares every owner with the join of the full owners that answered. Stand-ins
// that hold nothing are left out.
func (o *inspectOp) finish(c *Core) {
	if c.ops[o.id] == nil {
		return
	}
	delete(c.ops, o.id)
	var all *version.Object
	for i := range o.rows {
		if !o.rows[i].Fallback {
			all = version.Join(all, o.objects[i])
		}
	}
	if o.plan.bucket.Conflict == hashring.LWW {
		all, _ = version.ReduceLWW(all)
	}
	rows := make([]InspectRow, 0, len(o.rows))
	for _, row := range o.rows {
		answered := row.State == Present || row.State == TombstoneState || row.State == Absent
		row.InSync = answered && row.Hash == all.Hash()
		if !row.Fallback || row.State == Present || row.State == TombstoneState {
			rows = append(rows, row)
		}
	}
	c.answer(o.origin, &Reply{Partition: o.plan.partition, Inspect: rows})
}
