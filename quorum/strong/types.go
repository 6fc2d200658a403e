package strong

import (
	"cmp"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// Now is the time as an argument. Mono never goes back while the process lives and is
// for deadlines and retries; WallMS is unix milliseconds and only stamps log entries. Boot
// runs while the machine is suspended, and is read after everything that comes with a step
// has come in; 0 where there is no such clock, or no leases.
type Now struct {
	Mono   time.Duration
	WallMS int64
	Boot   time.Duration
}

// Position of an entry in a partition's log. Logs are compared by it, epoch first:
// never by length alone (3.2).
type Position struct {
	Epoch, Index uint64
}

// Compare orders positions by epoch, then index.
func (p Position) Compare(o Position) int {
	if c := cmp.Compare(p.Epoch, o.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(p.Index, o.Index)
}

func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Epoch, p.Index) }

// Version of a value: its ETag. Never reused (S16), and it grows with every write of
// the partition, so it serves as a fencing token.
type Version struct {
	Incarnation, Epoch, Index uint64
}

// IsZero tells that there is no version: the key was never written.
func (v Version) IsZero() bool { return v == Version{} }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Incarnation, v.Epoch, v.Index) }

// RequestID is an Idempotency-Key: the client's stamp, and its random part as the
// front end has hashed it. Zero: none.
type RequestID struct {
	StampMS int64
	Nonce   [16]byte
}

// IsZero tells that the request has no id.
func (r RequestID) IsZero() bool { return r == RequestID{} }

// Value is what a key holds after an entry has been applied. Immutable.
type Value struct {
	Version     Version
	Tombstone   bool
	Counter     bool // Data is a decimal number that increments may change
	Data        []byte
	ContentType string
	Sum         uint32 // CRC-32C of Data, made by the client's front end, checked by every reader
}

// Live tells whether there is something to read.
func (v *Value) Live() bool { return v != nil && !v.Tombstone }

// Size is about the bytes of the value as encoded; 0 of nil.
func (v *Value) Size() int {
	if v == nil {
		return 0
	}
	return 48 + len(v.Data) + len(v.ContentType)
}

// Kind of an entry.
type Kind uint8

const (
	// Barrier opens an epoch: older entries commit only beneath it (S5).
	Barrier Kind = iota + 1
	// Effect sets one key to one value.
	Effect
	// Refusal changes nothing: it keeps the answer to a refused request that has an
	// id, so that every copy of the request is refused.
	Refusal
)

func (k Kind) String() string { return [...]string{"none", "barrier", "effect", "refusal"}[k&3] }

// Entry of the log: what the primary decided, so that followers only apply. The codec
// puts a checksum around it. Immutable.
type Entry struct {
	Epoch, Index uint64
	Kind         Kind
	TimeMS       int64 // the log's time: never below that of the entry before
	Bucket       hashring.BucketID
	Key          []byte
	Value        *Value      // Effect: its Version is of this entry
	Old          uint64      // Effect: SumOf the value that it replaces, so that nobody has to read it again
	Done         *Completion // of the request that asked for it, if it has an id
}

// At is the entry's place.
func (e *Entry) At() Position { return Position{e.Epoch, e.Index} }

// Size is about the bytes of the entry as encoded.
func (e *Entry) Size() int {
	n := 48 + len(e.Key)
	if e.Value != nil {
		n += 48 + len(e.Value.Data) + len(e.Value.ContentType)
	}
	if e.Done != nil {
		n += 96
	}
	return n
}

func (e *Entry) String() string {
	switch {
	case e.Kind == Barrier:
		return fmt.Sprintf("%v barrier", e.At())
	case e.Kind == Refusal:
		return fmt.Sprintf("%v refusal %v", e.At(), e.Done.Code)
	case e.Value.Tombstone:
		return fmt.Sprintf("%v delete %s", e.At(), e.Key)
	}
	return fmt.Sprintf("%v %s=%s", e.At(), e.Key, e.Value.Data)
}

// Completion is the outcome of a request with an id, kept for the window of such ids
// (3.5) beside the data, in the same batch (S12).
type Completion struct {
	ID      RequestID
	Digest  uint64  // of what was asked, so that an id cannot be used for two things
	Code    Code    // Done, or why it was refused
	Version Version // of the effect; of a refusal: what the key held
	Count   int64   // the counter after an increment
}

// Config is a partition's part of the ring state (section 1): who orders, who counts.
type Config struct {
	Epoch       uint64
	Incarnation uint64 // grows by a forced recovery (T5) only
	Primary     hashring.SID
	Sets        [][]hashring.SID // [V], or joint [V, V']
	Activated   bool
	Learners    []hashring.SID // get the log and count for nothing
}

// Hard is the durable row of a partition, written whole. Everything in it may be lost
// only together with what it speaks of: it goes into the same batches.
type Hard struct {
	Promised  uint64   // epochs below it are refused for ever (S2)
	Base      Position // the log begins behind it
	Commit    uint64   // a hint: at least this much is committed
	Applied   uint64   // the values of Generation stand here
	LogTimeMS int64    // of the newest applied entry
	// Generation of the values and completions that count. A snapshot is written
	// beside them as the next one, and this number switches over.
	Generation uint64
	// Sum over the live values of Generation at Applied, kept by the effects (D5).
	Sum uint64
	// Diverged: the values do not add up to it. The log stands, the values are pulled
	// anew; until then nothing is read from them and this store does not lead.
	Diverged bool
	// Lease is the longest for which this store may have lent its promise (S11).
	Lease time.Duration
}

// Header is what the replica remembers of an entry without holding it.
type Header struct {
	Epoch     uint64
	Size      uint32
	Tombstone bool
}

// HeaderOf an entry.
func HeaderOf(e *Entry) Header { return header(e) }

// Saved is what a store read of a partition when it started.
type Saved struct {
	Hard Hard
	Log  []Header // of the entries Base.Index+1, +2, ...
	// Suspect: the store may have forgotten something it once promised or acked (D2,
	// D4). It attests nothing and counts for nothing.
	Suspect bool
}
