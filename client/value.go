package client

import (
	"strconv"
	"time"
)

// Context is an opaque token: what a client has seen of one key. A write that
// carries it replaces exactly that. It may be stored and passed on as text; it is of
// use for its own bucket and key only.
type Context string

// Receipt is what really happened to a request, counted by store.
type Receipt struct {
	N         int // owners the key has
	Need      int // W or R that was asked for
	Acks      int // distinct stores that counted
	Owners    int // of which owners
	Fallbacks int // of which stand-ins
	Synced    int // writes: stores that had fsynced before they acknowledged
}

func (r Receipt) String() string {
	b := make([]byte, 0, 64)
	for i, f := range [...]struct {
		name string
		v    int
	}{{"n=", r.N}, {"need=", r.Need}, {"acks=", r.Acks}, {"owners=", r.Owners}, {"fallbacks=", r.Fallbacks}, {"synced=", r.Synced}} {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(append(b, f.name...), int64(f.v), 10)
	}
	return string(b)
}

// Value is what a read saw.
type Value struct {
	// Data of the value; nil when there are several (see Siblings).
	Data        []byte
	ContentType string
	Size        int64 // bytes of the value; of Head too

	// Siblings are the values of concurrent writes, newest first, when there are two or
	// more and Newest was not asked for. Merge them, or choose, and write the result
	// with Context: that write replaces all of them.
	Siblings []Sibling
	// Count of siblings there are; above 1 with Newest too.
	Count int

	Context Context // to write with
	ETag    ETag    // the version
	Receipt Receipt
	Node    string // that coordinated

	// Stale marks an answer to Consistency(Stale): some committed past state, as it was
	// when the node had applied its partition's log up to Applied.
	Stale   bool
	Applied uint64
}

// Conflicting tells that there are several values and Data is none of them.
func (v *Value) Conflicting() bool { return len(v.Siblings) > 1 }

// Sibling is one of several concurrent values.
type Sibling struct {
	Data        []byte
	ContentType string
	ETag        ETag
	// Stamp is the hybrid clock of its write: a unix time in milliseconds and a counter
	// below. It orders siblings for people; it decides nothing.
	Stamp uint64
}

// Time of the write by its coordinator's clock.
func (s *Sibling) Time() time.Time { return time.UnixMilli(int64(s.Stamp >> stampShift)) }

// stampShift is where the milliseconds of a stamp begin.
const stampShift = 16

// Result is an applied write.
type Result struct {
	Context Context // covers what the write carried and itself, nothing else
	ETag    ETag    // of what was written; of a strong bucket, its version and a fencing token
	Receipt Receipt
	Node    string // that coordinated
	// Created: the key held nothing before. Only IfAbsent tells.
	Created bool
	// Attempts it took; above 1 the write may have been sent twice, under one
	// idempotency key.
	Attempts int
}
