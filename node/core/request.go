package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// Limits of the contract (API.md); one place, used by the API, the codec and the core.
const (
	MaxKey          = 1024
	MaxValue        = 4 << 20 // hard cap; the configured limit is 1 MiB by default
	MaxObject       = 8 << 20 // all siblings together
	MaxContentType  = 256
	MaxSiblings     = 64 // a write with a stale context that would leave more is refused (E15)
	MaxListLimit    = 1000
	DefaultDeadline = 2 * time.Second
	MaxDeadline     = 60 * time.Second
)

// Op is what a client asks for.
type Op uint8

const (
	OpGet Op = iota + 1
	OpPut
	OpDelete
	OpInspect
	OpList
	OpIncrement // of a counter, in strong buckets
)

// Level is how a read of a strong bucket is done (PROTOCOLS.md, 3.4).
type Level uint8

const (
	LevelDefault Level = iota // leader
	LevelLeader               // by the primary, confirmed
	LevelQuorum               // by a majority, no primary involved
	LevelReplica              // by a replica that the primary has vouched for
	LevelStale                // what a replica has applied, labelled so
	LevelLease                // by the primary, at once if it holds a lease; else as LevelLeader, and the answer says so
)

// Count is a number of replicas as a client may give it: 0 takes the bucket's
// default, All means every owner there is.
type Count int8

// All asks for every owner there is.
const All Count = -1

// Tri is a client's optional yes or no.
type Tri uint8

const (
	Unset Tri = iota
	No
	Yes
)

// Request is one client request, parsed and checked once by its front end. The
// core does not change it.
type Request struct {
	Op     Op
	Bucket string
	Key    []byte // 1..MaxKey bytes
	// ID names the write across re-sends (E16); the front end draws it when the
	// client gave none.
	ID          version.RequestID
	Value       []byte
	ContentType string
	Sum         uint32 // CRC-32C of Value

	HasContext bool
	Context    version.Context // Quorate-Context of a write; bucket and key hash are checked here
	ReadFirst  bool            // the context is no client's: it was read for this try of a delete without one
	HasAfter   bool
	After      version.Context // Quorate-Read-After

	R, W, PW  Count
	Sloppy    Tri
	TTL       time.Duration // 0: the bucket's default
	Timeout   time.Duration // deadline from arrival, 0: DefaultDeadline
	OwnerOnly bool          // Quorate-Route: owner

	// Strong buckets only.
	Level    Level
	If       strong.Condition // of a write
	StrongID strong.RequestID // of a write: its Idempotency-Key; zero: none, and it is never sent twice
	Delta    int64            // OpIncrement

	// Hops counts forwards; a request is forwarded once and never bounces.
	Hops uint8

	List ListRequest // OpList

	// Waiter is the front end's own handle; it comes back untouched with the Reply
	// and never leaves the node.
	Waiter any
}

// ListRequest asks for one ordered page over all partitions.
type ListRequest struct {
	Prefix, Start []byte // Start is inclusive
	After         []byte // exclusive, from a cursor; nil: none
	Limit         int    // 1..MaxListLimit
	Values        bool
}

// Outcome is the fate of a write.
type Outcome uint8

const (
	OutcomeNone Outcome = iota // not a write
	NotApplied
	Applied
	Unknown
)

func (o Outcome) String() string {
	return [...]string{"", "not_applied", "applied", "unknown"}[o]
}

// Code is the verdict on a request. Names and HTTP statuses stand in API.md's error table.
type Code uint8

const (
	OK Code = iota
	KeyNotFound
	BucketNotFound
	InvalidArgument
	ContextInvalid
	SiblingLimit
	ValueTooLarge
	NotOwner
	QuorumImpossible
	NotSupported
	Overloaded
	Draining
	Starting
	QuorumUnavailable
	StaleReplica
	ReadTimeout
	WriteTimeout
	ReplicaFailure
	InsufficientStorage
	Internal
	ClockSkew // a write into a last-write-wins bucket would be stamped too far ahead (E9)

	// Of strong buckets.
	PreconditionFailed  // Reply.Strong has what the key held
	Conflict            // an increment of what is no counter, or out of 64 bits
	IdempotencyExpired  // outcome unknown
	IdempotencyMismatch // the id was used for another request
	Contention          // too many writes of this key wait
	PrimaryUnavailable  // not applied
	PrimaryChanged      // outcome unknown
	CodeCount
)

var codeNames = [CodeCount]string{"ok", "key_not_found", "bucket_not_found", "invalid_argument", "context_invalid",
	"sibling_limit", "value_too_large", "not_owner", "quorum_impossible", "not_supported", "overloaded", "draining",
	"starting", "quorum_unavailable", "stale_replica", "read_quorum_timeout", "write_quorum_timeout", "replica_failure",
	"insufficient_storage", "internal", "clock_skew",
	"precondition_failed", "conflict", "idempotency_expired", "idempotency_mismatch", "hot_key_throttled", "primary_unavailable", "primary_changed"}

func (c Code) String() string {
	if c < CodeCount {
		return codeNames[c]
	}
	return "internal"
}

// Reply answers one Request. For OK and KeyNotFound of a read, Object is the
// joined object (nil: nothing was ever there, or it was purged).
type Reply struct {
	Code    Code
	Outcome Outcome
	Detail  string // one sentence for a person, with the numbers; never keys or values

	Object  *version.Object
	Context version.Context // to hand to the client; Seen is empty when there is nothing to carry
	// NothingWritten marks a DELETE without a context that found all absent.
	NothingWritten bool

	Receipt quorum.Receipt
	Failed  []quorum.Failure
	Owners  []hashring.SID // with NotOwner

	RingVersion uint64
	Epoch       uint64
	Partition   uint32
	ServedBy    hashring.SID // store that coordinated
	RetryAfter  time.Duration

	Inspect []InspectRow
	List    *ListPage

	Strong *StrongReply // of strong buckets, where there is something to tell
}

// StrongReply is what only strong buckets have.
type StrongReply struct {
	// Version is the ETag: of a write the version it made, of a read that of Value, of a
	// failed precondition what the key held. Zero: there is none.
	Version strong.Version
	Value   *strong.Value // of a read; nil: absent. May be a tombstone
	Count   int64         // OpIncrement: the counter after it
	Level   Level         // of a read: how it was done
	Applied uint64        // of a read: log index of the state that it shows
	Again   bool          // of a write: it was done before, by another copy of the request
}

// InspectRow is what one store holds of a key.
type InspectRow struct {
	Store    hashring.SID
	Fallback bool
	State    ReplicaState
	Hash     uint64 // version.Object.Hash
	Dots     []version.Dot
	Size     int
	HLC      version.HLC
	InSync   bool
	Version  strong.Version // strong buckets: instead of Dots and HLC
}

// ReplicaState is what a replica has of a key.
type ReplicaState uint8

const (
	Present ReplicaState = iota
	TombstoneState
	Absent
	Unreachable
	Suspect  // out, or its record is quarantined
	Building // it does not have everything yet; what it has is not shown
	ReplicaStates
)

func (s ReplicaState) String() string {
	return [...]string{"present", "tombstone", "absent", "unreachable", "suspect", "building"}[s]
}

// ListPage is one page of a listing, in key order.
type ListPage struct {
	Rows []ListRow
	// Next is the last key of the page when there may be more, else nil.
	Next []byte
	// Complete is false when a partition could not be read: its keys are missing.
	Complete bool
}

// ListRow is one live key.
type ListRow struct {
	Key    []byte
	Object *version.Object // values only when they were asked for
	Strong *strong.Value   // of a strong bucket, instead of Object
}
