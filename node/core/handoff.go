package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
)

// Hinted hand-off (E3). The holder tells a target that is back that there is
// something; the target pulls slices at its own pace, merges and syncs them, and
// only then tells the holder which generations to drop.
const (
	tickEvery   = time.Second
	maxPulls    = 4    // slices on their way to a shard at a time
	maxNoticed  = 1024 // pulls that wait for one of them to end; more are asked for again
	pullRows    = 128  // hints a slice
	pullTimeout = 5 * time.Second
	pullCost    = 16 << 10 // bytes asked of the pacer before a slice is there; then what it is
	// hintCost in bytes is added for each hint: merging, syncing and dropping a small one
	// is as much work as reading and shipping so many bytes.
	hintCost = 1 << 10
)

// tick is the shard's own timer: notices to targets that are back, parked messages
// that have waited long enough, what the hint book asks for.
func (c *Core) tick() {
	c.timers.add(c.now.Mono+tickEvery, 0, 0)
	c.expireParked()
	c.repairTick()
	for _, id := range c.book.Partitions() {
		for _, l := range c.book.Lines(id) {
			c.offer(id, &l)
		}
	}
	c.purgeTick()
	c.sweep()
	c.makeUp()
}

// offer tells the target of a line, or who stands in its place now, of the hints and
// of the mark.
func (c *Core) offer(p uint32, l *antientropy.HintLine) {
	heir, ok := c.heir(p, l.Target)
	switch {
	case !ok:
		c.adopt(p, l)
		return
	case l.Dirty != 0 && heir != l.Target:
		c.inherit(p, l, []hashring.SID{heir})
	case l.Dirty != 0:
		c.tellMark(p, l)
	}
	if role, _ := c.ring.Role(p, heir); l.Hints > 0 && role != hashring.Out && c.reachable(heir) {
		c.send(&Message{Kind: MsgHintNotice, To: heir, Partition: p})
	}
}

// heir is the owner of now that a target's hints are for: the target itself, or the
// store that stands in its place. False: nobody owns the partition in its place.
func (c *Core) heir(p uint32, target hashring.SID) (hashring.SID, bool) {
	heir, ok := c.targetNow(target)
	if !ok {
		return hashring.SID{}, false
	}
	_, owns := c.ring.Role(p, heir)
	return heir, owns
}

// pullKey names a partition's hints, or mark, at one holder.
type pullKey struct {
	partition uint32
	holder    hashring.SID
}

// pullOp is one partition's hints on their way from one holder to this store.
type pullOp struct {
	pullKey
	id    uint64
	since time.Duration
	waits bool // for the pacer
}

func (c *Core) onHintNotice(m *Message) {
	if !c.confirmed || c.lowSpace || plant.Is(plant.HintsNeverOffered) {
		return // the holder asks again
	}
	key := pullKey{m.Partition, m.From}
	if slices.Contains(c.noticed, key) {
		return
	}
	for _, id := range sortedKeys(c.ops) {
		if p, ok := c.ops[id].(*pullOp); ok && p.pullKey == key {
			return
		}
	}
	if len(c.noticed) < maxNoticed {
		c.noticed = append(c.noticed, key)
	}
	c.nextPull()
}

// nextPull begins the pulls that have waited longest.
func (c *Core) nextPull() {
	for c.pulls < maxPulls && len(c.noticed) > 0 {
		key := c.noticed[0]
		c.noticed = slices.Delete(c.noticed, 0, 1)
		if !c.reachable(key.holder) || int(key.partition) >= len(c.ring.Partitions) {
			continue
		}
		p := &pullOp{pullKey: key}
		p.id = c.addOp(p)
		c.pulls++
		p.pull(c, nil)
	}
}

// pull asks for the next slice, when the pacer lets it.
func (p *pullOp) pull(c *Core, cursor []byte) {
	p.waits = true
	c.pay(antientropy.ClassHandOff, pullCost, func() {
		if c.ops[p.id] == nil {
			return
		}
		p.waits, p.since = false, c.now.Mono
		c.timers.add(c.now.Mono+pullTimeout, p.id, timerDeadline)
		c.send(&Message{Kind: MsgHintPull, To: p.holder, ID: p.id, Partition: p.partition, Cursor: cursor, Limit: pullRows})
	})
}

func (p *pullOp) end(c *Core) {
	delete(c.ops, p.id)
	c.pulls--
	c.nextPull()
}

// onHintPull (holder): read a slice of what is durable and send it. Its cursor names
// the target of the line, and where in it to go on. The holder pays for it as well: the
// target, which is just back, may have no clients of its own that it could hurt.
func (c *Core) onHintPull(m *Message) {
	var target hashring.SID
	var after []byte
	if n := copy(target[:], m.Cursor); n == len(target) {
		after = m.Cursor[n:]
	}
	c.pay(antientropy.ClassHandOff, pullCost, func() { c.sendHints(m, target, after) })
}

