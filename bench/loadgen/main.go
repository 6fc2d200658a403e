// Command loadgen drives a running key-value cluster on the loopback with one load
// after another and prints a line for each: throughput, latency percentiles, and
// the CPU time that the servers (by pid) and the client used.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quoratedb/quorate/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		name    = flag.String("driver", "http", "driver: "+strings.Join(load.Drivers(), ", "))
		system  = flag.String("system", "", "label in the output (default: the driver)")
		addrs   = flag.String("addrs", "127.0.0.1:7400", "comma separated host:port list; loopback only")
		opts    = flag.String("opts", "", "driver options, k=v separated by ;")
		phases  = flag.String("phases", "load:64:80:uniform,put:64:80:zipf,get:64:80:zipf", "phases, MODE:WORKERS:VALUEBYTES:DIST[@RATE]; modes load, put, get, sget, mix, smix, rN; DIST uniform or zipf; a rate makes the loop open")
		keys    = flag.Int("keys", 100000, "number of distinct keys")
		dur     = flag.Duration("dur", 5*time.Second, "measured time of each run")
		warm    = flag.Duration("warm", time.Second, "warm-up before each run")
		repeat  = flag.Int("repeat", 1, "runs of each phase; rounds are interleaved")
		pidList = flag.String("pids", "", "comma separated server pids to account")
		out     = flag.String("out", "", "append one JSON object per run to this file")
		prof    = flag.String("cpuprofile", "", "write the client's own CPU profile")
		quiet   = flag.Float64("quiet", 0, "repeat a run, up to twice, while other processes use more than this many cores (0: never)")
	)
	flag.Parse()
	if *system == "" {
		*system = *name
	}
	plan, err := load.ParsePhases(*phases)
	if err != nil {
		return err
	}
	if *keys < 1 {
		return errors.New("-keys must be above 0")
	}
	pids, err := parsePids(*pidList)
	if err != nil {
		return err
	}
	o, err := load.ParseOpts(*opts)
	if err != nil {
		return err
	}
	d, err := load.Open(*name, strings.Split(*addrs, ","), o)
	if err != nil {
		return err
	}
	defer d.Close()
	if *prof != "" {
		f, err := os.Create(*prof)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ks := load.NewKeyspace(*keys)
	for round := 1; round <= *repeat; round++ {
		for _, p := range plan {
			if p.Mode == "load" && round > 1 {
				continue
			}
			r, err := load.Run(ctx, d, ks, p, load.Options{System: *system, Round: round, Warm: *warm, Dur: *dur,
				Pids: pids, Quiet: *quiet, Note: func(s string) { fmt.Println(" ", s) }})
			if err != nil {
				return err
			}
			fmt.Println(r)
			if err := appendJSON(*out, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func parsePids(s string) ([]int, error) {
	var pids []int
	for f := range strings.SplitSeq(s, ",") {
		if f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("-pids: %w", err)
		}
		pids = append(pids, n)
	}
	return pids, nil
}

func appendJSON(file string, r load.Result) error {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
