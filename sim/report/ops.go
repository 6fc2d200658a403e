package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/sim/check"
)

// fate is how a chart shows the end of an operation.
type fate int

const (
	fine    fate = iota // answered
	refused             // refused for certain, or compared and refused
	open                // nobody knows, or a read without an answer
	fates
)

var fateLegend = [fates]legend{{Class: "o-fine", Name: "answered"}, {Class: "o-refused", Name: "refused: had no effect"}, {Class: "o-open", Name: "unknown or failed"}}

func fateOf(o *check.Op) fate {
	switch o.Outcome {
	case check.OK:
		return fine
	case check.NotApplied, check.Mismatch:
		return refused
	}
	return open
}

const (
	opLane = 40.0
	opPad  = 4.0
	// elsewhere is the lane of operations whose node has none.
	elsewhere = "other"
)

// opChart draws how many operations each node was asked, by the time of their call,
// and marks those that violations cite.
func (x *axis) opChart(in *Input, l *lanes) chart {
	c := chart{Name: "Operations over time, by the node that was asked"}
	if len(in.History) == 0 {
		c.Notes = []string{"The run did not keep its operations."}
		return c
	}
	count := make([][bins][fates]int, len(l.names)+1)
	var total [fates]int
	for i := range in.History {
		o := &in.History[i]
		f := fateOf(o)
		cell := &count[l.of(o)][x.bin(o.Call)]
		cell[f]++
		total[f]++
	}
	high, most := height(count)
	y := 0.0
	top := make([]float64, len(count))
	for i := range count {
		name := elsewhere
		if i > 0 {
			name = text(l.names[i-1])
		}
		if i == 0 && count[0] == [bins][fates]int{} {
			continue
		}
		top[i] = y
		c.Lanes = append(c.Lanes, lane{name, y, opLane, y + opLane/2 + 4})
		x.columns(&c, &count[i], y, high)
		y += opLane
	}
	x.cited(&c, in, l, top)
	c.finish(x, y)
	for f, k := range fateLegend {
		k.N = thousands(total[f])
		c.Legend = append(c.Legend, k)
	}
	c.Notes = append(c.Notes, fmt.Sprintf("All %s are counted, in columns of %s; a full column is %s.",
		plural(len(in.History), "operation"), clock(x.end/bins), thousands(high)))
	if most > high {
		c.Notes = append(c.Notes, fmt.Sprintf("Columns with more, up to %s, are cut there and show shares.", thousands(most)))
	}
	return c
}

// height is what a full column stands for, and the most that any holds: a burst, such
// as the reads of all keys at the end, must not flatten everything else.
func height(count [][bins][fates]int) (high, most int) {
	var sums []int
	for i := range count {
		for _, cell := range count[i] {
			if sum := cell[fine] + cell[refused] + cell[open]; sum > 0 {
				sums = append(sums, sum)
			}
		}
	}
	slices.Sort(sums)
	most = sums[len(sums)-1]
	high = sums[len(sums)*19/20] * 5 / 4
	return min(max(high, 1), most), most
}

// columns draws one lane, the worst outcomes on top.
func (x *axis) columns(c *chart, cells *[bins][fates]int, y float64, high int) {
	for i := range cells {
		sum := cells[i][fine] + cells[i][refused] + cells[i][open]
		if sum == 0 {
			continue
		}
		from := x.end / bins * check.Time(i)
		title := fmt.Sprintf("from %s: %d answered, %d refused, %d unknown or failed", clock(from), cells[i][fine], cells[i][refused], cells[i][open])
		base := y + opLane - opPad
		full := max(sum, high)
		for f := range fates {
			if n := cells[i][f]; n > 0 {
				h := round(float64(n) / float64(full) * (opLane - 2*opPad))
				base = round(base - h)
				c.Boxes = append(c.Boxes, box{X: gutter + float64(i)*5, Y: base, W: 4.4, H: h, Class: fateLegend[f].Class, Title: title})
			}
		}
	}
}

// cited marks the operations that violations name.
func (x *axis) cited(c *chart, in *Input, l *lanes, top []float64) {
	seen := map[int]bool{}
	for i := range in.Violations {
		ops, _ := citations(in, &in.Violations[i])
		for _, at := range ops {
			if seen[at] {
				continue
			}
			if len(seen) == maxMarks {
				c.Notes = append(c.Notes, fmt.Sprintf("Only the first %d of the operations cited are marked.", maxMarks))
				return
			}
			seen[at] = true
			o := &in.History[at]
			c.Dots = append(c.Dots, box{X: x.at(o.Call), Y: top[l.of(o)] + opPad + 2, Class: "o-cited", Title: clip(fmt.Sprintf("operation %d: %v", at, o), maxProse)})
		}
	}
	if len(seen) > 0 {
		c.Legend = append(c.Legend, legend{"o-cited", "cited by a violation", thousands(len(seen))})
	}
}

func (x *axis) bin(t check.Time) int {
	return min(int(float64(min(max(t, 0), x.end))/float64(x.end)*bins), bins-1)
}

// of is the lane of an operation: that of the node that was asked.
func (l *lanes) of(o *check.Op) int {
	if i, ok := l.index[o.Node]; ok {
		return i + 1
	}
	return 0
}

// list joins names, the first few of them.
func list(names []string) string {
	var out []string
	for _, n := range names[:min(len(names), maxValues)] {
		out = append(out, text(n))
	}
	if more := len(names) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