func (c *Core) sendHints(m *Message, target hashring.SID, after []byte) {
	if len(c.loads) >= MaxLoads {
		return // the target asks again
	}
	c.part(m.Partition)
	from, id, p, limit := m.From, m.ID, m.Partition, int(min(m.Limit, pullRows))
	line, more := c.lineFor(p, from, target)
	if line.IsZero() {
		c.send(&Message{Kind: MsgHintPage, To: from, ID: id, Partition: p})
		return
	}
	if line != target {
		after = nil
	}
	c.load(Load{Kind: LoadHints, Partition: p, Target: line, After: after, MaxRows: limit, MaxBytes: LoadSliceBytes}, func(l *Loaded) {
		var cursor []byte
		if n := len(l.Rows); n > 0 {
			cursor = l.Rows[n-1].Cursor
			l.Rows = c.soundHints(c.part(p), l.Rows)
		}
		switch n := len(l.Rows); {
		case l.Err != nil: // the target asks again
		case n == 0 && l.More:
			c.sendHints(m, line, cursor)
		case n == 0 && more:
			c.sendHints(m, following(line), nil)
		default:
			if n > 0 {
				l.Rows[n-1].Cursor = append(slices.Clone(line[:]), cursor...)
			}
			c.repair.pace.charge(antientropy.ClassHandOff, sizeOf(l.Rows)+int64(n)*hintCost-pullCost)
			c.send(&Message{Kind: MsgHintPage, To: from, ID: id, Partition: p, Rows: l.Rows, More: l.More || more})
			if plant.Is(plant.HintDroppedOnSend) {
				c.onHintDone(&Message{From: from, Partition: p, Rows: l.Rows})
			}
		}
	})
}

// lineFor is the first line with hints for a store to pull, from a target on, and
// whether there is another one behind it.
func (c *Core) lineFor(p uint32, store, from hashring.SID) (line hashring.SID, more bool) {
	for _, l := range c.book.Lines(p) {
		if heir, ok := c.heir(p, l.Target); l.Hints == 0 || !ok || heir != store || slices.Compare(l.Target[:], from[:]) < 0 {
			continue
		}
		if !line.IsZero() {
			return line, true
		}
		line = l.Target
	}
	return line, false
}

// following is the next sid in order.
func following(s hashring.SID) hashring.SID {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i]++; s[i] != 0 {
			break
		}
	}
	return s
}

// onMessage (target): merge the slice; once it is synced the holder may drop it.
func (p *pullOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgHintPage || m.From != p.holder || p.waits {
		return
	}
	c.repair.pace.charge(antientropy.ClassHandOff, sizeOf(m.Rows)+int64(len(m.Rows))*hintCost-pullCost)
	var seq uint64
	done := make([]Row, 0, len(m.Rows))
	for i := range m.Rows {
		r := &m.Rows[i]
		bucket, gone := c.bucketOf(r)
		if bucket == nil && !gone {
			continue // made since
		}
		if bucket != nil { // hints of a deleted bucket are dropped
			hash := hashring.Hash(bucket.Name, r.Key)
			s, why := c.mergeRecord(p.partition, bucket, r.Key, hash, r.Object)
			if why != quorum.ReasonNone {
				continue
			}
			seq = max(seq, s)
		}
		target := r.Target
		if target.IsZero() {
			target = c.cfg.Self
		}
		done = append(done, Row{Bucket: r.Bucket, Key: r.Key, Target: target, Gen: r.Gen})
	}
	c.stats.HintsDelivered += uint64(len(done))
	if plant.Is(plant.HintDoneBeforeSync) {
		seq = 0
	}
	if len(done) > 0 {
		c.sendAfter(seq, &Message{Kind: MsgHintDone, To: p.holder, Partition: p.partition, Rows: done})
	}
	if m.More && len(m.Rows) > 0 {
		p.pull(c, m.Rows[len(m.Rows)-1].Cursor)
		return
	}
	p.end(c)
}

// sizeOf is about the bytes of rows.
func sizeOf(rows []Row) (n int64) {
	for i := range rows {
		n += int64(len(rows[i].Key) + rows[i].Object.Size())
	}
	return n
}

// bucketOf a hint, nil if this store's ring has none: gone tells that it was deleted,
// else it was made since, since an id is the ring version of the bucket's creation.
func (c *Core) bucketOf(r *Row) (b *hashring.Bucket, gone bool) {
	if b, ok := c.ring.BucketByID(r.Bucket); ok {
		return b, false
	}
	return nil, uint64(r.Bucket) <= c.ring.Version
}

// onHintDone (holder): drop what the target, or its heir, has synced, unless it was
// rewritten.
func (c *Core) onHintDone(m *Message) {
	p := c.part(m.Partition)
	for i := range m.Rows {
		r := &m.Rows[i]
		if heir, ok := c.heir(p.id, r.Target); r.Target == m.From || ok && heir == m.From {
			c.dropHint(p, r, false)
		}
	}
}

func (p *pullOp) onTimer(c *Core, _ timerKind) {
	if !p.waits && c.now.Mono >= p.since+pullTimeout {
		p.end(c)
	}
}

func (p *pullOp) onDown(c *Core, store hashring.SID) {
	if store == p.holder {
		p.end(c)
	}
}

func (p *pullOp) onDurable(*Core) {}

// load runs a long read beside the shard; then is called with its slice.
func (c *Core) load(l Load, then func(*Loaded)) {
	c.lastOp++
	l.Token = uint64(c.cfg.Shard)<<56 | c.lastOp
	c.loads[l.Token] = then
	c.ready.Loads = append(c.ready.Loads, l)
}

func (c *Core) onLoaded(l *Loaded) {
	if then := c.loads[l.Token]; then != nil {
		delete(c.loads, l.Token)
		then(l)
	}
}
