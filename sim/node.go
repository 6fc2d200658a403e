package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// node is one machine with its disk and, while up, one process with its shards.
type node struct {
	w    *World
	idx  int
	name string
	sid  hashring.SID
	eng  *engine
	// original is the store's own disk while a copy of it runs in its place.
	original *engine
	clock    clock
	shards   []*shard

	inc    uint32 // grows with every process
	up     bool
	banned bool // its store must not serve again (D6, lost directory)
	paused int
	busy   time.Duration // CPU of the machine is taken until then
	slow   float64       // times the usual CPU
	tiny   bool          // steps and commits take one thing at a time
	calls  []*call       // of clients that wait for this process

	ring      *hashring.Ring
	deaf      int // >0: hears nothing of the ring authority
	confirmed bool
	view      viewOf
	disk      diskFaults
	lastDown  time.Duration
	calm      time.Duration // when it was overloaded last
	lagged    time.Duration // when it last ended a turn that kept others waiting
	born      time.Duration // when the process began
	woke      time.Duration // when the process began or went on last
}

// diskFaults of a store.
type diskFaults struct {
	stalled  time.Duration // no commit ends before
	eio      bool          // the next sync fails
	full     int           // >0: below the reserve
	lateWord time.Duration // a commit that has ended is told of up to so much later
}

func (w *World) newNode(i int) *node {
	n := &node{w: w, idx: i, name: fmt.Sprintf("n%d", i+1), clock: newClock(time.Duration(i+1) * time.Hour), eng: newEngine(w.draw.Partitions), slow: 1}
	binary.BigEndian.PutUint64(n.sid[:], w.coreRand.Uint64()|1)
	binary.BigEndian.PutUint64(n.sid[8:], uint64(i+1))
	return n
}

func (n *node) running() bool { return n.up && n.paused == 0 }

func (n *node) time() core.Now {
	return core.Now{Mono: n.clock.mono(n.w.now), WallMS: n.wall()}
}

func (n *node) wall() int64 { return n.clock.wallMS(n.w.now) }

// shard drives one core as node/shard.go does.
type shard struct {
	n       *node
	idx     int
	core    *core.Core
	inbox   []core.Event
	spare   []core.Event
	waking  bool
	timerAt time.Duration // virtual time of the timer event that is queued; 0: none
	due     time.Duration // of the core's deadline, virtual; 0: never

	pending  []*core.Batch
	inFlight []*core.Batch
	syncing  bool
	finished bool // the commit returned while the process was stopped
	onDisk   bool // the commit is on disk, and the process does not know yet
	gated    []core.Gated
	durable  uint64
	lastSeq  uint64
}

// manyHints for one store are a crowd.
const manyHints = 50

const (
	maxStep    = 256
	maxMailbox = 16 << 10
)

