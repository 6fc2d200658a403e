package antientropy

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

// The shape of a tree: root, 16, 256, 4,096 leaves. Three steps down keep the digests
// that are sent for a few differing leaves in the hundreds of bytes.
const (
	fanout   = 16
	chunks   = Leaves / fanout
	LeafTier = 3 // the level of the leaves; the root is level 0
)

// Digest stands for all keys under a node: the sum of their entry hashes and how many
// they are. Two replicas hold the same there if their digests are equal.
type Digest struct {
	Sum  uint64
	Keys uint32
}

func (d *Digest) add(entry uint64) { d.Sum, d.Keys = d.Sum+entry, d.Keys+1 }

func (d *Digest) drop(entry uint64) {
	if d.Keys == 0 {
		assert.Fail("D5", "a leaf without keys cannot lose one")
	}
	d.Sum, d.Keys = d.Sum-entry, d.Keys-1
}

// Tree is the hash tree of one replica's keys of one partition, for the buckets of
// one n. It is kept beside the records: every staged change is Put. A full tree takes
// 55 KiB, one of a few keys 7: 16 leaves are one chunk, made when it is first needed.
//
// A new tree is unknown: it must be read from the leaf rows (Next, Absorb) while
// writes go on, and has no digests until then.
type Tree struct {
	nodes  [1 + fanout + chunks]Digest // root, level 1, level 2
	leaves [chunks]*chunk
	known  bool
	scan   *scan
}

type chunk struct {
	sums [fanout]uint64
	keys [fanout]uint32
}

// NewTree is an unknown tree that waits to be read.
func NewTree() *Tree { return &Tree{scan: newScan()} }

// EmptyTree is the known tree of a partition that is known to hold nothing.
func EmptyTree() *Tree { return &Tree{known: true} }

// Known tells whether the tree has digests.
func (t *Tree) Known() bool { return t.known }

// Put follows a change of one key, staged in batch seq: its version hash was old and
// is now (0: absent). It takes the same time whatever the tree holds, and allocates
// only at a chunk's first key and while a scan is under way.
func (t *Tree) Put(b hashring.BucketID, hash, old, now, seq uint64) {
	leaf := LeafOf(hash)
	if t.scan != nil && t.scan.wants(leaf) {
		t.scan.note(leaf, fresh{b, hash, now, seq})
		if !t.known {
			return // what it was is not in the sums yet
		}
	}
	t.change(leaf, EntryHash(b, hash, old), EntryHash(b, hash, now), old != 0, now != 0)
}

func (t *Tree) change(leaf uint16, old, now uint64, had, has bool) {
	c := t.chunk(leaf)
	d := Digest{c.sums[leaf%fanout], c.keys[leaf%fanout]}
	at := [...]*Digest{&d, &t.nodes[1+fanout+leaf/fanout], &t.nodes[1+leaf/(fanout*fanout)], &t.nodes[0]}
	for _, n := range at {
		if has {
			n.add(now)
		}
		if had {
			n.drop(old)
		}
	}
	c.sums[leaf%fanout], c.keys[leaf%fanout] = d.Sum, d.Keys
}

func (t *Tree) chunk(leaf uint16) *chunk {
	c := t.leaves[leaf/fanout]
	if c == nil {
		c = &chunk{}
		t.leaves[leaf/fanout] = c
	}
	return c
}

// fill sets a leaf that was empty.
func (t *Tree) fill(leaf uint16, d Digest) {
	if d == (Digest{}) {
		return
	}
	c := t.chunk(leaf)
	c.sums[leaf%fanout], c.keys[leaf%fanout] = d.Sum, d.Keys
	for _, n := range [...]*Digest{&t.nodes[1+fanout+leaf/fanout], &t.nodes[1+leaf/(fanout*fanout)], &t.nodes[0]} {
		n.Sum, n.Keys = n.Sum+d.Sum, n.Keys+d.Keys
	}
}

// Root stands for all keys.
func (t *Tree) Root() Digest { return t.nodes[0] }

// Leaf is the digest of one leaf.
func (t *Tree) Leaf(leaf uint16) Digest {
	if c := t.leaves[leaf/fanout]; c != nil {
		return Digest{c.sums[leaf%fanout], c.keys[leaf%fanout]}
	}
	return Digest{}
}

// Node is the digest of a node: level 0 to LeafTier, node counted from the left.
func (t *Tree) Node(level int, node uint16) Digest {
	switch level {
	case 0:
		return t.nodes[0]
	case 1:
		return t.nodes[1+node]
	case 2:
		return t.nodes[1+fanout+node]
	}
	return t.Leaf(node)
}

// width is the number of nodes of a level.
func width(level int) int { return 1 << (4 * level) }

// children lists the nodes below the given ones.
func children(nodes []uint16) []uint16 {
	out := make([]uint16, 0, len(nodes)*fanout)
	for _, n := range nodes {
		for i := range uint16(fanout) {
			out = append(out, n*fanout+i)
		}
	}
	return out
}

// Diff lists the leaves in which two known trees differ, in order.
func Diff(a, b *Tree) []uint16 {
	nodes := []uint16{0}
	for level := 0; ; level++ {
		rest := nodes[:0]
		for _, n := range nodes {
			if a.Node(level, n) != b.Node(level, n) {
				rest = append(rest, n)
			}
		}
		if level == LeafTier {
			return rest
		}
		nodes = children(rest)
	}
}

// String draws the first two levels: how many keys each sixteenth holds.
func (t *Tree) String() string {
	if !t.known {
		return fmt.Sprintf("unknown, read up to leaf %d", t.scan.from)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d keys |", t.Root().Keys)
	for i := range uint16(fanout) {
		fmt.Fprintf(&b, " %d", t.Node(1, i).Keys)
	}
	return b.String()
}

// leafSet is a set of leaves.
type leafSet [Leaves / 64]uint64

func (s *leafSet) add(leaf uint16)    { s[leaf/64] |= 1 << (leaf % 64) }
func (s *leafSet) remove(leaf uint16) { s[leaf/64] &^= 1 << (leaf % 64) }

func (s *leafSet) len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// next is the first leaf of the set from leaf on.
func (s *leafSet) next(leaf uint16) (uint16, bool) {
	for ; leaf < Leaves; leaf++ {
		if w := s[leaf/64] >> (leaf % 64); w != 0 {
			return leaf + uint16(bits.TrailingZeros64(w)), true
		}
		leaf |= 63
	}
	return 0, false
}
