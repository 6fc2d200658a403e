package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
	"github.com/quoratedb/quorate/sim/live"
)

const checkHelp = `Start real nodes as child processes on loopback, break what is around them, read and
write through all of them, and hold what clients saw against the promises of
docs/GUARANTEES.md. With --addrs, do the same to a running cluster, without faults.

Faults (--faults, all by default):
  kill, kill-all       kill -9, and start again after a while
  pause                SIGSTOP, SIGCONT
  partition, one-way   links cut: one node or half of them from the others; one direction
  slow, reset          links with a delay; streams broken
  disk-full            nodes that refuse values for want of space
  disk-hang            nodes whose disk does not finish a sync
  clock                wall clocks that jump, up to a day
  raft-pause           the Raft group without its traffic
  none                 nothing

Workloads (--workload, all by default):
  siblings   add, overwrite, delete with fresh and stale contexts, some without
  strict     R+W>N, owners only
  session    reads that carry a token
  lww        a bucket where the last write wins
and on strong buckets, where the cluster has them, with all kinds of reads on the same keys
(the nodes lend leases, where the system has a clock for them), some writes with an
Idempotency-Key, and some of those sent twice:
  register   writes, compare-and-set, deletes, with and without conditions
  append     lists that grow by compare-and-set
  create     races for keys that do not exist
  counter    increments, each once
  lock       taken, given back, forgotten and broken; versions are fencing tokens

A fault schedule follows from --seed; what the clients do in the gaps of real time does
not, so a run is repeated in kind, not bit for bit: "quorate sim" does that.

Faults and progress go to standard error, the verdicts to standard output. Exit code 0:
every promise held; 1: a violation, and logs, history and report are kept in a directory
that is named; 2: usage.`

func newCheck(a *app) *cobra.Command {
	o := live.Default()
	var addrs []string
	c := &cobra.Command{Use: "check", Short: "Break real nodes and check every promise", Long: checkHelp, Args: cobra.NoArgs}
	f := c.Flags()
	f.DurationVar(&o.Duration, "duration", o.Duration, "length of the load")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes to start")
	f.StringSliceVar(&o.Faults, "faults", nil, "fault classes: "+strings.Join(live.Faults(), ", ")+", none (default: all)")
	f.StringSliceVar(&o.Workloads, "workload", nil, "workloads: "+strings.Join(live.Workloads(), ", ")+" (default: all)")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the faults; 0: a random one")
	f.StringSliceVar(&addrs, "addrs", nil, "API addresses of a running cluster to check instead, without faults")
	f.IntVar(&o.Clients, "clients", o.Clients, "clients, each with one operation at a time")
	f.Float64Var(&o.Rate, "rate", o.Rate, "operations a second in all")
	f.StringVar(&o.Dir, "dir", "", "directory of data, logs and histories, kept; default: a temporary one")
	a.outputFlag(c, asTable)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f.Changed("addrs") {
			var err error
			if o.Addrs, err = rest.ParseAddrs(addrs); err != nil {
				return usagef("--addrs: %w", err)
			}
		}
		if err := o.Check(); err != nil {
			return &usageError{err}
		}
		return a.check(c.Context(), o)
	}
	return c
}

func (a *app) check(ctx context.Context, o live.Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	o.Command, o.Env, o.Talk = []string{self}, withoutConfig(a.environ), a.stderr
	ctx, cancel := interruptible(ctx)
	defer cancel()
	r, err := live.Run(ctx, o)
	if err != nil {
		return err
	}
	g := checkGrid(r)
	if err := a.show(view{doc: r, table: func() string { return checkText(r, g) }, raw: g.raw}); err != nil {
		return err
	}
	if !r.Clean() {
		return &coded{exitOther, fmt.Errorf("%w; logs, history and report are in %s", errViolated, r.Dir)}
	}
	return nil
}

var errViolated = errors.New("promises were broken")

func checkGrid(r *live.Report) *grid {
	g := &grid{head: []string{"check", "verdict", "looked at", "detail"}, nums: []int{3}}
	for _, v := range r.Checks {
		g.add(v.Check, v.Verdict, v.Looked, v.Detail)
	}
	return g
}

// violationsShown is how many violations the table names; the report has them all.
const violationsShown = 10

func checkText(r *live.Report, g *grid) string {
	var b strings.Builder
	head := grid{}
	head.add("seed", r.Seed)
	head.add("load", fmt.Sprintf("%v on %d nodes, %d operations on %d keys", r.Length().Round(time.Millisecond), r.Nodes, r.Operations, r.Keys))
	head.add("outcomes", strings.Trim(byReason(widen(r.Outcomes)), " ()"))
	if len(r.Reads) > 0 {
		head.add("strong reads", strings.Trim(byReason(widen(r.Reads)), " ()"))
	}
	head.add("faults", orNone(strings.Trim(byReason(widen(r.Faults)), " ()")))
	_, _ = io.WriteString(&b, head.String()+"\n"+g.String()) // a Builder never fails
	for _, v := range r.Violations[:min(len(r.Violations), violationsShown)] {
		b.WriteString("\n  " + v.String()) // keys and values of our own making
	}
	if len(r.Violations) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func widen(m map[string]int) map[string]uint64 {
	out := make(map[string]uint64, len(m))
	for k, v := range m {
		out[k] = uint64(v)
	}
	return out
}
