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

// record reads a key's newest object here and the batch that makes it durable
// (0: it is). ErrCorrupt: there is one that cannot be trusted.
func (c *Core) record(p uint32, b hashring.BucketID, key []byte) (*version.Object, uint64, error) {
	if s := c.overlay.record(p, b, key); s != nil {
		return s.object, s.seq, nil
	}
	if c.quarantined(p, b, key) {
		c.stats.Corrupt++
		return nil, 0, ErrCorrupt
	}
	o, err := c.eng.Record(p, b, key)
	if plant.Is(plant.CorruptIsAbsent) {
		err = nil
	}
	if err != nil {
		c.stats.Corrupt++
		c.part(p).forgetActors() // E1: what it minted for the key may be forgotten
		c.foundDamaged(p, b, key)
	}
	return o, 0, err
}

// hint reads one hint likewise.
func (c *Core) hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (o *version.Object, gen, seq uint64, err error) {
	if s := c.overlay.hint(p, b, key, target); s != nil {
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
		if c.lastRecords > 0 {
			c.batch.Records = make([]RecordWrite, 0, min(c.lastRecords, maxSpare)+1)
		}
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
// partition's counters, and returns the batch's seq. A nil object drops the key: only
// after a purge round (E5).
func (c *Core) stageRecord(p *part, b hashring.BucketID, key []byte, hash uint64, old, now *version.Object) uint64 {
	assert.That(now == nil || now.Valid(), "2", "an object must be valid before it is stored: %v", now)
	assert.That(old == nil || now == nil || now.Context.Dominates(old.Context), "2.3", "a context only grows: %v then %v", old, now)
	if plant.Is(plant.TombstoneDropped) && now != nil && onlyTombstones(now) {
		now = nil
	}
	batch := c.open()
	batch.Records = append(batch.Records, RecordWrite{p.id, b, key, LeafOf(hash), now, c.treePut(p, b, hash, old, now, batch.Seq)})
	c.overlay.putRecord(p.id, b, key, now, batch.Seq)
	p.staged++
	p.countRecord(old, -1)
	p.countRecord(now, +1)
	c.touch(p)
	return batch.Seq
}

// stageHint writes one hint, likewise.
func (c *Core) stageHint(p *part, w HintWrite, old *version.Object) uint64 {
	batch := c.open()
	batch.Hints = append(batch.Hints, w)
	c.overlay.putHint(&w, batch.Seq)
	c.book.Kept(p.id, w.Target, uint64(w.Object.Size()), uint64(old.Size()), version.HLC(w.Gen).MS())
	c.rehint(p)
	return batch.Seq
}

// stageDrop drops one hint: delivered, or lost under the mark of that generation.
func (c *Core) stageDrop(p *part, w HintWrite, old *version.Object, mark uint64) {
	batch := c.open()
	batch.Hints = append(batch.Hints, w)
	c.overlay.putHint(&w, batch.Seq)
	if size := uint64(old.Size()); mark != 0 {
		c.book.Dropped(p.id, w.Target, size, mark)
	} else {
		c.book.Delivered(p.id, w.Target, size)
	}
	c.rehint(p)
}

// stageDamaged drops one that cannot be read, under the mark of that generation.
func (c *Core) stageDamaged(p *part, w HintWrite, mark uint64) {
	batch := c.open()
	batch.Hints = append(batch.Hints, w)
	c.overlay.putHint(&w, batch.Seq)
	c.book.Damaged(p.id, w.Target, mark)
	c.rehint(p)
}

// rehint takes the hint book's lines of the partition into this batch's counters.
func (c *Core) rehint(p *part) {
	c.open()
	p.rehinted = true
	c.touch(p)
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
		if p.rehinted {
			p.counters.Hints, p.rehinted = c.book.Lines(p.id), false
		}
		if !p.counters.equal(&p.written) { // overwriting a value by one of its size changes none
			c.batch.Counters = append(c.batch.Counters, CountersWrite{p.id, p.counters})
			p.written = p.counters
		}
	}
	c.touched = c.touched[:0]
	c.lastRecords, c.strong.records = len(c.batch.Records), max(len(c.batch.Strong), c.strong.records*3/4)
	c.ready.Batch, c.batch = c.batch, nil
}

// sortedKeys makes the walk over a map replayable.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
