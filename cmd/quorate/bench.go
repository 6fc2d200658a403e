package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/bench"
	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

const benchHelp = `Drive nodes over HTTP and measure latency and throughput.

Closed loop (the default): --concurrency workers, each sends its next request when the
last one is answered; latency is the time of one operation with its retries.
Open loop (--rate): requests are due at a fixed rate whatever the answers do, and latency
counts from the time a request was due, so a stall shows in full.

A request that failed without effect, or is safe to repeat, goes to another node with the
same bytes, context and idempotency key; retries are counted. What still fails after
--op-timeout is an error.

--verify gives every key one writer with rising numbers, reads all keys at the end with
consistency=all and reports every acknowledged write that is gone. Reads during the run
must not be behind what was acknowledged when R+W>N without stand-ins (--sloppy=false).
In a strong bucket each write is a compare-and-set over the version before it, no read may be
behind, and the final one asks a majority and no primary.
The exit code is 1 if anything was lost or failed.`

func newBench(a *app) *cobra.Command {
	o := bench.Default()
	c := &cobra.Command{Use: "bench", Short: "Drive nodes over HTTP, measure, and verify", Long: benchHelp, Args: cobra.NoArgs}
	f := c.Flags()
	f.StringSliceVar(&a.addrs, "addrs", a.defaultAddrs(), "API addresses of nodes, used in turn (env QUORATE_ADDRS)")
	f.StringVarP(&o.Bucket, "bucket", "b", o.Bucket, "bucket")
	f.IntVarP(&o.Concurrency, "concurrency", "c", o.Concurrency, "workers; with --rate the most requests in flight")
	f.Float64Var(&o.Rate, "rate", 0, "operations a second in open loop; 0: closed loop")
	f.IntVar(&o.Keys, "keys", o.Keys, "number of keys")
	f.StringVar(&o.Dist, "dist", o.Dist, "distribution of keys: uniform or zipfian (theta 0.99)")
	f.IntVar(&o.ReadPercent, "mix", o.ReadPercent, "percent of reads")
	f.IntVar(&o.ValueSize, "value-size", o.ValueSize, "bytes of a value")
	f.DurationVar(&o.Duration, "duration", o.Duration, "length of the run, warm-up included")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "time at the start that is not measured")
	f.IntVar(&o.R, "r", 0, "replicas that must answer a read; 0: the bucket's default")
	f.IntVar(&o.W, "w", 0, "replicas that must acknowledge a write; 0: the bucket's default")
	f.StringVar(&o.Sloppy, "sloppy", "", "true or false: whether stand-ins count (default: the bucket's)")
	f.BoolVar(&o.Preload, "preload", o.Preload, "write every key once before the run (not with --verify)")
	f.BoolVar(&o.Verify, "verify", false, "check that no acknowledged write is lost")
	f.DurationVar(&o.AttemptTimeout, "timeout", o.AttemptTimeout, "deadline of one request to one node")
	f.DurationVar(&o.OpTimeout, "op-timeout", o.OpTimeout, "deadline of an operation with its retries")
	f.DurationVar(&o.SettleTimeout, "settle-timeout", o.SettleTimeout, "deadline of the final read of all keys")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of keys and mix; 0: a random one")
	_ = c.RegisterFlagCompletionFunc("dist", cobra.FixedCompletions([]string{bench.Uniform, bench.Zipfian}, cobra.ShellCompDirectiveNoFileComp)) // added above
	a.outputFlag(c, asTable)
	c.RunE = func(c *cobra.Command, _ []string) error { return a.bench(c.Context(), o) }
	return c
}

