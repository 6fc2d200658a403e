package frames

import (
	"sync"

	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// fetcher gets a newer ring for requests that need one: those on a bucket that is not
// known here and may have been made a moment ago through another node, and those of
// clients that have seen a newer ring. One fetch serves all that gathered while the
// last one ran; it began after they came, so what they look for is in it if it
// existed then.
type fetcher struct {
	s      *Server
	signal chan struct{}
	mu     sync.Mutex
	queue  []waitingForRing
}

// waitingForRing is a request, and what the client sent.
type waitingForRing struct {
	p *pending
	q wire.ClientRequest
}

// maxFetching bounds the requests that wait for a fetch, which takes milliseconds.
const maxFetching = 4096

func newFetcher(s *Server) *fetcher { return &fetcher{s: s, signal: make(chan struct{}, 1)} }

func (f *fetcher) add(p *pending, q *wire.ClientRequest) {
	f.mu.Lock()
	full := len(f.queue) >= maxFetching
	if !full {
		f.queue = append(f.queue, waitingForRing{p, *q})
	}
	f.mu.Unlock()
	if full {
		f.s.count.shed.Add(1)
		p.c.refuse(p, api.Refuse(api.Overloaded, "too many requests wait for a newer ring"))
		return
	}
	wake(f.signal)
}

// run ends with the server. What waits then is of connections that end too.
func (f *fetcher) run() {
	for {
		select {
		case <-f.signal:
		case <-f.s.ctx.Done():
			return
		}
		f.mu.Lock()
		todo := f.queue
		f.queue = nil
		f.mu.Unlock()
		if len(todo) == 0 {
			continue
		}
		f.s.Backend.RefreshRing(f.s.ctx)
		ring := f.s.Backend.Ring()
		var batch []*core.Request
		for i := range todo {
			w := &todo[i]
			if _, fault := f.s.prepare(w.p, &w.q, ring); fault == nil {
				batch = append(batch, &w.p.req)
			} else if fault != served {
				w.p.c.refuse(w.p, fault)
			}
		}
		if len(batch) > 0 {
			f.s.Backend.Submit(ring, batch)
		}
	}
}
