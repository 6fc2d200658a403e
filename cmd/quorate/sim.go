package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/sim"
)

const simHelp = `Play a whole cluster on one goroutine, with a network, disks, clocks and liveness that
misbehave as the seed says, and hold every step against the promises of
docs/GUARANTEES.md. The nodes are the ones that serve; what surrounds them is a model.
One seed gives one run, bit for bit: the trace hash tells.

Without --seed a fresh one is drawn and printed. What a seed draws (faults, workloads,
delays, keys) can be narrowed with --faults and --workload.

A run that breaks a promise prints the one command that plays it again, looks for a
smaller run that breaks the same one (--shrink=0: does not), prints that too, and writes
quorate-sim-SEED.html into the directory of --report: the faults over the nodes, the
operations, what was found and the whole history of its keys. Exit code 0: every promise
held; 1: a violation; 2: usage.`

// simFlags are the flags of quorate sim.
type simFlags struct {
	sim.Options
	seeds  int
	keep   string
	story  string
	shrink int
	report string
}

func newSim(a *app) *cobra.Command {
	o := &simFlags{}
	c := &cobra.Command{Use: "sim", Short: "Simulate a cluster under faults and check every promise", Long: simHelp, Args: cobra.NoArgs}
	f := c.Flags()
	f.Uint64Var(&o.Seed, "seed", 0, "first seed; 0: a fresh one")
	f.IntVar(&o.seeds, "seeds", 1, "how many seeds, one after the other")
	f.IntVar(&o.Nodes, "nodes", sim.DefaultNodes, "nodes of the cluster")
	f.DurationVar(&o.Duration, "duration", sim.DefaultDuration, "virtual time under faults; healing comes on top")
	f.StringSliceVar(&o.Workloads, "workload", nil, "workloads: "+strings.Join(sim.Workloads(), ", ")+" (default: drawn from all)")
	f.StringSliceVar(&o.Faults, "faults", nil, "fault classes: "+strings.Join(sim.FaultClasses(), ", ")+" (default: drawn from those before none)")
	f.StringVar(&o.keep, "keep", "", "ids of the only faults that happen, or none: for a replay")
	f.IntVar(&o.MaxOps, "max-ops", 0, "end the clients after so many operations; 0: no bound")
	f.IntVar(&o.shrink, "shrink", 200, "runs to spend on a smaller failure")
	f.StringVar(&o.story, "story", "", "file for the story of the run, message by message (one seed)")
	f.StringVar(&o.report, "report", ".", "directory for the pages of runs that broke a promise; empty: no pages")
	a.outputFlag(c, asTable)
	c.RunE = func(c *cobra.Command, _ []string) error { return a.sim(c.Context(), o) }
	return c
}

func (o *simFlags) parse() error {
	if o.seeds < 1 {
		return usagef("--seeds: %d is less than 1", o.seeds)
	}
	if o.keep != "" {
		o.HasKeep = true
		if o.keep != "none" {
			for _, id := range strings.Split(o.keep, ",") {
				n, err := strconv.Atoi(id)
				if err != nil {
					return usagef("--keep: %q is not the id of a fault", id)
				}
				o.Keep = append(o.Keep, n)
			}
		}
	}
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32()) + 1 // short enough to be typed
	}
	return nil
}

func (a *app) sim(ctx context.Context, o *simFlags) (err error) {
	if err := o.parse(); err != nil {
		return err
	}
	if o.story != "" {
		f, err := os.Create(o.story)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		o.Story = w
		defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
	}
	ctx, cancel := interruptible(ctx)
	defer cancel()
	debug.SetGCPercent(400) // a run lives on some ten MB: collecting less often is a third of the time
	sum := simSum{app: a, o: o, reached: map[string]int{}}
	if err := sim.Campaign(ctx, o.Options, o.seeds, sum.add); err != nil {
		var usage *sim.UsageError
		if errors.As(err, &usage) {
			return &usageError{err}
		}
		return err
	}
	return sum.end(ctx)
}

// simSum is what the seeds come to.
type simSum struct {
	app     *app
	o       *simFlags
	seeds   int
	bad     int
	ops     int
	faults  int
	virtual float64
	wall    float64
	reached map[string]int
	err     error
}

// add takes the result of one seed.
func (s *simSum) add(r sim.Result) bool {
	s.seeds++
	s.ops += r.Operations
	s.faults += r.Faults
	s.virtual += r.VirtualSeconds
	s.wall += r.WallSeconds
	for _, id := range r.ScenariosReached {
		s.reached[id]++
	}
	if r.OK() {
		s.err = s.app.showRun(&r, nil, s.o.seeds)
	} else {
		s.err = s.failed(r)
	}
	if s.seeds%50 == 0 && s.seeds < s.o.seeds {
		_, _ = fmt.Fprintf(s.app.stderr, "%d of %d seeds, %d with violations\n", s.seeds, s.o.seeds, s.bad) // talk
	}
	return s.err == nil
}

