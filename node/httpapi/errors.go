package httpapi

import (
	"net/http"

	"github.com/quoratedb/quorate/node/core"
)

// code is one row of the contract's error table. The numbers are local; clients
// see the names.
type code uint8

const (
	codeOK code = iota
	codeInvalidArgument
	codeUnknownParameter
	codeContextInvalid
	codeDigestMismatch
	codeUnauthenticated
	codePermissionDenied
	codeKeyNotFound
	codeBucketNotFound
	codeNotFound
	codeMethodNotAllowed
	codeUnsupportedMedia
	codeConflict
	codeSiblingLimit
	codeIdempotencyInFlight
	codeIdempotencyExpired
	codePreconditionFailed
	codeValueTooLarge
	codeKeyTooLong
	codeNotOwner
	codeConditionalNeedsStrong
	codeQuorumImpossible
	codeIdempotencyMismatch
	codeNotSupported
	codeRateLimited
	codeHotKeyThrottled
	codeOverloaded
	codeDraining
	codeStarting
	codeQuorumUnavailable
	codePrimaryUnavailable
	codeStaleReplica
	codeReadQuorumTimeout
	codeWriteQuorumTimeout
	codeReplicaFailure
	codePrimaryChanged
	codeInsufficientStorage
	codeInternal
	codeCount
)

// errorRow is what the contract says of one code.
type errorRow struct {
	name    string
	status  int
	outcome core.Outcome // of a write; OutcomeNone: the code belongs to reads
	// retryable: the same request may be sent again and may then succeed. After a
	// code with outcome unknown only with the same Idempotency-Key or context.
	retryable bool
	title     string
}

// errorTable is the only place that maps verdicts to HTTP.
var errorTable = [codeCount]errorRow{
	codeOK: {"ok", http.StatusOK, core.Applied, false, ""},

	codeInvalidArgument:  {"invalid_argument", http.StatusBadRequest, core.NotApplied, false, "The request is malformed"},
	codeUnknownParameter: {"unknown_parameter", http.StatusBadRequest, core.NotApplied, false, "The route has no such query parameter"},
	codeContextInvalid:   {"context_invalid", http.StatusBadRequest, core.NotApplied, false, "The causal token is not valid for this key"},
	codeDigestMismatch:   {"digest_mismatch", http.StatusBadRequest, core.NotApplied, false, "The body does not match its digest"},

	codeUnauthenticated:  {"unauthenticated", http.StatusUnauthorized, core.NotApplied, false, "Credentials are needed"},
	codePermissionDenied: {"permission_denied", http.StatusForbidden, core.NotApplied, false, "The request is not allowed"},

	codeKeyNotFound:    {"key_not_found", http.StatusNotFound, core.OutcomeNone, false, "The key has no value"},
	codeBucketNotFound: {"bucket_not_found", http.StatusNotFound, core.NotApplied, false, "There is no such bucket"},
	codeNotFound:       {"not_found", http.StatusNotFound, core.NotApplied, false, "There is no such route"},

	codeMethodNotAllowed: {"method_not_allowed", http.StatusMethodNotAllowed, core.NotApplied, false, "The route does not take this method"},
	codeUnsupportedMedia: {"unsupported_media", http.StatusUnsupportedMediaType, core.NotApplied, false, "The body's media type or coding is not taken"},

	codeConflict:            {"conflict", http.StatusConflict, core.NotApplied, false, "It exists with other properties"},
	codeSiblingLimit:        {"sibling_limit", http.StatusConflict, core.NotApplied, false, "The key has too many siblings"},
	codeIdempotencyInFlight: {"idempotency_in_flight", http.StatusConflict, core.NotApplied, false, "The first request with this key is still running"},
	codeIdempotencyExpired:  {"idempotency_expired", http.StatusConflict, core.Unknown, false, "The idempotency key is too old"},
	codePreconditionFailed:  {"precondition_failed", http.StatusPreconditionFailed, core.NotApplied, false, "The version is another one"},
	codeValueTooLarge:       {"value_too_large", http.StatusRequestEntityTooLarge, core.NotApplied, false, "The body is too large"},
	codeKeyTooLong:          {"key_too_long", http.StatusRequestURITooLong, core.NotApplied, false, "The key is too long"},
	codeNotOwner:            {"not_owner", http.StatusMisdirectedRequest, core.NotApplied, true, "This node does not own the key"},

	codeConditionalNeedsStrong: {"conditional_needs_strong", http.StatusUnprocessableEntity, core.NotApplied, false, "Conditional requests need a strong bucket"},
	codeQuorumImpossible:       {"quorum_impossible", http.StatusUnprocessableEntity, core.NotApplied, false, "More replicas were asked for than there are"},
	codeIdempotencyMismatch:    {"idempotency_mismatch", http.StatusUnprocessableEntity, core.NotApplied, false, "The idempotency key was used for another request"},
	codeNotSupported:           {"not_supported", http.StatusUnprocessableEntity, core.NotApplied, false, "This is reserved and not supported yet"},

	codeRateLimited:     {"rate_limited", http.StatusTooManyRequests, core.NotApplied, true, "Too many requests"},
	codeHotKeyThrottled: {"hot_key_throttled", http.StatusTooManyRequests, core.NotApplied, true, "The key is too hot"},

	codeOverloaded:         {"overloaded", http.StatusServiceUnavailable, core.NotApplied, true, "The node is at its limit"},
	codeDraining:           {"draining", http.StatusServiceUnavailable, core.NotApplied, true, "The node is being stopped"},
	codeStarting:           {"starting", http.StatusServiceUnavailable, core.NotApplied, true, "The node is starting"},
	codeQuorumUnavailable:  {"quorum_unavailable", http.StatusServiceUnavailable, core.NotApplied, true, "Too few replicas can be reached"},
	codePrimaryUnavailable: {"primary_unavailable", http.StatusServiceUnavailable, core.NotApplied, true, "The partition has no active primary"},
	codeStaleReplica:       {"stale_replica", http.StatusServiceUnavailable, core.OutcomeNone, true, "No replica has what the session saw"},

	codeReadQuorumTimeout:   {"read_quorum_timeout", http.StatusGatewayTimeout, core.OutcomeNone, true, "Too few replicas answered in time"},
	codeWriteQuorumTimeout:  {"write_quorum_timeout", http.StatusGatewayTimeout, core.Unknown, true, "Too few replicas acknowledged in time"},
	codeReplicaFailure:      {"replica_failure", http.StatusServiceUnavailable, core.Unknown, true, "Replicas failed during the request"},
	codePrimaryChanged:      {"primary_changed", http.StatusServiceUnavailable, core.Unknown, true, "The primary changed during the request"},
	codeInsufficientStorage: {"insufficient_storage", http.StatusInsufficientStorage, core.NotApplied, false, "Too few replicas have free space"},
	codeInternal:            {"internal", http.StatusInternalServerError, core.Unknown, false, "The node failed to serve the request"},
}

