package node

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

const (
	// maxStep is how many events one step takes: enough that a batch is worth its
	// sync, few enough that a step stays well below a millisecond.
	maxStep = 256
	// maxMailbox bounds the events that wait for a shard. Client requests are
	// refused above it; peer messages are dropped, as a full network would.
	maxMailbox = 16 << 10
	statsEvery = time.Second
)

// shard drives one core: one goroutine that steps it, one that commits its batches.
//
//	mailbox -> Step -> Now          -> peers, clients
//	                -> Batch        -> committer -> one synced write -> AfterSync -> peers, clients
//	                                                                 -> Synced   -> mailbox
//	                -> Loads        -> loaders   -> Loaded           -> mailbox
//
// While a batch syncs, the core goes on; its next batches join the next write.
type shard struct {
	core    *core.Core
	mailbox *queue[core.Event]
	out     outlet
	commit  *committer
	loads   *queue[core.Load]
	clock   func() core.Now
	want    func(version uint64, from hashring.SID)
	stats   atomic.Pointer[core.Stats]
}

// outlet is where messages and replies of shards go.
type outlet interface {
	message(m *core.Message)
	reply(waiter any, r *core.Reply)
}

// backing is the store as a shard needs it.
type backing interface {
	core.Engine
	Commit(shard int, batches []*core.Batch) error
	Load(l core.Load) core.Loaded
}

func newShard(cfg core.Config, s backing, out outlet, clock func() core.Now, want func(uint64, hashring.SID), fatal func(error)) *shard {
	sh := &shard{core: core.New(cfg, s), mailbox: newQueue[core.Event](), out: out, loads: newQueue[core.Load](), clock: clock, want: want}
	sh.commit = newCommitter(cfg.Shard, s, out, sh.mailbox, fatal)
	return sh
}

// tell gives the shard an event that must not be lost.
func (s *shard) tell(e core.Event) { s.mailbox.put(e, 0) }

// offer gives it one that may be refused.
func (s *shard) offer(e core.Event) bool { return s.mailbox.put(e, maxMailbox) }

// run steps the core until stop is closed.
func (s *shard) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var events []core.Event
	published := time.Time{}
	for {
		select {
		case <-s.mailbox.signal:
		case <-timer.C:
		case <-stop:
			return
		}
		events = s.mailbox.take(events)
		var next time.Duration
		for rest := events; ; rest = rest[min(maxStep, len(rest)):] {
			next = s.handle(s.core.Step(s.clock(), rest[:min(maxStep, len(rest))]))
			if len(rest) <= maxStep {
				break
			}
		}
		clear(events) // what has been handled must not be kept alive
		if now := time.Now(); now.Sub(published) > statsEvery {
			published = now
			stats := s.core.Stats()
			s.stats.Store(&stats)
		}
		wait := time.Hour
		if next > 0 {
			wait = max(next-s.clock().Mono, 0)
		}
		timer.Reset(wait)
	}
}

// handle carries out a Ready and returns its deadline. The batch goes first, so
// that the disk works while messages are encoded.
func (s *shard) handle(r *core.Ready) time.Duration {
	if r.Batch != nil || len(r.AfterSync) > 0 {
		s.commit.add(r.Batch, r.AfterSync)
	}
	for i := range r.Now {
		emit(s.out, &r.Now[i])
	}
	for i := range r.Loads {
		s.loads.put(r.Loads[i], 0)
	}
	if r.WantRing != 0 {
		s.want(r.WantRing, r.WantRingFrom)
	}
	return r.Deadline
}

func emit(to outlet, o *core.Out) {
	if o.Message != nil {
		to.message(o.Message)
	} else {
		to.reply(o.Waiter, o.Reply)
	}
}

// load runs the shard's long reads, one after the other.
func (s *shard) load(store backing, stop <-chan struct{}) {
	var todo []core.Load
	for {
		select {
		case <-s.loads.signal:
		case <-stop:
			return
		}
		todo = s.loads.take(todo)
		for i := range todo {
			loaded := store.Load(todo[i])
			s.tell(core.Event{Loaded: &loaded})
		}
		clear(todo)
	}
}

// committer writes a shard's batches: all that gathered while the last write was
// syncing go into the next one. There is no timer: an idle disk is used at once.
type committer struct {
	shard   int
	store   backing
	out     outlet
	mailbox *queue[core.Event]
	fatal   func(error)

	mu      sync.Mutex
	batches []*core.Batch
	gated   []core.Gated
	durable uint64
	signal  chan struct{}
}

func newCommitter(shard int, s backing, out outlet, mailbox *queue[core.Event], fatal func(error)) *committer {
	return &committer{shard: shard, store: s, out: out, mailbox: mailbox, fatal: fatal, signal: make(chan struct{}, 1)}
}

// add takes a step's batch (or nil) and what waits for it or for an earlier one.
func (c *committer) add(b *core.Batch, after []core.Gated) {
	c.mu.Lock()
	if b != nil {
		c.batches = append(c.batches, b)
	}
	var free []core.Gated
	for _, g := range after {
		if g.Seq <= c.durable {
			free = append(free, g)
		} else {
			c.gated = append(c.gated, g)
		}
	}
	c.mu.Unlock()
	for i := range free {
		emit(c.out, &free[i].Out)
	}
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// run commits until stop is closed and everything handed over is on disk. A failed
// write ends the process (D2): nothing that waits for it is ever sent.
func (c *committer) run(stop <-chan struct{}) {
	var batches []*core.Batch
	var free []core.Gated
	for stopping := false; !stopping; {
		select {
		case <-c.signal:
		case <-stop:
			stopping = true
		}
		for {
			c.mu.Lock()
			batches, c.batches = c.batches, batches[:0]
			c.mu.Unlock()
			if len(batches) == 0 {
				break
			}
			if err := c.store.Commit(c.shard, batches); err != nil {
				c.fatal(err)
				return
			}
			free = c.release(batches[len(batches)-1].Seq, free)
			clear(batches)
		}
	}
}

// release sends what waited for the batches up to seq and tells the core.
func (c *committer) release(seq uint64, free []core.Gated) []core.Gated {
	free = free[:0]
	c.mu.Lock()
	c.durable = seq
	kept := c.gated[:0]
	for _, g := range c.gated {
		if g.Seq <= seq {
			free = append(free, g)
		} else {
			kept = append(kept, g)
		}
	}
	clear(c.gated[len(kept):])
	c.gated = kept
	c.mu.Unlock()
	c.mailbox.put(core.Event{Synced: seq}, 0)
	for i := range free {
		emit(c.out, &free[i].Out)
	}
	clear(free)
	return free
}

// seeded gives every shard randomness of its own from the system's.
func seeded() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
