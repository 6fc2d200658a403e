// Package core is one shard of a node: a deterministic state machine over the
// partitions it is responsible for and the requests it coordinates.
//
//	Step(now, events) -> Ready{ Batch, Now, AfterSync, Loads, Deadline }
//
// Invariants that the shape gives, and that everything here relies on:
//
//  1. All durable effects of a step are in one Batch (D1).
//  2. What reveals state that is not yet durable leaves in AfterSync, gated by the
//     batch that makes it so; an own ack is counted when Synced comes back.
//  3. Steps go on while batches sync: reads see the overlay of staged objects first.
//  4. Time, randomness, disk and network are arguments; nothing here waits.
//
// The obvious other design, a goroutine per request with locks around the store,
// was left because it can neither be replayed nor batched.
package core

import (
	"math/rand/v2"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// Bounds of a shard. Each is reached by a test.
const (
	MaxOps        = 16 << 10 // requests in flight; more are Overloaded
	MaxOverlay    = 64 << 20 // bytes staged and not yet durable; more writes are Overloaded
	MaxParked     = 1024     // peer messages waiting for a newer ring
	MaxLoads      = 4 << 10  // slices being read for listings and hand-offs; more are refused
	parkedFor     = 2 * time.Second
	suspectFor    = time.Second            // fast suspicion expires by itself
	lateAfter     = 500 * time.Millisecond // an owner that has not acked by then gets a stand-in
	finishFor     = 5 * time.Second        // a write that has been answered waits so long for the other owners
	maxRequestAge = MaxDeadline

	// defaultHintAge is as long as a machine is usually away. What has been away longer
	// is made up by exchanges, which read less than all its hints.
	defaultHintAge = 3 * time.Hour
)

// Config of a shard. The zero Limits are the defaults.
type Config struct {
	Self   hashring.SID
	Shard  int // this shard handles partitions p with p % Shards == Shard
	Shards int
	Rand   *rand.Rand // actors and request ids; seeded by the caller
	// HLCBound is the greatest durable clock bound of the store (E9).
	HLCBound version.HLC
	// Boot names this process; all its shards share it, and the clock they are
	// stepped with. 0: drawn from Rand.
	Boot uint64
	// HintBytes bounds the hints of this shard: above it the oldest go, an eighth above
	// it new ones are refused (E3). 0: 256 MiB.
	HintBytes int64
	// HintAge bounds how old a hint becomes, likewise. 0: defaultHintAge; below 0: not.
	HintAge time.Duration
	// Starts is the store's durable boot count: its incarnation in purge rounds (D6).
	// 0: it takes part in none.
	Starts uint64
	// PurgeEvery is the least time between two purge rounds of a partition. 0: a minute.
	PurgeEvery time.Duration

	// RepairOff keeps no trees and compares nothing: a measurement's other side.
	RepairOff bool
	// RepairTarget is the p99 of client requests that background work must not push it
	// over; RepairFloor and RepairCeiling bound its bytes a second, of all shards of the
	// store together. 0: 25 ms, 4 MiB, 128 MiB.
	RepairTarget               time.Duration
	RepairFloor, RepairCeiling int64
	// ScrubEvery is how long one scrub of everything takes. 0: a day.
	ScrubEvery time.Duration

	// Strong are the options of strong partitions' replicas.
	Strong strong.Options
}

// Core is one shard. Not safe for concurrent use: one goroutine steps it.
type Core struct {
	cfg Config
	eng Engine

	now       Now
	ring      *hashring.Ring
	view      *View
	confirmed bool // answers as an owner (D6)
	lowSpace  bool // below the reserve (D3)
	out       bool // the ring has this store as suspect or retired: nothing it says counts (D2)
	draining  bool
	echoes    map[hashring.SID]Echo // the clocks of other nodes, as last heard; the ring bounds them

	parts    map[uint32]*part
	overlay  overlay
	clock    version.Clock
	suspects map[hashring.SID]time.Duration // until

	ops     map[uint64]op
	lastOp  uint64
	loads   map[uint64]func(*Loaded)
	timers  timers
	waits   fifo[wait]
	parked  []parkedMessage
	stalled []stalled // at most one for each op

	repair    repair
	pace      pace
	pulls     int       // hint pulls under way
	noticed   []pullKey // and those that wait for one of them to end
	moving    *moveOp   // the walk over hints under way
	moveAfter time.Duration
	owing     map[pullKey]*owing    // marks that this store, as a target, is making up for
	book      *antientropy.HintBook // what this store keeps for others, and owes them (E3)

	purge  purge
	fill   fills
	strong strongs
	heard  uint64 // the newest ring version that anybody spoke of

	batch       *Batch
	lastSeq     uint64 // of the newest batch handed out or being filled
	lastRecords int    // in the batch before
	durable     uint64
	boundSeq    uint64 // of the batch with the clock's newest bound
	touched     []*part
	order       []hashring.SID // of readOrder
	waiting     []hashring.SID // of getOp.waiting
	ready       Ready
	stats       Stats
}

// op is a request this shard coordinates and has not finished.
type op interface {
	onMessage(c *Core, m *Message)      // a reply to it
	onTimer(c *Core, k timerKind)       // one of its timers
	onDurable(c *Core)                  // what it waited for with awaitSync
	onDown(c *Core, store hashring.SID) // its connection to this store is gone
}

type wait struct {
	seq uint64
	op  uint64
}

// New is a shard at start: it knows no ring and answers as no owner.
func New(cfg Config, eng Engine) *Core {
	if plant.Is(plant.ClockForgetsBound) {
		cfg.HLCBound = 0
	}
	if cfg.HintBytes == 0 {
		cfg.HintBytes = 256 << 20
	}
	if cfg.HintAge == 0 {
		cfg.HintAge = defaultHintAge
	}
	if cfg.ScrubEvery == 0 {
		cfg.ScrubEvery = defaultScrub
	}
	if cfg.Boot == 0 {
		cfg.Boot = cfg.Rand.Uint64()
	}
	if cfg.PurgeEvery == 0 {
		cfg.PurgeEvery = purgeEvery
	}
	return &Core{
		cfg: cfg, eng: eng,
		strong:   newStrongs(eng, cfg.Starts),
		book:     antientropy.NewHintBook(antientropy.HintBudget{Bytes: uint64(max(cfg.HintBytes, 0)), Age: max(cfg.HintAge, 0)}),
		parts:    map[uint32]*part{},
		overlay:  newOverlay(),
		clock:    version.NewClock(cfg.HLCBound),
		echoes:   map[hashring.SID]Echo{},
		suspects: map[hashring.SID]time.Duration{},
		pace:     newPace(),
		repair:   newRepair(&cfg),
		ops:      map[uint64]op{},
		lastOp:   cfg.Rand.Uint64() >> 16, // a late reply to the process before this one must meet no op of this one
		loads:    map[uint64]func(*Loaded){},
		purge:    purge{rounds: map[uint32]*roundRun{}},
		owing:    map[pullKey]*owing{},
	}
}

// Step takes what has happened and returns what is to be done. The Ready is valid
// until the next Step; its Batch stays valid.
func (c *Core) Step(now Now, events []Event) *Ready {
	c.now = now
	c.ready = Ready{Now: c.ready.Now[:0], AfterSync: c.ready.AfterSync[:0], Loads: c.ready.Loads[:0], Proposals: c.ready.Proposals[:0], Words: c.ready.Words[:0]}
	for i := range events {
		c.event(&events[i])
	}
	c.fireTimers()
	c.strongDue()
	c.strongFinish()
	c.strongCarry()
	c.repairPump()
	c.closeBatch()
	c.ready.Deadline = soonest(soonest(c.timers.next(), c.strong.wakes.next()), c.strongCarryBy())
	return &c.ready
}

// soonest of two times, of which 0 is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (c *Core) event(e *Event) {
	switch {
	case e.Message != nil:
		c.onMessage(e.Message)
	case e.Request != nil:
		c.onClient(e.Request)
	case e.Synced != 0:
		c.onSynced(e.Synced)
	case e.Loaded != nil:
		c.onLoaded(e.Loaded)
	case !e.Down.IsZero():
		c.onDown(e.Down)
	case e.Ring != nil:
		c.onRing(e.Ring)
	case e.View != nil:
		c.view = e.View
		c.repairView()
		c.purgeView()
	case e.Confirmed:
		c.confirmed = true
		c.repairView()
		c.strongRing()
	case e.Space != Unset:
		c.lowSpace = e.Space == No
	case e.Drain:
		c.draining = true
		c.strongDrain()
	case e.Decided != nil:
		if !c.filled(e.Decided) {
			c.onDecided(e.Decided)
		}
	}
}

