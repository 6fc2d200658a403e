// Command compare measures quorate beside what people would use instead, in one run
// on one machine: three quorate nodes, three etcd members and, when asked for, Redis
// with replicas, all with fresh data and all on the loopback.
//
//	cd bench && go run ./compare
//
// It builds quorate from the tree above, starts everything, loads the keys, runs the
// same phases on each system in turn, round after round, and prints medians and the
// ratio quorate to peer. It ends all it started, on Ctrl-C too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "compare: stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	systems       []string
	phases        []load.Phase
	rounds, keys  int
	redisReplicas int
	warm, dur     time.Duration
	quiet         float64
	repo, bin     string
	dir           string
	keep          bool
	md, json      string
	profiles      string
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	systems := fs.String("systems", "quorate,etcd,siblings", "systems to measure, comma separated: quorate (conflict: lww), siblings (the same cluster, conflict: siblings and resolve=newest), etcd, redis")
	redis := fs.Bool("redis", false, "measure redis too")
	phases := fs.String("phases", "put:64:80:zipf,get:64:80:zipf,mix:64:80:zipf", "phases, MODE:WORKERS:VALUEBYTES:DIST[@RATE]; modes put, get, sget (quorate r=1, etcd serializable), mix, smix, rN")
	wide := fs.Bool("wide", false, "add put, get and mix with 256 clients")
	rates := fs.String("rates", "", "add an open-loop mix at each of these operations a second, comma separated")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; the tables show medians")
	fs.IntVar(&o.keys, "keys", 100000, "distinct keys, all loaded first")
	fs.IntVar(&o.redisReplicas, "redis-replicas", 2, "replicas beside the redis primary; every write waits for one of them (WAIT 1)")
	fs.DurationVar(&o.warm, "warm", 2*time.Second, "warm-up before each run")
	fs.DurationVar(&o.dur, "dur", 10*time.Second, "measured time of each run")
	fs.Float64Var(&o.quiet, "quiet", 0, "repeat a run, up to twice, while anything else uses more than this many cores (0: never)")
	fs.StringVar(&o.repo, "repo", "..", "quorate's source tree, built first")
	fs.StringVar(&o.bin, "quorate", "", "measure this quorate binary instead of building one")
	fs.StringVar(&o.dir, "dir", "", "parent of the data directories (default: the system's temporary one); must be on a real disk")
	fs.BoolVar(&o.keep, "keep", false, "keep data and logs")
	fs.StringVar(&o.md, "md", "", "write the report as markdown to this file too")
	fs.StringVar(&o.json, "json", "", "write every run and the summary as JSON to this file")
	fs.StringVar(&o.profiles, "profiles", "", "write a CPU profile of the first quorate node for each of its runs into this folder; costs some speed")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	o.systems = strings.Split(*systems, ",")
	if *redis {
		o.systems = append(o.systems, "redis")
	}
	list := *phases
	if *wide {
		list += ",put:256:80:zipf,get:256:80:zipf,mix:256:80:zipf"
	}
	for rate := range strings.SplitSeq(*rates, ",") {
		if rate != "" {
			list += ",mix:64:80:zipf@" + rate
		}
	}
	var err error
	if o.phases, err = load.ParsePhases(list); err != nil {
		return o, err
	}
	return o, o.check()
}

func (o options) check() error {
	seen := map[string]bool{}
	for _, s := range o.systems {
		if !known[s] {
			return fmt.Errorf("-systems: unknown system %q", s)
		}
		if seen[s] {
			return fmt.Errorf("-systems: %s is named twice", s)
		}
		seen[s] = true
	}
	for _, p := range o.phases {
		if p.Mode == "load" {
			return errors.New("-phases: every key is loaded first anyway; no load phase")
		}
	}
	if o.rounds < 1 || o.keys < 1 || o.dur <= 0 || o.redisReplicas < 1 {
		return errors.New("-rounds, -keys, -dur and -redis-replicas must be above 0")
	}
	return nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "quorate-compare-")
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
	rep := &report{Options: o.describe()}
	if rep.Machine, err = servers.ReadMachine(dir); err != nil {
		return err
	}
	if rep.Machine.InMemory() {
		return fmt.Errorf("%s is in memory, where an fsync costs nothing; name a folder on a disk with -dir", dir)
	}
	field, err := assemble(ctx, o, dir)
	defer field.stop()
	if err != nil {
		return err
	}
	rep.Versions, rep.Receipts = field.versions, field.receipts
	if rep.Runs, err = rounds(ctx, o, field); err != nil {
		return err
	}
	rep.summarise(o)
	return rep.publish(o)
}

// describe is what the report says about how it was made.
func (o options) describe() map[string]string {
	var phases []string
	for _, p := range o.phases {
		phases = append(phases, p.String())
	}
	return map[string]string{
		"systems": strings.Join(o.systems, ","), "phases": strings.Join(phases, ","), "rounds": fmt.Sprint(o.rounds),
		"keys": fmt.Sprint(o.keys), "warm": o.warm.String(), "dur": o.dur.String(),
	}
}

// publish prints the report and writes the files asked for. Runs that read a wrong
// value or none make it fail: their speed is worth nothing.
func (rep *report) publish(o options) error {
	text := rep.markdown()
	fmt.Print("\n", text)
	var errs []error
	if o.md != "" {
		errs = append(errs, os.WriteFile(o.md, []byte(text), 0o644))
	}
	if o.json != "" {
		errs = append(errs, writeJSON(filepath.Clean(o.json), rep))
	}
	return errors.Join(append(errs, rep.unsound())...)
}
