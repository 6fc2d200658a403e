package sim

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/node/core"
)

// World is one cluster and all that surrounds it. One goroutine.
type World struct {
	opt  Options
	draw Draw

	now   time.Duration
	queue queue
	trace uint64
	story io.Writer
	steps int

	nodes  []*node
	bySID  map[hashring.SID]*node // those of lost stores too, see holder
	sids   []hashring.SID         // of all stores there were, in order
	pairs  []pair                 // of nodes i < j, at pairIndex
	wire   wireFaults
	auth   authority
	truth  truth
	strong strongTruth
	load   load
	storm  nemesis
	probe  probes

	netRand, diskRand, coreRand, ctlRand *rand.Rand

	violations []Violation
	buf        []byte

	// onSend, when set by a scenario, decides over each message between two nodes.
	onSend func(from, to *node, m *core.Message) verdict
}

// newWorld has its nodes made and nothing started.
func newWorld(o Options, d Draw) *World {
	w := &World{opt: o, draw: d, story: o.Story, bySID: map[hashring.SID]*node{}, trace: o.Seed | 1,
		netRand: stream(o.Seed, forNetwork), diskRand: stream(o.Seed, forDisks), coreRand: stream(o.Seed, forCores), ctlRand: stream(o.Seed, forControl)}
	w.probe.init()
	w.truth.init(w)
	w.strong.init(w)
	for i := range d.Nodes {
		w.nodes = append(w.nodes, w.newNode(i))
	}
	w.pairs = make([]pair, d.Nodes*d.Nodes)
	w.auth.init(w)
	return w
}

// at lets e happen after d.
func (w *World) after(d time.Duration, e event) {
	e.at = w.now + max(d, 0)
	w.queue.put(e)
}

// do calls f after d.
func (w *World) do(d time.Duration, f func()) { w.after(d, event{kind: evDo, p: f}) }

// mix adds a word to the trace: two runs with one trace hash did the same.
func (w *World) mix(v uint64) {
	w.trace = bits.RotateLeft64((w.trace^v)*0x9e3779b97f4a7c15, 29)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (w *World) mixBytes(b []byte) { w.mix(uint64(len(b))<<32 | uint64(crc32.Checksum(b, castagnoli))) }

// note tells the story; callers that have to compute what they tell ask telling first.
func (w *World) note(format string, args ...any) {
	if w.story != nil {
		_, _ = fmt.Fprintf(w.story, "%12.6f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...)) // a story that nobody can hear stops nothing
	}
}

func (w *World) telling() bool { return w.story != nil }

// runUntil lets everything happen up to virtual time end, or until stop.
func (w *World) runUntil(end time.Duration, stop func() bool) {
	for len(w.queue.heap) > 0 && w.queue.heap[0].at <= end && len(w.violations) < maxViolations {
		e := w.queue.take()
		w.now = e.at
		w.happen(&e)
		if stop != nil && stop() {
			return
		}
	}
	w.now = max(w.now, end)
}

func (w *World) happen(e *event) {
	if e.inc != 0 && (e.inc != e.n.inc || !e.n.up) {
		return // its process is gone
	}
	w.steps++
	w.mix(uint64(e.at)<<8 | uint64(e.kind))
	switch e.kind {
	case evWake:
		e.n.shards[e.x].wake()
	case evTimer:
		e.n.shards[e.x].onTimer()
	case evSynced:
		e.n.shards[e.x].onSynced()
	case evLoaded:
		e.n.shards[e.x].onLoaded(e.p.(*core.Load))
	case evArrive:
		w.arrive(e.n, e.p.(*parcel))
	case evDial:
		w.onDial(e.p.(*pair))
	case evSilence:
		w.onSilence(e.p.(*pair), e.x)
	case evDown:
		e.n.onDown(w.nodes[e.x])
	case evGossip:
		e.n.gossip()
	case evLearn:
		e.n.learn(uint64(e.x))
	case evBoot:
		e.n.tryConfirm()
	case evClient:
		w.load.next(w)
	case evAnswer:
		w.load.answered(w, e.p.(*call))
	case evGiveUp:
		w.load.giveUp(w, e.p.(*call))
	case evFault:
		w.storm.turn(w, e.p.(*Fault), e.x == 0)
	case evDo:
		e.p.(func())()
	}
}

// maxViolations ends a run: one is enough to look into, a few show the pattern.
const maxViolations = 5

func (w *World) violate(v Violation) {
	if v.At == 0 {
		v.At = w.now
	}
	w.note("VIOLATION %s", v)
	if len(w.violations) < maxViolations {
		w.violations = append(w.violations, v)
	}
}

// guard calls f and turns a broken invariant of production code into a violation.
func (w *World) guard(where string, f func()) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case assert.Violation:
			w.violate(Violation{Check: "assert", Kind: p.Rule, Detail: where + ": " + p.Detail})
		default:
			w.violate(Violation{Check: "panic", Kind: "PANIC", Detail: fmt.Sprintf("%s: %v\n%s", where, p, debug.Stack())})
		}
	}()
	f()
}
