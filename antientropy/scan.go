package antientropy

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

// A scan walks the leaf rows from first to last, in slices, while writes go on, and
// comes out with exact digests. A slice sees durable state of some moment between its
// asking and its coming; what was staged but not durable when it was asked for, or was
// written since, may be missing from it. Such keys are noted as they are Put; what is
// noted is the truth for its key, whatever the slice says. A note whose batch was
// durable before the next slice is asked for has served.
//
// The road not taken: reading a leaf again when it was written meanwhile. A leaf with
// one hot key would be read for ever.

// Bounds of a scan.
const (
	// ScanRows and ScanBytes bound one slice of leaf rows: some milliseconds of reading.
	ScanRows = 4096
	// ScanBytes is the other bound of a slice.
	ScanBytes = 256 << 10
	// MaxNotes bounds the notes of a scan: 64 Ki writes within the time of one slice.
	// Past it the slice is thrown away and its leaf begins anew, once they are durable.
	MaxNotes = 64 << 10
)

type scan struct {
	from    uint16 // leaves below it are done
	after   Pos    // the last row of leaf from, or before, that has come
	held    []Row  // rows of leaf from that came in earlier slices
	flying  bool
	spoiled bool   // the slice on its way is worth nothing
	floor   uint64 // no slice before this batch is durable
	notes   map[uint16][]fresh
	count   int
	drift   []uint16
}

// fresh is the newest version of a key written while its leaf waits.
type fresh struct {
	bucket  hashring.BucketID
	hash    uint64
	version uint64
	seq     uint64
}

func newScan() *scan { return &scan{notes: make(map[uint16][]fresh)} }

func (s *scan) wants(leaf uint16) bool { return leaf >= s.from }

func (s *scan) note(leaf uint16, f fresh) {
	row := s.notes[leaf]
	if i := findFresh(row, f.bucket, f.hash); i >= 0 {
		row[i] = f
		return
	}
	if s.count >= MaxNotes {
		clear(s.notes)
		s.count, row = 0, nil
		s.spoiled, s.floor = s.flying, f.seq // what was noted before is durable by then
		s.held, s.after = nil, Pos{Leaf: s.from}
	}
	s.notes[leaf] = append(row, f)
	s.count++
}

func findFresh(row []fresh, b hashring.BucketID, hash uint64) int {
	return slices.IndexFunc(row, func(f fresh) bool { return f.bucket == b && f.hash == hash })
}

// settle drops the notes that every later slice will show. A leaf of which rows are
// held keeps its notes: those rows are older.
func (s *scan) settle(durable uint64) {
	for leaf, row := range s.notes { // order-free: each leaf by itself
		if leaf == s.from && len(s.held) > 0 {
			continue
		}
		row = slices.DeleteFunc(row, func(f fresh) bool { return f.seq <= durable })
		s.count -= len(s.notes[leaf]) - len(row)
		if s.notes[leaf] = row; len(row) == 0 {
			delete(s.notes, leaf)
		}
	}
}

// Check begins to hold a known tree against the leaf rows (D5): Next and Absorb walk
// them as after a start, the tree stays in use, and Absorb returns the leaves found
// to differ once the walk is over. It does nothing while a scan is under way.
func (t *Tree) Check() {
	if t.scan == nil {
		t.scan = newScan()
	}
}

// Scanning tells whether slices are wanted, and the first leaf that waits.
func (t *Tree) Scanning() (from uint16, yes bool) {
	if t.scan == nil {
		return 0, false
	}
	return t.scan.from, true
}

// Next is the slice of leaf rows that the scan wants: all rows behind after, at most
// ScanRows and ScanBytes. No: none, one is on its way, or batches above durable, the
// newest that is, must be awaited first. durable is the batch number of Put.
func (t *Tree) Next(durable uint64) (after Pos, yes bool) {
	s := t.scan
	if s == nil || s.flying || durable < s.floor {
		return Pos{}, false
	}
	s.floor = 0
	s.settle(durable)
	s.flying = true
	return s.after, true
}

// Failed tells that the slice could not be read; Next asks for it again.
func (t *Tree) Failed() {
	if t.scan != nil {
		t.scan.flying = false
		t.scan.spoiled = false
	}
}

// Absorb takes the slice: rows of this tree's n in order, the place of the last row
// read, of whatever n, and whether there are more. When the walk is over, done: the
// tree is known; or, of a Check, drift lists the leaves in which tree and rows differ.
func (t *Tree) Absorb(rows []Row, last Pos, more bool) (drift []uint16, done bool) {
	s := t.scan
	if s == nil || !s.flying {
		return nil, false
	}
	s.flying = false
	if s.spoiled {
		s.spoiled = false
		return nil, false
	}
	for i := range rows {
		r := &rows[i]
		leaf := LeafOf(r.Hash)
		assert.That(r.Pos().Compare(s.after) > 0, "D5", "leaf row %v follows %v", r.Pos(), s.after)
		s.after = r.Pos()
		t.finishBelow(leaf)
		s.held = append(s.held, Row{Bucket: r.Bucket, Hash: r.Hash, Version: r.Version})
	}
	if more {
		if last.Compare(s.after) > 0 {
			t.finishBelow(last.Leaf)
			s.after = last
		}
		return nil, false
	}
	t.finishBelow(Leaves)
	t.scan, t.known = nil, true
	return s.drift, true
}

// finishBelow sums the leaves that have come whole.
func (t *Tree) finishBelow(leaf uint16) {
	s := t.scan
	for ; s.from < leaf; s.from++ {
		d := s.digest()
		switch {
		case !t.known:
			t.fill(s.from, d)
		case t.Leaf(s.from) != d:
			s.drift = append(s.drift, s.from)
		}
		s.held = s.held[:0]
		s.count -= len(s.notes[s.from])
		delete(s.notes, s.from)
	}
}

// digest is the leaf's: held rows, where no note knows better, and notes.
func (s *scan) digest() (d Digest) {
	notes := s.notes[s.from]
	for i := range s.held {
		if r := &s.held[i]; findFresh(notes, r.Bucket, r.Hash) < 0 {
			d.add(EntryHash(r.Bucket, r.Hash, r.Version))
		}
	}
	for _, f := range notes {
		if f.version != 0 {
			d.add(EntryHash(f.bucket, f.hash, f.version))
		}
	}
	return d
}
