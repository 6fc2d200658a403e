package report

import (
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// The drawings' unit is about a pixel of a wide window.
const (
	chartWidth = 1200.0
	gutter     = 74.0 // for the names of lanes
	plotWidth  = bins * 5.0
	axisHeight = 22.0
)

// axis is the time axis that both charts share.
type axis struct {
	end check.Time
	// healed is when all faults that began before were ended, 0 for never.
	healed check.Time
	ticks  []tick
	marks  []mark // violations, and the end of the faults
}

type tick struct {
	X    float64
	Text string
}

// mark is a line across all lanes.
type mark struct {
	X            float64
	Class, Title string
}

// box is a rectangle with what it says when pointed at.
type box struct {
	X, Y, W, H   float64
	Class, Title string
	Label        string
	LabelX       float64
	LabelClass   string
}

// lane is one node's band of a chart.
type lane struct {
	Name      string
	Y, H, Mid float64
}

// chart is one drawing.
type chart struct {
	W, H, Left, Plot, Bottom float64
	Drop                     float64 // of a label below the top of its bar
	Name                     string
	Lanes                    []lane
	Boxes                    []box
	Dots                     []box
	Ticks                    []tick
	Marks                    []mark
	Legend                   []legend
	Notes                    []string
}

type legend struct {
	Class, Name string
	N           string
}

// steps between ticks.
var steps = []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

const maxTicks = 14

func newAxis(in *Input) *axis {
	x := &axis{end: time.Duration(min(max(in.VirtualSeconds, 0), 1e9) * float64(time.Second))}
	for _, f := range in.Faults {
		x.end = max(x.end, f.At)
	}
	for i := range in.History {
		x.end = max(x.end, in.History[i].Call)
	}
	for _, v := range in.Violations {
		x.end = max(x.end, v.At)
	}
	x.end = max(x.end, time.Millisecond)
	x.ticks = x.steps()
	if in.Healed > 0 && in.Healed < x.end {
		x.healed = in.Healed
		x.marks = append(x.marks, mark{x.at(in.Healed), "healed", "all faults over at " + clock(in.Healed) + ": the cluster must come to rest"})
	}
	for i, v := range in.Violations {
		if i == maxViolations {
			break
		}
		if v.At > 0 {
			x.marks = append(x.marks, mark{x.at(v.At), "wrong", clip(v.Kind+" at "+clock(v.At)+": "+v.Detail, maxText)})
		}
	}
	return x
}

func (x *axis) steps() (out []tick) {
	step := steps[len(steps)-1]
	for _, s := range steps {
		if x.end/s < maxTicks {
			step = s
			break
		}
	}
	for i := range min(x.end/step+1, maxTicks) {
		out = append(out, tick{x.at(i * step), brief(i * step)})
	}
	return out
}

// at is where a time stands in a chart.
func (x *axis) at(t check.Time) float64 {
	return round(gutter + float64(min(max(t, 0), x.end))/float64(x.end)*plotWidth)
}

// round keeps numbers on the page short.
func round(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }

// lanes are the nodes by name; what names none of them goes to the first lane.
type lanes struct {
	names []string
	index map[string]int
	left  int // nodes without a lane
}

func newLanes(in *Input) *lanes {
	l := &lanes{index: map[string]int{}}
	for _, n := range in.Nodes {
		if len(l.names) == maxLanes {
			l.left++
			continue
		}
		if _, twice := l.index[n]; !twice {
			l.index[n] = len(l.names)
			l.names = append(l.names, n)
		}
	}
	return l
}

func (c *chart) finish(x *axis, y float64) {
	c.W, c.Left, c.Plot, c.Drop = chartWidth, gutter, plotWidth, 10.5
	c.Bottom, c.H = y, y+axisHeight
	c.Ticks, c.Marks = x.ticks, x.marks
}
