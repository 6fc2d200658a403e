package node

import (
	"sync"
	"time"
)

// queue hands items from many goroutines to one, in order, many at a time. A slice
// under a short mutex beats a channel here: the taker empties it in one step, and
// that is what makes batches.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	signal chan struct{} // holds one token while there may be something
	since  time.Duration // when the first of items was put
	delay
}

func newQueue[T any]() *queue[T] {
	return &queue[T]{signal: make(chan struct{}, 1), delay: delay{began: time.Now()}}
}

// put appends unless the queue holds bound items already (0: no bound).
func (q *queue[T]) put(item T, bound int) bool {
	q.mu.Lock()
	if bound > 0 && len(q.items) >= bound {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, item)
	first := len(q.items) == 1
	if first {
		q.since = time.Since(q.began)
	}
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return true
}

func (q *queue[T]) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take empties the queue into the taker's hands; spare is an old slice to fill next.
func (q *queue[T]) take(spare []T) []T {
	q.mu.Lock()
	items, since := q.items, q.since
	q.items = spare[:0]
	q.mu.Unlock()
	if len(items) > 0 {
		q.note(since)
	}
	return items
}
