package ringraft

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
)

// fsm is the Raft group's state machine: hashring's Apply and nothing else. The
// ring version is the Raft index of the command.
type fsm struct {
	state   atomic.Pointer[hashring.State]
	changed chan struct{} // capacity 1
}

// applied is what a proposer gets back.
type applied struct {
	state *hashring.State
	err   error
}

func newFSM() *fsm {
	f := &fsm{changed: make(chan struct{}, 1)}
	f.state.Store(&hashring.State{})
	return f
}

func (f *fsm) publish(s *hashring.State) {
	f.state.Store(s)
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Apply is raft.FSM; raft calls it and Restore one at a time. A command that this
// version cannot read is refused, like one that breaks a rule: the feature level
// keeps such commands from being proposed (PROTOCOLS.md, 1).
func (f *fsm) Apply(l *raft.Log) any {
	c, err := hashring.DecodeCommand(l.Data)
	if err != nil {
		return applied{err: err}
	}
	next, err := f.state.Load().Apply(l.Index, c)
	if err != nil {
		return applied{state: f.state.Load(), err: err}
	}
	f.publish(next)
	return applied{state: next}
}

// Snapshot is raft.FSM: states are immutable, so the pointer is the snapshot.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) { return snapshot{f.state.Load()}, nil }

// Restore is raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, snapshotMax+1))
	if err != nil {
		return fmt.Errorf("raft snapshot: %w", err)
	}
	if len(b) == 0 { // taken before the first command
		f.publish(&hashring.State{})
		return nil
	}
	s, err := hashring.DecodeState(b)
	if err != nil {
		return fmt.Errorf("raft snapshot: %w", err)
	}
	f.publish(s)
	return nil
}

type snapshot struct{ state *hashring.State }

func (s snapshot) Persist(to raft.SnapshotSink) error {
	if s.state.Version > 0 {
		b, err := hashring.EncodeState(s.state)
		if err == nil {
			_, err = to.Write(b)
		}
		if err != nil {
			return fmt.Errorf("raft snapshot: %w", err)
		}
	}
	return to.Close()
}

func (s snapshot) Release() {}
