package core

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// TestHintsAndMarksLoseNothing plays random lives with hint budgets and ages that are
// soon used up, lost messages, views that lie and crashes. At any moment when no request
// is open, whoever is up or down then:
//
//   - every acked write is on the disk of an owner or in a hint on some disk;
//   - every owner that lacks a write acked by another owner has a hint of it somewhere,
//     or a mark.
//
// And when all is healed, without any read, nothing is kept or owed any more and all
// owners are alike.
//
//	go test ./node/core -run TestHintsAndMarksLoseNothing
//	CORE_SEED=17 ... -v    one life, told in full;  CORE_RUNS=10000  more of them
func TestHintsAndMarksLoseNothing(t *testing.T) {
	first, runs := uint64(1), uint64(120)
	one := os.Getenv("CORE_SEED")
	if one != "" {
		n, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, runs = n, 1
	} else if s := os.Getenv("CORE_RUNS"); s != "" {
		runs, _ = strconv.ParseUint(s, 10, 64)
	}
	var met losing
	for seed := first; seed < first+runs; seed++ {
		l := newLosing(seed, one != "")
		err := l.play()
		if one != "" {
			for _, line := range l.w.log {
				t.Log(line)
			}
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		met.acked += l.acked
		met.dropped += l.dropped
		met.refused += l.refused
		met.marked += l.marked
		met.looked += l.looked
	}
	t.Logf("%d lives: %d acked, %d hints dropped, %d refused, %d times a mark stood for a write, %d looks", runs, met.acked, met.dropped, met.refused, met.marked, met.looked)
	if runs >= 100 && (met.acked < 1000 || met.dropped < 50 || met.refused < 50 || met.marked < 50) {
		t.Error("the lives did not come to what is to be shown")
	}
}

type losing struct {
	w       *world
	lossy   float64
	writes  []*losingWrite
	acked   int
	dropped uint64
	refused uint64
	marked  int
	looked  int
}

type losingWrite struct {
	call  *call
	dot   version.Dot
	owner bool // an owner coordinated it, and has not crashed meanwhile
	boot  int
	by    *wnode
}

func newLosing(seed uint64, logs bool) *losing {
	names := "abcdef"[:3+seed%3]
	w := emptyWorld(storyT{}, names, seed)
	l := &losing{w: w, lossy: []float64{0, 0.02, 0.1}[seed%3]}
	if logs {
		w.log = []string{}
	}
	w.ring = hashring.NewRing(repairState(names, 1))
	w.fate = func(_, _ *wnode, _ *Message) fate {
		if l.lossy > 0 && w.rng.Float64() < l.lossy {
			return drop
		}
		return deliver
	}
	for _, n := range w.nodes {
		n.hintBytes, n.hintAge = int64(400+w.rng.IntN(2500)), []time.Duration{0, 3 * time.Second, 20 * time.Second}[w.rng.IntN(3)]
		w.start(n, true)
	}
	return l
}

func (l *losing) play() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	w, r := l.w, l.w.rng
	for range 5 {
		l.unsettle()
		for range 8 {
			l.write(w.nodes[r.IntN(len(w.nodes))])
			w.run(time.Duration(r.IntN(400)) * time.Millisecond)
			if n := w.nodes[r.IntN(len(w.nodes))]; r.IntN(12) == 0 && n.core != nil {
				l.note(n)
				w.crash(n, r.IntN(2) == 0)
				w.tellDown(n)
			}
		}
		w.run(2*finishFor + time.Second)
		if err := l.look(); err != nil {
			return err
		}
	}
	return l.end()
}

// unsettle changes who is up and who is thought to be.
func (l *losing) unsettle() {
	w, r := l.w, l.w.rng
	for _, n := range w.nodes {
		if n.core == nil && r.IntN(2) == 0 {
			w.start(n, true)
		}
	}
	for _, n := range w.nodes {
		alive := ""
		for _, o := range w.nodes {
			if o.core != nil && r.IntN(4) > 0 {
				alive += o.name
			}
		}
		if n.core != nil {
			w.view(n.name, alive)
		}
	}
}

