package core

import (
	"errors"
	"slices"

	"github.com/quoratedb/quorate/hashring"
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
}

// Empty tells that there is nothing to commit.
func (b *Batch) Empty() bool {
	return len(b.Records) == 0 && len(b.Hints) == 0 && len(b.Counters) == 0 && b.HLCBound == 0
}

// RecordWrite replaces a key's record and its leaf row. The row's value is Object.Hash().
type RecordWrite struct {
	Partition uint32
	Bucket    hashring.BucketID
	Key       []byte
	Leaf      uint16
	Object    *version.Object // nil drops record and leaf row
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
	Hints      []HintCount
}

func (c *Counters) equal(o *Counters) bool {
	return c.Keys == o.Keys && c.Tombstones == o.Tombstones && c.Bytes == o.Bytes && slices.Equal(c.Hints, o.Hints)
}

// HintCount is what is held for one target.
type HintCount struct {
	Target hashring.SID
	Hints  uint64
	Bytes  uint64
}

// LoadKind says what a load walks.
type LoadKind uint8

const (
	LoadRecords LoadKind = iota + 1 // of one bucket in one partition, in key order
	LoadHints                       // of one partition for one target, in (bucket, key) order
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
}

// LoadSliceBytes bounds one slice of a load.
const LoadSliceBytes = 256 << 10

// Loaded is the result of a Load.
type Loaded struct {
	Token uint64
	Rows  []Row
	More  bool
	Err   error
}
