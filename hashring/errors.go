package hashring

import (
	"errors"
	"fmt"
)

// Refusal is why a command changed nothing. It is plain data, so that it crosses
// the peer RPC as JSON and is still the same error to errors.Is on the other side:
// two refusals are the same error when their codes are.
type Refusal struct {
	Code   string `json:"code"`             // closed set, below
	Detail string `json:"detail,omitempty"` // one sentence with the numbers
	// Other is the store that stands in the way: ErrNameTaken, ErrBootNotNewer.
	Other *Store `json:"other,omitempty"`
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// Is makes errors.Is compare codes.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code
}

// What Apply answers when it refuses; use errors.Is, and errors.As with *Refusal
// for the detail.
var (
	// ErrInvalid: the command breaks a rule by itself.
	ErrInvalid error = &Refusal{Code: "invalid"}
	// ErrNotSupported: reserved for a later feature.
	ErrNotSupported error = &Refusal{Code: "not_supported"}
	// ErrNoCluster: the first command must be init.
	ErrNoCluster error = &Refusal{Code: "no_cluster"}
	// ErrExists: it exists with other properties.
	ErrExists error = &Refusal{Code: "exists"}
	// ErrSame: nothing to change; what was asked for is so already.
	ErrSame error = &Refusal{Code: "same"}
	// ErrUnknownBucket: no bucket of that name.
	ErrUnknownBucket error = &Refusal{Code: "unknown_bucket"}
	// ErrUnknownStore: no store of that id.
	ErrUnknownStore error = &Refusal{Code: "unknown_store"}
	// ErrBootNotNewer: the store was rolled back or cloned (D6).
	ErrBootNotNewer error = &Refusal{Code: "boot_not_newer"}
	// ErrNameTaken: another store that is not retired has the node name.
	ErrNameTaken error = &Refusal{Code: "name_taken"}
	// ErrRetired: a retired store never comes back; its node needs a new one.
	ErrRetired error = &Refusal{Code: "retired"}
	// ErrStaleEpoch: the command was made for an older configuration.
	ErrStaleEpoch error = &Refusal{Code: "stale_epoch"}
	// ErrLastFull: a partition would be left without a full owner, or, with strong
	// buckets, a set without a majority.
	ErrLastFull error = &Refusal{Code: "last_full_owner"}
	// ErrUnsettled: the partition's replicas are not in the state for it.
	ErrUnsettled error = &Refusal{Code: "unsettled"}
	// ErrTooMany: a bound of this package is reached.
	ErrTooMany error = &Refusal{Code: "too_many"}
	// ErrMalformed: bytes that are no command or state of a version known here.
	ErrMalformed = errors.New("malformed ring data")
)

// refuse builds the detailed form of a sentinel.
func refuse(kind error, format string, args ...any) *Refusal {
	var r *Refusal
	errors.As(kind, &r)
	return &Refusal{Code: r.Code, Detail: fmt.Sprintf(format, args...)}
}

func (r *Refusal) because(of *Store) *Refusal {
	other := *of
	r.Other = &other
	return r
}
