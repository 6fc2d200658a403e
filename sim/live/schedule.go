package live

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// track is what a fault class acts on. Faults of one track come one after the other,
// those of different tracks overlap.
type track int

const (
	onProcess track = iota
	onLinks
	onInside
	tracks
)

// class is a kind of fault.
type class struct {
	name  string
	track track
	draw  func(r *rand.Rand, f *Fault, nodes int)
}

// classes in the order in which they are listed.
var classes = []class{
	{"kill", onProcess, drawSome},
	{"kill-all", onProcess, func(_ *rand.Rand, f *Fault, nodes int) { f.Nodes = all(nodes) }},
	{"pause", onProcess, drawSome},
	{"partition", onLinks, drawPartition},
	{"one-way", onLinks, drawOneWay},
	{"slow", onLinks, drawSlow},
	{"reset", onLinks, drawSome},
	{"disk-full", onInside, drawSome},
	{"disk-hang", onInside, drawSome},
	{"clock", onInside, drawClock},
	{"raft-pause", onInside, func(r *rand.Rand, f *Fault, nodes int) {
		f.Nodes = all(nodes)
		if r.IntN(3) == 0 {
			f.Nodes = some(r, nodes, 1+nodes/2)
		}
	}},
}

// Fault is one step of a schedule. Times are since the start of the load.
type Fault struct {
	Class string        `json:"class"`
	At    time.Duration `json:"at_ns"`
	Until time.Duration `json:"until_ns"`
	Nodes []int         `json:"nodes"` // from 0: whom it strikes, or one side of a partition
	// Amount is the delay of a slow link or the offset of a clock.
	Amount time.Duration `json:"amount_ns,omitempty"`
	// Out is the direction of a one-way cut: true, the nodes are not heard; false,
	// they do not hear.
	Out bool `json:"out,omitempty"`
}

func (f Fault) String() string {
	var names []string
	for _, n := range f.Nodes {
		names = append(names, nodeName(n))
	}
	text := f.Class + " " + strings.Join(names, ",")
	switch f.Class {
	case "partition":
		text += " from the others"
	case "one-way":
		text = "one-way " + strings.Join(names, ",") + map[bool]string{true: " not heard", false: " hears nothing"}[f.Out]
	case "slow", "clock":
		text += fmt.Sprintf(" by %v", f.Amount)
	}
	return text
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// Pace of the faults: a unit is a twentieth of the run within these bounds.
const (
	unitMin = 400 * time.Millisecond
	unitMax = 3 * time.Second
)

// Schedule draws the faults of a run: the same for the same arguments. All are over
// by the end.
func Schedule(seed uint64, nodes int, length time.Duration, names []string) []Fault {
	r := rand.New(rand.NewPCG(seed, 1))
	unit := min(max(length/20, unitMin), unitMax)
	var out []Fault
	for t := range tracks {
		var mine []class
		for _, c := range classes {
			if c.track == t && slices.Contains(names, c.name) {
				mine = append(mine, c)
			}
		}
		if len(mine) == 0 {
			continue
		}
		r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for i, at := 0, between(r, unit/2, 2*unit); ; i++ {
			f := Fault{Class: mine[i%len(mine)].name, At: at, Until: at + between(r, 2*unit/3, 2*unit)}
			mine[i%len(mine)].draw(r, &f, nodes)
			if f.Until >= length {
				break
			}
			out = append(out, f)
			at = f.Until + between(r, 2*unit/3, 2*unit)
		}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return int(a.At - b.At) })
	return out
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)+1))
}

func all(nodes int) []int { return some(nil, nodes, nodes) }

// some draws count of the nodes, in order; r may be nil for all of them.
func some(r *rand.Rand, nodes, count int) []int {
	out := make([]int, nodes)
	for i := range out {
		out[i] = i
	}
	if count < nodes {
		r.Shuffle(nodes, func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:count]
		slices.Sort(out)
	}
	return out
}

// drawSome strikes one node, sometimes as many as leave a majority.
func drawSome(r *rand.Rand, f *Fault, nodes int) {
	count := 1
	if most := (nodes - 1) / 2; most > 1 && r.IntN(4) == 0 {
		count = most
	}
	f.Nodes = some(r, nodes, count)
}

// drawPartition isolates one node or cuts the cluster in halves.
func drawPartition(r *rand.Rand, f *Fault, nodes int) {
	count := 1
	if r.IntN(2) == 0 {
		count = max(1, nodes/2)
	}
	f.Nodes = some(r, nodes, count)
}

func drawOneWay(r *rand.Rand, f *Fault, nodes int) {
	f.Nodes, f.Out = some(r, nodes, 1), r.IntN(2) == 0
}

func drawSlow(r *rand.Rand, f *Fault, nodes int) {
	drawSome(r, f, nodes)
	f.Amount = []time.Duration{20 * time.Millisecond, 150 * time.Millisecond, 700 * time.Millisecond}[r.IntN(3)]
}

func drawClock(r *rand.Rand, f *Fault, nodes int) {
	drawSome(r, f, nodes)
	f.Amount = []time.Duration{-time.Hour, -5 * time.Second, 2 * time.Second, time.Minute, 24 * time.Hour}[r.IntN(5)]
}
