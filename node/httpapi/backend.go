package httpapi

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// Backend is the node as its front end sees it. All methods are safe for any
// number of goroutines.
type Backend interface {
	// Do hands a request to the shard of its partition and waits for the reply,
	// which is never nil. A ctx that ends first gives an Internal or timeout reply
	// whose outcome is unknown.
	Do(ctx context.Context, req *core.Request) *core.Reply
	// Admit tells whether the shard of a request's key keeps up. It is asked before
	// anything costly is done for the request, and what it says of one key may
	// change at once.
	Admit(req *core.Request) bool
	// Ring is the newest ring known here, nil until there is one.
	Ring() *hashring.Ring
	// RefreshRing fetches the newest ring state there is; bounded in time.
	RefreshRing(ctx context.Context)
	// Alive is gossip's opinion of a store.
	Alive(sid hashring.SID) bool
	// Propose commits a ring command through the Raft leader, wherever it is, and
	// returns once this node knows the new state. Refusals are hashring's typed
	// errors; ErrNotProposed says that nothing can have happened, ErrMaybeProposed that
	// nobody knows.
	Propose(ctx context.Context, cmd hashring.Command) (*hashring.State, error)
	// MovePrimary asks the Raft leader to have a store, a member of the partition's
	// sets, lead it. It is done when the ring says so, and may be asked again. Errors
	// are those of Propose.
	MovePrimary(ctx context.Context, partition uint32, to hashring.SID) error
	// Cluster asks every live node; bounded in time.
	Cluster(ctx context.Context) ClusterStatus
	// Hints, Repair and StartRepair ask every live node, bounded in time. Partition
	// -1 is all of them.
	Hints(ctx context.Context, partition int) []NodeHints
	Repair(ctx context.Context) []NodeRepair
	StartRepair(ctx context.Context, partition int) []NodeAsked
	// StrongLogs asks every live node where its logs of strong partitions end; those
	// that answered, bounded in time.
	StrongLogs(ctx context.Context) []NodeLogs
	// Ready lists what /readyz needs.
	Ready() []Check
	// Self names this node.
	Self() Self
	// Gatherer holds what /metrics shows.
	Gatherer() prometheus.Gatherer
}

// ErrNotProposed is wrapped by Propose when the command was certainly not
// committed: no leader is known, or it refused to take it.
var ErrNotProposed = errors.New("no Raft leader took the command")

// ErrMaybeProposed is wrapped by Propose when the command may or may not be committed.
var ErrMaybeProposed = errors.New("whether the Raft group committed the change is not known")

// Check is one line of /readyz?verbose.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // one sentence for a person
}

// Self names the node that serves.
type Self struct {
	SID     hashring.SID
	Node    string // node name
	Version string // semver of the binary
	Cluster hashring.ClusterID
}
