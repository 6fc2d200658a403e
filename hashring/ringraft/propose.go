package ringraft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
)

// NotLeaderError: this store does not lead; nothing was done. Leader and Addr are
// zero and "" when it knows of no leader.
type NotLeaderError struct {
	Leader hashring.SID
	Addr   string
}

func (e *NotLeaderError) Error() string {
	if e.Leader.IsZero() {
		return "raft: no leader is known"
	}
	return fmt.Sprintf("raft: store %s at %s leads", e.Leader.Short(), e.Addr)
}

// ErrUnknown: the command was on its way and may or may not be committed. Every
// ring command can be repeated: it carries what it expects.
var ErrUnknown = errors.New("raft: outcome unknown")

// enqueueWait bounds the wait for a place in raft's queue.
const enqueueWait = time.Second

// Propose commits one command; the state it gives includes it. Off the leader it is
// a *NotLeaderError; what the state machine refuses comes back as it is
// (*hashring.Refusal); ErrUnknown when leadership or ctx ended on the way.
func (r *Raft) Propose(ctx context.Context, c hashring.Command) (*hashring.State, error) {
	b, err := hashring.EncodeCommand(c)
	if err != nil {
		return nil, err
	}
	if !r.IsLeader() {
		return nil, r.notLeader()
	}
	f := r.raft.Apply(b, enqueueWait)
	if err := r.wait(ctx, f); err != nil {
		return nil, r.failed(err)
	}
	a, ok := f.Response().(applied)
	if !ok {
		return nil, fmt.Errorf("raft: state machine answered %T", f.Response())
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.state, nil
}

// Barrier waits until everything that was committed before the call is in State:
// the ground for an authoritative read. Only on the leader.
func (r *Raft) Barrier(ctx context.Context) error {
	if !r.IsLeader() {
		return r.notLeader()
	}
	if err := r.wait(ctx, r.raft.Barrier(enqueueWait)); err != nil {
		return r.failed(err)
	}
	return nil
}

func (r *Raft) notLeader() error {
	sid, addr := r.Leader()
	if sid == r.cfg.SID { // it has just won or lost: not to be asked
		sid, addr = hashring.SID{}, ""
	}
	return &NotLeaderError{Leader: sid, Addr: addr}
}

func (r *Raft) failed(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return r.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("raft: overloaded: %w", err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}
