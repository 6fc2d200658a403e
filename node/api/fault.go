package api

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

const (
	// ShedRetryAfter is what a shed client is asked to wait: longer than the median
	// request, so that half of the queue is gone.
	ShedRetryAfter = 100 * time.Millisecond
	// DefaultRetryAfter goes with every 429 and 503 that names no time of its own.
	DefaultRetryAfter = time.Second
)

// Fault is a refusal on its way to the client.
type Fault struct {
	Code   Code
	Detail string      // one sentence with the numbers, never a key or a value
	Reply  *core.Reply // when the core refused: receipt, failures, owners
	ETag   string      // the current version, quotes included
	// Damaged: the fault is this node's, and it should log it.
	Damaged bool
}

func (f *Fault) Error() string { return f.Code.String() + ": " + f.Detail }

// Refuse is a fault of the front end's own.
func Refuse(c Code, detail string) *Fault { return &Fault{Code: c, Detail: detail} }

// FromReply is the fault a reply stands for, nil when it is a success.
func FromReply(rep *core.Reply) *Fault {
	if rep.Code == core.OK {
		return nil
	}
	f := &Fault{Code: CodeOf(rep.Code), Detail: rep.Detail, Reply: rep}
	if rep.Code == core.PreconditionFailed && rep.Strong != nil {
		f.ETag = VersionETag(rep.Strong.Version)
	}
	return f
}

// Outcome is the fate of the write. A read has none, but a refusal before any work
// is labelled the same for both.
func (f *Fault) Outcome(write bool) core.Outcome {
	row := &Table[f.Code]
	switch {
	case f.Reply != nil && f.Reply.Outcome != core.OutcomeNone:
		return f.Reply.Outcome
	case !write && (row.Outcome == core.Unknown || row.Status == 404):
		return core.OutcomeNone
	}
	return row.Outcome
}

// RetryAfter is how long the client should wait before it tries again; 0: the
// status gives no such advice.
func (f *Fault) RetryAfter() time.Duration {
	switch status := Table[f.Code].Status; {
	case status != 429 && status != 503:
		return 0
	case f.Reply != nil && f.Reply.RetryAfter > 0:
		return max(f.Reply.RetryAfter, time.Millisecond)
	case f.Code == Overloaded:
		return ShedRetryAfter
	}
	return DefaultRetryAfter
}

// HasQuorum tells that the fault carries a count of replicas.
func (f *Fault) HasQuorum() bool {
	return f.Reply != nil && (f.Reply.Receipt.N != 0 || len(f.Reply.Failed) != 0)
}

// Self names the node that answers.
type Self struct {
	SID     hashring.SID
	Node    string // node name
	Cluster hashring.ClusterID
}

// NodeName is the name of the node that runs a store; its id while the ring, which
// may be nil, does not know it. The zero store is this node.
func (s *Self) NodeName(ring *hashring.Ring, sid hashring.SID) string {
	if sid.IsZero() || sid == s.SID {
		return s.Node
	}
	if ring != nil {
		if st, ok := ring.Store(sid); ok {
			return st.Node
		}
	}
	return sid.String()
}
