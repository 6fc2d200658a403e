package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// Hints that go before their target has pulled them: the oldest of a book that is over
// its budget, and those of a target that is no owner any more. Each is first given to
// owners of now, as any write is, and goes once they have synced it: a hint may be the
// only copy of an acked write, when no owner could be reached, so dropping it with a
// mark alone would lose that write. What E3 asks for beside the mark costs a message
// to an owner that mostly has it already.
//
//	over the budget   to the other full owners; then dropped, and the target marked
//	orphaned          to all owners of now; then it is delivered
//
// Where one of them cannot be reached the hint stays. A book without room then refuses
// new hints, which fails nobody who was answered.
const (
	maxPushes   = 32 // hints on their way to owners at a time
	pushTimeout = 5 * time.Second
	moveAgain   = 30 * time.Second       // after a walk that left hints it should have moved
	sweepAgain  = 100 * time.Millisecond // after there was none to begin: not for every hint
)

// moveOp is a walk over one line.
type moveOp struct {
	antientropy.Place
	id      uint64
	sweep   bool
	picker  *antientropy.Picker
	rows    []Row // to be given away
	more    bool  // and there are others behind
	cursor  []byte
	open    int // on their way
	pushing bool
	failed  int   // of those that stay
	oldest  int64 // of the hints that stay
}

// sweep begins a walk where the book is over its budget, unless one is under way.
func (c *Core) sweep() {
	if c.moving != nil || c.now.Mono < c.moveAfter || c.ring == nil || !c.ring.HasRing() {
		return
	}
	s, ok := c.book.Sweep(c.now.WallMS, func(p uint32, target hashring.SID) bool {
		to := c.keepers(p, target)
		return len(to) > 0 && c.allReachable(to) || plant.Is(plant.SweptUnheld)
	})
	if !ok {
		c.moveAfter = c.now.Mono + sweepAgain
		return
	}
	c.move(&moveOp{Place: antientropy.Place{Partition: s.Partition, Target: s.Target}, sweep: true, picker: antientropy.NewPicker(s)})
}

// keepers are the full owners beside a target, who must have what is dropped.
func (c *Core) keepers(p uint32, target hashring.SID) (out []hashring.SID) {
	heir, _ := c.heir(p, target)
	for _, s := range c.ring.Full(p, len(c.ring.Partitions[p].Replicas)) {
		if s != target && s != heir {
			out = append(out, s)
		}
	}
	return out
}

// adopt takes care of a line whose target nobody follows: its mark is everybody's, its
// hints go to the owners of now.
func (c *Core) adopt(p uint32, l *antientropy.HintLine) {
	owners := c.serving(p, len(c.ring.Partitions[p].Replicas))
	if l.Dirty != 0 && len(owners) > 0 {
		c.inherit(p, l, owners)
	}
	if l.Hints > 0 && c.moving == nil && c.now.Mono >= c.moveAfter && len(owners) > 0 && c.allReachable(owners) {
		c.move(&moveOp{Place: antientropy.Place{Partition: p, Target: l.Target}})
	}
}

// serving are the first n owners that take writes.
func (c *Core) serving(p uint32, n int) (out []hashring.SID) {
	roles := c.ring.Roles(p, n)
	for i, s := range c.ring.Owners(p, n) {
		if roles[i] != hashring.Out {
			out = append(out, s)
		}
	}
	return out
}

func (c *Core) allReachable(stores []hashring.SID) bool {
	return !slices.ContainsFunc(stores, func(s hashring.SID) bool { return !c.reachable(s) })
}

func (c *Core) move(o *moveOp) {
	o.id = c.addOp(o)
	c.moving = o
	o.load(c)
}

// load reads the next slice. A sweep first sees the whole line, to find the oldest.
func (o *moveOp) load(c *Core) {
	if len(c.loads) >= MaxLoads {
		o.failed++
		o.end(c)
		return
	}
	c.pay(antientropy.ClassHandOff, pullCost, func() {
		c.load(Load{Kind: LoadHints, Partition: o.Partition, Target: o.Target, After: o.cursor, MaxRows: pullRows, MaxBytes: LoadSliceBytes}, o.loaded(c))
	})
}

func (o *moveOp) loaded(c *Core) func(l *Loaded) {
	return func(l *Loaded) {
		c.repair.pace.charge(antientropy.ClassHandOff, sizeOf(l.Rows)-pullCost)
		if o.more = l.More; len(l.Rows) > 0 {
			o.cursor = l.Rows[len(l.Rows)-1].Cursor
			l.Rows = c.soundHints(c.part(o.Partition), l.Rows)
		}
		switch {
		case l.Err != nil:
			o.failed++
			o.end(c)
		case o.sweep:
			o.pick(c, l.Rows)
		default:
			o.rows = l.Rows
			o.push(c)
		}
	}
}

