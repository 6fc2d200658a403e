package client

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Outcome is the fate of a write.
type Outcome uint8

// Fates of a write.
const (
	OutcomeNone Outcome = iota // not a write
	NotApplied                 // nothing happened, anywhere
	Applied
	Unknown // it may be there, or may appear
)

func (o Outcome) String() string {
	return [...]string{"none", "not_applied", "applied", "unknown"}[o]
}

func parseOutcome(s string) Outcome {
	switch s {
	case "not_applied":
		return NotApplied
	case "applied":
		return Applied
	case "unknown":
		return Unknown
	}
	return OutcomeNone
}

// Sentinels for errors.Is. Each stands for one code of the contract or a family.
var (
	// ErrNotFound: the key has no value. The *Error has the Context to write with.
	ErrNotFound = errors.New("the key has no value")
	// ErrBucketNotFound: there is no such bucket.
	ErrBucketNotFound = errors.New("there is no such bucket")
	// ErrNotModified: the value still has the ETag of IfNoneMatch.
	ErrNotModified = errors.New("the value has not changed")
	// ErrInvalid: the request can never succeed as it is (400, 405, 413, 414, 415, 422).
	ErrInvalid = errors.New("the request is not valid")
	// ErrPreconditionFailed: the key is not as IfMatch or IfAbsent wants it (412). The
	// *Error has the current ETag. It is ErrConflict too.
	ErrPreconditionFailed = errors.New("the key is not as the condition wants it")
	// ErrIdempotencyExpired: the write was named so long ago that nobody remembers any
	// more whether it was applied. It is not applied again.
	ErrIdempotencyExpired = errors.New("the idempotency key is too old")
	// ErrConflict: it clashes with what is there (409, 412).
	ErrConflict = errors.New("the request conflicts with what is there")
	// ErrUnavailable: too few nodes can serve it now (429, 503), or none can be reached.
	ErrUnavailable = errors.New("too few nodes can serve the request")
	// ErrOverloaded: a node shed it, or its rate is limited. It is ErrUnavailable too.
	ErrOverloaded = errors.New("the cluster is at its limit")
	// ErrTimeout: the time was over, here or at the replicas (504).
	ErrTimeout = errors.New("the time was over")
	// ErrOutcomeUnknown: the write may be there or may appear.
	ErrOutcomeUnknown = errors.New("it is not known whether the write was applied")
	// ErrStale: no replica has what the session saw.
	ErrStale = errors.New("no replica has what the session saw")
	// ErrIncomplete ends a listing in which some partition could not be read.
	ErrIncomplete = errors.New("the listing is not complete")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("the client is closed")
)

// Error is a failed call. Its text has no key and no value in it.
type Error struct {
	Op     string // "get", "put", "delete", ...
	Bucket string

	// Code is the contract's name of the failure, such as "quorum_unavailable". Codes
	// of this package: "unreachable" (no node answered), "timeout" (the caller's time
	// was over before any verdict), "canceled", "bad_answer".
	Code   string
	Status int // of HTTP; 0: no node answered
	// Outcome is the fate of the write over all attempts: once one of them may have
	// been applied, it stays Unknown whatever the later ones say.
	Outcome    Outcome
	Retryable  bool          // the same call may succeed later
	RetryAfter time.Duration // 0: the cluster named no time
	Detail     string        // one sentence for a person
	Quorum     *QuorumReport // nil: the request did not get that far

	Context   Context // of a deleted key: write with it
	ETag      ETag    // ErrPreconditionFailed: the current one; "": the key holds nothing
	Owners    []string
	Ring      uint64
	Epoch     uint64
	Partition uint32
	RequestID string
	Node      string // that answered
	Attempts  int
	// IdempotencyKey of a write: with it the call may be repeated where Outcome is
	// Unknown.
	IdempotencyKey string

	Err error // the cause, where it is not the node's verdict
}

// QuorumReport says how far a request got.
type QuorumReport struct {
	N, Need, Acks, Owners, Fallbacks int
	Failed                           []Failure
}

// Failure is one node that did not count, and why.
type Failure struct{ Node, Reason string }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("quorate: ")
	b.WriteString(e.Op)
	if e.Bucket != "" {
		b.WriteString(" in ")
		b.WriteString(e.Bucket)
	}
	b.WriteString(": ")
	b.WriteString(e.Code)
	if e.Outcome == Unknown || e.Outcome == NotApplied {
		b.WriteString(" (")
		b.WriteString(e.Outcome.String())
		b.WriteString(")")
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Attempts > 1 {
		b.WriteString(" [attempt ")
		b.WriteString(strconv.Itoa(e.Attempts))
		b.WriteString("]")
	}
	return b.String()
}

// Unwrap gives the cause: context.DeadlineExceeded and the like.
func (e *Error) Unwrap() error { return e.Err }

// Is compares with the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Code == codeKeyNotFound
	case ErrBucketNotFound:
		return e.Code == codeBucketNotFound
	case ErrInvalid:
		return e.Status == 400 || e.Status == 405 || e.Status >= 413 && e.Status <= 415 || e.Status == 422
	case ErrPreconditionFailed:
		return e.Code == codePrecondition
	case ErrIdempotencyExpired:
		return e.Code == codeIdempotencyExpired
	case ErrConflict:
		return e.Status == 409 || e.Status == 412
	case ErrUnavailable:
		return e.Status == 429 || e.Status == 503 || e.Code == codeUnreachable
	case ErrOverloaded:
		return e.Status == 429 || e.Code == codeOverloaded
	case ErrTimeout:
		return e.Status == 504 || e.Code == codeTimeout
	case ErrOutcomeUnknown:
		return e.Outcome == Unknown
	case ErrStale:
		return e.Code == codeStaleReplica
	case ErrClosed:
		return e.Code == codeClosed
	}
	return false
}
