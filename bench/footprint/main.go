// Command footprint measures what a quorate node costs while it only holds data:
// resident memory at rest, resident memory with a million records, and the time from
// the start to /readyz after kill -9 with those records.
//
//	cd bench && go run ./footprint
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/quoratedb/quorate/bench/command"
	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

func main() { command.Main("footprint", run) }

type options struct {
	nodes, records, value int
	rest                  time.Duration
	restarts              int
	repo, bin, dir        string
	md, json              string
	keep                  bool
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("footprint", flag.ContinueOnError)
	fs.IntVar(&o.nodes, "nodes", 3, "nodes, each of which holds every record (1 or 3)")
	fs.IntVar(&o.records, "records", 1_000_000, "records")
	fs.IntVar(&o.value, "value", 100, "bytes of a record's value")
	fs.DurationVar(&o.rest, "rest", 20*time.Second, "idle time before memory at rest is read")
	fs.IntVar(&o.restarts, "restarts", 3, "kill -9 and restart of one node, this many times")
	fs.StringVar(&o.repo, "repo", "..", "quorate's source tree, built first")
	fs.StringVar(&o.bin, "quorate", "", "measure this quorate binary instead of building one")
	fs.StringVar(&o.dir, "dir", "", "parent of the data directories (default: the system's temporary one)")
	fs.StringVar(&o.md, "md", "", "write the table as markdown to this file too")
	fs.StringVar(&o.json, "json", "", "write the figures as JSON to this file")
	fs.BoolVar(&o.keep, "keep", false, "keep data and logs")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.nodes != 1 && o.nodes != 3 {
		return o, errors.New("-nodes must be 1 or 3")
	}
	if o.records < 1 || o.restarts < 1 {
		return o, errors.New("-records and -restarts must be above 0")
	}
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "quorate-footprint-")
	if err != nil {
		return err
	}
	defer func() {
		if o.keep {
			fmt.Fprintln(os.Stderr, "data and logs are in", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	rep := &report{Nodes: o.nodes, Records: o.records, Value: o.value}
	if rep.Machine, err = servers.ReadMachine(dir); err != nil {
		return err
	}
	bin := o.bin
	if bin == "" {
		if bin, err = servers.BuildQuorate(ctx, o.repo, dir); err != nil {
			return err
		}
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	rep.Version = servers.Version(ctx, bin, "version")
	q, err := servers.StartQuorate(ctx, bin, dir, o.nodes, false)
	if err != nil {
		return err
	}
	defer q.Stop()
	if err := measure(ctx, o, q, rep); err != nil {
		return err
	}
	return publish(o, rep)
}

func publish(o options, rep *report) error {
	text := rep.markdown()
	fmt.Print("\n", text)
	var errs []error
	if o.md != "" {
		errs = append(errs, os.WriteFile(o.md, []byte(text), 0o644))
	}
	if o.json != "" {
		b, err := json.MarshalIndent(rep, "", "  ")
		if err == nil {
			err = os.WriteFile(o.json, append(b, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const bucket = "footprint"

// measure does the three measurements in order on a fresh cluster.
func measure(ctx context.Context, o options, q *servers.Quorate, rep *report) error {
	step := func(s string) { fmt.Fprintln(os.Stderr, s) }
	b := servers.Bucket{Name: bucket, Mode: "eventual", Conflict: "lww", N: o.nodes, R: o.nodes/2 + 1, W: o.nodes}
	if err := q.CreateBucket(ctx, b); err != nil {
		return err
	}
	step(fmt.Sprintf("at rest for %v", o.rest))
	if err := idle(ctx, o.rest); err != nil {
		return err
	}
	rep.RestMiB = worst(q.Pids(), false)

	step(fmt.Sprintf("writing %d records of %d bytes to all %d nodes", o.records, o.value, o.nodes))
	ks := load.NewKeyspace(o.records)
	if err := fill(ctx, o, q, ks); err != nil {
		return err
	}
	rep.PeakMiB = worst(q.Pids(), true)
	step(fmt.Sprintf("at rest for %v", o.rest))
	if err := idle(ctx, o.rest); err != nil {
		return err
	}
	rep.LoadedMiB = worst(q.Pids(), false)

	for i := range o.restarts {
		took, err := restart(ctx, q)
		if err != nil {
			return fmt.Errorf("restart %d: %w", i+1, err)
		}
		step(fmt.Sprintf("ready %.2f s after the start that followed kill -9", took.Seconds()))
		rep.Ready = append(rep.Ready, took.Seconds())
	}
	step("reading a sample back from all owners")
	if err := readBack(ctx, o, q, ks); err != nil {
		return err
	}
	return nil
}

func idle(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// worst returns the MiB of the node that has the most resident, now or at its peak.
func worst(pids []int, peak bool) float64 {
	var most int64
	for _, pid := range pids {
		rss := load.SampleProcs([]int{pid}).RSS[0]
		if peak {
			rss = load.PeakRSS(pid)
		}
		most = max(most, rss)
	}
	return float64(most) / (1 << 20)
}

const (
	fillWorkers = 64
	fillMax     = 30 * time.Minute
)

// fill writes every record with w = n, so that each node holds all of them. On a busy
// machine a node that is late now and then makes w = n impossible for a moment, which
// is answered with 503, not applied: such a write is repeated.
func fill(ctx context.Context, o options, q *servers.Quorate, ks *load.Keyspace) error {
	d, err := load.Open("http", q.Addrs(), load.Opts{"put": fmt.Sprintf("/v1/kv/%s/%%s?w=%d", bucket, o.nodes), "retry": "50"})
	if err != nil {
		return err
	}
	defer d.Close()
	p, err := load.ParsePhase(fmt.Sprintf("load:%d:%d:uniform", fillWorkers, o.value))
	if err != nil {
		return err
	}
	r, err := load.Run(ctx, d, ks, p, load.Options{System: "quorate", Pids: q.Pids(), LoadMax: fillMax})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, r)
	if r.Errs > 0 {
		return fmt.Errorf("%d of %d writes failed, the first: %s", r.Errs, r.Ops, r.FirstErr)
	}
	return nil
}

// restart kills the last node as kill -9 does and returns the time from its next
// start to /readyz 200.
func restart(ctx context.Context, q *servers.Quorate) (time.Duration, error) {
	i := len(q.Addrs()) - 1
	q.Kill(i)
	began := time.Now()
	if err := q.Restart(ctx, i); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

const samples = 1000

// readBack reads a sample of the records through the restarted node with an answer
// from every owner: a fast start that lost data would be no figure.
func readBack(ctx context.Context, o options, q *servers.Quorate, ks *load.Keyspace) error {
	node := len(q.Addrs()) - 1
	for n := range samples {
		key := string(ks.Key(n*o.records/samples, o.value))
		status, body, err := q.Get(ctx, node, fmt.Sprintf("/v1/kv/%s/%s?r=%d", bucket, key, o.nodes))
		if err != nil {
			return err
		}
		if status != 200 || len(body) != o.value || string(body[:len(key)]) != key {
			return fmt.Errorf("record %s came back with status %d: %.200s", key, status, body)
		}
	}
	return nil
}
