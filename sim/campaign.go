package sim

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Campaign plays seeds o.Seed, o.Seed+1, ... on all processors, one world a
// goroutine, and hands the results to each in the order of the seeds. It stops early
// when ctx ends or each returns false. The error is a *UsageError.
func Campaign(ctx context.Context, o Options, seeds int, each func(Result) bool) error {
	if err := o.fill(); err != nil {
		return err
	}
	if o.Story != nil && seeds > 1 {
		return usage("a story is told of one seed, not of %d", seeds)
	}
	results := make([]chan Result, seeds)
	for i := range results {
		results[i] = make(chan Result, 1)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var next atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range min(runtime.GOMAXPROCS(0), seeds) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < seeds && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				run := o
				run.Seed += uint64(i)
				r, _ := Run(run) // the options were checked above
				results[i] <- r
			}
		})
	}
	for i := range results {
		select {
		case r := <-results[i]:
			if !each(r) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
