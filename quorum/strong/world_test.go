package strong

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

const ms = time.Millisecond

// world is a small universe for one partition: stores with disks that lose what is not
// synced, a network that loses, repeats and delays, a ring authority, clients. All from
// one seed.
type world struct {
	rng           *rand.Rand
	now           time.Duration
	queue         events
	n             uint64
	nodes         []*node
	sids          int
	faults        faults
	ring          authority
	calm          bool // the faults are over
	steps, events int

	link      map[[2]int]bool          // cut, by slot
	lags      map[[2]int]time.Duration // added, by slot
	log       []*Entry                 // committed, from index 1
	created   map[Position]*Entry
	requests  map[RequestID]uint64 // effects, by request id
	keys      map[string][]*Entry  // committed effects by key
	clients   []*client
	hist      history
	trace     func(format string, args ...any)
	wallStart int64
	opts      Options
	count     map[string]int
	rotten    *node // the last store with a value that changed by itself
}

// faults of one run: each seed draws its own mixture.
type faults struct {
	loss, dup, slow                                                 float64 // of messages
	crash, pause, cut, island, betray, burst, lag, deafen, handOver time.Duration
	eager                                                           float64 // of steps after which what is lazy goes to the disk
	slowSync                                                        float64
	rot                                                             time.Duration // between values that change by themselves
	change                                                          time.Duration // between commands of the authority
	clock, suspect                                                  bool
	clients, stores, v                                              int
	lifetime                                                        time.Duration
}

