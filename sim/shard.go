package sim

import (
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
)

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
	lines    map[uint32][]antientropy.HintLine // of the hint book, by partition, as last staged
	durable  uint64
	lastSeq  uint64
}

const (
	maxStep    = 256
	maxMailbox = 16 << 10
)

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
	if r.Damage != nil {
		n.fallIll(r.Damage)
	}
	w.truth.stepped(s, r)
	w.strong.stepped(n, s.core, r.Batch)
	n.said(r.Words)
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
	for i := range r.Proposals {
		s.propose(r.Proposals[i])
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
