package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quoratedb/quorate/bench/load"
)

const (
	loadWorkers = 128
	loadTries   = 3 // of all keys, where a busy machine sheds some

	// Before each run the servers must have calmed down: what one system still
	// compacts or snapshots would be paid by the next one.
	settleStep  = 500 * time.Millisecond
	settleCores = 0.10 // of all servers together
	settleMax   = 15 * time.Second
	settleQuick = time.Second // in a quick run
)

// rounds loads the keys into each system and then runs every phase on every system
// in turn, as often as asked. Every other round goes through the systems backwards,
// so that none always follows the same neighbour.
func rounds(ctx context.Context, o options, f *field) ([]load.Result, []profiled, error) {
	ks := load.NewKeyspace(o.keys)
	if err := loadKeys(ctx, f, ks, valueSizes(o.phases)); err != nil {
		return nil, nil, err
	}
	var runs []load.Result
	order := slices.Clone(f.contenders)
	for round := 1; round <= o.rounds; round++ {
		for _, p := range o.phases {
			if o.abreast {
				all, err := abreast(ctx, o, f, ks, p, round)
				if err != nil {
					return runs, nil, err
				}
				runs = append(runs, all...)
				continue
			}
			for _, c := range order {
				r, err := one(ctx, o, f, c, ks, p, round, nil)
				if err != nil {
					return runs, nil, err
				}
				runs = append(runs, r)
			}
		}
		slices.Reverse(order)
	}
	where, err := profilePass(ctx, o, f, ks, o.phases)
	return runs, where, err
}

// loadKeys writes every key of every value size once, into each system that has data
// of its own.
func loadKeys(ctx context.Context, f *field, ks *load.Keyspace, values []int) error {
	for _, value := range values {
		for _, c := range f.contenders {
			if c.shares {
				continue
			}
			p, err := load.ParsePhase(fmt.Sprintf("load:%d:%d:uniform", loadWorkers, value))
			if err != nil {
				return err
			}
			for try := 1; ; try++ {
				r, err := load.Run(ctx, c.driver, ks, p, load.Options{System: c.name, Pids: c.cluster.Pids()})
				if err != nil {
					return fmt.Errorf("load %s: %w", c.name, err)
				}
				fmt.Fprintln(os.Stderr, r)
				if r.Errs+r.Shed == 0 {
					break
				}
				if r.Errs > 0 || try == loadTries {
					return fmt.Errorf("load %s: %d of %d writes failed, %d were shed, the first: %s", c.name, r.Errs, r.Ops, r.Shed, r.FirstErr)
				}
			}
		}
	}
	return nil
}

// valueSizes returns one value size for each set of keys that the phases use.
func valueSizes(phases []load.Phase) []int {
	var out []int
	ks := load.NewKeyspace(1)
	seen := map[string]bool{}
	for _, p := range phases {
		if k := string(ks.Key(0, p.Value)); !seen[k] {
			seen[k] = true
			out = append(out, p.Value)
		}
	}
	return out
}

// one runs a phase on a contender once everything has calmed down.
func one(ctx context.Context, o options, f *field, c contender, ks *load.Keyspace, p load.Phase, round int, l *load.Ledger) (load.Result, error) {
	if err := settle(ctx, f.pids(), o.settle); err != nil {
		return load.Result{}, err
	}
	r, err := load.Run(ctx, c.driver, ks, p, load.Options{System: c.name, Round: round, Warm: o.warm, Dur: o.dur, Pids: c.cluster.Pids(),
		Quiet: o.quiet, Ledger: l, Note: func(s string) { fmt.Fprintln(os.Stderr, " ", s) }})
	if err != nil {
		return r, fmt.Errorf("%s %s: %w", c.name, p, err)
	}
	fmt.Fprintln(os.Stderr, r)
	return r, nil
}

// abreast runs a phase on all contenders at the same time, once everything has calmed
// down. Each has clients of its own.
func abreast(ctx context.Context, o options, f *field, ks *load.Keyspace, p load.Phase, round int) ([]load.Result, error) {
	if err := settle(ctx, f.pids(), o.settle); err != nil {
		return nil, err
	}
	out := make([]load.Result, len(f.contenders))
	group, inner := errgroup.WithContext(ctx)
	for i, c := range f.contenders {
		group.Go(func() (err error) {
			out[i], err = load.Run(inner, c.driver, ks, p, load.Options{System: c.name, Round: round, Warm: o.warm, Dur: o.dur, Pids: c.cluster.Pids()})
			if err != nil {
				return fmt.Errorf("%s %s: %w", c.name, p, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, r := range out {
		fmt.Fprintln(os.Stderr, r)
	}
	return out, nil
}

// settle returns once the servers are idle, or after limit.
func settle(ctx context.Context, pids []int, limit time.Duration) error {
	until := time.Now().Add(limit)
	for before := load.SampleProcs(pids).CPU; time.Now().Before(until); {
		select {
		case <-time.After(settleStep):
		case <-ctx.Done():
			return ctx.Err()
		}
		now := load.SampleProcs(pids).CPU
		if now-before < settleCores*settleStep.Seconds() {
			return nil
		}
		before = now
	}
	return nil
}
