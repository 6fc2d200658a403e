package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

const (
	bucket  = "converge"
	copies  = 3
	wholeIn = 20 * time.Minute // for a cluster to be alike again
	poll    = 200 * time.Millisecond
)

// metrics of one node, or the sums over several.
type metrics map[string]float64

// scrape reads /metrics of node i; lines with labels are added up under their name.
func scrape(ctx context.Context, q *servers.Quorate, i int) (metrics, error) {
	status, body, err := q.Get(ctx, i, "/metrics")
	if err != nil || status != 200 {
		return nil, fmt.Errorf("metrics of node %d: status %d: %w", i+1, status, err)
	}
	m := metrics{}
	for line := range strings.SplitSeq(string(body), "\n") {
		name, rest, ok := strings.Cut(line, " ")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		if name, _, _ = strings.Cut(name, "{"); strings.HasPrefix(name, "quorate_") {
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				return nil, fmt.Errorf("metrics of node %d: %q: %w", i+1, line, err)
			}
			m[strings.TrimPrefix(name, "quorate_")] += v
		}
	}
	return m, nil
}

// sum adds up the metrics of all nodes, sumOf of the first few.
func sum(ctx context.Context, q *servers.Quorate) (metrics, error) {
	return sumOf(ctx, q, len(q.Addrs()))
}

func sumOf(ctx context.Context, q *servers.Quorate, nodes int) (metrics, error) {
	all := metrics{}
	for i := range nodes {
		m, err := scrape(ctx, q, i)
		if err != nil {
			return nil, err
		}
		for name, v := range m {
			all[name] += v
		}
	}
	return all, nil
}

// must is a metric that has to be there: a renamed one must not read as 0.
func (m metrics) must(name string) float64 {
	v, ok := m[name]
	if !ok {
		panic(fmt.Sprintf("no metric quorate_%s, only %v", name, slices.Sorted(maps.Keys(m))))
	}
	return v
}

// start runs a cluster in a folder of its own with one bucket, n=3.
func (b *bench) start(ctx context.Context, name string, nodes int, sloppy bool, env ...string) (*servers.Quorate, error) {
	dir := fmt.Sprintf("%s/%s", b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	q, err := servers.StartQuorate(ctx, b.bin, dir, nodes, true, env...)
	if err != nil {
		return nil, err
	}
	err = q.CreateBucket(ctx, servers.Bucket{Name: bucket, Mode: "eventual", Conflict: "lww", N: copies, R: 2, W: 2, Sloppy: sloppy})
	if err != nil {
		q.Stop()
		return nil, err
	}
	return q, nil
}

// drive runs one phase over frames to all nodes, driveAt to some.
func (b *bench) drive(ctx context.Context, q *servers.Quorate, ks *load.Keyspace, phase string, warm, dur time.Duration) (load.Result, error) {
	return b.driveAt(ctx, q, q.FrameAddrs(), ks, phase, warm, dur)
}

func (b *bench) driveAt(ctx context.Context, q *servers.Quorate, addrs []string, ks *load.Keyspace, phase string, warm, dur time.Duration) (load.Result, error) {
	p, err := load.ParsePhase(phase)
	if err != nil {
		return load.Result{}, err
	}
	d, err := load.Open("frames", addrs, load.Opts{"bucket": bucket})
	if err != nil {
		return load.Result{}, err
	}
	defer d.Close()
	r, err := load.Run(ctx, d, ks, p, load.Options{System: "quorate", Pids: q.Pids(), Warm: warm, Dur: dur, LoadMax: 30 * time.Minute})
	if err == nil {
		fmt.Fprintln(os.Stderr, r)
	}
	return r, err
}

// fill writes all keys and waits until every owner has them.
func (b *bench) fill(ctx context.Context, q *servers.Quorate, keys int) (*load.Keyspace, error) {
	ks := load.NewKeyspace(keys)
	r, err := b.drive(ctx, q, ks, fmt.Sprintf("load:64:%d:uniform", b.o.value), 0, 0)
	if err != nil {
		return nil, err
	}
	if r.Errs > 0 {
		return nil, fmt.Errorf("%d of %d writes failed, the first: %s", r.Errs, r.Ops, r.FirstErr)
	}
	_, err = whole(ctx, q, keys)
	return ks, err
}

// whole waits until every owner has every key, no hint is kept, nothing is known to
// differ and all partitions have been compared, and returns how long that took.
func whole(ctx context.Context, q *servers.Quorate, keys int) (time.Duration, error) {
	began := time.Now()
	for {
		m, err := sum(ctx, q)
		if err == nil && m.must("keys") == float64(copies*keys) && m.must("hints") == 0 && m.must("repair_debt_keys") == 0 &&
			m.must("repair_wanted") == 0 && m.must("repair_debt_partitions") == 0 {
			return time.Since(began), nil
		}
		if time.Since(began) > wholeIn {
			return 0, fmt.Errorf("not whole within %v: %v keys of %d, %v hints, %v owed (%w)", wholeIn, m["keys"], copies*keys, m["hints"], m["repair_debt_keys"], err)
		}
		if err := rest(ctx, poll); err != nil {
			return 0, err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