type event struct {
	at time.Duration
	n  uint64
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.n++
	heap.Push(&w.queue, event{w.now + d, w.n, do})
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between draws a duration, short ones more often.
func (w *world) between(least, most time.Duration) time.Duration {
	f := w.rng.Float64()
	return least + time.Duration(f*f*float64(most-least))
}

// violation ends a run.
type violation struct{ kind, text string }

func (v violation) Error() string { return v.kind + ": " + v.text }

func fail(kind, format string, args ...any) { panic(violation{kind, fmt.Sprintf(format, args...)}) }

// node is a slot for a store.
type node struct {
	w          *world
	slot       int
	sid        hashring.SID
	up         bool
	deaf       time.Duration // until then it hears nothing of the ring
	paused     bool
	suspended  bool // and its monotonic clock stands still
	pausedAt   time.Duration
	slept      time.Duration // in all suspensions
	rate       float64       // of its clocks
	suspect    bool
	life       int
	boot       uint64
	disk       *disk
	view       *view
	r          *Replica
	knows      Config
	skew       int64
	inbox      []func()
	stepAt     bool
	seq        uint64
	batches    []batch
	gated      []Send
	syncing    bool
	wakeAt     time.Duration
	seen       uint64 // committed entries looked at
	reads      []*quorumRead
	generation uint64
	readsWake  time.Duration
	rebuilds   uint64
	diverged   bool // when the step began
	id         uint64
}

type batch struct {
	seq    uint64
	writes []Write
}

func (w *world) newSID() hashring.SID {
	w.sids++
	return hashring.SID{0: byte(w.sids), 1: byte(w.sids >> 8), 15: 1}
}

func (w *world) at(s hashring.SID) *node {
	for _, n := range w.nodes {
		if n.sid == s {
			return n
		}
	}
	return nil
}

func (n *node) name() string { return string(rune('A'+n.slot)) + fmt.Sprint(n.sid[0]) }

// names writes store ids as the names of their nodes.
func (w *world) name(s hashring.SID) string {
	if n := w.at(s); n != nil {
		return n.name()
	}
	return s.Short()
}

// start a store from its disk.
func (n *node) start() {
	w := n.w
	n.resume()
	n.up = true
	n.life++
	n.boot++
	n.view = &view{disk: n.disk.clone(), cut: n.committed}
	saved := n.view.saved()
	saved.Suspect = n.suspect
	n.seq, n.batches, n.gated, n.syncing, n.inbox, n.wakeAt, n.stepAt, n.reads, n.readsWake = 0, nil, nil, false, nil, 0, false, nil, 0
	n.generation, n.rebuilds = saved.Hard.Generation, 0
	n.seen, n.id = saved.Hard.Base.Index, n.boot<<40|1<<39
	opts := w.opts
	opts.Lease = n.leaseOf()
	r, err := New(n.sid, opts, n.view, saved, n.boot<<40, n.time())
	if err != nil {
		fail("restart", "%s: %v", n.name(), err)
	}
	n.r = r
	w.trace("%s starts: promised %d base %v applied %d log %v", n.name(), r.hard.Promised, r.hard.Base, r.hard.Applied, r.log.last())
	if n.knows.Epoch > 0 {
		n.input(func() { n.r.Configure(n.knows) })
	}
	w.tellRing(n)
}

// crash loses what is not synced; of what was on its way a part may have landed.
func (n *node) crash() {
	n.up = false
	n.life++
	landed := n.w.rng.IntN(len(n.batches) + 1)
	for _, b := range n.batches[:landed] {
		for _, wr := range b.writes {
			n.disk.apply(wr)
		}
	}
	n.w.trace("%s crashes, %d of %d batches landed", n.name(), landed, len(n.batches))
	n.w.count["crash"]++
	if n.r != nil && n.w.hist.leadsAt(n) {
		n.w.count["crash of a primary"]++
	}
	n.r = nil
}

// input brings something to the node; inputs gather for a step.
func (n *node) input(do func()) {
	if !n.up {
		return
	}
	n.inbox = append(n.inbox, do)
	n.schedule()
}

func (n *node) schedule() {
	if n.stepAt || n.paused || !n.up {
		return
	}
	n.stepAt = true
	life := n.life
	n.w.after(n.w.between(0, ms/2), func() {
		if n.life == life {
			n.stepAt = false
			n.step()
		}
	})
}

func (n *node) step() {
	if n.paused || !n.up {
		return
	}
	w := n.w
	if w.steps++; w.steps > 300_000 {
		fail("storm", "%d steps by %v", w.steps, w.now)
	}
	n.r.Begin(n.time(), n.seq+1)
	n.diverged = n.r.hard.Diverged
	inputs := n.inbox
	n.inbox = nil
	for _, do := range inputs {
		do()
	}
	out := n.r.Finish()
	if out.Err != nil {
		fail("storage", "%s: %v", n.name(), out.Err)
	}
	if len(n.view.staged) > 0 != out.Staged {
		fail("staged", "%d writes, staged %v", len(n.view.staged), out.Staged)
	}
	if w.calm || len(out.Loads) > 0 || w.chance(w.faults.eager) {
		n.view.carry()
	}
	if len(n.view.staged) > 0 {
		n.seq++
		n.batches = append(n.batches, batch{n.seq, n.view.staged})
		for _, wr := range n.view.staged {
			switch {
			case wr.Kind == PutEntry:
				w.create(n, wr.Entry)
			case wr.Kind == PutHard && wr.Hard.Generation != n.generation:
				if n.r.trust.rebuilds > n.rebuilds {
					n.rebuilds = n.r.trust.rebuilds
					w.count["rebuilt"]++
				}
				n.generation = wr.Hard.Generation
				w.count["snapshot"]++
			}
		}
		n.view.staged = nil
		n.sync()
	}
	n.committed()
	if n.r.hard.Diverged && w.hist.leadsAt(n) {
		fail("D5", "%s leads with values that are not what they should be", n.name())
	}
	if p := w.at(w.ring.cfg.Primary); p != n && w.hist.leadsAt(n) && p != nil && w.hist.leadsAt(p) {
		w.count["step of an old primary"]++
	}
	n.carryOut(out)
	w.crashPromised(n)
}

func (n *node) carryOut(out Out) {
	w, life := n.w, n.life
	for _, s := range out.Sends {
		if s.Gate > n.r.synced {
			n.gated = append(n.gated, s)
		} else {
			w.send(n, s.To, s.Msg)
		}
	}
	for _, reply := range out.Replies {
		w.hist.replied(n, reply)
	}
	for _, l := range out.Loads {
		seq := n.seq
		var load func()
		load = func() {
			switch {
			case n.life != life:
			case len(n.batches) > 0 && n.batches[0].seq <= seq: // not durable
				w.after(ms, load)
			default:
				rows, next, more := n.disk.load(l)
				n.input(func() { n.r.Loaded(l.Token, rows, next, more, nil) })
			}
		}
		w.after(w.between(ms/2, 20*ms), load)
	}
	for _, p := range out.Proposals {
		w.after(w.between(ms, 30*ms), func() { w.ring.propose(n.sid, p) })
	}
	if out.WantRing > 0 {
		w.tellRing(n)
	}
	if wake := n.real(out.Wake); out.Wake != 0 && (n.wakeAt == 0 || wake < n.wakeAt || n.wakeAt <= w.now) {
		at := max(wake, w.now)
		n.wakeAt = at
		w.after(at-w.now, func() {
			if n.life == life && n.wakeAt == at {
				n.wakeAt = 0
				n.schedule()
			}
		})
	}
}

// sync brings all batches there are to the disk, then says so.
func (n *node) sync() {
	if n.syncing || len(n.batches) == 0 {
		return
	}
	n.syncing = true
	w, life, upto := n.w, n.life, n.batches[len(n.batches)-1].seq
	d := w.between(ms/10, 2*ms)
	if w.chance(w.faults.slowSync) && !w.calm {
		d = w.between(5*ms, 900*ms)
	}
	w.after(d, func() {
		if n.life != life {
			return
		}
		n.syncing = false
		for len(n.batches) > 0 && n.batches[0].seq <= upto {
			for _, wr := range n.batches[0].writes {
				n.disk.apply(wr)
			}
			n.batches = n.batches[1:]
		}
		var free []Send
		n.gated = slices.DeleteFunc(n.gated, func(s Send) bool {
			if s.Gate <= upto {
				free = append(free, s)
			}
			return s.Gate <= upto
		})
		for _, s := range free {
			w.send(n, s.To, s.Msg)
		}
		n.input(func() { n.r.Synced(upto) })
		n.sync()
	})
}

// send a message over the network.
func (w *world) send(from *node, to hashring.SID, m *Message) {
	w.trace("%s -> %s %v", from.name(), w.name(to), m)
	if m.Kind == MsgPullReply && len(m.Entries) > 0 {
		w.count["pull"]++
	}
	n := w.at(to)
	if n == nil || !w.calm && (w.chance(w.faults.loss) || w.link[[2]int{from.slot, n.slot}]) {
		return
	}
	copies, sid := 1, from.sid
	if !w.calm && w.chance(w.faults.dup) {
		copies = 2
	}
	for range copies {
		d := w.between(ms/10, 2*ms) + w.lags[[2]int{from.slot, n.slot}]
		if !w.calm && w.chance(w.faults.slow) {
			d = w.between(2*ms, 1500*ms)
		}
		w.after(d, func() {
			if n.sid == to && !(w.link[[2]int{from.slot, n.slot}] && !w.calm) {
				n.receive(sid, m)
			}
		})
	}
}

func (n *node) receive(from hashring.SID, m *Message) {
	n.input(func() {
		if m.Kind == MsgPeekReply {
			for _, q := range n.reads {
				q.q.Receive(from, m)
			}
			n.stepReads()
			return
		}
		n.r.Receive(from, m)
	})
}

// create holds every entry ever made to S3 and S4.
func (w *world) create(n *node, e *Entry) {
	old := w.created[e.At()]
	if old == nil {
		w.created[e.At()] = e
	} else if old != e && !reflect.DeepEqual(old, e) {
		fail("S3", "%s: %v and %v", n.name(), old, e)
	}
}

// committed holds what a replica takes for committed to the one sequence.
func (n *node) committed() {
	w, r := n.w, n.r
	n.seen = max(n.seen, r.log.base.Index)
	for ; n.seen < r.hard.Commit; n.seen++ {
		i := n.seen + 1
		e := r.entry(i)
		switch {
		case int(i) <= len(w.log):
			if old := w.log[i-1]; old != e && !reflect.DeepEqual(old, e) {
				fail("committed prefix", "%s has committed %v, and %v was", n.name(), e, old)
			}
		case int(i) == len(w.log)+1:
			w.commit(n, e)
		default:
			fail("committed prefix", "%s has committed %v, and nobody %d", n.name(), e, len(w.log)+1)
		}
	}
}

func (w *world) commit(n *node, e *Entry) {
	w.log = append(w.log, e)
	w.trace("committed at %s: %v", n.name(), e)
	if e.Kind != Effect {
		return
	}
	k := string(e.Key)
	w.keys[k] = append(w.keys[k], e)
	if e.Done == nil {
		return
	}
	if old := w.requests[e.Done.ID]; old != 0 {
		fail("S12", "request %v took effect at %d and %d", e.Done.ID.StampMS, old, e.Index)
	}
	w.requests[e.Done.ID] = e.Index
}

// valueAt is what the key holds once the log up to index is applied.
func (w *world) valueAt(key string, index uint64) *Value {
	list := w.keys[key]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Index <= index {
			return list[i].Value
		}
	}
	return nil
}