// write puts a key at a node that is up.
func (l *losing) write(n *wnode) {
	if n.core == nil {
		return
	}
	w, r := l.w, l.w.rng
	id := version.RequestID{}
	binary.BigEndian.PutUint64(id[:], uint64(len(l.writes)+1))
	req := &Request{Op: OpPut, Bucket: "sloppy", Key: fmt.Append(nil, "k", r.IntN(9)), Value: make([]byte, r.IntN(200)), ID: id, Timeout: 2 * time.Second}
	if r.IntN(3) == 0 {
		req.W = 1
	}
	a := &losingWrite{call: w.ask(n, req)}
	l.writes = append(l.writes, a)
	got := func() {
		rep := a.call.reply
		if rep.Outcome != Applied {
			return
		}
		for _, s := range rep.Object.Siblings {
			if s.Request == id {
				a.dot = s.Dot
			}
		}
		a.by = w.bySID(rep.ServedBy)
		a.owner, a.boot = w.ring.Owns(0, 3, rep.ServedBy), a.by.boot
	}
	if a.call.then = got; a.call.reply != nil {
		got()
	}
}

func (l *losing) note(n *wnode) {
	s := n.core.Stats()
	l.dropped += s.HintsDropped
	l.refused += s.HintsRefused
}

// kept tells whether some disk has a hint that covers the write, for a target or any.
func (l *losing) kept(a *losingWrite, target hashring.SID) bool {
	for _, n := range l.w.nodes {
		for k, h := range n.disk.hints {
			if k.key == string(a.call.req.Key) && (target.IsZero() || k.target == target) && h.object.Context.Covers(a.dot) {
				return true
			}
		}
	}
	return false
}

func (l *losing) has(n *wnode, a *losingWrite) bool {
	o := n.disk.records[rowKey{bucket: 2, key: string(a.call.req.Key)}]
	return o != nil && o.Context.Covers(a.dot)
}

func (l *losing) owed(target hashring.SID) bool {
	return slices.ContainsFunc(l.w.nodes, func(n *wnode) bool {
		return slices.ContainsFunc(n.disk.counters[0].Hints, func(x antientropy.HintLine) bool { return x.Target == target && x.Dirty != 0 })
	})
}

func (l *losing) look() error {
	l.looked++
	for _, a := range l.writes {
		if a.dot.Counter == 0 {
			continue
		}
		safe := l.kept(a, hashring.SID{})
		for _, s := range l.w.ring.Owners(0, 3) {
			safe = safe || l.has(l.w.bySID(s), a)
		}
		if !safe {
			return fmt.Errorf("%s of %s was acked and is nowhere", a.dot, a.call.req.Key)
		}
		if !a.owner || a.by.boot != a.boot || a.by.core == nil {
			continue
		}
		for _, s := range l.w.ring.Owners(0, 3) {
			o := l.w.bySID(s)
			switch {
			case l.has(o, a) || l.kept(a, s):
			case l.owed(s):
				l.marked++
			default:
				return fmt.Errorf("%s of %s is not at %s, which nobody knows", a.dot, a.call.req.Key, o.name)
			}
		}
	}
	return nil
}

// end heals everything; nobody reads.
func (l *losing) end() error {
	w := l.w
	l.lossy = 0
	for _, n := range w.nodes {
		if n.core == nil {
			w.start(n, true)
		}
	}
	w.view("", everybody)
	w.until("nothing is kept or owed", func() bool {
		for _, n := range w.nodes {
			if s := n.core.Stats(); s.Hints+s.Marks > 0 || len(n.disk.hints) > 0 {
				return false
			}
		}
		return true
	})
	w.run(20 * time.Second)
	for _, n := range w.nodes {
		l.note(n)
		n.disk.checkCounters(w.t, n.name)
	}
	for _, a := range l.writes {
		if a.dot.Counter == 0 {
			continue
		}
		l.acked++
		for _, s := range w.ring.Owners(0, 3) {
			if !l.has(w.bySID(s), a) {
				return fmt.Errorf("healed, and %s lacks %s of %s", w.bySID(s).name, a.dot, a.call.req.Key)
			}
		}
	}
	return nil
}
