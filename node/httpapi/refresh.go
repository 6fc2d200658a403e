package httpapi

import (
	"context"
	"sync/atomic"
)

// refresher shares ring fetches: one runs at a time, whatever the number of
// requests that want one. A request is served by a fetch that began after it
// asked, so what it looks for is in it if it existed then.
type refresher struct {
	fetch   func(context.Context) // bounded in time
	turn    chan struct{}         // one place
	started atomic.Uint64
}

func newRefresher(fetch func(context.Context)) *refresher {
	return &refresher{fetch: fetch, turn: make(chan struct{}, 1)}
}

// wait returns when a fetch that began after the call is done, or ctx ends.
func (f *refresher) wait(ctx context.Context) {
	before := f.started.Load()
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-f.turn }()
	if f.started.Load() != before {
		return // somebody fetched while this one waited for its turn
	}
	f.started.Add(1)
	// Those who wait rely on it: it must not end with this caller's request.
	f.fetch(context.WithoutCancel(ctx))
}
