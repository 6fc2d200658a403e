package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is one thing that the nemesis does, from At for a while. The whole list is
// drawn before the run, so that a run can be played again with some of them left out.
type Fault struct {
	ID    int
	At    time.Duration // virtual
	For   time.Duration // 0: at once
	Class string
	Nodes []string
	X     float64 // rate or factor

	nodes  []int
	seed   uint64 // of what it draws while it lasts
	undo   []func()
	active bool
}

// MarshalJSON gives times in seconds.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID    int      `json:"id"`
		At    float64  `json:"at_seconds"`
		For   float64  `json:"for_seconds"`
		Class string   `json:"class"`
		Nodes []string `json:"nodes,omitempty"`
		X     float64  `json:"x,omitempty"`
	}{f.ID, f.At.Seconds(), f.For.Seconds(), f.Class, f.Nodes, f.X})
}

func (f *Fault) String() string {
	s := fmt.Sprintf("#%d at %v for %v: %s %v", f.ID, f.At.Round(time.Millisecond), f.For.Round(time.Millisecond), f.Class, f.Nodes)
	if f.X != 0 {
		s += fmt.Sprintf(" %.3g", f.X)
	}
	return s
}

// class is a kind of fault.
type class struct {
	name  string
	about string
	off   bool // off unless it is asked for
	least int  // nodes it needs
	draw  func(f *Fault, r *rand.Rand, d *Draw)
	begin func(w *World, f *Fault)
}

// nemesis carries the list out.
type nemesis struct {
	faults []*Fault
	byName map[string]*class
	begun  int
}

func (d *Draw) drawFaults(o *Options, r *rand.Rand) {
	for i := range classes {
		c := &classes[i]
		on := r.IntN(2) == 0 && !c.off
		if o.Faults != nil {
			on = slices.Contains(o.Faults, c.name)
		}
		if on && d.Nodes >= c.least {
			d.Faults = append(d.Faults, c.name)
		}
	}
	slices.Sort(d.Faults)
}

// plan draws the list of faults.
func (s *nemesis) plan(w *World) {
	s.byName = map[string]*class{}
	for i := range classes {
		s.byName[classes[i].name] = &classes[i]
	}
	d := &w.draw
	if len(d.Faults) == 0 {
		return
	}
	r := stream(w.opt.Seed, forFaults)
	for at := between(r, 2*time.Second, d.FaultEvery+2*time.Second); at < w.opt.Duration; at += between(r, d.FaultEvery/2, d.FaultEvery*3/2) {
		f := &Fault{ID: len(s.faults) + 1, At: at, Class: d.Faults[r.IntN(len(d.Faults))], seed: r.Uint64()}
		own := rand.New(rand.NewPCG(f.seed, 1)) // of its own, so that classes may change what they draw
		s.byName[f.Class].draw(f, own, d)
		for _, i := range f.nodes {
			f.Nodes = append(f.Nodes, fmt.Sprintf("n%d", i+1))
		}
		s.faults = append(s.faults, f)
	}
	for _, f := range s.faults {
		if !w.opt.HasKeep || slices.Contains(w.opt.Keep, f.ID) {
			w.queue.put(event{at: f.At, kind: evFault, p: f})
		}
	}
}

// turn begins or ends a fault.
func (s *nemesis) turn(w *World, f *Fault, begins bool) {
	if !begins {
		s.end(w, f)
		return
	}
	s.begun++
	f.active = true
	w.note("FAULT %v", f)
	s.byName[f.Class].begin(w, f)
	if f.For > 0 && len(f.undo) > 0 {
		w.after(f.For, event{kind: evFault, p: f, x: 1})
	} else if f.For == 0 {
		f.active = false
	}
}

func (s *nemesis) end(w *World, f *Fault) {
	if !f.active {
		return
	}
	w.note("FAULT #%d ends", f.ID)
	f.active = false
	undo := f.undo
	f.undo = nil
	for i := len(undo) - 1; i >= 0; i-- {
		undo[i]()
	}
}

// later does something while the fault lasts.
func (f *Fault) later(w *World, d time.Duration, do func()) {
	w.do(d, func() {
		if f.active {
			do()
		}
	})
}

func (f *Fault) undone(do func()) { f.undo = append(f.undo, do) }

// heal ends all faults and sets right what they left.
func (w *World) heal() {
	w.note("HEAL")
	for _, f := range w.storm.faults {
		w.storm.end(w, f)
	}
	w.wire = wireFaults{}
	w.load.boost, w.load.requestLost, w.load.replyLost, w.load.hasty = 1, 0, 0, false
	for _, n := range w.nodes {
		for n.paused > 0 {
			n.resume()
		}
		if n.clock.halted {
			n.clock.setHalted(w.now, false)
		}
		n.clock.setRate(w.now, 1)
		n.slow, n.tiny, n.disk.stalled, n.disk.eio, n.disk.lateWord = 1, false, 0, false, 0
		n.view.lies = nil
		n.start()
	}
}

// some draws k different nodes.
func some(r *rand.Rand, d *Draw, k int) []int {
	return r.Perm(d.Nodes)[:min(k, d.Nodes)]
}

// lasting draws a length: mostly short, sometimes up to most.
func lasting(r *rand.Rand, short, most time.Duration) time.Duration {
	if r.IntN(4) == 0 {
		return between(r, short, most)
	}
	return between(r, short/20, short)
}

func chance(r *rand.Rand, p float64) bool { return p > 0 && r.Float64() < p }
