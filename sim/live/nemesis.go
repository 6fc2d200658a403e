package live

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// nemesis carries out a schedule.
type nemesis struct {
	c        *cluster
	began    time.Time
	say      func(format string, args ...any)
	schedule []Fault
	clock    []time.Duration // by node: present offset
	full     []bool
	hangs    []bool
	raft     []bool
	done     []Fault // what was begun
}

// step is the beginning or the end of a fault.
type step struct {
	at  time.Duration
	f   Fault
	end bool
}

// run ends with the last fault's end or with ctx. What still lasts is not undone.
func (n *nemesis) run(ctx context.Context) {
	nodes := len(n.c.children)
	n.clock, n.full, n.hangs, n.raft = make([]time.Duration, nodes), make([]bool, nodes), make([]bool, nodes), make([]bool, nodes)
	var steps []step
	for _, f := range n.schedule {
		steps = append(steps, step{f.At, f, false}, step{f.Until, f, true})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	for _, s := range steps {
		if !rest(ctx, time.Until(n.began.Add(s.at))) {
			return
		}
		n.act(s)
	}
}

func (n *nemesis) act(s step) {
	atOnce := s.f.Class == "reset"
	text := s.f.String()
	switch {
	case s.end && atOnce:
		return
	case s.end:
		text = "end of " + text
	case !atOnce:
		text += fmt.Sprintf(" for %.1fs", (s.f.Until - s.f.At).Seconds())
	}
	if !s.end {
		n.done = append(n.done, s.f)
	}
	if err := n.apply(s); err != nil {
		text += ": " + err.Error()
	}
	n.say("%s", text)
}

// apply is one step; errors are told and go no further: a node that is not there
// cannot be killed.
func (n *nemesis) apply(s step) error {
	f, on := s.f, !s.end
	struck := func(node int) bool { return slices.Contains(f.Nodes, node) }
	switch f.Class {
	case "kill", "kill-all":
		return n.each(f, func(c *child, _ int) error {
			if on {
				return c.kill()
			}
			return c.start()
		})
	case "pause":
		return n.each(f, func(c *child, _ int) error { return c.pause(on) })
	case "partition":
		n.c.links.Between(struck, Rule{Cut: on})
	case "one-way":
		for other := range n.c.children {
			from, to := f.Nodes[0], other
			if !f.Out {
				from, to = to, from
			}
			if other != f.Nodes[0] {
				n.c.links.Set(from, to, Rule{Cut: on})
			}
		}
	case "slow":
		r := Rule{}
		if on {
			r.Delay = f.Amount
		}
		for _, node := range f.Nodes {
			n.c.links.Only(node, r)
		}
	case "reset":
		for _, node := range f.Nodes {
			for other := range n.c.children {
				n.c.links.Reset(node, other)
			}
		}
	default:
		return n.inside(f, on)
	}
	return nil
}

func (n *nemesis) each(f Fault, do func(c *child, node int) error) error {
	var first error
	for _, node := range f.Nodes {
		if err := do(n.c.children[node], node); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// inside are the faults that a node has in itself.
func (n *nemesis) inside(f Fault, on bool) error {
	return n.each(f, func(c *child, node int) error {
		switch f.Class {
		case "disk-full":
			n.full[node] = on
		case "disk-hang":
			n.hangs[node] = on
		case "raft-pause":
			n.raft[node] = on
		case "clock":
			n.clock[node] = 0
			if on {
				n.clock[node] = f.Amount
			}
		}
		return c.set(fmt.Sprintf(`{"clock-offset":%q,"disk-full":%t,"disk-hangs":%t,"raft-paused":%t}`, n.clock[node], n.full[node], n.hangs[node], n.raft[node]))
	})
}
