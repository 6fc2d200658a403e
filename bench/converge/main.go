// Command converge measures what it costs that replicas become alike by themselves:
//
//	cd bench && go run ./converge
//
//	idle     throughput and server CPU with anti-entropy on and off, when nothing differs
//	emptied  five nodes, one loses its data directory: until it is whole again, and the
//	         bytes shipped for each byte that was missing
//	spread   three nodes, some keys of many differ, at random: the bytes read for it as a
//	         part of the store's
//	down     five nodes under load, one is away for a while: the foreground's p99 while
//	         what it missed is handed over, as a part of the undisturbed one
//
// Linux only; everything runs on the loopback with data of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/command"
	"github.com/quoratedb/quorate/bench/servers"
)

func main() { command.Main("converge", run) }

type options struct {
	only           []string
	keys, differ   int
	value, rounds  int
	idleDur, away  time.Duration
	rate           float64
	p99Most        float64
	missed         bool
	repo, bin, dir string
	md, json       string
	keep           bool
}

var scenes = map[string]func(context.Context, *bench) error{"idle": idle, "emptied": emptied, "spread": spread, "down": down}

// order of the scenes when none are named.
var order = []string{"idle", "emptied", "spread", "down"}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("converge", flag.ContinueOnError)
	only := fs.String("only", strings.Join(order, ","), "scenes, comma separated")
	fs.IntVar(&o.keys, "keys", 1_000_000, "records, but in idle and down: a tenth")
	fs.IntVar(&o.differ, "differ", 10_000, "records that differ in spread")
	fs.IntVar(&o.value, "value", 80, "bytes of a record's value")
	fs.IntVar(&o.rounds, "rounds", 30, "rounds of idle, on and off in turn")
	fs.DurationVar(&o.idleDur, "dur", 4*time.Second, "measured time of each run of idle")
	fs.DurationVar(&o.away, "away", time.Minute, "how long the node of down is away")
	fs.Float64Var(&o.rate, "rate", 2000, "operations a second in down, half of them writes")
	fs.Float64Var(&o.p99Most, "p99-most", 1.5, "what the ratio of down may be")
	fs.BoolVar(&o.missed, "missed-ok", false, "exit 0 although a figure was missed")
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
	for name := range strings.SplitSeq(*only, ",") {
		if scenes[name] == nil {
			return o, fmt.Errorf("unknown scene %q, want some of %s", name, strings.Join(order, ", "))
		}
		o.only = append(o.only, name)
	}
	if o.keys < 1000 || o.differ < 1 || o.differ > o.keys/10 || o.rounds < 1 || o.rate <= 0 {
		return o, errors.New("-keys must be at least 1000, -differ 1 to a tenth of them, -rounds and -rate above 0")
	}
	return o, nil
}

// bench is what the scenes share.
type bench struct {
	o   options
	bin string
	dir string
	rep *report
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, bin, done, err := servers.Workplace(ctx, o.dir, "converge", o.bin, o.repo, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	b := &bench{o: o, bin: bin, dir: dir, rep: &report{}}
	if b.rep.Machine, err = servers.ReadMachine(dir); err != nil {
		return err
	}
	b.rep.Version = servers.Version(ctx, b.bin, "version")
	for _, name := range o.only {
		fmt.Fprintln(os.Stderr, "===", name)
		if err := scenes[name](ctx, b); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), b.publish())
		}
	}
	if err := b.publish(); err != nil || o.missed {
		return err
	}
	return b.rep.missed()
}

// publish prints what has been measured so far.
func (b *bench) publish() error { return command.Publish(b.rep.markdown(), b.rep, b.o.md, b.o.json) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