// failed looks closer at a seed that broke a promise: a smaller run, for the first one,
// and a page.
func (s *simSum) failed(r sim.Result) error {
	s.bad++
	o := s.o.Options
	o.Seed = r.Seed
	var smaller *sim.Shrunk
	if s.bad == 1 && s.o.shrink > 0 && s.o.story == "" {
		_, _ = fmt.Fprintf(s.app.stderr, "seed %d: %s; looking for a smaller run\n", r.Seed, r.Violations[0].Kind) // talk
		small := sim.Shrink(o, r, s.o.shrink)
		smaller, o = &small, small.Options
	}
	if err := s.app.showRun(&r, smaller, s.o.seeds); err != nil || s.o.report == "" || s.bad > maxReports {
		return err
	}
	files, err := simReport(s.o.report, o)
	for _, f := range files {
		_, _ = fmt.Fprintf(s.app.stderr, "seed %d: %s\n", r.Seed, f) // talk
	}
	if err != nil { // the verdict stands without its page
		_, _ = fmt.Fprintf(s.app.stderr, "seed %d: no page: %v\n", r.Seed, err) // talk
	}
	return nil
}

// showRun prints one seed's result.
func (a *app) showRun(r *sim.Result, smaller *sim.Shrunk, seeds int) error {
	switch a.output {
	case asJSON, asNDJSON:
		doc := struct {
			*sim.Result
			Smaller string `json:"smaller,omitempty"`
		}{Result: r}
		if smaller != nil {
			doc.Smaller = smaller.Result.Replay
		}
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(doc)
	case asRaw:
		_, err := fmt.Fprintf(a.stdout, "%d\t%s\t%d\n", r.Seed, r.TraceHash, len(r.Violations))
		return err
	}
	text := simLine(r)
	if seeds == 1 {
		text = simText(r)
	}
	if !r.OK() {
		text += simViolations(r, smaller)
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

func simLine(r *sim.Result) string {
	verdict := "ok"
	if !r.OK() {
		verdict = r.Violations[0].Kind
	}
	return fmt.Sprintf("seed %-12d %s  %5d operations  %3d faults  %6.0f virtual s  %6.2f s  %s\n",
		r.Seed, r.TraceHash, r.Operations, r.Faults, r.VirtualSeconds, r.WallSeconds, verdict)
}

// simText is one run for a person.
func simText(r *sim.Result) string {
	d := &r.Options
	g := grid{}
	g.add("seed", r.Seed)
	g.add("trace hash", r.TraceHash)
	g.add("cluster", fmt.Sprintf("%d nodes of %d shards, %d partitions, %d replicas", d.Nodes, d.Shards, d.Partitions, d.Replicas))
	g.add("models", fmt.Sprintf("network %v (one in a hundred up to %v more), sync %v, event %v, dead after %v, hint budget %s",
		d.NetDelay, d.NetTail, d.SyncTime, d.StepTime, d.DeadAfter, orDefault(d.HintBytes)))
	g.add("workloads", workloadsOf(d))
	g.add("fault classes", orNone(strings.Join(d.Faults, ", ")))
	g.add("operations", fmt.Sprintf("%d: %d reads (%d unanswered), %d writes acked, %d refused, %d unknown", r.Operations, r.Outcomes.Reads,
		r.Outcomes.ReadsFailed, r.Outcomes.Acked, r.Outcomes.NotApplied, r.Outcomes.Unknown))
	g.add("time", fmt.Sprintf("%.0f virtual s in %.2f s", r.VirtualSeconds, r.WallSeconds))
	g.add("scenarios", orNone(strings.Join(r.ScenariosReached, " ")))
	text := g.String()
	for i := range r.FaultList {
		text += fmt.Sprintf("  %v\n", &r.FaultList[i])
	}
	if r.OK() {
		text += "every promise held\n"
	}
	return text
}

func orDefault(n int64) string {
	if n == 0 {
		return "default"
	}
	return fmt.Sprintf("%d bytes", n)
}

func simViolations(r *sim.Result, smaller *sim.Shrunk) string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	fmt.Fprintf(&b, "play it again:  %s\n", r.Replay)
	if smaller != nil {
		fmt.Fprintf(&b, "smaller (%d faults, %d operations, after %d runs):  %s\n", smaller.Result.Faults, smaller.Result.Operations, smaller.Tries, smaller.Result.Replay)
	}
	return b.String()
}

// end tells what all seeds came to.
func (s *simSum) end(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	var never []string
	for _, sc := range sim.Scenarios() {
		if sc.Later == "" && s.reached[sc.ID] == 0 {
			never = append(never, sc.ID)
		}
	}
	if s.o.seeds > 1 {
		_, _ = fmt.Fprintf(s.app.stderr, "%d seeds from %d: %d operations, %d faults, %.0f virtual s in %.1f s of processors; %d with violations; reachable scenarios never reached: %s\n",
			s.seeds, s.o.Seed, s.ops, s.faults, s.virtual, s.wall, s.bad, orNone(strings.Join(never, " "))) // talk
	}
	switch {
	case s.bad > 0:
		return &coded{exitOther, fmt.Errorf("%d of %d seeds broke a promise", s.bad, s.seeds)}
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %d of %d seeds", s.seeds, s.o.seeds)
	}
	return nil
}