// coreCodes maps the core's verdicts into the table.
var coreCodes = [core.CodeCount]code{
	core.OK:                  codeOK,
	core.KeyNotFound:         codeKeyNotFound,
	core.BucketNotFound:      codeBucketNotFound,
	core.InvalidArgument:     codeInvalidArgument,
	core.ContextInvalid:      codeContextInvalid,
	core.SiblingLimit:        codeSiblingLimit,
	core.ValueTooLarge:       codeValueTooLarge,
	core.NotOwner:            codeNotOwner,
	core.QuorumImpossible:    codeQuorumImpossible,
	core.NotSupported:        codeNotSupported,
	core.Overloaded:          codeOverloaded,
	core.Draining:            codeDraining,
	core.Starting:            codeStarting,
	core.QuorumUnavailable:   codeQuorumUnavailable,
	core.StaleReplica:        codeStaleReplica,
	core.ReadTimeout:         codeReadQuorumTimeout,
	core.WriteTimeout:        codeWriteQuorumTimeout,
	core.ReplicaFailure:      codeReplicaFailure,
	core.InsufficientStorage: codeInsufficientStorage,
	core.Internal:            codeInternal,
}

func codeOf(c core.Code) code {
	if c < core.CodeCount {
		return coreCodes[c]
	}
	return codeInternal
}

// fault is a refusal on its way to the client.
type fault struct {
	code   code
	detail string      // one sentence with the numbers, never a key or a value
	reply  *core.Reply // when the core refused: receipt, failures, owners
	allow  string      // method_not_allowed: the methods there are
	etag   string      // the current version, quotes included
	checks []Check     // starting: what is missing
}

func (f *fault) Error() string { return errorTable[f.code].name + ": " + f.detail }

func refuse(c code, detail string) *fault { return &fault{code: c, detail: detail} }

// fromReply is the fault a reply stands for, nil when it is a success.
func fromReply(rep *core.Reply) *fault {
	if rep.Code == core.OK {
		return nil
	}
	return &fault{code: codeOf(rep.Code), detail: rep.Detail, reply: rep}
}
