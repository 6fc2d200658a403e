package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// node is one machine with its disk and, while up, one process with its shards.
type node struct {
	w    *World
	idx  int
	name string
	// sid and store name the store that it has now: its number is its bit in the truth.
	sid   hashring.SID
	store int
	eng   *engine
	// original is the store's own disk while a copy of it runs in its place.
	original *engine
	clock    clock
	shards   []*shard

	inc     uint32                      // grows with every process
	gone    bool                        // the machine is gone for good
	nonce   uint64                      // of this start
	back    bool                        // its store is an older image
	seen    map[hashring.SID]introduced // the newest starts that others have shown
	up      bool
	doubted bool // its store is not what it was, and waits to be set aside (D6)
	paused  int
	stopped time.Duration // when it was, last
	busy    time.Duration // CPU of the machine is taken until then
	slow    float64       // times the usual CPU
	tiny    bool          // steps and commits take one thing at a time
	calls   []*call       // of clients that wait for this process

	ring       *hashring.Ring
	deaf       int // >0: hears nothing of the ring authority
	confirmed  bool
	registered bool // this start
	view       viewOf
	disk       diskFaults
	lastDown   time.Duration
	calm       time.Duration // when it was overloaded last
	lagged     time.Duration // when it last ended a turn that kept others waiting
	born       time.Duration // when the process began
	woke       time.Duration // when the process began or went on last
}

// diskFaults of a store.
type diskFaults struct {
	stalled  time.Duration // no commit ends before
	eio      bool          // the next sync fails
	full     int           // >0: below the reserve
	lateWord time.Duration // a commit that has ended is told of up to so much later
}

func (w *World) newNode(i int) *node {
	n := &node{w: w, idx: i, name: fmt.Sprintf("n%d", i+1), clock: newClock(time.Duration(i+1) * time.Hour), slow: 1}
	w.newStore(n)
	return n
}

func (n *node) running() bool { return n.up && n.paused == 0 }

func (n *node) time() core.Now {
	return core.Now{Mono: n.clock.mono(n.w.now), WallMS: n.wall(), Boot: n.clock.bootTime(n.w.now)}
}

func (n *node) wall() int64 { return n.clock.wallMS(n.w.now) }

// manyHints for one store are a crowd.
const manyHints = 50

// start runs a new process on the node's disk.
func (n *node) start() {
	w := n.w
	if n.up || n.doubted || n.gone {
		return
	}
	n.inc++
	n.eng.boots++
	if n.eng.boots > 1 {
		n.nonce = w.ctlRand.Uint64() | 1
	}
	n.eng.starts = append(n.eng.starts, n.nonce)
	n.seen = map[hashring.SID]introduced{}
	n.up, n.confirmed, n.registered, n.busy, n.woke, n.born = true, false, false, w.now, w.now, w.now
	n.shards = n.shards[:0]
	n.view = viewOf{}
	n.ring = nil
	w.note("%s starts, boot %d", n.name, n.eng.boots)
	w.mix(uint64(n.idx)<<32 | n.eng.boots)
	for i := range w.draw.Shards {
		cfg := core.Config{Self: n.sid, Shard: i, Shards: w.draw.Shards, Rand: rand.New(rand.NewPCG(w.coreRand.Uint64(), w.coreRand.Uint64())),
			HLCBound: n.eng.bound, HintBytes: w.draw.HintBytes / int64(w.draw.Shards), Starts: n.eng.boots, PurgeEvery: w.draw.PurgeEvery, ScrubEvery: w.draw.ScrubEvery, Strong: w.draw.Strong.options()}
		n.shards = append(n.shards, &shard{n: n, idx: i, core: core.New(cfg, n.eng), lines: map[uint32][]antientropy.HintLine{}})
	}
	w.truth.started(n)
	waiting := 0
	for _, o := range w.nodes {
		waiting += o.eng.hintsFor(n.sid)
	}
	w.probe.hitIf(waiting >= manyHints, pManyHints)
	if r := w.auth.ringAt(n.eng.ring); r != nil {
		n.ring = r
		n.tell(core.Event{Ring: r})
	}
	if n.disk.full > 0 {
		n.tell(core.Event{Space: core.No})
	}
	n.later(evGossip, between(w.ctlRand, 100*time.Millisecond, time.Second))
	n.boot()
	n.learnSoon()
}

