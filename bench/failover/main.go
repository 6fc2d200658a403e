// Command failover measures what strong buckets do when a primary dies, and when the Raft
// group stands still:
//
//	cd bench && go run ./failover
//
//	kill  a node is killed under load, again and again: how long until each partition
//	      that had its primary there serves writes again, and what clients of the other
//	      partitions notice
//	raft  the traffic of the Raft group is stopped on all nodes for a while: the rates of
//	      writes and reads, beside those before
//
// Linux only; everything runs on the loopback with data of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/command"
	"github.com/quoratedb/quorate/bench/servers"
)

func main() { command.Main("failover", run) }

type options struct {
	only           []string
	nodes, kills   int
	rate           float64
	paused         time.Duration
	repo, bin, dir string
	md, json       string
	keep           bool
}

var scenes = map[string]func(context.Context, *bench) error{"kill": kill, "raft": raft}

// order of the scenes when none are named.
var order = []string{"kill", "raft"}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("failover", flag.ContinueOnError)
	only := fs.String("only", strings.Join(order, ","), "scenes, comma separated")
	fs.IntVar(&o.nodes, "nodes", 5, "nodes of the cluster")
	fs.IntVar(&o.kills, "kills", 20, "nodes killed in kill, one after the other")
	fs.Float64Var(&o.rate, "rate", 1500, "writes a second in kill, over all partitions")
	fs.DurationVar(&o.paused, "paused", 30*time.Second, "how long the Raft group stands still in raft")
	fs.StringVar(&o.repo, "repo", "..", "quorate's source tree, built first")
	fs.StringVar(&o.bin, "quorate", "", "measure this quorate binary instead of building one")
	fs.StringVar(&o.dir, "dir", "", "parent of the data directories (default: the system's temporary one)")
	fs.StringVar(&o.md, "md", "", "write the table as markdown to this file too")
	fs.StringVar(&o.json, "json", "", "write the figures and every outage as JSON to this file")
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
	if o.nodes < 3 || o.kills < 1 || o.rate <= 0 || o.paused < time.Second {
		return o, errors.New("-nodes must be 3 at least, -kills and -rate above 0, -paused a second at least")
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
	dir, bin, done, err := servers.Workplace(ctx, o.dir, "failover", o.bin, o.repo, o.keep)
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
	return b.publish()
}

// publish prints what has been measured so far.
func (b *bench) publish() error { return command.Publish(b.rep.markdown(), b.rep, b.o.md, b.o.json) }

const bucket = "failover"

// start runs a cluster in a folder of its own with one strong bucket.
func (b *bench) start(ctx context.Context, name string, nodes int, env ...string) (*servers.Quorate, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	q, err := servers.StartQuorate(ctx, b.bin, dir, nodes, false, env...)
	if err != nil {
		return nil, err
	}
	if err = q.CreateBucket(ctx, servers.Bucket{Name: bucket, Mode: "strong"}); err == nil {
		_, err = settled(ctx, q, 0)
	}
	if err != nil {
		q.Stop()
		return nil, err
	}
	return q, nil
}
