package live

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/internal/process"
)

// Bounds of a run.
const (
	NodesMax    = LinksMax
	DurationMin = 2 * time.Second
	DurationMax = 24 * time.Hour
	ClientsMax  = 256
	RateMax     = 5000
)

// Options of a check.
type Options struct {
	Seed      uint64
	Nodes     int // to start; not with Addrs
	Duration  time.Duration
	Faults    []string // of Faults(); nil: all; none: []string{NoFaults}
	Workloads []string // of Workloads(); nil: all
	Clients   int
	Rate      float64 // operations a second, of all clients together
	// Addrs are API addresses (http://host:port) of a cluster to check. It gets no
	// faults from here, and buckets of its own, which are deleted after a clean run.
	Addrs []string
	// Dir is where data, logs and histories go; "": a temporary directory, removed
	// after a clean run.
	Dir string
	// Command is the program of a node and its first arguments, the flags of serve
	// follow; Env its environment.
	Command, Env []string
	Talk         io.Writer // progress and faults as they happen

	unnamed bool // nobody asked for workloads by name
}

// Default is a run that suits a laptop.
func Default() Options {
	return Options{Nodes: 5, Duration: 2 * time.Minute, Clients: 8, Rate: 250}
}

// NoFaults, as the only fault class, means none.
const NoFaults = "none"

// Faults lists the classes.
func Faults() (names []string) {
	for _, c := range classes {
		names = append(names, c.name)
	}
	return names
}

// Workloads lists the workloads.
func Workloads() (names []string) {
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// Check fills in what is not set, and says what is wrong with the rest.
func (o *Options) Check() error {
	for _, c := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"nodes", float64(o.Nodes), 1, NodesMax},
		{"duration", o.Duration.Seconds(), DurationMin.Seconds(), DurationMax.Seconds()},
		{"clients", float64(o.Clients), 1, ClientsMax},
		{"rate", o.Rate, 1, RateMax},
	} {
		if !(c.v >= c.min && c.v <= c.max) {
			return fmt.Errorf("--%s: %v is outside %v to %v", c.name, c.v, c.min, c.max)
		}
	}
	if o.Workloads == nil {
		o.unnamed = true
		o.Workloads = Workloads()
	}
	if err := known("--workload", o.Workloads, Workloads()); err != nil {
		return err
	}
	return o.checkFaults()
}

func (o *Options) checkFaults() error {
	switch {
	case len(o.Addrs) > 0 && o.Faults != nil && !slices.Equal(o.Faults, []string{NoFaults}):
		return fmt.Errorf("--faults: a cluster given with --addrs gets none from here")
	case len(o.Addrs) > 0:
		o.Faults = []string{NoFaults}
	case o.Faults == nil:
		o.Faults = possible(o.Nodes)
	}
	if slices.Equal(o.Faults, []string{NoFaults}) {
		return nil
	}
	if err := known("--faults", o.Faults, Faults()); err != nil {
		return fmt.Errorf("%w; or %s alone", err, NoFaults)
	}
	for _, f := range o.Faults {
		if !slices.Contains(possible(o.Nodes), f) {
			return fmt.Errorf("--faults: %s cannot be had here with %d nodes", f, o.Nodes)
		}
	}
	return nil
}

// possible are the classes that this system and so many nodes allow.
func possible(nodes int) (names []string) {
	for _, c := range classes {
		if (c.name != "pause" || process.CanPause) && (c.track != onLinks || nodes > 1) {
			names = append(names, c.name)
		}
	}
	return names
}

func known(flag string, given, all []string) error {
	if len(given) == 0 {
		return fmt.Errorf("%s: empty; there are %s", flag, strings.Join(all, ", "))
	}
	for _, g := range given {
		if !slices.Contains(all, g) {
			return fmt.Errorf("%s: %q is none of %s", flag, g, strings.Join(all, ", "))
		}
	}
	return nil
}
