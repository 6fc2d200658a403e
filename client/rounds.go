package client

import (
	"context"
	"errors"
	"sync"
	"unicode/utf8"
)

const (
	// chunkMax is the contract's bound of keys or operations in one request.
	chunkMax = 1000
	// chunkBytes bounds the values of one request; the nodes take 24 MiB.
	chunkBytes = 16 << 20
	// chunksAtOnce bounds the requests of one GetMany or Batch at a time.
	chunksAtOnce = 8
	// singlesAtOnce is the same where each key is a request of its own.
	singlesAtOnce = 32
	// manyMax bounds the answer of one request: 32 MiB of values as base64, and some.
	manyMax = 64 << 20
)

// chunk is the part of many keys that goes to one node in one request.
type chunk struct {
	to    *node
	items []int // positions in the caller's list
	bytes int
}

// chunks deals keys out to nodes that own them. size is the bytes of an item's value.
func (b *Bucket) chunks(o op, items []int, key func(int) string, size func(int) int) []*chunk {
	var out []*chunk
	open := map[*node]*chunk{}
	for _, i := range items {
		to := b.c.pick(b.call(o, key(i)))
		c := open[to]
		if c == nil || len(c.items) == chunkMax || c.bytes+size(i) > chunkBytes && len(c.items) > 0 {
			c = &chunk{to: to}
			open[to] = c
			out = append(out, c)
		}
		c.items = append(c.items, i)
		c.bytes += size(i)
	}
	return out
}

// rounds runs chunks until no item of them wants another try. send gives the items
// to try again and the error that made them so.
func (b *Bucket) rounds(ctx context.Context, n int, deal func([]int) []*chunk, send func(context.Context, *chunk) ([]int, *Error)) {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	k := &call{req: request{op: opMulti}}
	k.deadline, _ = ctx.Deadline()
	for len(items) > 0 {
		var mu sync.Mutex
		var again []int
		var why *Error
		inParallel(deal(items), chunksAtOnce, func(c *chunk) {
			left, f := send(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			again = append(again, left...)
			if f != nil && (why == nil || f.RetryAfter > why.RetryAfter) {
				why = f
			}
		})
		items = again
		if k.attempts++; len(items) == 0 || k.attempts >= b.c.cfg.MaxAttempts || !b.c.retries.take() {
			return
		}
		k.nTried = triedMax // every node may have had a part in it: heed Retry-After
		if !b.c.ready(ctx, k, nil, decision{again: true, heed: true}, why) {
			return
		}
	}
}

// inParallel runs f for each of list, at most width at a time.
func inParallel[T any](list []T, width int, f func(T)) {
	if len(list) == 1 {
		f(list[0])
		return
	}
	slots := make(chan struct{}, width)
	var wg sync.WaitGroup
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(x)
		})
	}
	wg.Wait()
}

// asText tells that a key can stand in JSON as it is.
func asText(key string) bool {
	if !utf8.ValidString(key) {
		return false
	}
	for _, r := range key {
		if r == utf8.RuneError {
			return false
		}
	}
	return true
}

var errShortAnswer = errors.New("it has fewer results than were asked for")

// resultJSON is the fate of one key of a batch.
type resultJSON struct {
	Status      int           `json:"status"`
	ETag        string        `json:"etag"`
	Context     Context       `json:"context"`
	Receipt     string        `json:"receipt"`
	ContentType string        `json:"content_type"`
	Value       []byte        `json:"value"`
	Count       int           `json:"siblings_count"`
	Siblings    []siblingJSON `json:"siblings"`
	Problem     *problemJSON  `json:"problem"`
}

type resultsJSON struct {
	Results []resultJSON `json:"results"`
}

// fault is why a key failed, nil when it did not.
func (r *resultJSON) fault(o op, bucket string) *Error {
	if r.Status < 400 {
		return nil
	}
	var f *Error
	if r.Problem != nil {
		f = r.Problem.fault(r.Status)
	} else {
		f = faultOf(r.Status)
	}
	f.Op, f.Bucket, f.Context = o.String(), bucket, r.Context
	if !o.write() {
		f.Outcome = OutcomeNone
	}
	return f
}
