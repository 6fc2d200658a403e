package core

import (
	"errors"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
)

// scrub holds everything this shard owns against itself, slowly (D5): each tree
// against its leaf rows, each record against its checksum and its leaf row, each leaf
// row against its record. One partition at a time, all of them in `every`.
type scrub struct {
	every time.Duration
	part  uint32        // at or behind this one is next
	next  time.Duration // not before
	count []uint32      // partitions to be counted before that
	walk  *scrubWalk
}

// scrubWalk is the scrub of one partition.
type scrubWalk struct {
	part    *part
	checked int      // trees held against their leaf rows
	kind    LoadKind // LoadScrubRecords, then LoadScrubLeaves
	after   antientropy.Pos
	// counted are the records so far; they are the partition's, as of all that is
	// staged, if that is what it was and nothing has been staged since.
	counted Counters
	staged  uint64
	exact   bool
}

// scrubBytes is about what one slice of the scrub reads.
const scrubBytes = 256 << 10

// scrubNext begins the scrub of the next partition when it is due, or goes on with its
// next tree.
func (c *Core) scrubNext() {
	s := &c.repair.scrub
	if s.walk != nil {
		c.scrubTree()
		return
	}
	if c.repair.scan != nil {
		return
	}
	if len(s.count) > 0 {
		id := s.count[0]
		s.count = s.count[1:]
		s.walk = &scrubWalk{part: c.part(id), kind: LoadScrubRecords}
		c.scrubTree()
		return
	}
	if !c.confirmed || c.now.Mono < s.next {
		return
	}
	parts := c.ownParts()
	if len(parts) == 0 {
		return
	}
	at := parts[0]
	for _, p := range parts {
		if p.id >= s.part {
			at = p
			break
		}
	}
	if s.next != 0 { // not at once after a start: a cluster that starts has other work
		s.walk = &scrubWalk{part: at, kind: LoadScrubRecords}
	}
	s.part, s.next = at.id+1, c.now.Mono+s.every/time.Duration(len(parts))
	c.scrubTree()
}

// scrubTree checks the partition's trees one by one, then its records.
func (c *Core) scrubTree() {
	w := c.repair.scrub.walk
	if w == nil || c.repair.scan != nil || w.checked < 0 {
		return
	}
	if w.checked < len(w.part.trees) {
		t := &w.part.trees[w.checked]
		if w.checked++; t.tree.Known() {
			c.checkTree(w.part, t.n)
			return
		}
		c.scrubTree()
		return
	}
	w.checked = -1
	w.staged = w.part.staged
	c.whenDurable(c.lastSeq, func() {
		w.exact = true
		c.scrubSlice()
	})
}

// recount has a partition scrubbed, and so counted, next.
func (c *Core) recount(p *part) {
	s := &c.repair.scrub
	if !slices.Contains(s.count, p.id) {
		s.count = append(s.count, p.id)
	}
}

// scrubSlice reads the next slice; only rows that are wrong come back.
func (c *Core) scrubSlice() {
	w := c.repair.scrub.walk
	c.pay(antientropy.ClassScrub, scrubBytes, func() {
		c.load(Load{Kind: w.kind, Partition: w.part.id, Keys: c.bucketNames(), LeafAfter: w.after, MaxBytes: scrubBytes}, func(l *Loaded) { c.scrubbed(w, l) })
	})
}

func (c *Core) scrubbed(w *scrubWalk, l *Loaded) {
	r := &c.repair
	r.pace.charge(antientropy.ClassScrub, int64(l.Bytes)-scrubBytes)
	r.stats.Scrubbed += l.Walked
	w.add(l)
	for i := range l.Rows {
		c.foundDamaged(w.part.id, l.Rows[i].Bucket, l.Rows[i].Key)
	}
	switch {
	case l.Err != nil && !errors.Is(l.Err, ErrCorrupt):
		r.stats.ReadErrors++
		r.scrub.walk = nil
	case l.More && l.Err == nil:
		w.after = l.Last
		c.scrubSlice()
	case w.kind == LoadScrubRecords && l.Err == nil:
		c.counted(w)
		fallthrough
	case w.kind == LoadScrubRecords: // its end, or a block of the table that cannot be read: by leaf row it can
		w.kind, w.after = LoadScrubLeaves, antientropy.Pos{}
		c.scrubSlice()
	default:
		r.scrub.walk = nil
		r.stats.Scrubs++
	}
}

func (w *scrubWalk) add(l *Loaded) {
	w.counted.Keys += l.Counted.Keys
	w.counted.Tombstones += l.Counted.Tombstones
	w.counted.Bytes += l.Counted.Bytes
	w.counted.Expiring += l.Counted.Expiring
	w.exact = w.exact && len(l.Rows) == 0
}

// counted puts the counters right. A partition that is written to all the time is
// tried again when its turn comes.
func (c *Core) counted(w *scrubWalk) {
	p, n := w.part, &w.part.counters
	if !w.exact || p.staged != w.staged {
		return
	}
	if n.Keys != w.counted.Keys || n.Tombstones != w.counted.Tombstones || n.Bytes != w.counted.Bytes || n.Expiring != w.counted.Expiring {
		n.Keys, n.Tombstones, n.Bytes, n.Expiring = w.counted.Keys, w.counted.Tombstones, w.counted.Bytes, w.counted.Expiring
		c.open()
		c.touch(p)
		c.repair.stats.Recounted++
	}
}

// bucketNames are the buckets of the ring.
func (c *Core) bucketNames() (out []Row) {
	for _, name := range sortedKeys(c.ring.Buckets) {
		out = append(out, Row{Bucket: c.ring.Buckets[name].ID, Key: []byte(name)})
	}
	return out
}