func (o *moveOp) pick(c *Core, rows []Row) {
	for i := range rows {
		r := &rows[i]
		o.picker.Offer(antientropy.Hint{Bucket: r.Bucket, Key: r.Key, Gen: r.Gen, Size: uint64(r.Object.Size()), KeptMS: version.HLC(r.Gen).MS()})
	}
	if o.more {
		o.load(c)
		return
	}
	var drop []antientropy.Hint
	drop, o.oldest = o.picker.Picked()
	o.more, o.picker = false, nil
	for _, h := range drop {
		o.rows = append(o.rows, Row{Bucket: h.Bucket, Key: h.Key, Gen: h.Gen, Target: o.Target})
	}
	o.push(c)
}

// push gives away as many as may be on their way.
func (o *moveOp) push(c *Core) {
	if o.pushing {
		return // what ended at once
	}
	o.pushing = true
	for o.open < maxPushes && len(o.rows) > 0 {
		r := o.rows[0]
		o.rows = o.rows[1:]
		o.give(c, &r)
	}
	o.pushing = false
	switch {
	case o.open > 0:
	case o.more:
		o.load(c)
	default:
		o.end(c)
	}
}

// give sends one hint, as it is now, to those who must have it.
func (o *moveOp) give(c *Core, r *Row) {
	p := c.part(o.Partition)
	bucket, gone := c.bucketOf(r)
	if gone || plant.Is(plant.OrphansDropped) && !o.sweep || plant.Is(plant.SweptUnheld) && o.sweep {
		c.dropHint(p, r, o.sweep && !gone)
		return
	}
	object, gen, _, err := c.hint(p.id, r.Bucket, r.Key, r.Target)
	if err != nil || bucket == nil {
		o.stays(r)
		return
	}
	if object == nil || gen != r.Gen {
		return // pulled since, or younger now
	}
	to := c.serving(p.id, c.ring.N(bucket, p.id))
	if o.sweep {
		full := c.keepers(p.id, o.Target)
		to = slices.DeleteFunc(to, func(s hashring.SID) bool { return !slices.Contains(full, s) })
	}
	if len(to) == 0 {
		o.stays(r)
		return
	}
	c.repair.pace.charge(antientropy.ClassHandOff, int64(len(to))*sizeOf([]Row{{Key: r.Key, Object: object}}))
	h := &pushOp{by: o, row: *r, wait: to}
	h.id = c.addOp(h)
	o.open++
	c.timers.add(c.now.Mono+pushTimeout, h.id, timerDeadline)
	hash := hashring.Hash(bucket.Name, r.Key)
	for _, s := range slices.Clone(to) {
		if s != c.cfg.Self {
			c.send(&Message{Kind: MsgWrite, To: s, ID: h.id, Partition: p.id, Bucket: bucket.ID, Key: r.Key, Hash: hash, Object: object})
			continue
		}
		seq, why := c.mergeRecord(p.id, bucket, r.Key, hash, object)
		if why != quorum.ReasonNone {
			h.fails(c)
			return
		}
		h.seq = seq
		c.awaitSync(seq, h.id)
	}
}

// stays: the hint could not be moved.
func (o *moveOp) stays(r *Row) {
	o.failed++
	if at := version.HLC(r.Gen).MS(); o.oldest == 0 || at < o.oldest {
		o.oldest = at
	}
}

func (o *moveOp) end(c *Core) {
	delete(c.ops, o.id)
	c.moving = nil
	if o.failed > 0 {
		c.moveAfter = c.now.Mono + moveAgain
	}
	if o.sweep {
		if o.picker != nil {
			o.oldest = 0
		}
		c.book.Swept(o.Partition, o.Target, o.oldest)
	}
	c.sweep()
}

func (o *moveOp) onMessage(*Core, *Message)  {}
func (o *moveOp) onTimer(*Core, timerKind)   {}
func (o *moveOp) onDown(*Core, hashring.SID) {}
func (o *moveOp) onDurable(*Core)            {}

// pushOp is one hint on its way to owners.
type pushOp struct {
	id   uint64
	by   *moveOp
	row  Row
	wait []hashring.SID // who have not synced it
	seq  uint64         // of the own copy
}

func (h *pushOp) onMessage(c *Core, m *Message) {
	switch {
	case m.Kind != MsgWriteAck || !slices.Contains(h.wait, m.From):
	case m.Reason != quorum.ReasonNone:
		h.fails(c)
	default:
		h.has(c, m.From)
	}
}

func (h *pushOp) has(c *Core, store hashring.SID) {
	if h.wait = slices.DeleteFunc(h.wait, func(s hashring.SID) bool { return s == store }); len(h.wait) > 0 {
		return
	}
	if c.dropHint(c.part(h.by.Partition), &h.row, h.by.sweep) && !h.by.sweep {
		c.stats.HintsMoved++
	}
	h.end(c)
}

func (h *pushOp) fails(c *Core) {
	h.by.stays(&h.row)
	h.end(c)
}

func (h *pushOp) end(c *Core) {
	delete(c.ops, h.id)
	h.by.open--
	h.by.push(c)
}

func (h *pushOp) onTimer(c *Core, _ timerKind) { h.fails(c) }

func (h *pushOp) onDown(c *Core, store hashring.SID) {
	if slices.Contains(h.wait, store) {
		h.fails(c)
	}
}

func (h *pushOp) onDurable(c *Core) {
	if h.seq <= c.durable {
		h.has(c, c.cfg.Self)
	}
}
