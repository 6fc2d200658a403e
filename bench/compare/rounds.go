package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/load"
)

const (
	loadWorkers = 128

	// Before each run the servers must have calmed down: what one system still
	// compacts or snapshots would be paid by the next one.
	settleStep  = 500 * time.Millisecond
	settleCores = 0.10 // of all servers together
	settleMax   = 15 * time.Second
)

// rounds loads the keys into each system and then runs every phase on every system
// in turn, as often as asked. Every other round goes through the systems backwards,
// so that none always follows the same neighbour.
func rounds(ctx context.Context, o options, f *field) ([]load.Result, error) {
	ks := load.NewKeyspace(o.keys)
	for _, value := range valueSizes(o.phases) {
		for _, c := range f.contenders {
			p, err := load.ParsePhase(fmt.Sprintf("load:%d:%d:uniform", loadWorkers, value))
			if err != nil {
				return nil, err
			}
			r, err := load.Run(ctx, c.driver, ks, p, load.Options{System: c.name, Pids: c.pids})
			if err != nil {
				return nil, fmt.Errorf("load %s: %w", c.name, err)
			}
			fmt.Fprintln(os.Stderr, r)
			if r.Errs > 0 {
				return nil, fmt.Errorf("load %s: %d of %d writes failed, the first: %s", c.name, r.Errs, r.Ops, r.FirstErr)
			}
		}
	}
	var runs []load.Result
	order := slices.Clone(f.contenders)
	for round := 1; round <= o.rounds; round++ {
		for _, p := range o.phases {
			for _, c := range order {
				r, err := one(ctx, o, f, c, ks, p, round)
				if err != nil {
					return runs, err
				}
				fmt.Fprintln(os.Stderr, r)
				runs = append(runs, r)
			}
		}
		slices.Reverse(order)
	}
	return runs, nil
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

func one(ctx context.Context, o options, f *field, c contender, ks *load.Keyspace, p load.Phase, round int) (load.Result, error) {
	if err := settle(ctx, f.pids()); err != nil {
		return load.Result{}, err
	}
	profiled := make(chan error, 1)
	if o.profiles != "" && (c.name == "quorate" || c.name == "siblings") {
		go func() { profiled <- profile(ctx, o, f.quorate.Addrs()[0], c.name, p, round) }()
	} else {
		profiled <- nil
	}
	r, err := load.Run(ctx, c.driver, ks, p, load.Options{System: c.name, Round: round, Warm: o.warm, Dur: o.dur, Pids: c.pids,
		Quiet: o.quiet, Note: func(s string) { fmt.Fprintln(os.Stderr, " ", s) }})
	if err != nil {
		return r, fmt.Errorf("%s %s: %w", c.name, p, err)
	}
	return r, <-profiled
}

// settle returns once the servers are idle, or after settleMax.
func settle(ctx context.Context, pids []int) error {
	limit := time.Now().Add(settleMax)
	for before := load.SampleProcs(pids).CPU; time.Now().Before(limit); {
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

// profile fetches a CPU profile that spans the measured time of a run.
func profile(ctx context.Context, o options, addr, system string, p load.Phase, round int) error {
	secs := strconv.Itoa(max(1, int((o.warm + o.dur).Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/pprof/profile?seconds="+secs, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", res.Status)
	}
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%d.pprof", system, strings.NewReplacer(":", "-", "@", "-").Replace(p.String()), round)
	f, err := os.Create(filepath.Join(o.profiles, name))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
