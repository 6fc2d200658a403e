package core

import (
	"time"

	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/strong"
)

// What applying changes need not be on the disk at once: the log is, and a start carries
// it out again. So it is held here, where reads see it, and goes into a batch in strides:
// a key that is written often has one row for all of them, and so has the partition's
// hard row.
const (
	// holdFor bounds how long it is held: what a start has to carry out again, and how
	// far the front of the log stays behind.
	holdFor = 2 * time.Second
	// holdRows and holdBytes bound what a partition holds.
	holdRows  = 1024
	holdBytes = 256 << 10
	// holdMost bounds the bytes that a shard holds; above it nothing waits.
	holdMost = 16 << 20
)

// held is what a strong partition holds back, in the order in which the rows came.
type held struct {
	rows  []heldRow
	hard  strong.Hard // as of the newest of them
	moved bool        // there is one
	bytes int
	timed bool // its time is in strongs.holding
}

type heldRow struct {
	at         *staged
	generation uint64
	row        strong.Row
	size       int
}

// holding is a partition whose rows have to go by then.
type holding struct {
	by time.Duration
	sp *strongPart
}

// hold keeps a lazy write.
func (sp *strongPart) hold(w *strong.Write) {
	c, h := sp.c, &sp.held
	if !h.timed {
		h.timed = true
		c.strong.holding.push(holding{c.now.Mono + holdFor, sp})
	}
	if w.Kind == strong.PutHard {
		h.hard, h.moved = w.Hard, true
		return
	}
	o, size := &c.overlay, strongRowSize
	if w.Row.Done != nil {
		o.nameCompletion(sp.id, w.Generation, w.Row.Done.ID)
	} else {
		o.nameValue(sp.id, w.Generation, w.Row.Bucket, w.Row.Key)
		size += len(w.Row.Key) + len(w.Row.Value.Data)
	}
	r := o.row()
	r.value, r.done = w.Row.Value, w.Row.Done
	if r.held == 0 {
		r.times++ // it stays until it is carried
		h.rows = append(h.rows, heldRow{at: r})
		r.held = len(h.rows)
	}
	row := &h.rows[r.held-1]
	h.bytes += size - row.size
	c.strong.held += size - row.size
	row.generation, row.row, row.size = w.Generation, w.Row, size
}

// full tells that what is held should not wait any longer.
func (sp *strongPart) full() bool {
	return len(sp.held.rows) >= holdRows || sp.held.bytes >= holdBytes || sp.c.strong.held > holdMost
}

// carry puts what is held into the step's batch.
func (sp *strongPart) carry() {
	c, h := sp.c, &sp.held
	if len(h.rows) == 0 && !h.moved {
		return
	}
	for i := range h.rows {
		w := &h.rows[i]
		kind := strong.PutValue
		if w.row.Done != nil {
			kind = strong.PutCompletion
		}
		b := sp.into(strong.Write{Kind: kind, Generation: w.generation, Row: w.row})
		w.at.held = 0
		w.at.times--
		c.overlay.push(w.at, b.Seq, w.size)
	}
	if h.moved {
		sp.into(strong.Write{Kind: strong.PutHard, Hard: h.hard})
	}
	c.strong.held -= h.bytes
	clear(h.rows)
	if h.rows = h.rows[:0]; cap(h.rows) > maxSpare {
		h.rows = nil
	}
	h.moved, h.bytes = false, 0
}

// strongCarry lets go what was held for its time.
func (c *Core) strongCarry() {
	for q := &c.strong.holding; q.len() > 0 && q.first().by <= c.now.Mono; {
		sp := q.pop().sp
		sp.held.timed = false
		sp.carry()
	}
}

// strongCarryBy is when the next has to go; 0: nothing is held.
func (c *Core) strongCarryBy() time.Duration {
	if q := &c.strong.holding; q.len() > 0 {
		return q.first().by
	}
	return 0
}

// carriedBefore tells whether what is held has to go before a write: whatever speaks of
// what is applied must not be durable sooner (S12).
func carriedBefore(w *strong.Write) bool {
	return w.Kind != strong.PutEntry && !plant.Is(plant.StrongHeldBehind)
}
