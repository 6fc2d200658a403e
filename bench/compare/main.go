// Command compare measures quorate beside what people would use instead, in one run
// on one machine: three quorate nodes, three etcd members and, when asked for, Redis
// with replicas, all with fresh data and all on the loopback.
//
//	cd bench && go run ./compare
//	cd bench && go run ./compare -figures
//
// It builds quorate from the tree above, starts everything, loads the keys, runs the
// same phases on each system in turn, round after round, and prints medians and the
// ratio quorate to peer. With -figures it measures all that the project wants to reach,
// on five nodes too; docs/BENCHMARKS.md says how. It ends all it started, on Ctrl-C too.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/command"
	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

func main() { command.Main("compare", run) }

// options are the command line.
type options struct {
	systems       []string
	phases        []load.Phase
	rounds, keys  int
	redisReplicas int
	warm, dur     time.Duration
	quiet         float64
	repo, bin     string
	old           string
	abreast       bool
	dir           string
	keep          bool
	md, json      string
	profiles      string
	settle        time.Duration // before a run, at most
	figures       bool
	quick         bool
	only          string
	svg, doc      string
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	systems := fs.String("systems", "quorate,etcd,siblings", "systems to measure, comma separated: quorate (conflict: lww), siblings (the same cluster, conflict: siblings and resolve=newest), strong (the same cluster, a strong bucket), lease (another one, read by lease: all nodes lend theirs for a second), old and oldstrong (a cluster of the binary of -old, as quorate and strong), etcd, redis")
	redis := fs.Bool("redis", false, "measure redis too")
	phases := fs.String("phases", "put:64:80:zipf,get:64:80:zipf,mix:64:80:zipf", "phases, MODE:WORKERS:VALUEBYTES:DIST[@RATE]; modes put, get, sget (quorate r=1, etcd serializable), mix, smix, rN, cas (strong and etcd: compare-and-set on 1,000 keys)")
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
	fs.StringVar(&o.old, "old", "", "an earlier quorate binary, for the systems old and oldstrong")
	fs.BoolVar(&o.abreast, "abreast", false, "run the systems of a phase at the same time instead of in turn: whatever else the machine does slows them down alike, so that their ratio is exact to a percent or so; rates say nothing by themselves then")
	fs.StringVar(&o.dir, "dir", "", "parent of the data directories (default: the system's temporary one); must be on a real disk")
	fs.BoolVar(&o.keep, "keep", false, "keep data and logs")
	fs.StringVar(&o.md, "md", "", "write the report as markdown to this file too")
	fs.StringVar(&o.json, "json", "", "write every run and the summary as JSON to this file")
	fs.StringVar(&o.profiles, "profiles", "", "after the measured rounds run each phase (with -figures: PUT and GET) once more, write CPU profiles of every server of quorate and etcd into this folder, and report where the time goes; redis has none")
	fs.BoolVar(&o.figures, "figures", false, "measure the whole table of figures the project wants to reach, on three and on five nodes, with etcd and redis; -systems, -phases, -wide, -rates and -redis have no say")
	fs.StringVar(&o.only, "only", "", "with -figures: only those whose name this regular expression matches, such as put-etcd")
	fs.BoolVar(&o.quick, "quick", false, "a smoke run of a minute or two: one round, tiny runs, few keys, where these are not given; its numbers prove nothing")
	fs.StringVar(&o.svg, "svg", "", "with -figures: write the plot to this file")
	fs.StringVar(&o.doc, "doc", "", "with -figures: write the table into this document between its marks, and the plot beside it")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	o.preset(fs)
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

// Sizes of a run of all figures, and of a quick one.
const (
	figureDur = 8 * time.Second
	quickKeys = 10000
	quickWarm = 200 * time.Millisecond
	quickDur  = 700 * time.Millisecond
)

// preset gives every size that was not given the value that suits the kind of run.
func (o *options) preset(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.figures && !given["dur"] {
		o.dur = figureDur
	}
	o.settle = settleMax
	if !o.quick {
		return
	}
	o.settle = settleQuick
	if !given["rounds"] {
		o.rounds = 1
	}
	if !given["keys"] {
		o.keys = quickKeys
	}
	if !given["warm"] {
		o.warm = quickWarm
	}
	if !given["dur"] {
		o.dur = quickDur
	}
}

func (o options) check() error {
	if !o.figures && (o.only != "" || o.svg != "" || o.doc != "") {
		return errors.New("-only, -svg and -doc are for -figures")
	}
	if o.figures && o.keys < overloadConns {
		return fmt.Errorf("-figures needs -keys of %d at least: in the overload each client writes keys of its own", overloadConns)
	}
	if o.quick && o.doc != "" {
		return errors.New("-quick with -doc: numbers that prove nothing are not published")
	}
	if o.only != "" && o.doc != "" {
		return errors.New("-only with -doc: the document has the whole table or none")
	}
	if o.figures && o.doc != "" {
		if err := checkDoc(o.doc); err != nil {
			return fmt.Errorf("-doc: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, s := range o.systems {
		if !known[s] {
			return fmt.Errorf("-systems: unknown system %q", s)
		}
		if seen[s] {
			return fmt.Errorf("-systems: %s is named twice", s)
		}
		seen[s] = true
		if strings.HasPrefix(s, "old") && o.old == "" {
			return fmt.Errorf("-systems: %s needs -old, its binary", s)
		}
	}
	for _, p := range o.phases {
		if p.Mode == "load" {
			return errors.New("-phases: every key is loaded first anyway; no load phase")
		}
	}
	if err := o.checkAbreast(); err != nil {
		return err
	}
	if o.rounds < 1 || o.keys < 1 || o.dur <= 0 || o.redisReplicas < 1 {
		return errors.New("-rounds, -keys, -dur and -redis-replicas must be above 0")
	}
	return nil
}

// checkAbreast refuses systems of one cluster: the CPU of its servers could not be told
// apart.
func (o options) checkAbreast() error {
	if !o.abreast {
		return nil
	}
	if o.figures || o.profiles != "" || o.quiet > 0 {
		return errors.New("-abreast goes with none of -figures, -profiles and -quiet")
	}
	clusters := map[string]string{"siblings": "quorate", "strong": "quorate", "lease": "quorate", "oldstrong": "old"}
	seen := map[string]bool{}
	for _, s := range o.systems {
		at := cmp.Or(clusters[s], s)
		if seen[at] {
			return fmt.Errorf("-abreast: %s shares a cluster with another system", s)
		}
		seen[at] = true
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
	rep.Versions, rep.Receipts = map[string]string{}, map[string]string{}
	began := time.Now()
	if o.figures {
		err = measureFigures(ctx, o, dir, rep)
	} else {
		err = measure(ctx, o, dir, rep)
	}
	rep.Minutes = time.Since(began).Minutes()
	if err != nil && len(rep.Runs) == 0 {
		return err
	}
	if err != nil {
		rep.Cut = err.Error()
	}
	return errors.Join(err, rep.publish(o))
}

// measure runs the phases of the command line on its systems.
func measure(ctx context.Context, o options, dir string, rep *report) error {
	field, err := assemble(ctx, o, dir)
	defer field.stop()
	if err != nil {
		return err
	}
	rep.Versions, rep.Receipts = field.versions, field.receipts
	rep.Runs, rep.Profiles, err = rounds(ctx, o, field)
	rep.summarise(o)
	return err
}

// describe is what the report says about how it was made.
func (o options) describe() map[string]string {
	var phases []string
	for _, p := range o.phases {
		phases = append(phases, p.String())
	}
	if o.figures {
		return map[string]string{"figures": o.only, "rounds": fmt.Sprint(o.rounds), "keys": fmt.Sprint(o.keys), "warm": o.warm.String(), "dur": o.dur.String()}
	}
	return map[string]string{
		"systems": strings.Join(o.systems, ","), "phases": strings.Join(phases, ","), "rounds": fmt.Sprint(o.rounds),
		"keys": fmt.Sprint(o.keys), "warm": o.warm.String(), "dur": o.dur.String(), "abreast": fmt.Sprint(o.abreast),
	}
}

// publish prints the report and writes the files asked for. Runs that read a wrong
// value or none, or lost one, make it fail and keep it out of the document: their speed
// is worth nothing.
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
	if o.svg != "" {
		errs = append(errs, os.WriteFile(o.svg, []byte(rep.plot()), 0o644))
	}
	unsound := rep.unsound()
	if o.doc != "" && rep.Cut == "" && unsound == nil {
		errs = append(errs, rep.writeDoc(o.doc))
	}
	return errors.Join(append(errs, unsound)...)
}
