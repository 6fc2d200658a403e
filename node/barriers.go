package node

import (
	"context"
	"sync/atomic"
	"time"
)

// barrierSpacing is the least time between two barriers of the Raft group for readers:
// each is an entry that every voter syncs, and any client that names a bucket which does
// not exist makes its node ask for one.
const barrierSpacing = 100 * time.Millisecond

// barriers shares the barriers of a Raft leader among those who want to read the newest
// ring state: one runs at a time and serves all who asked before it began.
type barriers struct {
	begun atomic.Uint64
	turn  chan struct{} // one place; it guards what follows
	last  time.Time     // when the last one began
	ok    bool          // how it ended
}

func newBarriers() *barriers { return &barriers{turn: make(chan struct{}, 1)} }

// wait returns once a barrier that began after the call has ended.
func (b *barriers) wait(ctx context.Context, barrier func(context.Context) error) error {
	before := b.begun.Load()
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.turn }()
	if b.begun.Load() != before && b.ok {
		return nil // somebody else's, begun while this call waited for its turn
	}
	if rest := barrierSpacing - time.Since(b.last); rest > 0 {
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.last = time.Now()
	b.begun.Add(1)
	err := barrier(ctx)
	b.ok = err == nil
	return err
}
