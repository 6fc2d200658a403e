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

// A record that cannot be trusted is quarantined: nobody gets it and nothing is minted
// for it (D4, E1). It is mended from the key's other full owners: their objects, raw
// (E6), joined, take its place. A read quorum of them must answer, this store not
// counted: every write that was acked with this store's copy is then among them, as if
// this store had been lost (E13).
//
// Where others are damaged too, so that no such quorum is left, the join of those that are
// sound does once every other full owner has answered, either with its object or that its
// own is damaged. Nothing more can come from anybody then: what only damaged copies had is
// lost, as if their stores were, which the promise (fewer than W stores lost) is silent
// about; what a stand-in keeps comes by itself. Each of the damaged mends itself in this
// way, or from the first that has. Where all are damaged the key stays quarantined.

// Bounds of mending.
const (
	maxDamaged  = 1024 // keys known to be damaged; more are found again
	maxMends    = 4    // mended at a time
	mendTimeout = 2 * time.Second
	mendAgain   = 10 * time.Second // after too few have answered
)

// mending is what this shard knows to be damaged.
type mending struct {
	keys    map[keyName]*damaged
	order   []*damaged // by when it was found
	running int
}

// keyName names a record.
type keyName struct {
	part   uint32
	bucket hashring.BucketID
	key    string
}

// damaged is one quarantined record.
type damaged struct {
	name  keyName
	ready time.Duration // not before
	op    *mendOp       // nil: it waits
}

// quarantined tells whether the record is known to be wrong though it can be read.
func (c *Core) quarantined(p uint32, b hashring.BucketID, key []byte) bool {
	if len(c.repair.mend.keys) == 0 || plant.Is(plant.MismatchServed) {
		return false
	}
	_, ok := c.repair.mend.keys[keyName{p, b, string(key)}]
	return ok
}

// foundDamaged quarantines a record that fails its checksum or is not what its leaf
// row says. One that is being written anew is none.
func (c *Core) foundDamaged(p uint32, b hashring.BucketID, key []byte) {
	m := &c.repair.mend
	if c.overlay.record(p, b, key) != nil || len(m.order) >= maxDamaged || c.quarantined(p, b, key) {
		return
	}
	if m.keys == nil {
		m.keys = map[keyName]*damaged{}
	}
	d := &damaged{name: keyName{p, b, string(key)}, ready: c.now.Mono}
	m.keys[d.name] = d
	m.order = append(m.order, d)
	c.repair.stats.Damaged++
	c.part(p).forgetActors() // E1: what it minted for the key may be forgotten
}

// healed ends the quarantine.
func (c *Core) healed(d *damaged) {
	m := &c.repair.mend
	delete(m.keys, d.name)
	m.order = slices.DeleteFunc(m.order, func(o *damaged) bool { return o == d })
}

// mendNext begins what is due.
func (c *Core) mendNext() {
	m := &c.repair.mend
	for _, d := range slices.Clone(m.order) {
		if m.running >= maxMends {
			return
		}
		if d.op == nil && c.now.Mono >= d.ready {
			d.ready = c.now.Mono + mendAgain
			c.mend(d)
		}
	}
}

// mendOp fetches one key from its other full owners.
type mendOp struct {
	id      uint64
	d       *damaged
	bucket  *hashring.Bucket
	key     []byte
	hash    uint64
	epoch   uint64
	need    int
	others  int // full owners beside this one
	waiting []hashring.SID
	objects []*version.Object // of those that have answered
	damaged int               // others whose own record is
	leaf    uint64            // the version that the leaf row has; 0: there is none
}

func (c *Core) mend(d *damaged) {
	bucket, ok := c.ring.BucketByID(d.name.bucket)
	n := 0
	if ok {
		n = c.ring.N(bucket, d.name.part)
	}
	role, owns := c.place(d.name.part, n)
	if !ok || !owns || role == hashring.Out || !c.confirmed {
		c.healed(d) // nobody asks this store for it; if that changes it is found again
		return
	}
	o := &mendOp{d: d, bucket: bucket, key: []byte(d.name.key), epoch: c.ring.Partitions[d.name.part].PlanEpoch()}
	o.hash = hashring.Hash(bucket.Name, o.key)
	for _, s := range c.ring.Full(d.name.part, n) {
		if s == c.cfg.Self {
			continue
		}
		if o.others++; c.reachable(s) {
			o.waiting = append(o.waiting, s)
		}
	}
	read, _ := c.ring.Quorum(d.name.part, n)
	if o.need = min(o.others, read); plant.Is(plant.MendFromOne) {
		o.need = min(o.others, 1)
	}
	if o.others == 0 {
		c.mendAlone(o)
		return
	}
	if len(o.waiting) < o.need {
		c.repair.stats.MendsPutOff++
		return
	}
	d.op = o
	c.repair.mend.running++
	o.id = c.addOp(o)
	c.timers.add(c.now.Mono+mendTimeout, o.id, timerDeadline)
	c.readLeafRow(o, func() {
		for _, s := range o.waiting {
			c.send(&Message{Kind: MsgRead, To: s, ID: o.id, Partition: d.name.part, Bucket: bucket.ID, Key: o.key, Hash: o.hash})
		}
	})
}

