package core

import (
	"container/heap"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// world is a few shards on one goroutine: a network that delivers in order per
// link, disks on which only synced batches survive a crash, virtual time. All of
// it comes from one seed, so a run can be played again.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	now   time.Duration
	nodes []*wnode
	ring  *hashring.Ring

	ids   uint64 // of requests
	queue scheduled
	seq   uint64
	links map[[2]*wnode]time.Duration // last delivery, for the order

	// fate decides over each message between two nodes; nil delivers.
	fate  func(from, to *wnode, m *Message) fate
	held  []parcel
	delay func() time.Duration // of one message or sync
	// onStep sees every Ready before it is carried out.
	onStep func(n *wnode, r *Ready)
	// onSync sees what has just become durable.
	onSync func(n *wnode, b []*Batch)
	// deaf sees each message of an exchange first; true: it is lost, whatever its fate.
	deaf func(from, to *wnode, m *Message) bool
	// propose takes what a node wants committed to the ring.
	propose func(n *wnode, p Proposal)
	// words takes what a node says of strong partitions.
	words        func(n *wnode, word strong.Word)
	strong       strong.Options
	deafTo       map[*wnode]bool // these hear nothing of the ring
	purgeEvery   time.Duration
	scrubEvery   time.Duration
	repairFloor  int64
	repairTarget time.Duration
	onStart      func(n *wnode, confirmed bool)
	trace        hash.Hash64 // of the story, when wanted
	log          []string    // the story so far, when wanted
}

type fate uint8

const (
	deliver fate = iota
	drop
	hold
)

type parcel struct {
	to *wnode
	m  *Message
}

// wnode is one node with one shard.
type wnode struct {
	name      string
	sid       hashring.SID
	core      *Core // nil: not running
	boot      int
	disk      *disk
	hintBytes int64
	hintAge   time.Duration
	skewMS    int64
	deadline  time.Duration

	holdSync bool // nothing becomes durable
	syncing  bool
	inFlight []*Batch
	pending  []*Batch
	gated    []Gated
	durable  uint64
	calls    []*call
}

// call is one client request under way.
type call struct {
	req   *Request
	node  *wnode
	began time.Duration
	ended time.Duration
	reply *Reply
	lost  bool   // its node crashed
	then  func() // when it is answered
}

const epochMS = 1_700_000_000_000 // wall clock at virtual time 0

func sidOf(name string) (s hashring.SID) { copy(s[:], name); return s }

// newWorld has a node for each letter of names, a ring of partitions, each owned
// by three nodes in the order of their names, and all is up, confirmed and alive.
// Buckets: "sloppy", "strict", "lww" (sloppy).
func newWorld(t testing.TB, names string, partitions int) *world {
	w := emptyWorld(t, names, 1)
	w.ring = hashring.NewRing(ringState(names, partitions, 3))
	for _, n := range w.nodes {
		w.start(n, true)
	}
	return w
}

func emptyWorld(t testing.TB, names string, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Second, links: map[[2]*wnode]time.Duration{}}
	w.delay = func() time.Duration { return time.Millisecond }
	for _, r := range names {
		w.nodes = append(w.nodes, &wnode{name: string(r), sid: sidOf(string(r)), disk: newDisk()})
	}
	return w
}

func ringState(names string, partitions, n int) *hashring.State {
	s := &hashring.State{Version: 10, Replicas: n, Feature: 1, Buckets: map[string]hashring.Bucket{
		"sloppy": {ID: 2, Name: "sloppy", Mode: hashring.Eventual, Conflict: hashring.Siblings, N: n, Sloppy: true},
		"strict": {ID: 3, Name: "strict", Mode: hashring.Eventual, Conflict: hashring.Siblings, N: n},
		"lww":    {ID: 4, Name: "lww", Mode: hashring.Eventual, Conflict: hashring.LWW, N: n, Sloppy: true},
	}}
	for _, r := range names {
		s.Stores = append(s.Stores, hashring.Store{SID: sidOf(string(r)), Node: string(r), State: hashring.StoreUp, Boot: 1})
	}
	for p := range partitions {
		var replicas []hashring.SID
		for i := range min(n, len(names)) {
			replicas = append(replicas, sidOf(names[(p+i)%len(names):][:1]))
		}
		s.Partitions = append(s.Partitions, hashring.Partition{Epoch: 5, Replicas: replicas})
	}
	return s
}

func (w *world) node(name string) *wnode {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	w.t.Fatalf("no node %s", name)
	return nil
}

func (w *world) bySID(s hashring.SID) *wnode {
	for _, n := range w.nodes {
		if n.sid == s {
			return n
		}
	}
	return nil
}

func (w *world) note(format string, args ...any) {
	if w.trace == nil && w.log == nil {
		return
	}
	line := fmt.Sprintf("%v ", w.now) + fmt.Sprintf(format, args...)
	if w.trace != nil {
		_, _ = w.trace.Write([]byte(line))
	}
	if w.log != nil {
		w.log = append(w.log, line)
	}
}