// onMessage looks at the envelope, which is the same for all kinds, and hands the
// rest to the kind's own file.
func (c *Core) onMessage(m *Message) {
	delete(c.suspects, m.From)
	delete(c.strong.downs, m.From)
	if c.ring == nil || m.RingVersion > c.ring.Version {
		c.heard = max(c.heard, m.RingVersion)
		c.want(m.RingVersion, m.From)
	}
	if m.Kind == MsgStrong {
		c.onStrong(m)
		return
	}
	if m.Kind.IsReply() {
		if o := c.ops[m.ID]; o != nil {
			o.onMessage(c, m)
		}
		return
	}
	if c.ring == nil || !c.ring.HasRing() || c.ahead(m) {
		c.park(m)
		return
	}
	if int(m.Partition) >= len(c.ring.Partitions) {
		return
	}
	c.dispatch(m)
}

func (c *Core) dispatch(m *Message) {
	switch m.Kind {
	case MsgWrite:
		c.onWrite(m)
	case MsgHint:
		c.onHint(m)
	case MsgRead:
		c.onRead(m)
	case MsgForward:
		c.onForward(m)
	case MsgScan:
		c.onScan(m)
	case MsgHintNotice:
		c.onHintNotice(m)
	case MsgHintPull:
		c.onHintPull(m)
	case MsgHintDone:
		c.onHintDone(m)
	case MsgExchange:
		c.onExchange(m)
	case MsgRoundAsk:
		c.onRoundAsk(m)
	case MsgRoundWord:
		c.onRoundWord(m)
	case MsgMark:
		c.onMark(m)
	case MsgMarkMet:
		c.onMarkMet(m)
	}
}

