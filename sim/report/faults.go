package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/sim/check"
)

// group is a family of faults, with a colour of its own.
type group struct {
	class, name string
	words       []string // a fault belongs to the first group that knows a part of its name
}

// groups in the order of the legend. The first match counts, so clocks come before
// restarts and client links before links.
var groups = []group{
	{"g-clock", "clocks", []string{"clock", "drift", "strobe", "skew"}},
	{"g-disk", "disks", []string{"disk", "stall", "eio", "enospc", "space", "flip", "wipe", "rollback", "clone", "torn", "sync"}},
	{"g-ring", "ring and gossip", []string{"gossip", "authority", "epoch", "bucket", "raft", "ring"}},
	{"g-process", "processes", []string{"kill", "crash", "storm", "restart", "pause", "stop", "overload", "start"}},
	{"g-network", "network", []string{"halves", "partition", "isolat", "one_way", "one-way", "bridge", "majorit", "flap", "clog", "reset",
		"straggler", "loss", "duplicat", "reorder", "delay", "link", "slow", "cut", "net"}},
}

const otherGroup = "g-other"

func groupOf(class string) string {
	for _, g := range groups {
		for _, w := range g.words {
			if strings.Contains(class, w) {
				return g.class
			}
		}
	}
	return otherGroup
}

const (
	barHeight = 14.0
	barGap    = 2.0
	lanePad   = 5.0
	barLeast  = 3.0 // so that what is over at once can be seen
	charWidth = 5.4
	together  = "cluster" // the lane of what strikes no node in particular
)

var markNames = map[string]string{"wrong": "a violation is found", "healed": "all faults over"}

// strip is one lane of the fault chart while it is filled.
type strip struct {
	name string
	ends [maxRows]float64 // where each row is free again
	rows int
	bars [maxRows][]box
}

// add puts a bar into the first free row, or the one that is free soonest.
func (s *strip) add(b box) {
	row := 0
	for i := range s.ends {
		if s.ends[i] <= b.X {
			row = i
			break
		}
		if s.ends[i] < s.ends[row] {
			row = i
		}
	}
	s.ends[row] = max(s.ends[row], b.X+b.W+1)
	s.rows = max(s.rows, row+1)
	b.Y = float64(row) * (barHeight + barGap)
	s.bars[row] = append(s.bars[row], b)
}

// faultChart draws one lane for each node and one for the cluster.
func (x *axis) faultChart(in *Input, l *lanes) chart {
	c := chart{Name: "Faults over time, a lane for each node"}
	strips := make([]strip, len(l.names)+1)
	strips[0].name = together
	for i, n := range l.names {
		strips[i+1].name = text(n)
	}
	drawn, left := 0, 0
	for _, f := range byTime(in.Faults) {
		where := l.struck(f)
		if drawn+len(where) > maxBars {
			left++
			continue
		}
		drawn += len(where)
		for _, i := range where {
			strips[i].add(x.bar(f))
		}
	}
	c.stack(x, strips)
	c.Legend = faultLegend(in.Faults)
	for _, m := range x.marks {
		if k := (legend{"m-" + m.Class, markNames[m.Class], ""}); !slices.Contains(c.Legend, k) {
			c.Legend = append(c.Legend, k)
		}
	}
	if left > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s of %s are not drawn.", thousands(left), plural(len(in.Faults), "fault")))
	}
	if l.left > 0 {
		c.Notes = append(c.Notes, plural(l.left, "node")+" beyond those drawn share the first lane.")
	}
	return c
}

// stack gives each lane the height that its bars need.
func (c *chart) stack(x *axis, strips []strip) {
	y := 0.0
	for i, s := range strips {
		if i == 0 && s.rows == 0 {
			continue // nothing struck the cluster as a whole
		}
		h := float64(max(s.rows, 1))*(barHeight+barGap) - barGap + 2*lanePad
		c.Lanes = append(c.Lanes, lane{s.name, y, h, y + h/2 + 4})
		for _, row := range s.bars {
			for _, b := range labelled(row) {
				b.Y += y + lanePad
				b.H = barHeight
				c.Boxes = append(c.Boxes, b)
			}
		}
		y += h
	}
	c.finish(x, y)
}

func (x *axis) bar(f Fault) box {
	from, to := x.at(f.At), x.at(end(f))
	if x.healed > 0 && f.At < x.healed {
		to = min(to, x.at(x.healed))
	}
	return box{X: from, W: round(max(to-from, barLeast)), Class: groupOf(f.Class), Title: describe(f), Label: clip(f.Class, maxLabel)}
}

func end(f Fault) check.Time {
	if f.For > check.Forever-max(f.At, 0) {
		return check.Forever
	}
	return f.At + max(f.For, 0)
}

// describe is a fault in words.
func describe(f Fault) string {
	var b strings.Builder
	if f.ID != 0 {
		b.WriteString("#" + strconv.Itoa(f.ID) + " ")
	}
	b.WriteString(text(f.Class) + " at " + clock(f.At))
	if f.For > 0 {
		b.WriteString(" to " + clock(end(f)) + " (" + clock(f.For) + ")")
	}
	if len(f.Nodes) > 0 {
		b.WriteString(", " + list(f.Nodes))
	}
	if f.Amount != "" {
		b.WriteString(", " + text(f.Amount))
	}
	if f.About != "" {
		b.WriteString(": " + clip(f.About, maxText))
	}
	return b.String()
}

// struck are the lanes that a fault belongs to, the cluster's if it names no node.
func (l *lanes) struck(f Fault) (out []int) {
	for _, n := range f.Nodes {
		i, ok := l.index[n]
		if !ok {
			i = -1
		}
		if !slices.Contains(out, i+1) {
			out = append(out, i+1)
		}
	}
	if len(out) == 0 {
		out = append(out, 0)
	}
	return out
}

func byTime(in []Fault) []Fault {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return out
}

func faultLegend(in []Fault) (out []legend) {
	n := map[string]int{}
	for _, f := range in {
		n[groupOf(f.Class)]++
	}
	for _, g := range append(slices.Clone(groups), group{class: otherGroup, name: "other"}) {
		if n[g.class] > 0 {
			out = append(out, legend{g.class, g.name, thousands(n[g.class])})
		}
	}
	return out
}