// readLeafRow finds the version under which the tree counts the record.
func (c *Core) readLeafRow(o *mendOp, then func()) {
	at := antientropy.Pos{Leaf: antientropy.LeafOf(o.hash), Bucket: o.bucket.ID, Key: o.key}
	c.whenDurable(c.lastSeq, func() {
		c.load(Load{Kind: LoadLeafRows, Partition: o.d.name.part, Leaves: []uint16{at.Leaf}, LeafUpto: at, MaxRows: antientropy.ScanRows, MaxBytes: LoadSliceBytes}, func(l *Loaded) {
			if n := len(l.Rows); n > 0 && l.Rows[n-1].Bucket == o.bucket.ID && string(l.Rows[n-1].Key) == o.d.name.key {
				o.leaf = l.Rows[n-1].Version
			}
			if l.Err == nil && !l.More && (o.id == 0 || c.ops[o.id] != nil) {
				then()
			}
		})
	})
}

func (o *mendOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgReadReply || m.Fallback || !slices.Contains(o.waiting, m.From) {
		return
	}
	switch m.Reason {
	case quorum.ReasonNone:
		o.objects = append(o.objects, m.Object)
	case quorum.ReasonCorrupt:
		o.damaged++
	}
	o.answered(c, m.From)
}

func (o *mendOp) answered(c *Core, s hashring.SID) {
	o.waiting = slices.DeleteFunc(o.waiting, func(w hashring.SID) bool { return w == s })
	if len(o.waiting) == 0 {
		o.finish(c)
	}
}

func (o *mendOp) onDown(c *Core, store hashring.SID) {
	if slices.Contains(o.waiting, store) {
		o.answered(c, store)
	}
}

func (o *mendOp) onTimer(c *Core, _ timerKind) { o.finish(c) }
func (o *mendOp) onDurable(*Core)              {}

// finish puts the joined object in the damaged one's place, if enough have answered.
func (o *mendOp) finish(c *Core) {
	if c.ops[o.id] == nil {
		return
	}
	delete(c.ops, o.id)
	o.d.op = nil
	c.repair.mend.running--
	p := o.d.name.part
	if !o.enough() || c.ring.Partitions[p].PlanEpoch() != o.epoch {
		c.repair.stats.MendsPutOff++
		return
	}
	if len(o.objects) < o.need {
		c.repair.stats.MendedShort++
	}
	var object *version.Object
	for _, x := range o.objects {
		object = version.Join(object, x)
	}
	if o.bucket.Conflict == hashring.LWW {
		object = c.reduce(object)
	}
	if clock := c.purgeClock(p); len(clock) > 0 { // what they have not dropped yet is not taken in anew
		if antientropy.Purgeable(antientropy.Expire(object, c.ring.Purge(p).TimeMS), clock) {
			object = nil
		}
	}
	c.stageMended(o, object)
}

// enough tells whether the sound objects that have come are all there can be of the key.
func (o *mendOp) enough() bool {
	return len(o.objects) >= o.need || len(o.objects) > 0 && len(o.objects)+o.damaged == o.others
}

// mendAlone: nobody else has the key. A record whose checksum is right and whose leaf
// row is not is all there is, so the leaf row is written anew; any other one waits for
// an operator, quarantined.
func (c *Core) mendAlone(o *mendOp) {
	object, err := c.eng.Record(o.d.name.part, o.bucket.ID, o.key)
	if err != nil {
		c.repair.stats.Unmendable++
		return
	}
	c.readLeafRow(o, func() { c.stageMended(o, object) })
}

// stageMended is stageRecord where the old object cannot be read: the tree knows it by
// its leaf row; the counters by whichever of the replicas had it, if any, and if its
// version says all that they count. Else they count one record too many, the side on
// which they may err, until the scrub has counted the partition.
func (c *Core) stageMended(o *mendOp, now *version.Object) {
	name := o.d.name
	if c.overlay.record(name.part, name.bucket, o.key) != nil || c.repair.mend.keys[name] != o.d {
		return
	}
	p := c.part(name.part)
	batch := c.open()
	v := now.Hash()
	batch.Records = append(batch.Records, RecordWrite{p.id, name.bucket, o.key, LeafOf(o.hash), now, v})
	c.overlay.putRecord(p.id, name.bucket, o.key, now, batch.Seq)
	if t := c.treeFor(p, name.bucket); t != nil {
		t.Put(name.bucket, o.hash, o.leaf, v, batch.Seq)
	}
	i := slices.IndexFunc(o.objects, func(x *version.Object) bool { return x != nil && x.Hash() == o.leaf })
	switch {
	case v == o.leaf && oneForm(now):
	case i >= 0 && oneForm(o.objects[i]):
		p.countRecord(o.objects[i], -1)
		p.countRecord(now, +1)
	case now != nil:
		p.countRecord(now, +1)
		c.recount(p)
	case o.leaf != 0:
		c.recount(p)
	}
	p.staged++
	c.touch(p)
	c.repair.stats.Mended++
	c.healed(o.d)
}

// oneForm tells that whoever has this version of an object has it in this form: a sibling
// that expires becomes a tombstone of the same dot (E8), at some stores before others.
func oneForm(o *version.Object) bool {
	return o == nil || !slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool { return s.Tombstone || s.ExpiryMS != 0 })
}