// start runs a node on its disk. confirmed: its boot is registered (D6).
func (w *world) start(n *wnode, confirmed bool) {
	n.boot++
	n.durable, n.deadline = 0, 0
	if w.onStart != nil {
		w.onStart(n, confirmed)
	}
	n.core = New(Config{Self: n.sid, Shards: 1, Rand: rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64())), HLCBound: n.disk.bound, HintBytes: n.hintBytes, HintAge: n.hintAge, Starts: uint64(n.boot), PurgeEvery: w.purgeEvery, ScrubEvery: w.scrubEvery,
		RepairFloor: w.repairFloor, RepairTarget: w.repairTarget, Strong: w.strong}, n.disk)
	w.note("%s starts, confirmed %v", n.name, confirmed)
	events := []Event{}
	if w.ring != nil {
		events = append(events, Event{Ring: w.ring})
	}
	if confirmed {
		events = append(events, Event{Confirmed: true})
	}
	w.step(n, events...)
}

// crash takes the node away with all that is not on its disk. With survived set
// the write that was under way got there after all, unacknowledged.
func (w *world) crash(n *wnode, survived bool) {
	w.note("%s crashes, last write survives %v", n.name, survived)
	if survived {
		w.apply(n)
	}
	n.core, n.syncing, n.inFlight, n.pending, n.gated = nil, false, nil, nil, nil
	for _, c := range n.calls {
		c.lost = c.reply == nil
	}
	n.calls = nil
}

// tellDown: every other node loses its connection to n.
func (w *world) tellDown(n *wnode) {
	for _, o := range w.nodes {
		if o != n {
			w.at(w.now, func() { w.step(o, Event{Down: n.sid}) })
		}
	}
}

// view tells at (or all nodes, if it is empty) that just these are alive.
func (w *world) view(at, alive string) {
	v := &View{Alive: map[hashring.SID]bool{}}
	for _, n := range w.nodes {
		v.Alive[n.sid] = strings.Contains(alive, n.name)
	}
	for _, n := range w.nodes {
		if at == "" || at == n.name {
			w.step(n, Event{View: v})
		}
	}
}

func (w *world) at(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, item{t, w.seq, do})
}

// step is one turn of a node's driver.
func (w *world) step(n *wnode, events ...Event) {
	if n.core == nil {
		return
	}
	r := n.core.Step(Now{Mono: w.now, WallMS: epochMS + w.now.Milliseconds() + n.skewMS, Boot: w.now}, events)
	if w.onStep != nil {
		w.onStep(n, r)
	}
	if r.Batch != nil {
		if r.Batch.Empty() {
			w.t.Fatal("an empty batch was handed out")
		}
		n.pending = append(n.pending, r.Batch)
	}
	n.gated = append(n.gated, r.AfterSync...)
	for _, g := range r.AfterSync {
		if g.Seq <= n.durable || g.Seq > n.core.lastSeq {
			w.t.Fatalf("%s: gated by batch %d, durable is %d, newest %d", n.name, g.Seq, n.durable, n.core.lastSeq)
		}
	}
	for i := range r.Now {
		w.emit(n, r.Now[i])
	}
	boot := n.boot
	for _, l := range r.Loads {
		w.at(w.now+w.delay(), func() {
			if n.core != nil && n.boot == boot {
				loaded := n.disk.load(l)
				w.step(n, Event{Loaded: &loaded})
			}
		})
	}
	for _, p := range r.Proposals {
		if w.propose != nil { // else nothing is heard of it
			w.propose(n, p)
		}
	}
	for _, word := range r.Words {
		if w.words != nil {
			w.words(n, word)
		}
	}
	if r.WantRing != 0 && w.ring != nil && !w.deafTo[n] {
		w.at(w.now+w.delay(), func() { w.step(n, Event{Ring: w.ring}) })
	}
	n.deadline = r.Deadline
	w.sync(n)
}

// sync commits what has gathered, one write at a time, like the driver.
func (w *world) sync(n *wnode) {
	if n.core == nil || n.syncing || n.holdSync || len(n.pending) == 0 {
		return
	}
	n.syncing, n.inFlight, n.pending = true, n.pending, nil
	boot := n.boot
	w.at(w.now+w.delay(), func() {
		if n.core == nil || n.boot != boot {
			return
		}
		n.syncing = false
		if n.holdSync { // held while it was under way
			n.pending, n.inFlight = append(n.inFlight, n.pending...), nil
			return
		}
		w.apply(n)
		n.durable, n.inFlight = n.inFlight[len(n.inFlight)-1].Seq, nil
		w.step(n, Event{Synced: n.durable})
		kept := n.gated[:0]
		for _, g := range n.gated {
			if g.Seq <= n.durable {
				w.emit(n, g.Out)
			} else {
				kept = append(kept, g)
			}
		}
		n.gated = kept
		w.sync(n)
	})
}

