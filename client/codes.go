package client

// Codes of the contract that the client treats in a way of their own, and its own.
// A code that is not here is handled by the members retryable and outcome of the
// problem document, so that a newer server's codes are handled too.
const (
	codeKeyNotFound    = "key_not_found"
	codeBucketNotFound = "bucket_not_found"
	codeNotOwner       = "not_owner"
	codeOverloaded     = "overloaded"
	codeRateLimited    = "rate_limited"
	codeHotKey         = "hot_key_throttled"
	codeDraining       = "draining"
	codeStarting       = "starting"
	codeStaleReplica   = "stale_replica"
	codeInternal       = "internal"

	codePrecondition       = "precondition_failed"
	codeIdempotencyExpired = "idempotency_expired"
	codeNotSupported       = "not_supported"
	codeConflict           = "conflict"
	codePrimaryUnavailable = "primary_unavailable"
	codePrimaryChanged     = "primary_changed"

	codeUnreachable = "unreachable"
	codeTimeout     = "timeout"
	codeCanceled    = "canceled"
	codeBadAnswer   = "bad_answer"
	codeClosed      = "closed"
)

// statusRow is what a status alone says, for answers without a problem document: to
// a HEAD, or from something between the client and the node.
type statusRow struct {
	status    int
	code      string
	outcome   Outcome // of a write
	retryable bool
}

var statusTable = []statusRow{
	{400, "invalid_argument", NotApplied, false},
	{401, "unauthenticated", NotApplied, false},
	{403, "permission_denied", NotApplied, false},
	{404, "not_found", NotApplied, false},
	{405, "method_not_allowed", NotApplied, false},
	{409, codeConflict, Unknown, false},
	{412, codePrecondition, NotApplied, false},
	{413, "value_too_large", NotApplied, false},
	{414, "key_too_long", NotApplied, false},
	{415, "unsupported_media", NotApplied, false},
	{421, codeNotOwner, NotApplied, true},
	{422, codeNotSupported, NotApplied, false},
	{429, codeRateLimited, NotApplied, true},
	{502, "bad_gateway", Unknown, true},
	{503, "unavailable", Unknown, true},
	{504, "gateway_timeout", Unknown, true},
	{507, "insufficient_storage", NotApplied, false},
}

// faultOf makes an error of a status alone.
func faultOf(status int) *Error {
	for _, row := range statusTable {
		if row.status == status {
			return &Error{Status: status, Code: row.code, Outcome: row.outcome, Retryable: row.retryable}
		}
	}
	return &Error{Status: status, Code: codeInternal, Outcome: Unknown, Retryable: status >= 500}
}
