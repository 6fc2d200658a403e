package core

import (
	"errors"
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// ErrCorrupt is a record that is there and cannot be trusted (D4): quarantine,
// never "absent".
var ErrCorrupt = errors.New("record fails its checksum")

// Engine is what a shard reads synchronously: point records of settled data. Its
// objects are shared and immutable. An absent row is nil without error.
type Engine interface {
	Record(p uint32, b hashring.BucketID, key []byte) (*version.Object, error)
	Hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (*version.Object, uint64, error)
	// Counters of a partition; the zero value when there are none.
	Counters(p uint32) (Counters, error)
	StrongEngine
}

// StrongEngine is the same for strong partitions (PROTOCOLS.md, 3): what the store has
// of one at its start, the zero value when it has nothing, and point records as
// strong.Storage wants them. What cannot be trusted is an error, never absent (D4).
type StrongEngine interface {
	StrongSaved(p uint32) (strong.Saved, error)
	StrongEntry(p uint32, index uint64) (*strong.Entry, error)
	StrongValue(p uint32, generation uint64, b hashring.BucketID, key []byte) (*strong.Value, error)
	StrongCompletion(p uint32, generation uint64, id strong.RequestID) (*strong.Completion, error)
}

// Leaves is the number of leaves of a partition's hash tree. A key's leaf is the
// low bits of its hash (placement uses the high ones).
const Leaves = 4096

// LeafOf is the leaf of a key by its hash.
func LeafOf(hash uint64) uint16 { return uint16(hash % Leaves) }

// Batch is all durable effects of one step. The driver commits it as one synced
// write, batches in order of Seq, several together when they have gathered.
type Batch struct {
	Seq      uint64 // of the shard, from 1
	Records  []RecordWrite
	Hints    []HintWrite
	Counters []CountersWrite
	// HLCBound, when not zero, is the new durable bound of this shard's clock (E9).
	HLCBound version.HLC
	// Strong are the effects on strong partitions, in their order (D1).
	Strong []StrongWrite
}

// StrongWrite is one effect on a strong partition.
type StrongWrite struct {
	Partition uint32
	strong.Write
}

// Empty tells that there is nothing to commit.
func (b *Batch) Empty() bool {
	return len(b.Records) == 0 && len(b.Hints) == 0 && len(b.Counters) == 0 && len(b.Strong) == 0 && b.HLCBound == 0
}

// RecordWrite replaces a key's record and its leaf row.
type RecordWrite struct {
	Partition uint32
	Bucket    hashring.BucketID
	Key       []byte
	Leaf      uint16
	Object    *version.Object // nil drops record and leaf row
	Version   uint64          // Object.Hash() if it is known already; see LeafVersion
}

// Count adds a record to the counters.
func (c *Counters) Count(o *version.Object) { c.count(o, +1) }

// LeafVersion is the value of the leaf row.
func (w *RecordWrite) LeafVersion() uint64 {
	if w.Version != 0 {
		return w.Version
	}
	return w.Object.Hash()
}

// HintWrite replaces or drops one hint.
type HintWrite struct {
	Partition uint32
	Bucket    hashring.BucketID
	Key       []byte
	Target    hashring.SID
	Gen       uint64
	Object    *version.Object // nil drops the hint
}

// CountersWrite replaces a partition's counters.
type CountersWrite struct {
	Partition uint32
	Counters  Counters
}

// Counters is kept per partition in the batch of the write that changes it.
type Counters struct {
	Keys       uint64 // records with a live value
	Tombstones uint64 // records that are only tombstones
	Bytes      uint64 // about, of the records
	Expiring   uint64 // records with a live value that expires some time (E8)
	// Hints are the lines of the shard's hint book (E3), by target.
	Hints []antientropy.HintLine
}

func (c *Counters) equal(o *Counters) bool {
	return c.Keys == o.Keys && c.Tombstones == o.Tombstones && c.Bytes == o.Bytes && c.Expiring == o.Expiring && slices.Equal(c.Hints, o.Hints)
}

// LoadKind says what a load walks.
type LoadKind uint8

const (
	LoadRecords LoadKind = iota + 1 // of one bucket in one partition, in key order
	LoadHints                       // of one partition for one target, in (bucket, key) order
	// LoadLeafRows: leaf rows of one partition in the order of antientropy.Pos, behind
	// LeafAfter, up to LeafUpto; of Leaves, which rise, or of all if there are none.
	// Rows have Bucket, Key and Version.
	LoadLeafRows
	// LoadObjects: the records of Keys, in their order; Object is nil where there is
	// none. One that cannot be trusted is a Damaged row and does not end the slice.
	LoadObjects
	// LoadPurgeable: the records of one partition that a purge round concerns, by bucket
	// and key behind those of LeafAfter (its Leaf is 0): only tombstones, or a sibling
	// that expires at or before AtMS. A slice ends also after a bounded walk that found
	// nothing, so there may be More without a row; damaged records are left out.
	LoadPurgeable
	// LoadScrubRecords walks all records of one partition, by bucket and key behind those
	// of LeafAfter, each against its checksum and its leaf row as of the same moment. Only
	// those that are wrong come back, as Damaged rows; Walked and Bytes say what was read.
	// Keys are the buckets there are, with their names as keys: those decide the leaf of
	// a record. Records of other buckets are passed over.
	LoadScrubRecords
	// LoadScrubLeaves walks all leaf rows behind LeafAfter, each against its record.
	LoadScrubLeaves
	// LoadStrong: a slice of the values or the completion records (Part) of a generation of
	// a strong partition, behind After: Loaded.Strong, Next, More.
	LoadStrong
	// LoadStrongLive: live values of one bucket of a generation in key order, as for
	// LoadRecords (Prefix, Start, After, Brief): rows have Key and Strong.
	LoadStrongLive
)

// Load is a read that may be long. It comes back as one Loaded event with at most
// MaxRows rows and about MaxBytes bytes, of durable state only.
type Load struct {
	Token     uint64
	Kind      LoadKind
	Partition uint32
	Bucket    hashring.BucketID
	Prefix    []byte
	Start     []byte // records: inclusive key
	After     []byte // records: exclusive key; hints: opaque cursor; nil: from the start
	Target    hashring.SID
	MaxRows   int
	MaxBytes  int
	Brief     bool // without values

	Leaves    []uint16        // leaf rows
	LeafAfter antientropy.Pos // leaf rows, purgeable: exclusive; zero: from the start
	LeafUpto  antientropy.Pos // leaf rows: inclusive; zero: to the end
	Keys      []Row           // objects: bucket and key; scrub of records: buckets and their names
	AtMS      int64           // purgeable: unix ms

	Part       strong.Part // strong
	Generation uint64      // strong, strong live
}

// LoadSliceBytes bounds one slice of a load.
const LoadSliceBytes = 256 << 10

// Loaded is the result of a Load.
type Loaded struct {
	Token uint64
	Rows  []Row
	// Last is the place of the last row that was looked at: leaf rows, purgeable. The
	// next slice goes on behind it.
	Last antientropy.Pos
	More bool
	Err  error
	// Walked and Bytes are the rows and bytes read, Counted what the records among them
	// count in the partition's counters, damaged ones left out: scrub.
	Walked, Bytes uint64
	Counted       Counters

	Strong []strong.Row // strong
	Next   []byte       // strong: where the next slice goes on
}
