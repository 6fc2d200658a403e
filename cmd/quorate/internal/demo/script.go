package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is what a script or a key does to a node.
type Action string

// The actions there are.
const (
	Kill   Action = "kill"  // as kill -9
	Start  Action = "start" // a killed node again, on its data
	Pause  Action = "pause" // the process stands still, its sockets stay open
	Resume Action = "resume"
	// Isolate cuts every link of a node to the others, Heal brings them back. Clients
	// reach it all the time.
	Isolate Action = "isolate"
	Heal    Action = "heal"
)

// scriptMax bounds a script's steps.
const scriptMax = 1000

// Event is one step of a script; Node counts from 0.
type Event struct {
	At     time.Duration
	Action Action
	Node   int
}

func (e Event) String() string { return fmt.Sprintf("%v %s n%d", e.At, e.Action, e.Node+1) }

// ParseScript reads "5s kill n2; 8s start n2": time since everything is ready, action,
// node. Steps may stand in any order.
func ParseScript(text string) ([]Event, error) {
	var out []Event
	for _, step := range strings.Split(text, ";") {
		f := strings.Fields(step)
		if len(f) == 0 {
			continue
		}
		e, err := parseEvent(f)
		if err != nil {
			return nil, fmt.Errorf("script step %q: %w", strings.TrimSpace(step), err)
		}
		if out = append(out, e); len(out) > scriptMax {
			return nil, fmt.Errorf("script: more than %d steps", scriptMax)
		}
	}
	slices.SortStableFunc(out, func(a, b Event) int { return int(a.At - b.At) })
	return out, nil
}

func parseEvent(f []string) (e Event, err error) {
	if len(f) != 3 {
		return e, fmt.Errorf("want a time, an action and a node, such as 5s kill n2")
	}
	if e.At, err = time.ParseDuration(f[0]); err != nil || e.At < 0 {
		return e, fmt.Errorf("%q is no time from the start", f[0])
	}
	e.Action = Action(f[1])
	if !slices.Contains([]Action{Kill, Start, Pause, Resume, Isolate, Heal}, e.Action) {
		return e, fmt.Errorf("%q is none of kill, start, pause, resume, isolate, heal", f[1])
	}
	n, err := strconv.Atoi(strings.TrimPrefix(f[2], "n"))
	if err != nil || n < 1 || n > NodesMax || !strings.HasPrefix(f[2], "n") {
		return e, fmt.Errorf("%q is no node, such as n2", f[2])
	}
	e.Node = n - 1
	return e, nil
}
