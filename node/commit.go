package node

import (
	"runtime"
	"sync"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/store"
)

// committer writes the batches of all shards of a node: what has gathered while the
// last write was syncing goes into the next one. There is no timer: an idle disk is
// used at once. One committer for each shard would take turns at the disk, each
// turn a sync for a part of what waits.
type committer struct {
	store backing
	out   outlet
	fatal func(error)

	mu     sync.Mutex
	lanes  []lane // by shard
	busy   bool   // the goroutine will look again by itself
	signal chan struct{}

	// Of the goroutine alone.
	turn []store.Staged
	free []core.Gated
}

// lane is what one shard has staged and what waits for it.
type lane struct {
	mailbox *queue[core.Event]
	batches []*core.Batch
	gated   []core.Gated
	durable uint64
	spare   []*core.Batch // an old array of batches, of the goroutine
}

func newCommitter(shards int, s backing, out outlet, fatal func(error)) *committer {
	return &committer{store: s, out: out, fatal: fatal, lanes: make([]lane, shards), signal: make(chan struct{}, 1)}
}

// serve tells where a shard hears of what is durable; before run.
func (c *committer) serve(shard int, mailbox *queue[core.Event]) { c.lanes[shard].mailbox = mailbox }

// add takes a step's batch (or nil) and what waits for it or for an earlier one.
func (c *committer) add(shard int, b *core.Batch, after []core.Gated) {
	l := &c.lanes[shard]
	c.mu.Lock()
	first := b != nil && !c.busy
	if b != nil {
		l.batches = append(l.batches, b)
		c.busy = true
	}
	var free []core.Gated
	for _, g := range after {
		if g.Seq <= l.durable {
			free = append(free, g)
		} else {
			l.gated = append(l.gated, g)
		}
	}
	c.mu.Unlock()
	if first {
		select {
		case c.signal <- struct{}{}:
		default:
		}
	}
	for i := range free {
		emit(c.out, &free[i].Out)
	}
}

// run commits until stop is closed and everything handed over is on disk. A failed
// write ends the process (D2): nothing that waits for it is ever sent.
func (c *committer) run(stop <-chan struct{}) {
	for stopping := false; !stopping; {
		select {
		case <-c.signal:
		case <-stop:
			stopping = true
		}
		// Let the shards that can run stage what they have first: a sync costs as much for
		// one row as for fifty. With nothing else to run it costs nothing.
		for runtime.Gosched(); c.take(); runtime.Gosched() {
			if err := c.store.CommitAll(c.turn); err != nil {
				c.fatal(err)
				return
			}
			c.release()
		}
	}
}

// take makes a turn of what has gathered; false: nothing has.
func (c *committer) take() bool {
	c.turn = c.turn[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.lanes {
		if l := &c.lanes[i]; len(l.batches) > 0 {
			c.turn = append(c.turn, store.Staged{Shard: i, Batches: l.batches})
			l.batches, l.spare = l.spare[:0], nil
		}
	}
	c.busy = len(c.turn) > 0
	return c.busy
}

// release sends what waited for the turn, whose batches are durable now, and tells
// the cores.
func (c *committer) release() {
	c.mu.Lock()
	for i := range c.turn {
		t := &c.turn[i]
		l := &c.lanes[t.Shard]
		l.durable = t.Batches[len(t.Batches)-1].Seq
		kept := l.gated[:0]
		for _, g := range l.gated {
			if g.Seq <= l.durable {
				c.free = append(c.free, g)
			} else {
				kept = append(kept, g)
			}
		}
		clear(l.gated[len(kept):])
		l.gated = kept
	}
	c.mu.Unlock()
	for i := range c.turn {
		t := &c.turn[i]
		l := &c.lanes[t.Shard]
		l.mailbox.put(core.Event{Synced: t.Batches[len(t.Batches)-1].Seq}, 0)
		clear(t.Batches)
		l.spare = t.Batches[:0]
	}
	for i := range c.free {
		emit(c.out, &c.free[i].Out)
	}
	clear(c.free)
	c.free = c.free[:0]
}