// run plays the whole story; what it finds is returned.
func (w *world) run(upto time.Duration) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case violation:
			err = x
		case assert.Violation:
			err = violation{"assert " + x.Rule, x.Error()}
		default:
			panic(x)
		}
	}()
	for len(w.queue) > 0 && w.queue[0].at <= upto {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		if w.events++; w.events > 2_000_000 {
			fail("storm", "%d events by %v", w.events, w.now)
		}
		e.do()
	}
	w.now = upto
	return nil
}

func (w *world) String() string {
	var b strings.Builder
	for _, n := range w.nodes {
		fmt.Fprintf(&b, "%s up=%v paused=%v suspect=%v knows e%d", n.name(), n.up, n.paused, n.suspect, n.knows.Epoch)
		if n.r != nil {
			fmt.Fprintf(&b, " promised %d base %v applied %d commit %d log %v", n.r.hard.Promised, n.r.log.base, n.r.hard.Applied, n.r.hard.Commit, n.r.log.last())
			if l := n.r.lead; l != nil {
				fmt.Fprintf(&b, " LEADS %d %v active=%v barrier %d pend %d waits %d", l.epoch, l.phase, l.active, l.barrier, len(l.pend), len(l.waits))
			}
			if n.r.install != nil {
				fmt.Fprintf(&b, " installing")
			}
			if t := &n.r.trust; n.r.differing() {
				fmt.Fprintf(&b, " diverged=%v off=%x sum %x really %x", n.r.hard.Diverged, t.off, n.r.hard.Sum, n.realSum())
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "ring %s\n", w.ring.draw())
	return b.String()
}
