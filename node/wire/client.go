package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// The messages between a client and a node, by frames. docs/FRAMES.md has the byte
// tables. Like all of this package they are canonical: a bit that is set for an
// empty field, and a bit without a meaning, are refused.
//
// Everything that is text stands together, behind the numbers, so that decoding
// makes one string of it and cuts that up: a usual PUT or GET is decoded with one
// allocation, and with none where the same text came before (TextCache).

// ClientMin and ClientMax are the versions of these messages that this binary
// speaks. The hello picks one for a connection.
// Version 2 brought strong buckets: an increment, and Strong in replies.
const ClientMin, ClientMax uint16 = 1, 2

// Bounds of what the decoders accept. Those of a request are wider than the
// contract's, so that what is too long is refused by the contract's own error.
const (
	// MaxClientKey in bytes.
	MaxClientKey = 16 << 10
	// MaxClientText in bytes of one text of a request: a context of
	// version.MaxContextActors process starts takes 25 KiB.
	MaxClientText = 32 << 10
	// MaxClientRequest in bytes of one encoded request: the largest value, and room for
	// the rest at its bounds.
	MaxClientRequest = core.MaxValue + 256<<10
	// MaxClientReply in bytes of one encoded reply: an object at its bound with all
	// that stands around it.
	MaxClientReply = MaxMessage
)

// ClientOp is what a client asks for.
type ClientOp uint8

// The operations. Ring answers with the ring as /v1/cluster/ring does, in JSON.
const (
	ClientGet ClientOp = iota + 1
	ClientHead
	ClientPut
	ClientDelete
	ClientRing
	ClientIncrement // of a counter; from version 2 on
	clientOpEnd
)

var clientOpNames = [clientOpEnd]string{"", "get", "head", "put", "delete", "ring", "increment"}

func (o ClientOp) String() string {
	if o < clientOpEnd {
		return clientOpNames[o]
	}
	return "unknown"
}

// Write tells that the operation may change something.
func (o ClientOp) Write() bool { return o == ClientPut || o == ClientDelete || o == ClientIncrement }

// ClientRequest is one request of a client. The zero value of each member but Op,
// Bucket and Key means that it is not given. Nothing is checked here beyond the
// bounds above: node/api has the rules.
type ClientRequest struct {
	Op             ClientOp
	Bucket         string // at most 255 bytes
	Key            []byte
	Value          []byte // of a put; nil and empty are the same
	ContentType    string
	Context        string // token
	ReadAfter      string // token
	Consistency    string
	R, W, PW       uint32 // at most 1<<31 - 1
	Sloppy         core.Tri
	TTL, Timeout   time.Duration // not below 0
	OwnerOnly      bool
	Newest         bool
	IfMatch        string
	IfNoneMatch    string
	IdempotencyKey string
	RingVersion    uint64
	Delta          int64 // of an increment
}

// ClientReply is the verdict on one request. With Status 400 and above, Code and
// what belongs to an error are set.
type ClientReply struct {
	Status     uint16 // as HTTP has it
	Outcome    core.Outcome
	Retryable  bool
	Code       string // "" for a success
	Detail     string
	RetryAfter time.Duration // whole milliseconds
	// Quorum tells that Receipt and Failed belong to an error.
	Quorum bool
	Failed []ClientFailure
	Owners []string // node names, of not_owner

	HasETag bool
	ETag    uint64 // the version; api.AppendETag writes it
	Context string // token
	// Token is Context in a buffer of the sender's, who sets one of both. Decoding
	// never sets it.
	Token []byte

	Receipt     ClientReceipt
	RingVersion uint64
	HasPlace    bool // Epoch and Partition are given
	Epoch       uint64
	Partition   uint32
	ServedBy    string // node name
	RequestID   [16]byte

	Siblings    uint32 // live siblings there are; 0: not said, as of 1
	ContentType string
	Size        uint64          // bytes of the value; of HEAD too
	Value       []byte          // status 200, but of HEAD
	Values      []ClientSibling // status 300, newest first

	// Strong is what strong buckets have to tell; a connection of version 1 cannot carry
	// it, and whoever encodes for one leaves it zero.
	Strong ClientStrong
}

// ClientStrong belongs to a reply of a strong bucket; zero: it is of none.
type ClientStrong struct {
	Version strong.Version // the ETag; zero: there is none
	Level   core.Level     // of a read: how it was done
	Stale   bool           // Applied is the log index that a stale read shows
	Applied uint64
	Again   bool // of a write: it was done before, by another copy of the request
	Counted bool // Count is the counter after an increment
	Count   int64
}

// ClientReceipt is quorum.Receipt.
type ClientReceipt struct{ N, Need, Acks, Owners, Fallbacks, Synced uint32 }

// ClientFailure is one node that did not count, and why.
type ClientFailure struct{ Node, Reason string }

// ClientSibling is one of several concurrent values.
type ClientSibling struct {
	Actor, Counter uint64 // its dot, which is its ETag
	HLC            uint64
	ContentType    string
	Value          []byte
}

// TextCache remembers the text of the last request decoded, so that a connection
// on which it is always the same makes one string of it. The zero value is empty.
type TextCache struct{ last string }

func (c *TextCache) of(b []byte) string {
	if c == nil {
		return string(b)
	}
	if string(b) != c.last { // compares without an allocation
		c.last = string(b)
	}
	return c.last
}

// ErrTooLarge is a request that no node would take.
var ErrTooLarge = errors.New("the request is too large to be sent")

// Check tells whether r can be encoded: ErrTooLarge if not.
func (r *ClientRequest) Check() error {
	if len(r.Bucket) > maxClientBucket || len(r.Key) > MaxClientKey || len(r.Value) > MaxClientValue {
		return fmt.Errorf("%w: bucket of %d, key of %d, value of %d bytes", ErrTooLarge, len(r.Bucket), len(r.Key), len(r.Value))
	}
	if r.R > maxClientCount || r.W > maxClientCount || r.PW > maxClientCount || r.TTL < 0 || r.Timeout < 0 {
		return fmt.Errorf("%w: r, w, pw, ttl or timeout", ErrTooLarge)
	}
	for _, t := range r.texts() {
		if len(*t) > MaxClientText {
			return fmt.Errorf("%w: a text of %d bytes", ErrTooLarge, len(*t))
		}
	}
	return nil
}

const (
	maxClientBucket = 255
	maxClientCount  = 1<<31 - 1
	// MaxClientValue in bytes that are read, so that what is too large is refused by
	// the contract's own error.
	MaxClientValue = MaxClientRequest
	// maxClientNames of one reply.
	maxClientNames = MaxStores
	// maxClientName in bytes: a node name or a reason.
	maxClientName = 256
)
