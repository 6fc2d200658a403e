package node

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/store"
	"github.com/quoratedb/quorate/quorum/strong"
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

// shard drives one core on a goroutine of its own; the node's committer writes what
// all of them stage.
//
//	mailbox -> Step -> Now          -> peers, clients
//	                -> Batch        -> committer -> one synced write -> AfterSync -> peers, clients
//	                                                                 -> Synced   -> mailbox
//	                -> Loads        -> loaders   -> Loaded           -> mailbox
//	                -> Proposals    -> proposer  -> Decided          -> mailbox
//	                -> Words        -> whoever leads the Raft group
//
// While a batch syncs, the core goes on; its next batches join the next write.
type shard struct {
	id      int
	core    *core.Core
	mailbox *queue[core.Event]
	out     outlet
	commit  *committer
	loads   *queue[core.Load]
	clock   func() core.Now
	want    func(version uint64, from hashring.SID)
	propose func(core.Proposal)
	say     func([]strong.Word) // to the leader of the Raft group; keeps nothing of the slice
	doubt   func(error)         // of the store: damage that a step has met
	stats   atomic.Pointer[core.Stats]
	asks    chan func(*core.Core) // questions of people, between two steps
}

// outlet is where messages and replies of shards go.
type outlet interface {
	message(m *core.Message)
	reply(waiter any, r *core.Reply)
}

// backing is the store as a node needs it.
type backing interface {
	core.Engine
	CommitAll(turn []store.Staged) error
	Load(l core.Load) core.Loaded
	Doubt(why error)
}

func newShard(cfg core.Config, s backing, out outlet, commit *committer, clock func() core.Now,
	want func(uint64, hashring.SID), propose func(core.Proposal), say func([]strong.Word)) *shard {
	sh := &shard{id: cfg.Shard, core: core.New(cfg, s), mailbox: newQueue[core.Event](), out: out, commit: commit, loads: newQueue[core.Load](), asks: make(chan func(*core.Core)), clock: clock, want: want, propose: propose, say: say, doubt: s.Doubt}
	commit.serve(cfg.Shard, sh.mailbox)
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
		case f := <-s.asks:
			f(s.core)
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
		s.commit.add(s.id, r.Batch, r.AfterSync)
	}
	for i := range r.Now {
		emit(s.out, &r.Now[i])
	}
	for i := range r.Loads {
		s.loads.put(r.Loads[i], 0)
	}
	for i := range r.Proposals {
		s.propose(r.Proposals[i])
	}
	if len(r.Words) > 0 {
		s.say(r.Words)
	}
	if r.Damage != nil {
		s.doubt(r.Damage)
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

// seeded gives every shard randomness of its own from the system's.
func seeded() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