// start runs a new process on the node's disk.
func (n *node) start() {
	w := n.w
	if n.up || n.banned {
		return
	}
	n.inc++
	n.eng.boots++
	n.up, n.confirmed, n.busy, n.woke, n.born = true, false, w.now, w.now, w.now
	n.shards = n.shards[:0]
	n.view = viewOf{}
	n.ring = nil
	w.note("%s starts, boot %d", n.name, n.eng.boots)
	w.mix(uint64(n.idx)<<32 | n.eng.boots)
	for i := range w.draw.Shards {
		cfg := core.Config{Self: n.sid, Shard: i, Shards: w.draw.Shards, Rand: rand.New(rand.NewPCG(w.coreRand.Uint64(), w.coreRand.Uint64())),
			HLCBound: n.eng.bound, HintBytes: w.draw.HintBytes / int64(w.draw.Shards)}
		n.shards = append(n.shards, &shard{n: n, idx: i, core: core.New(cfg, n.eng)})
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
	for _, s := range n.shards {
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
	n.paused++
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
	n.woke = n.w.now
	n.roads()
	n.later(evGossip, between(n.w.ctlRand, 0, time.Second))
	if !n.confirmed {
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

// take puts an event into the shard's inbox; it is worked on when the CPU is free.
func (s *shard) take(e core.Event) {
	n := s.n
	s.inbox = append(s.inbox, e)
	if !s.waking && n.paused == 0 {
		s.wakeAt(max(n.w.now, n.busy))
	}
}

func (s *shard) wakeAt(at time.Duration) {
	if !s.waking {
		s.waking = true
		s.n.w.queue.put(event{at: at, kind: evWake, n: s.n, inc: s.n.inc, x: uint32(s.idx)})
	}
}

// wake is one turn of the shard's driver.
func (s *shard) wake() {
	s.waking = false
	n := s.n
	if n.paused > 0 {
		return
	}
	if n.busy > n.w.now {
		s.wakeAt(n.busy)
		return
	}
	events := s.inbox
	s.inbox, s.spare = s.spare[:0], nil
	for rest := events; len(rest) > 0 && n.up; {
		k := min(maxStep, len(rest))
		if n.tiny {
			k = 1
		}
		inc := n.inc
		s.step(rest[:k])
		if n.inc != inc {
			return
		}
		rest = rest[k:]
	}
	cost := time.Duration(float64(n.w.draw.StepTime) * n.slow * float64(max(1, len(events))))
	n.busy = n.w.now + cost
	if cost > patience/5 {
		n.lagged = n.busy
	}
	clear(events)
	s.spare = events[:0]
	if len(s.inbox) > 0 {
		s.wakeAt(n.busy)
	}
}

func (s *shard) step(events []core.Event) {
	n, w := s.n, s.n.w
	var r *core.Ready
	now := n.time()
	if w.telling() {
		for i := range events {
			w.tellEvent(n, &events[i])
		}
	}
	w.guard(n.name, func() { r = s.core.Step(now, events) })
	if r == nil {
		n.kill(false)
		return
	}
	w.truth.stepped(s, r)
	if r.Batch != nil {
		s.pending = append(s.pending, r.Batch)
		s.lastSeq = r.Batch.Seq
	}
	for _, g := range r.AfterSync {
		if g.Seq > s.durable {
			s.gated = append(s.gated, g)
		} else {
			s.emit(&g.Out)
		}
	}
	s.commit()
	for i := range r.Now {
		s.emit(&r.Now[i])
	}
	for i := range r.Loads {
		l := r.Loads[i]
		w.after(between(w.diskRand, 20*time.Microsecond, 2*w.draw.SyncTime), event{kind: evLoaded, n: n, inc: n.inc, x: uint32(s.idx), p: &l})
	}
	if r.WantRing != 0 {
		n.fetchRing(r.WantRing, r.WantRingFrom)
	}
	s.due = 0
	if r.Deadline != 0 {
		s.due = max(n.clock.when(r.Deadline), w.now+time.Microsecond) // whatever the clock does, time goes on
		s.rearm()
	}
}

// rearm has a timer event in the queue no later than the core's deadline.
func (s *shard) rearm() {
	if s.due != 0 && (s.timerAt == 0 || s.due < s.timerAt) {
		s.timerAt = s.due
		s.n.w.queue.put(event{at: max(s.due, s.n.w.now), kind: evTimer, n: s.n, inc: s.n.inc, x: uint32(s.idx)})
	}
}

func (s *shard) onTimer() {
	if s.timerAt > s.n.w.now {
		return // a later one is queued
	}
	s.timerAt = 0
	switch {
	case s.due == 0 || s.n.paused > 0:
	case s.due > s.n.w.now:
		s.rearm()
	default:
		s.due = s.n.clock.when(s.n.clock.mono(s.n.w.now)) // the clock may run slower than when it was asked
		s.stepTimer()
	}
}

func (s *shard) stepTimer() {
	if s.n.busy > s.n.w.now { // the CPU is taken: the turn comes with the next wake
		s.due = s.n.busy
		s.rearm()
		return
	}
	s.step(nil)
}

// commit starts one synced write of what has gathered, unless one is under way.
func (s *shard) commit() {
	if s.syncing || len(s.pending) == 0 {
		return
	}
	n, w := s.n, s.n.w
	s.syncing = true
	if n.tiny {
		s.inFlight = append(s.inFlight[:0], s.pending[0])
		s.pending = append(s.pending[:0], s.pending[1:]...)
	} else {
		s.inFlight, s.pending = s.pending, s.inFlight[:0]
	}
	d := around(w.diskRand, w.draw.SyncTime)
	if w.diskRand.IntN(200) == 0 {
		d *= 20
	}
	at := max(w.now+d, n.disk.stalled+d)
	w.queue.put(event{at: at, kind: evSynced, n: n, inc: n.inc, x: uint32(s.idx)})
}

func (s *shard) onSynced() {
	n, w := s.n, s.n.w
	if n.paused > 0 {
		s.finished = true
		return
	}
	if n.disk.stalled > w.now && !s.onDisk {
		w.queue.put(event{at: n.disk.stalled, kind: evSynced, n: n, inc: n.inc, x: uint32(s.idx)})
		return
	}
	if n.disk.eio && !s.onDisk { // D2: a failed sync ends the process; what was written may be there or not
		n.disk.eio = false
		w.probe.hit(pSyncFailed)
		w.note("%s: sync fails", n.name)
		n.kill(false)
		return
	}
	if !s.onDisk {
		for _, b := range s.inFlight {
			n.eng.apply(b)
			w.truth.synced(n, b)
		}
		if n.disk.lateWord > 0 {
			s.onDisk = true
			w.after(between(w.diskRand, 0, n.disk.lateWord), event{kind: evSynced, n: n, inc: n.inc, x: uint32(s.idx)})
			return
		}
	}
	s.onDisk = false
	s.durable = s.inFlight[len(s.inFlight)-1].Seq
	w.mix(s.durable)
	clear(s.inFlight)
	s.inFlight = s.inFlight[:0]
	s.syncing = false
	s.take(core.Event{Synced: s.durable})
	kept := s.gated[:0]
	for i := range s.gated {
		if g := &s.gated[i]; g.Seq <= s.durable {
			s.emit(&g.Out)
		} else {
			kept = append(kept, *g)
		}
	}
	clear(s.gated[len(kept):])
	s.gated = kept
	s.commit()
}

func (s *shard) emit(o *core.Out) {
	n, w := s.n, s.n.w
	if o.Message == nil {
		c := o.Waiter.(*call)
		w.mix(uint64(o.Reply.Code)<<8 | uint64(o.Reply.Outcome))
		w.load.replied(w, n, c, o.Reply)
		return
	}
	m := o.Message
	m.From = n.sid
	w.truth.sent(n, m)
	if m.To == n.sid {
		c := *m
		n.deliver(&c)
		return
	}
	w.send(n, m)
}

func (s *shard) onLoaded(l *core.Load) {
	if s.n.paused > 0 {
		s.n.w.after(time.Second, event{kind: evLoaded, n: s.n, inc: s.n.inc, x: uint32(s.idx), p: l})
		return
	}
	loaded := s.n.eng.load(l)
	s.take(core.Event{Loaded: &loaded})
}
