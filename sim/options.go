package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Defaults and bounds of a run.
const (
	DefaultNodes    = 5
	DefaultDuration = 10 * time.Minute
	MaxNodes        = 64 // stores are kept as bits of a word
	MaxDuration     = 24 * time.Hour
)

// Options of one run. Everything that is not set here is drawn from the seed.
type Options struct {
	Seed     uint64
	Nodes    int           // 1..MaxNodes; 0: DefaultNodes
	Duration time.Duration // of the safety phase, virtual; 0: DefaultDuration
	// Workloads and Faults narrow what may be drawn, by the names that Workloads and
	// FaultClasses list; nil: everything the code can reach.
	Workloads []string
	Faults    []string
	// Keep, when HasKeep is set, are the ids of the only faults that happen: a replay
	// of a shrunk run.
	Keep    []int
	HasKeep bool
	// MaxOps ends the clients after so many operations; 0: no bound.
	MaxOps int
	// Story gets one line for each thing that happens; nil: nothing is told.
	Story io.Writer
	// KeepHistory puts the operations into the Result.
	KeepHistory bool
}

// UsageError is an option that can never work.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// fill puts in the defaults and refuses what cannot work.
func (o *Options) fill() error {
	if o.Nodes == 0 {
		o.Nodes = DefaultNodes
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	switch {
	case o.Nodes < 1 || o.Nodes > MaxNodes:
		return usage("%d nodes are outside 1..%d", o.Nodes, MaxNodes)
	case o.Duration < time.Second || o.Duration > MaxDuration:
		return usage("a duration of %v is outside 1s..%v", o.Duration, MaxDuration)
	case o.MaxOps < 0:
		return usage("%d operations are less than none", o.MaxOps)
	}
	for _, f := range o.Faults {
		if f != none && !slices.ContainsFunc(classes, func(c class) bool { return c.name == f }) {
			return usage("no fault class %q; there are %s", f, strings.Join(FaultClasses(), ", "))
		}
	}
	for _, w := range o.Workloads {
		if !slices.ContainsFunc(workloads, func(l workload) bool { return l.name == w }) {
			return usage("no workload %q; there are %s", w, strings.Join(Workloads(), ", "))
		}
	}
	return nil
}

// none as a fault class: no faults at all.
const none = "none"

// Workloads are the names for Options.Workloads.
func Workloads() (names []string) {
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// FaultClasses are the names for Options.Faults. Those that are off by default stand
// at the end, after "none".
func FaultClasses() (names []string) {
	for _, c := range classes {
		if !c.off {
			names = append(names, c.name)
		}
	}
	names = append(names, none)
	for _, c := range classes {
		if c.off {
			names = append(names, c.name)
		}
	}
	return names
}

// AboutFault says in a sentence what a fault class does; empty: there is none.
func AboutFault(name string) string {
	if i := slices.IndexFunc(classes, func(c class) bool { return c.name == name }); i >= 0 {
		return classes[i].about
	}
	return ""
}

// Draw is what a seed made of the options: the swarm of this run.
type Draw struct {
	Nodes      int            `json:"nodes"`
	Shards     int            `json:"shards"`
	Partitions int            `json:"partitions"`
	Replicas   int            `json:"replicas"`
	Rate       float64        `json:"rate"` // client operations per virtual second
	Clients    int            `json:"clients"`
	Keys       int            `json:"keys"` // per workload at a time
	Workloads  map[string]int `json:"workloads"`
	Faults     []string       `json:"faults"`
	FaultEvery time.Duration  `json:"fault_every_ns"` // on average
	NetDelay   time.Duration  `json:"net_delay_ns"`   // typical, one way
	NetTail    time.Duration  `json:"net_tail_ns"`    // of one message in a hundred
	SyncTime   time.Duration  `json:"sync_time_ns"`   // typical, of one commit
	StepTime   time.Duration  `json:"step_time_ns"`   // CPU of one event
	DeadAfter  time.Duration  `json:"dead_after_ns"`  // of gossip
	HintBytes  int64          `json:"hint_bytes"`     // 0: the default
	ValueSize  int            `json:"value_size"`     // padding of values
	Retry      float64        `json:"retry"`          // share of writes of unknown fate that are sent again
	PurgeEvery time.Duration  `json:"purge_every_ns"` // between two purge rounds of a partition, at least
	ScrubEvery time.Duration  `json:"scrub_every_ns"` // one scrub of everything
	Strong     StrongDraw     `json:"strong"`
}

// draw makes the swarm of a seed.
func draw(o *Options) Draw {
	r := stream(o.Seed, forDraw)
	pick := func(d ...time.Duration) time.Duration { return d[r.IntN(len(d))] }
	d := Draw{
		Nodes:      o.Nodes,
		Shards:     1 + r.IntN(2),
		Partitions: 1 + r.IntN(12),
		Replicas:   min(3, o.Nodes),
		Rate:       12 + 6*r.Float64(),
		Clients:    3 + r.IntN(6),
		Keys:       []int{1, 2, 4, 8, 16}[r.IntN(5)],
		Workloads:  map[string]int{},
		FaultEvery: pick(4*time.Second, 6*time.Second, 8*time.Second, 8*time.Second),
		NetDelay:   pick(100*time.Microsecond, time.Millisecond, time.Millisecond, 20*time.Millisecond),
		NetTail:    pick(0, 5*time.Millisecond, 50*time.Millisecond, 300*time.Millisecond),
		SyncTime:   pick(150*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond),
		StepTime:   pick(5*time.Microsecond, 30*time.Microsecond, 200*time.Microsecond),
		DeadAfter:  pick(2*time.Second, 5*time.Second, 8*time.Second),
		ValueSize:  []int{0, 0, 40, 400}[r.IntN(4)],
		Retry:      []float64{0, 0.3, 0.8}[r.IntN(3)],
	}
	if r.IntN(10) == 0 {
		d.Replicas = min(1+r.IntN(5), o.Nodes)
	}
	if r.IntN(8) == 0 {
		d.HintBytes = int64(200 + r.IntN(4000))
	}
	d.drawWorkloads(o, r)
	d.drawFaults(o, r)
	d.PurgeEvery = pick(time.Second, 2*time.Second, 5*time.Second, 15*time.Second)
	d.ScrubEvery = pick(20*time.Second, time.Minute, 2*time.Minute)
	d.Strong.draw(r)
	d.Strong.On = d.hasStrong()
	return d
}
