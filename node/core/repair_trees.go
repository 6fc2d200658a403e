package core

import (
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// treeOf is the hash tree of a partition's records in the buckets of one n. It is as
// new as the newest staged batch (D5).
type treeOf struct {
	n    int
	tree *antientropy.Tree
	// from is the newest batch when the tree was made: what was staged before is not in
	// it, and must be durable before the leaf rows are read.
	from uint64
}

// treePut follows a record that is staged in batch seq, and returns its version.
func (c *Core) treePut(p *part, b hashring.BucketID, hash uint64, old, now *version.Object, seq uint64) uint64 {
	v := now.Hash()
	if t := c.treeFor(p, b); t != nil && !(plant.Is(plant.TreeForgets) && now != nil && onlyTombstones(now)) {
		t.Put(b, hash, old.Hash(), v, seq)
	}
	return v
}

func (c *Core) treeFor(p *part, b hashring.BucketID) *antientropy.Tree {
	if len(p.trees) == 0 {
		return nil
	}
	bucket, ok := c.ring.BucketByID(b)
	if !ok {
		return nil
	}
	return p.treeOf(bucket.N)
}

// treeOf is the tree of the buckets with n owners, nil if this store has none.
func (p *part) treeOf(n int) *antientropy.Tree {
	for i := range p.trees {
		if p.trees[i].n == n {
			return p.trees[i].tree
		}
	}
	return nil
}

// ownTrees gives each partition a tree for each n of which this store is a full or
// building owner. When a bucket was dropped, its rows are no longer part of any tree:
// those of its n are read anew.
func (c *Core) ownTrees(old *hashring.Ring) {
	widths, anew := c.widths(), c.droppedWidths(old)
	for id := c.cfg.Shard; id < len(c.ring.Partitions); id += c.cfg.Shards {
		p := c.part(uint32(id))
		var trees []treeOf
		for _, n := range widths {
			role, owns := c.place(p.id, n)
			if !owns || role == hashring.Out {
				continue
			}
			i := slices.IndexFunc(p.trees, func(t treeOf) bool { return t.n == n })
			if i >= 0 && !slices.Contains(anew, n) {
				trees = append(trees, p.trees[i])
			} else {
				trees = append(trees, c.newTree(p, n))
			}
		}
		p.trees = trees
	}
	c.scanNext()
}

func (c *Core) newTree(p *part, n int) treeOf {
	if p.counters.Keys == 0 && p.counters.Tombstones == 0 {
		return treeOf{n: n, tree: antientropy.EmptyTree()}
	}
	return treeOf{n: n, tree: antientropy.NewTree(), from: c.lastSeq}
}

// droppedWidths lists the n of buckets that the older ring had.
func (c *Core) droppedWidths(old *hashring.Ring) (ns []int) {
	if old == nil {
		return nil
	}
	for _, b := range old.Buckets { // order-free: a set
		if _, ok := c.ring.BucketByID(b.ID); !ok {
			ns = append(ns, b.N)
		}
	}
	return ns
}

// scan is a walk over the leaf rows of one tree: to make it known, or to check it.
type scan struct {
	part  *part
	n     int
	tree  *antientropy.Tree
	check bool
}

// scanNext begins the next walk, if none is under way: trees that are not known first,
// one at a time, since each is worth more whole than two by half.
func (c *Core) scanNext() {
	if c.repair.scan != nil {
		return
	}
	for _, p := range c.ownParts() {
		for i := range p.trees {
			if t := &p.trees[i]; !t.tree.Known() {
				s := &scan{part: p, n: t.n, tree: t.tree}
				c.repair.scan = s
				c.whenDurable(t.from, func() {
					if !c.scanOver(s) {
						c.scanSlice()
					}
				})
				return
			}
		}
	}
}

// checkTree walks the leaf rows of a tree that is known (D5).
func (c *Core) checkTree(p *part, n int) {
	t := p.treeOf(n)
	t.Check()
	c.repair.stats.TreeChecks++
	s := &scan{part: p, n: n, tree: t, check: true}
	c.repair.scan = s
	c.whenDurable(c.lastSeq, func() { // what was staged before is not noted
		if !c.scanOver(s) {
			c.scanSlice()
		}
	})
}

// scanSlice asks for the next slice of the walk.
func (c *Core) scanSlice() {
	s := c.repair.scan
	class := antientropy.ClassExchange
	if s.check {
		class = antientropy.ClassScrub
	}
	c.pay(class, antientropy.ScanBytes, func() {
		if c.scanOver(s) {
			return
		}
		after, ok := s.tree.Next(c.durable)
		if !ok {
			c.whenDurable(c.lastSeq, func() {
				if !c.scanOver(s) {
					c.scanSlice()
				}
			})
			return
		}
		c.load(Load{Kind: LoadLeafRows, Partition: s.part.id, LeafAfter: after, LeafUpto: antientropy.End,
			MaxRows: antientropy.ScanRows, MaxBytes: antientropy.ScanBytes}, func(l *Loaded) { c.scanned(s, class, l) })
	})
}

// scanOver ends a walk whose tree is no longer in use.
func (c *Core) scanOver(s *scan) bool {
	if c.repair.scan != s {
		return true
	}
	if s.part.treeOf(s.n) == s.tree {
		return false
	}
	c.repair.scan = nil
	c.scanNext()
	return true
}

func (c *Core) scanned(s *scan, class antientropy.Class, l *Loaded) {
	if c.scanOver(s) {
		return
	}
	if l.Err != nil {
		c.repair.stats.ReadErrors++
		s.tree.Failed()
		c.repair.scan = nil // the next tick begins it again where it was
		return
	}
	rows, size := c.leafRows(s.part.id, s.n, l.Rows)
	c.repair.pace.charge(class, size-antientropy.ScanBytes)
	drift, done := s.tree.Absorb(rows, l.Last, l.More)
	if !done {
		c.scanSlice()
		return
	}
	c.repair.scan = nil
	if len(drift) > 0 {
		c.repair.stats.Drift += uint64(len(drift))
		c.renewTree(s.part, s.n)
	}
	c.repair.due = true
	c.scanNext()
	c.scrubNext()
}

// renewTree reads a tree anew that cannot be trusted.
func (c *Core) renewTree(p *part, n int) {
	for i := range p.trees {
		if p.trees[i].n == n {
			p.trees[i] = treeOf{n: n, tree: antientropy.NewTree(), from: c.lastSeq}
		}
	}
	for _, l := range slices.Clone(c.repair.leads) {
		c.leadChanged(l)
	}
}

// leafRows are the rows of one n as antientropy wants them, and about what they took
// to read. A row that is not where its key belongs is left out: the scrub finds it.
func (c *Core) leafRows(p uint32, n int, rows []Row) (out []antientropy.Row, size int64) {
	out = make([]antientropy.Row, 0, len(rows))
	var last antientropy.Pos
	for i := range rows {
		bucket, ok := c.ring.BucketByID(rows[i].Bucket)
		size += int64(leafRowBytes + len(rows[i].Key))
		if !ok || bucket.N != n {
			continue
		}
		r := antientropy.Row{Bucket: bucket.ID, Key: rows[i].Key, Hash: hashring.Hash(bucket.Name, rows[i].Key), Version: rows[i].Version}
		if at := r.Pos(); at.Compare(last) > 0 && c.ring.PartitionOf(r.Hash) == p {
			out, last = append(out, r), at
		} else {
			c.repair.stats.Mismatched++
		}
	}
	return out, size
}

// leafRowBytes is what a leaf row takes beside its key.
const leafRowBytes = 23
