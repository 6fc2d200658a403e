package httpapi

import (
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

// code is one row of the contract's error table, which node/api has.
type code = rules.Code

const (
	codeOK                     = rules.OK
	codeInvalidArgument        = rules.InvalidArgument
	codeUnknownParameter       = rules.UnknownParameter
	codeContextInvalid         = rules.ContextInvalid
	codeDigestMismatch         = rules.DigestMismatch
	codeUnauthenticated        = rules.Unauthenticated
	codePermissionDenied       = rules.PermissionDenied
	codeKeyNotFound            = rules.KeyNotFound
	codeBucketNotFound         = rules.BucketNotFound
	codeNotFound               = rules.NotFound
	codeMethodNotAllowed       = rules.MethodNotAllowed
	codeUnsupportedMedia       = rules.UnsupportedMedia
	codeConflict               = rules.Conflict
	codeSiblingLimit           = rules.SiblingLimit
	codeIdempotencyInFlight    = rules.IdempotencyInFlight
	codeIdempotencyExpired     = rules.IdempotencyExpired
	codePreconditionFailed     = rules.PreconditionFailed
	codeValueTooLarge          = rules.ValueTooLarge
	codeKeyTooLong             = rules.KeyTooLong
	codeNotOwner               = rules.NotOwner
	codeConditionalNeedsStrong = rules.ConditionalNeedsStrong
	codeQuorumImpossible       = rules.QuorumImpossible
	codeIdempotencyMismatch    = rules.IdempotencyMismatch
	codeNotSupported           = rules.NotSupported
	codeRateLimited            = rules.RateLimited
	codeHotKeyThrottled        = rules.HotKeyThrottled
	codeOverloaded             = rules.Overloaded
	codeDraining               = rules.Draining
	codeStarting               = rules.Starting
	codeQuorumUnavailable      = rules.QuorumUnavailable
	codePrimaryUnavailable     = rules.PrimaryUnavailable
	codeStaleReplica           = rules.StaleReplica
	codeReadQuorumTimeout      = rules.ReadQuorumTimeout
	codeWriteQuorumTimeout     = rules.WriteQuorumTimeout
	codeReplicaFailure         = rules.ReplicaFailure
	codePrimaryChanged         = rules.PrimaryChanged
	codeInsufficientStorage    = rules.InsufficientStorage
	codeInternal               = rules.Internal
	codeCount                  = rules.CodeCount
)

// errorRow is what the contract says of one code.
type errorRow struct {
	name      string
	status    int
	outcome   core.Outcome // of a write; OutcomeNone: the code belongs to reads
	retryable bool
	title     string
}

// errorTable is the contract's, as it is used here.
var errorTable = func() (t [codeCount]errorRow) {
	for c, r := range rules.Table {
		t[c] = errorRow{r.Name, r.Status, r.Outcome, r.Retryable, r.Title}
	}
	return t
}()

func codeOf(c core.Code) code { return rules.CodeOf(c) }

// fault is a refusal on its way to the client.
type fault struct {
	code   code
	status int         // if it is not the code's
	detail string      // one sentence with the numbers, never a key or a value
	reply  *core.Reply // when the core refused: receipt, failures, owners
	allow  string      // method_not_allowed: the methods there are
	etag   string      // the current version, quotes included
	checks []Check     // starting: what is missing
}

func (f *fault) Error() string { return errorTable[f.code].name + ": " + f.detail }

func refuse(c code, detail string) *fault { return &fault{code: c, detail: detail} }

// fromReply is the fault a reply stands for, nil when it is a success.
func fromReply(rep *core.Reply) *fault { return asFault(rules.FromReply(rep)) }

// asFault is a fault of the rules that both ways in share; nil stays nil.
func asFault(f *rules.Fault) *fault {
	if f == nil {
		return nil
	}
	return &fault{code: f.Code, detail: f.Detail, reply: f.Reply, etag: f.ETag}
}

// rule is f as those rules know it.
func (f *fault) rule() *rules.Fault { return &rules.Fault{Code: f.code, Reply: f.reply} }