func (w *world) apply(n *wnode) {
	n.disk.apply(n.inFlight)
	if w.onSync != nil {
		w.onSync(n, n.inFlight)
	}
}

func (w *world) release(n *wnode) { n.holdSync = false; w.sync(n) }

func (w *world) emit(n *wnode, o Out) {
	if o.Message == nil {
		w.answered(n, o.Waiter.(*call), o.Reply)
		return
	}
	m := *o.Message
	m.From = n.sid
	to := w.bySID(m.To)
	if to == n {
		boot := n.boot
		w.at(w.now, func() {
			if n.boot == boot {
				w.step(n, Event{Message: &m})
			}
		})
		return
	}
	if to == nil {
		return // a store that was replaced
	}
	f := deliver
	if w.fate != nil {
		f = w.fate(n, to, &m)
	}
	if m.Kind == MsgExchange && w.deaf != nil && w.deaf(n, to, &m) {
		f = drop
	}
	w.note("%s>%s %v %d/%d %v %v", n.name, to.name, m.Kind, m.Epoch, m.ID&0xff, m.Object, f)
	switch f {
	case deliver:
		w.carry(n, to, &m)
	case hold:
		w.held = append(w.held, parcel{to, &m})
	}
}

// carry delivers later, in order per link; a process that was restarted meanwhile
// gets what was meant for the one before it, as over a new connection.
func (w *world) carry(from, to *wnode, m *Message) {
	link := [2]*wnode{from, to}
	at := max(w.now+w.delay(), w.links[link])
	w.links[link] = at
	w.at(at, func() { w.step(to, Event{Message: m}) })
}

// letGo delivers what was held, and stops holding.
func (w *world) letGo() {
	held := w.held
	w.held, w.fate = nil, nil
	for _, p := range held {
		w.carry(w.bySID(p.m.From), p.to, p.m)
	}
}

func (w *world) answered(n *wnode, c *call, r *Reply) {
	w.note("%s answers %v %v: %v %v %v", n.name, c.req.Op, c.req.Key, r.Code, r.Outcome, r.Receipt)
	if c.reply != nil {
		w.t.Fatalf("%s answered twice: %+v, then %+v", n.name, c.reply, r)
	}
	isWrite := c.req.Op == OpPut || c.req.Op == OpDelete || c.req.Op == OpIncrement
	if isWrite != (r.Outcome != OutcomeNone) || isWrite && r.Code == OK && r.Outcome != Applied || r.Outcome == Applied && r.Code != OK {
		w.t.Fatalf("op %d: %v with outcome %q", c.req.Op, r.Code, r.Outcome)
	}
	c.reply, c.ended = r, w.now
	n.calls = slices.DeleteFunc(n.calls, func(o *call) bool { return o == c })
	if c.then != nil {
		c.then()
	}
}

// ask gives a request to a node; the reply comes later.
func (w *world) ask(n *wnode, r *Request) *call {
	c := &call{req: r, node: n, began: w.now}
	r.Waiter = c
	n.calls = append(n.calls, c)
	w.note("%s is asked %v %s", n.name, r.Op, r.Key)
	w.step(n, Event{Request: r})
	return c
}

// one runs the next thing that happens up to limit; false: nothing does.
func (w *world) one(limit time.Duration) bool {
	next, timer := limit+1, (*wnode)(nil)
	for _, n := range w.nodes {
		if n.core != nil && n.deadline != 0 && n.deadline < next {
			next, timer = n.deadline, n
		}
	}
	if len(w.queue) > 0 && w.queue[0].at <= min(next, limit) {
		i := heap.Pop(&w.queue).(item)
		w.now = max(w.now, i.at)
		i.do()
		return true
	}
	if timer == nil {
		w.now = limit
		return false
	}
	w.now = max(w.now, next)
	w.step(timer)
	return true
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.one(end); {
	}
}

// until runs to the moment when cond holds.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	for end := w.now + 2*time.Minute; !cond(); {
		if !w.one(end) {
			w.t.Fatalf("did not happen: %s", what)
		}
	}
}

func (w *world) wait(c *call) *Reply {
	w.t.Helper()
	w.until("a reply", func() bool { return c.reply != nil || c.lost })
	return c.reply
}

func (w *world) do(n *wnode, r *Request) *Reply {
	w.t.Helper()
	return w.wait(w.ask(n, r))
}

type item struct {
	at  time.Duration
	seq uint64
	do  func()
}

type scheduled []item

func (s scheduled) Len() int { return len(s) }
func (s scheduled) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].seq < s[j].seq
}
func (s scheduled) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *scheduled) Push(x any)   { *s = append(*s, x.(item)) }
func (s *scheduled) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}
