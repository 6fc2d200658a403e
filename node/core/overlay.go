package core

import (
	"cmp"
	"maps"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// overlay is what has been staged and is not yet durable: newest object per row,
// with the batch it is in. Reads look here before the engine.
type overlay struct {
	rows  map[rowKey]staged
	queue []settling // in order of seq
	bytes int
}

// rowKey names a record (target zero) or a hint.
type rowKey struct {
	partition uint32
	bucket    hashring.BucketID
	target    hashring.SID
	key       string
}

type staged struct {
	object *version.Object // nil: dropped
	gen    uint64
	seq    uint64
}

type settling struct {
	seq  uint64
	key  rowKey
	size int
}

func newOverlay() overlay { return overlay{rows: map[rowKey]staged{}} }

func (o *overlay) put(k rowKey, s staged) {
	size := s.object.Size() + len(k.key)
	o.rows[k] = s
	o.queue = append(o.queue, settling{s.seq, k, size})
	o.bytes += size
}

// settle hands rows whose newest object is durable over to the cache.
func (o *overlay) settle(durable uint64, to *cache) {
	n := 0
	for n < len(o.queue) && o.queue[n].seq <= durable {
		q := &o.queue[n]
		if s, ok := o.rows[q.key]; ok && s.seq <= durable {
			delete(o.rows, q.key)
			if q.key.target.IsZero() {
				to.put(q.key.bucket, q.key.key, s.object)
			}
		}
		o.bytes -= q.size
		q.key.key = "" // the queue's array must not keep it alive
		n++
	}
	if o.queue = o.queue[n:]; len(o.queue) == 0 {
		o.queue = nil
	}
}

// record reads a key's newest object here and the batch that makes it durable
// (0: it is). ErrCorrupt: there is one that cannot be trusted.
func (c *Core) record(p uint32, b hashring.BucketID, key []byte) (*version.Object, uint64, error) {
	if len(c.overlay.rows) != 0 {
		if s, ok := c.overlay.rows[rowKey{partition: p, bucket: b, key: string(key)}]; ok {
			return s.object, s.seq, nil
		}
	}
	if o, ok := c.cache.get(b, key); ok {
		return o, 0, nil
	}
	o, err := c.eng.Record(p, b, key)
	if err == nil && o != nil {
		c.cache.put(b, string(key), o)
	}
	if plant.Is(plant.CorruptIsAbsent) {
		err = nil
	}
	if err != nil {
		c.stats.Corrupt++
		c.part(p).forgetActors() // E1: what it minted for the key may be forgotten
	}
	return o, 0, err
}

// hint reads one hint likewise.
func (c *Core) hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (o *version.Object, gen, seq uint64, err error) {
	if s, ok := c.overlay.rows[rowKey{p, b, target, string(key)}]; ok {
		return s.object, s.gen, s.seq, nil
	}
	o, gen, err = c.eng.Hint(p, b, key, target)
	return o, gen, 0, err
}

// open is the batch of this step.
func (c *Core) open() *Batch {
	if c.batch == nil {
		c.lastSeq++
		c.batch = &Batch{Seq: c.lastSeq}
	}
	return c.batch
}

// stamp is the clock's next stamp, above seen. A bound that it moves is in this batch,
// whatever becomes of the write; no stamp leaves this store before that is durable (E9).
func (c *Core) stamp(seen version.HLC) version.HLC {
	h, reserve := c.clock.Next(c.now.WallMS, seen)
	if reserve {
		batch := c.open()
		batch.HLCBound, c.boundSeq = c.clock.Bound(), batch.Seq
	}
	return h
}

// stampBound is the batch that the newest stamp must wait for.
func (c *Core) stampBound() uint64 {
	if plant.Is(plant.StampBeforeBound) {
		return 0
	}
	return c.boundSeq
}

// stageRecord puts the key's new object into the batch, with its leaf row and the
// partition's counters, and returns the batch's seq.
func (c *Core) stageRecord(p *part, b hashring.BucketID, key []byte, hash uint64, old, now *version.Object) uint64 {
	assert.That(now == nil || now.Valid(), "2", "an object must be valid before it is stored: %v", now)
	assert.That(old == nil || now.Context.Dominates(old.Context), "2.3", "a context only grows: %v then %v", old, now)
	if plant.Is(plant.TombstoneDropped) && now != nil && onlyTombstones(now) {
		now = nil
	}
	batch := c.open()
	batch.Records = append(batch.Records, RecordWrite{p.id, b, key, LeafOf(hash), now})
	c.overlay.put(rowKey{partition: p.id, bucket: b, key: string(key)}, staged{now, 0, batch.Seq})
	p.countRecord(old, -1)
	p.countRecord(now, +1)
	c.touch(p)
	return batch.Seq
}

// stageHint writes (or with a nil object drops) one hint, likewise.
func (c *Core) stageHint(p *part, w HintWrite, old *version.Object) uint64 {
	batch := c.open()
	batch.Hints = append(batch.Hints, w)
	c.overlay.put(rowKey{w.Partition, w.Bucket, w.Target, string(w.Key)}, staged{w.Object, w.Gen, batch.Seq})
	c.hintBytes += p.countHint(w.Target, old, w.Object)
	c.touch(p)
	return batch.Seq
}

// touch remembers that the partition's counters go into this batch.
func (c *Core) touch(p *part) {
	if !p.dirty {
		p.dirty = true
		c.touched = append(c.touched, p)
	}
}

func (c *Core) closeBatch() {
	if c.batch == nil {
		return
	}
	for _, p := range c.touched {
		p.dirty = false
		if !p.counters.equal(&p.written) { // overwriting a value by one of its size changes none
			c.batch.Counters = append(c.batch.Counters, CountersWrite{p.id, p.counters})
			p.written = p.counters
		}
	}
	c.touched = c.touched[:0]
	c.ready.Batch, c.batch = c.batch, nil
}

// sortedKeys makes the walk over a map replayable.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
