package api

import "github.com/quoratedb/quorate/node/core"

// Code is one row of the contract's error table. The numbers are local; clients
// see the names.
type Code uint8

const (
	OK Code = iota
	InvalidArgument
	UnknownParameter
	ContextInvalid
	DigestMismatch
	Unauthenticated
	PermissionDenied
	KeyNotFound
	BucketNotFound
	NotFound
	MethodNotAllowed
	UnsupportedMedia
	Conflict
	SiblingLimit
	IdempotencyInFlight
	IdempotencyExpired
	PreconditionFailed
	ValueTooLarge
	KeyTooLong
	NotOwner
	ConditionalNeedsStrong
	QuorumImpossible
	IdempotencyMismatch
	NotSupported
	RateLimited
	HotKeyThrottled
	Overloaded
	Draining
	Starting
	QuorumUnavailable
	PrimaryUnavailable
	StaleReplica
	ReadQuorumTimeout
	WriteQuorumTimeout
	ReplicaFailure
	PrimaryChanged
	InsufficientStorage
	Internal
	ClockSkew
	CodeCount
)

// Row is what the contract says of one code.
type Row struct {
	Name    string
	Status  int          // as in HTTP
	Outcome core.Outcome // of a write; OutcomeNone: the code belongs to reads
	// Retryable: the same request may be sent again and may then succeed. After a
	// code with outcome unknown only with the same Idempotency-Key or context.
	Retryable bool
	Title     string
}

// Table is the only place that maps verdicts to statuses, fates and advice.
var Table = [CodeCount]Row{
	OK: {"ok", 200, core.Applied, false, ""},

	InvalidArgument:  {"invalid_argument", 400, core.NotApplied, false, "The request is malformed"},
	UnknownParameter: {"unknown_parameter", 400, core.NotApplied, false, "The route has no such query parameter"},
	ContextInvalid:   {"context_invalid", 400, core.NotApplied, false, "The causal token is not valid for this key"},
	DigestMismatch:   {"digest_mismatch", 400, core.NotApplied, false, "The body does not match its digest"},

	Unauthenticated:  {"unauthenticated", 401, core.NotApplied, false, "Credentials are needed"},
	PermissionDenied: {"permission_denied", 403, core.NotApplied, false, "The request is not allowed"},

	KeyNotFound:    {"key_not_found", 404, core.OutcomeNone, false, "The key has no value"},
	BucketNotFound: {"bucket_not_found", 404, core.NotApplied, false, "There is no such bucket"},
	NotFound:       {"not_found", 404, core.NotApplied, false, "There is no such route"},

	MethodNotAllowed: {"method_not_allowed", 405, core.NotApplied, false, "The route does not take this method"},
	UnsupportedMedia: {"unsupported_media", 415, core.NotApplied, false, "The body's media type or coding is not taken"},

	Conflict:            {"conflict", 409, core.NotApplied, false, "What is there is of another kind"},
	SiblingLimit:        {"sibling_limit", 409, core.NotApplied, false, "The key has too many siblings"},
	IdempotencyInFlight: {"idempotency_in_flight", 409, core.NotApplied, false, "The first request with this key is still running"},
	IdempotencyExpired:  {"idempotency_expired", 409, core.Unknown, false, "The idempotency key is too old"},
	PreconditionFailed:  {"precondition_failed", 412, core.NotApplied, false, "The version is another one"},
	ValueTooLarge:       {"value_too_large", 413, core.NotApplied, false, "The body is too large"},
	KeyTooLong:          {"key_too_long", 414, core.NotApplied, false, "The key is too long"},
	NotOwner:            {"not_owner", 421, core.NotApplied, true, "This node does not own the key"},

	ConditionalNeedsStrong: {"conditional_needs_strong", 422, core.NotApplied, false, "Conditional requests need a strong bucket"},
	QuorumImpossible:       {"quorum_impossible", 422, core.NotApplied, false, "More replicas were asked for than there are"},
	IdempotencyMismatch:    {"idempotency_mismatch", 422, core.NotApplied, false, "The idempotency key was used for another request"},
	NotSupported:           {"not_supported", 422, core.NotApplied, false, "This is reserved and not supported yet"},

	RateLimited:     {"rate_limited", 429, core.NotApplied, true, "Too many requests"},
	HotKeyThrottled: {"hot_key_throttled", 429, core.NotApplied, true, "The key is too hot"},

	Overloaded:         {"overloaded", 503, core.NotApplied, true, "The node is at its limit"},
	Draining:           {"draining", 503, core.NotApplied, true, "The node is being stopped"},
	Starting:           {"starting", 503, core.NotApplied, true, "The node is starting"},
	QuorumUnavailable:  {"quorum_unavailable", 503, core.NotApplied, true, "Too few replicas can be reached"},
	PrimaryUnavailable: {"primary_unavailable", 503, core.NotApplied, true, "The partition has no active primary"},
	StaleReplica:       {"stale_replica", 503, core.OutcomeNone, true, "No replica has what the session saw"},

	ReadQuorumTimeout:   {"read_quorum_timeout", 504, core.OutcomeNone, true, "Too few replicas answered in time"},
	WriteQuorumTimeout:  {"write_quorum_timeout", 504, core.Unknown, true, "Too few replicas acknowledged in time"},
	ReplicaFailure:      {"replica_failure", 503, core.Unknown, true, "Replicas failed during the request"},
	PrimaryChanged:      {"primary_changed", 503, core.Unknown, true, "The primary changed during the request"},
	InsufficientStorage: {"insufficient_storage", 507, core.NotApplied, false, "Too few replicas have free space"},
	Internal:            {"internal", 500, core.Unknown, false, "The node failed to serve the request"},
	ClockSkew:           {"clock_skew", 503, core.NotApplied, true, "The key's newest stamp is too far ahead of this node's clock"},
}

// coreCodes maps the core's verdicts into the table.
var coreCodes = [core.CodeCount]Code{
	core.OK:                  OK,
	core.KeyNotFound:         KeyNotFound,
	core.BucketNotFound:      BucketNotFound,
	core.InvalidArgument:     InvalidArgument,
	core.ContextInvalid:      ContextInvalid,
	core.SiblingLimit:        SiblingLimit,
	core.ValueTooLarge:       ValueTooLarge,
	core.NotOwner:            NotOwner,
	core.QuorumImpossible:    QuorumImpossible,
	core.NotSupported:        NotSupported,
	core.Overloaded:          Overloaded,
	core.Draining:            Draining,
	core.Starting:            Starting,
	core.QuorumUnavailable:   QuorumUnavailable,
	core.StaleReplica:        StaleReplica,
	core.ReadTimeout:         ReadQuorumTimeout,
	core.WriteTimeout:        WriteQuorumTimeout,
	core.ReplicaFailure:      ReplicaFailure,
	core.InsufficientStorage: InsufficientStorage,
	core.Internal:            Internal,
	core.ClockSkew:           ClockSkew,
	core.PreconditionFailed:  PreconditionFailed,
	core.Conflict:            Conflict,
	core.IdempotencyExpired:  IdempotencyExpired,
	core.IdempotencyMismatch: IdempotencyMismatch,
	core.Contention:          HotKeyThrottled,
	core.PrimaryUnavailable:  PrimaryUnavailable,
	core.PrimaryChanged:      PrimaryChanged,
}

func (c Code) String() string {
	if c < CodeCount {
		return Table[c].Name
	}
	return Table[Internal].Name
}

// CodeOf is the row of a core verdict.
func CodeOf(c core.Code) Code {
	if c < core.CodeCount {
		return coreCodes[c]
	}
	return Internal
}