// onSynced: batches up to seq are durable. What waited for them goes on.
func (c *Core) onSynced(seq uint64) {
	if plant.Is(plant.SyncCountsAhead) {
		seq = min(seq+1, c.lastSeq)
	}
	c.durable = max(c.durable, seq)
	c.overlay.settle(c.durable)
	c.repairSynced()
	c.strongSynced()
	for c.waits.len() > 0 && c.waits.first().seq <= c.durable {
		if o := c.ops[c.waits.pop().op]; o != nil {
			o.onDurable(c)
		}
	}
}

// awaitSync calls the op's onDurable once batch seq is durable, at once if it is.
func (c *Core) awaitSync(seq, id uint64) {
	if seq > c.durable {
		// seq is the newest batch or an older one: keep the list in order.
		c.waits.push(wait{seq, id})
		w := c.waits.items[c.waits.head:]
		for at := len(w) - 1; at > 0 && w[at-1].seq > seq; at-- {
			w[at], w[at-1] = w[at-1], w[at]
		}
		return
	}
	c.ops[id].onDurable(c)
}

// addOp registers an op and returns its id: the shard in the top byte, so that a
// reply finds its way back.
func (c *Core) addOp(o op) uint64 {
	c.lastOp++
	id := uint64(c.cfg.Shard)<<56 | c.lastOp
	c.ops[id] = o
	return id
}

// ShardOf is the shard that a reply with this id belongs to.
func ShardOf(id uint64) int { return int(id >> 56) }

func (c *Core) onDown(store hashring.SID) {
	c.suspect(store)
	c.strong.downs[store] = c.now.Mono + strongDownFor
	c.repairDown(store)
	c.purgeDown(store)
	for _, id := range sortedKeys(c.ops) {
		if o := c.ops[id]; o != nil {
			o.onDown(c, store)
		}
	}
}
