package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However many ask for the newest ring state, the Raft group gets few barriers, and each
// is answered after one that began when it had asked.
func TestBarriersAreSharedAndSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes, length = 3 * time.Millisecond, 2 * time.Second
		b, count := newBarriers(), 0
		var mu sync.Mutex
		var began time.Time // of the last barrier that ended
		barrier := func(context.Context) error {
			start := time.Now()
			<-time.After(takes)
			mu.Lock()
			defer mu.Unlock()
			count, began = count+1, start
			return nil
		}
		end := time.Now().Add(length)
		slowest := time.Duration(0)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				for time.Now().Before(end) {
					asked := time.Now()
					err := b.wait(t.Context(), barrier)
					mu.Lock()
					if err != nil || began.Before(asked) {
						t.Errorf("%v; asked %v after the barrier began", err, asked.Sub(began))
					}
					slowest = max(slowest, time.Since(asked))
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if most := int(length/barrierSpacing) + 2; count > most || count < most/2 {
			t.Errorf("%d barriers in %v", count, length)
		}
		if slowest > 2*(barrierSpacing+takes) {
			t.Errorf("one waited for %v", slowest)
		}
	})
}

// One that fails serves nobody else, and a caller who gives up leaves its turn.
func TestABarrierThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, count := newBarriers(), 0
		lost := errors.New("leadership lost")
		barrier := func(context.Context) error {
			<-time.After(time.Millisecond)
			if count++; count <= 2 {
				return lost
			}
			return nil
		}
		var all sync.WaitGroup
		results := make([]error, 4)
		for i := range results {
			all.Go(func() { results[i] = b.wait(t.Context(), barrier) })
		}
		all.Wait()
		failed := 0
		for _, err := range results {
			if err != nil {
				failed++
			}
		}
		if failed != 2 {
			t.Errorf("%d of 4 failed with 2 failed barriers: %v", failed, results)
		}
		ctx, cancel := context.WithTimeout(t.Context(), barrierSpacing/4)
		defer cancel()
		if err := b.wait(ctx, barrier); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no spacing: %v", err)
		}
		if err := b.wait(t.Context(), barrier); err != nil {
			t.Error(err)
		}
	})
}