func (a *app) bench(ctx context.Context, o bench.Options) error {
	addrs, err := rest.ParseAddrs(a.addrs)
	if err != nil {
		return usagef("--addrs: %w", err)
	}
	if o.Duration <= 0 {
		return usagef("--duration: %v is not above zero", o.Duration)
	}
	if o.Sloppy != "" && o.Sloppy != "true" && o.Sloppy != "false" {
		return usagef("--sloppy: %q is neither true nor false", o.Sloppy)
	}
	o.Addrs, o.Progress = addrs, a.stderr
	if err := o.Check(); err != nil {
		return &usageError{err}
	}
	ctx, cancel := interruptible(ctx)
	defer cancel()
	run, err := bench.New(ctx, o)
	if err != nil {
		return err
	}
	r, err := run.Do(ctx)
	if err != nil {
		return err
	}
	if err := a.show(view{doc: r, table: func() string { return benchText(r) }, raw: func(w io.Writer) error { return benchRaw(w, r) }}); err != nil {
		return err
	}
	return r.Failed()
}

// benchRaw is the three figures that scripts want: operations a second, and the p99
// of reads and writes in microseconds.
func benchRaw(w io.Writer, r *bench.Report) error {
	_, err := fmt.Fprintf(w, "%.1f\t%d\t%d\n", r.OpsPerS, r.Read.P99US, r.Write.P99US)
	return err
}

func benchText(r *bench.Report) string {
	var b strings.Builder
	g := grid{}
	loop := fmt.Sprintf("closed loop, %d workers", r.Concurrency)
	if r.Loop == "open" {
		loop = fmt.Sprintf("open loop, %.0f ops/s, at most %d in flight", r.Rate, r.Concurrency)
	}
	g.add("load", fmt.Sprintf("%s, %d%% reads, %d keys %s, values of %d bytes", loop, r.ReadPercent, r.Keys, r.Dist, r.ValueSize))
	g.add("operations", fmt.Sprintf("%d in %.1f s = %.0f/s (%d reads, %d writes, %d not found)", r.Ops, r.MeasuredS, r.OpsPerS, r.Reads, r.Writes, r.NotFound))
	g.add("errors", fmt.Sprintf("%d%s", r.Errors, byReason(r.ErrorsBy)))
	g.add("retries", fmt.Sprintf("%d%s", r.Retries, byReason(r.RetriesBy)))
	if r.Loop == "open" {
		g.add("unserved", r.Unserved)
	}
	b.WriteString(g.String() + "\n")
	lat := grid{head: []string{"latency", "count", "mean", "p50", "p90", "p99", "p99.9", "max"}, nums: []int{2, 3, 4, 5, 6, 7, 8}}
	for _, l := range []struct {
		name string
		l    bench.Latency
	}{{"read", r.Read}, {"write", r.Write}} {
		lat.add(l.name, l.l.Count, us(int64(l.l.MeanUS)), us(l.l.P50US), us(l.l.P90US), us(l.l.P99US), us(l.l.P999US), us(l.l.MaxUS))
	}
	b.WriteString(lat.String())
	if r.Verify != nil {
		b.WriteString("\n" + verifyText(r.Verify))
	}
	return b.String()
}

func verifyText(v *bench.Verify) string {
	g := grid{}
	g.add("verified", fmt.Sprintf("%d acknowledged writes to %d keys (%d attempts of unknown outcome)", v.Acked, v.KeysWritten, v.Unknown))
	g.add("lost", v.Lost)
	g.add("wrong values", v.Wrong)
	stale := "allowed: R+W>N without stand-ins was not asked for"
	if v.Strict {
		stale = "none allowed: R+W>N without stand-ins, or a strong bucket"
	}
	g.add("stale reads", fmt.Sprintf("%d (%s)", v.Stale, stale))
	g.add("unread keys", v.Unread)
	g.add("siblings", fmt.Sprintf("%d keys; %d keys were right only on a later read", v.Siblings, v.SettledLate))
	text := g.String()
	for _, f := range v.Faults {
		text += "  " + printable(f.String()) + "\n"
	}
	return text
}

func us(n int64) string {
	return (time.Duration(n) * time.Microsecond).Round(time.Microsecond).String()
}

func byReason(m map[string]uint64) string {
	if len(m) == 0 {
		return ""
	}
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
