package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/quoratedb/quorate/sim/check"
)

const (
	keyLane  = 22.0
	keyLanes = 24 // clients of a key's drawing
	keyTicks = 10
)

// ranks is an axis on which each call and return is one step: operations take
// milliseconds and come seconds apart, and what matters is which of them overlap.
type ranks struct{ times []check.Time }

func newRanks(in *Input, ops []int) *ranks {
	r := &ranks{}
	for _, at := range ops {
		o := &in.History[at]
		r.times = append(r.times, o.Call)
		if o.Outcome != check.Unknown {
			r.times = append(r.times, o.Return)
		}
	}
	slices.Sort(r.times)
	r.times = slices.Compact(r.times)
	return r
}

func (r *ranks) at(t check.Time) float64 {
	i, _ := slices.BinarySearch(r.times, t)
	return round(gutter + (float64(i)+0.5)/float64(len(r.times)+1)*plotWidth)
}

func (r *ranks) ticks() (out []tick) {
	every := max((len(r.times)+keyTicks-1)/keyTicks, 1)
	for i := 0; i < len(r.times); i += every {
		out = append(out, tick{r.at(r.times[i]), clock(r.times[i])})
	}
	return out
}

// keyChart draws a key's operations, a lane for each client.
func keyChart(in *Input, ops []int, cited map[int]bool) chart {
	c := chart{Name: "The key's operations in order, a lane for each client"}
	r := newRanks(in, ops)
	var clients []int
	for _, pos := range ops {
		if id := in.History[pos].Client; !slices.Contains(clients, id) {
			clients = append(clients, id)
		}
	}
	slices.Sort(clients)
	if left := len(clients) - keyLanes; left > 0 {
		clients = clients[:keyLanes]
		c.Notes = append(c.Notes, plural(left, "more client")+" not drawn.")
	}
	for i, id := range clients {
		y := float64(i) * keyLane
		c.Lanes = append(c.Lanes, lane{"client " + strconv.Itoa(id), y, keyLane, y + keyLane/2 + 4})
		var bars []box
		for _, pos := range ops {
			if o := &in.History[pos]; o.Client == id {
				bars = append(bars, keyBar(o, pos, cited[pos], y, r))
			}
		}
		c.Boxes = append(c.Boxes, labelled(bars)...)
	}
	c.finish(&axis{ticks: r.ticks()}, float64(len(clients))*keyLane)
	c.Legend = []legend{{"k-read", "read", ""}, {"k-write", "write", ""}, {"k-refused", "refused or failed", ""}, {"k-open", "unknown: open to the end", ""}, {"k-cited", "cited", ""}}
	c.Notes = append(c.Notes, "Each call and each return is one step, so that overlaps show; times are not to scale.")
	return c
}

func keyBar(o *check.Op, pos int, cited bool, y float64, r *ranks) box {
	b := box{X: r.at(o.Call), Y: y + 4, H: barHeight, Class: "k-write", Title: clip(fmt.Sprintf("operation %d: %v", pos, o), maxProse)}
	stop := r.at(o.Return)
	b.Label = clip(o.Value, maxLabel)
	if o.Kind == check.Read {
		b.Class, b.Label = "k-read", "→ ∅"
		if len(o.Read) > 0 {
			b.Label = "→ " + clip(list(o.Read), maxLabel)
		}
	} else if o.Value == "" {
		b.Label = "delete"
	}
	switch o.Outcome {
	case check.Unknown:
		b.Class, stop = "k-open", gutter+plotWidth
	case check.OK:
	case check.Failed:
		b.Class, b.Label = "k-refused", ""
	default:
		b.Class = "k-refused"
	}
	if cited {
		b.Class += " k-cited"
	}
	b.W = round(max(stop-b.X, barLeast))
	return b
}

const maxLabel = 24 // characters

// labelled settles where the labels of one row of bars go: inside if they fit, else
// beside the bar if nothing is there, else nowhere. All bars still say all when
// pointed at.
func labelled(row []box) []box {
	slices.SortStableFunc(row, func(a, b box) int { return cmp.Compare(a.X, b.X) })
	for i := range row {
		b := &row[i]
		need, right := float64(len([]rune(b.Label)))*charWidth+8, gutter+plotWidth
		if i+1 < len(row) {
			right = row[i+1].X
		}
		switch {
		case need <= b.W && b.X+need <= right:
			b.LabelX, b.LabelClass = b.X+4, "label"
		case b.X+b.W+need <= right:
			b.LabelX, b.LabelClass = round(b.X+b.W+3), "label out"
		default:
			b.Label = ""
		}
	}
	return row
}