func (n *node) later(k eventKind, d time.Duration) {
	n.w.after(d, event{kind: k, n: n, inc: n.inc})
}

// kill ends the process at once. Of the commits under way any number of batches, in
// order, has reached the disk; what waited behind them is lost. power: the machine
// goes too, and nobody is told.
func (n *node) kill(power bool) {
	w := n.w
	if !n.up {
		return
	}
	w.note("%s dies", n.name)
	w.probe.hit(pCrash)
	w.probe.hitIf(n.eng.hintCount() > 0, pHintHolderDies)
	w.probe.dies(n)
	for _, s := range n.shards {
		w.watch(s)
		k := 0
		switch {
		case s.onDisk:
			k = len(s.inFlight)
		case len(s.inFlight) > 0:
			k = w.diskRand.IntN(len(s.inFlight) + 1)
			w.probe.hit(pTornCommit)
		}
		for _, b := range s.inFlight[:k] {
			n.eng.apply(b)
			w.truth.synced(n, b)
		}
		if k < len(s.inFlight)+len(s.pending) {
			w.probe.hit(pLostBatches)
		}
	}
	n.up, n.paused, n.confirmed = false, 0, false
	if n.clock.halted {
		n.clock.setHalted(w.now, false)
	}
	n.inc++
	n.shards = n.shards[:0]
	n.lastDown = w.now
	w.truth.died(n)
	n.copyEnds()
	for _, c := range n.calls {
		w.after(between(w.netRand, 0, time.Millisecond), event{kind: evAnswer, p: c})
	}
	n.calls = nil
	for _, o := range w.nodes {
		if o == n {
			continue
		}
		p := w.link(n, o)
		p.held[p.dir(n)] = nil // it was in the process
		if !p.up {
			continue
		}
		if power || p.cut[0]+p.cut[1] > 0 {
			p.since++
			w.after(silentAfter, event{kind: evSilence, p: p, x: p.since})
			p.held = [2][][]byte{}
			continue
		}
		// The system sends what was written before the process died, then the end.
		p.up, p.held, p.tries = false, [2][][]byte{}, 0
		w.tellDown(o, n, max(p.last[p.dir(n)]-w.now, 0)+between(w.netRand, 0, 2*time.Millisecond))
		if w.netRand.IntN(3) == 0 { // or loses it
			p.epoch++
		}
	}
}

// pause stops the process (SIGSTOP): what arrives waits, time goes on without it.
func (n *node) pause(suspend bool) {
	if !n.up {
		return
	}
	n.w.note("%s is stopped", n.name)
	if n.paused++; n.paused == 1 {
		n.stopped = n.w.now
	}
	if suspend && n.paused == 1 {
		n.clock.setHalted(n.w.now, true)
	}
	n.roads()
}

func (n *node) resume() {
	if n.clock.halted {
		n.clock.setHalted(n.w.now, false)
	}
	if !n.up || n.paused == 0 {
		return
	}
	if n.paused--; n.paused > 0 {
		return
	}
	n.w.note("%s goes on", n.name)
	n.w.probe.wentOn(n)
	n.woke = n.w.now
	n.roads()
	n.later(evGossip, between(n.w.ctlRand, 0, time.Second))
	if !n.registered {
		n.later(evBoot, bootPoll)
	}
	for _, s := range n.shards {
		if s.finished {
			s.finished = false
			s.onSynced()
		}
		if !n.up {
			return // that sync had failed
		}
		s.rearm()
		s.wakeAt(n.w.now)
	}
}

func (n *node) roads() {
	for _, o := range n.w.nodes {
		if o != n {
			n.w.changed(n.w.link(n, o))
		}
	}
}

// deliver brings a peer's message to the shard it belongs to.
func (n *node) deliver(m *core.Message) {
	i := int(m.Partition) % len(n.shards)
	if m.Kind.IsReply() {
		i = core.ShardOf(m.ID)
	}
	if i < len(n.shards) && len(n.shards[i].inbox) < maxMailbox {
		n.w.probe.comes(n, m)
		n.w.truth.delivered(n, m)
		n.shards[i].take(core.Event{Message: m})
	}
}

// tell gives all shards an event.
func (n *node) tell(e core.Event) {
	for _, s := range n.shards {
		s.take(e)
	}
}

func (n *node) onDown(of *node) { n.tell(core.Event{Down: of.sid}) }
