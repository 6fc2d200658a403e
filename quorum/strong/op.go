package strong

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// OpKind is what a client wants done to a key.
type OpKind uint8

// The kinds.
const (
	OpPut OpKind = iota + 1
	OpDelete
	OpIncrement
)

// MaxMatches bounds the versions of one Condition: a client compares with what it has
// seen, which is one version, or few.
const MaxMatches = 16

// Condition of a write; zero: none. The versions are alternatives, all else must hold.
type Condition struct {
	IfMatch     Version   // the key holds just this
	Or          []Version // or one of these; only beside IfMatch, together at most MaxMatches
	IfPresent   bool      // the key holds something: If-Match: *
	IfNoneMatch bool      // the key holds nothing: If-None-Match: *
}

// Holds tells whether a key that holds old may be written; nil is absent, and a
// tombstone is nothing.
func (c *Condition) Holds(old *Value) bool {
	if !old.Live() {
		return c.IfMatch.IsZero() && !c.IfPresent
	}
	return !c.IfNoneMatch && (c.IfMatch.IsZero() || old.Version == c.IfMatch || slices.Contains(c.Or, old.Version))
}

// Op is a write at the primary.
type Op struct {
	Kind        OpKind
	Bucket      hashring.BucketID
	Key         []byte
	Data        []byte
	ContentType string
	Sum         uint32
	Delta       int64 // OpIncrement
	If          Condition
	// ID makes repeats of the request act once. Only a request with an id may be sent
	// again once it may have been sequenced.
	ID       RequestID
	Deadline time.Duration // in Now.Mono
	Waiter   any           // comes back with the Reply
}

// digest tells requests apart that use the same id.
func (o *Op) digest() uint64 {
	const prime = 1099511628211 // FNV-1a, 64 bits
	h := uint64(14695981039346656037)
	word := func(v uint64) {
		for i := range 8 {
			h = (h ^ v>>(8*i)&0xff) * prime
		}
	}
	bytes := func(b []byte) {
		word(uint64(len(b)))
		for _, c := range b {
			h = (h ^ uint64(c)) * prime
		}
	}
	word(uint64(o.Kind))
	word(uint64(o.Bucket))
	bytes(o.Key)
	bytes(o.Data)
	bytes([]byte(o.ContentType))
	word(uint64(o.Delta))
	version := func(v Version) {
		word(v.Incarnation)
		word(v.Epoch)
		word(v.Index)
	}
	version(o.If.IfMatch)
	if o.If.IfNoneMatch {
		word(1)
	}
	if o.If.IfPresent {
		word(2)
	}
	for _, v := range o.If.Or {
		version(v)
	}
	return h
}

// Level of a read.
type Level uint8

const (
	// Leader: by the primary, confirmed by a round begun after the read came in.
	Leader Level = iota
	// Validated: by any replica, at an index that the primary has confirmed.
	Validated
	// Stale: what this replica has applied.
	Stale
	// Lease: by the primary, at once if it holds a lease, else as Leader.
	Lease
)

// Read of one key at this replica. (Quorum reads are a QuorumRead.)
type Read struct {
	Level    Level
	Bucket   hashring.BucketID
	Key      []byte
	Deadline time.Duration
	Waiter   any
}

// Outcome class of a request; closed (3.5).
type Outcome uint8

const (
	// OK: it is done.
	OK Outcome = iota + 1
	// No: this copy of the request was not applied and never will be.
	No
	// Unknown: it may have been applied, or may be later.
	Unknown
)

func (o Outcome) String() string { return [...]string{"none", "ok", "no", "unknown"}[o&3] }

// Code says why.
type Code uint8

const (
	Done               Code = iota
	NotPrimary              // no: this store is not leading; Reply.Primary may be
	PreconditionFailed      // no: the condition did not hold; Reply.Value is what the key held
	NotCounter              // no: an increment of something that is not a counter
	CounterRange            // no: the counter would leave 64 bits
	IDMismatch              // no: the request id was used for something else
	IDStamp                 // no: the request id's stamp is in the future
	IDExpired               // unknown: the request id's stamp is older than the window
	Contention              // no: too many writes of this key wait
	Overloaded              // no: too much waits here
	Timeout                 // the deadline passed: unknown once sequenced, no before
	PrimaryChanged          // the role was lost meanwhile: unknown once sequenced, no before
	Corrupt                 // no: a record here cannot be trusted
	Redirect                // no: a replica that cannot prove itself; ask the primary
	CodeCount
)

var codeNames = [CodeCount]string{"done", "not_primary", "precondition_failed", "not_counter", "counter_range", "id_mismatch", "id_stamp",
	"id_expired", "contention", "overloaded", "timeout", "primary_changed", "corrupt", "redirect"}

func (c Code) String() string {
	if c < CodeCount {
		return codeNames[c]
	}
	return "unknown"
}

// Reply to an Op or a Read.
type Reply struct {
	Waiter  any
	Outcome Outcome
	Code    Code
	Epoch   uint64       // of this store's configuration
	Primary hashring.SID // with NotPrimary and Redirect: by that configuration
	Version Version      // of the write; of a refusal: what the key held
	Count   int64        // OpIncrement: the counter after it
	Value   *Value       // reads and refusals; nil: absent. May be a tombstone
	Applied uint64       // reads: the log index at which Value was read
	Members int          // writes: stores in the sets
	Acks    int          // writes: of them, had synced the entry by then
	Again   bool         // a write done before, by another copy of the request
	Lease   bool         // a read that was answered by a lease
}
