package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quoratedb/quorate/cmd/quorate/internal/bench"
	"github.com/quoratedb/quorate/internal/process"
	"github.com/quoratedb/quorate/sim/live"
)

// The load is light: it shows that requests go on, and leaves the machine to the user.
const (
	loadRate    = 50
	loadWorkers = 8
	loadKeys    = 200
	loadReads   = 70
	statusLive  = time.Second
	statusPlain = 5 * time.Second
)

// demo is a running one.
type demo struct {
	o        Options
	plans    []nodePlan
	children []*child
	alone    map[int]bool // isolated nodes
	links    *live.Links  // nil: nodes talk to each other directly
	spawn    process.Spawner
	exits    chan exit
	http     *http.Client
	say      *talk
	wg       sync.WaitGroup // what waits for restarted nodes
	died     []string
}

// Run is a whole demo: it returns when the user, the script's duration or ctx ends it,
// and all children have ended. talkTo is standard error.
func Run(ctx context.Context, o Options, talkTo io.Writer) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	if err := portsFree(ctx, o.plan("")); err != nil {
		return err
	}
	dir, clean, err := workDir(o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clean()) }()
	d := &demo{o: o, plans: o.plan(dir), exits: make(chan exit, NodesMax),
		http: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		say:  &talk{w: talkTo, live: o.Term.Live}}
	if o.isolates() {
		if err := d.openLinks(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.links.Close()) }()
	}
	for _, p := range d.plans {
		d.children = append(d.children, &child{plan: p, command: o.Command, env: d.o.Env})
	}
	spawn, end := process.NewSpawner()
	defer end() // after the children: on Linux they end with this thread
	d.spawn = spawn
	defer func() { err = errors.Join(err, d.stop()) }()
	d.say.line("starting %d nodes in %s", o.Nodes, dir)
	if err := d.startAll(ctx); err != nil {
		return err
	}
	return d.live(ctx)
}

func (d *demo) startAll(ctx context.Context) error {
	for _, c := range d.children {
		if err := c.start(d.spawn, d.plans, d.exits); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range d.children {
		g.Go(func() error { return c.ready(ctx, d.http) })
	}
	return g.Wait()
}

// stop ends all children, each with time to drain, and waits for them.
func (d *demo) stop() error {
	d.say.line("stopping %d nodes", len(d.children))
	for _, c := range d.children {
		c.release()
	}
	var g errgroup.Group
	for _, c := range d.children {
		g.Go(func() error { return c.join(stopPatience) })
	}
	err := g.Wait()
	d.wg.Wait()
	return err
}

// live is everything after the start: seed, load, script, keys.
func (d *demo) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	load, err := d.newLoad(ctx)
	if err != nil {
		return err
	}
	seeded := make(chan error, 1)
	go func() {
		_, err := load.Do(ctx)
		seeded <- err
	}()
	fmt.Fprint(d.o.Term.Out, d.welcome())
	d.loop(ctx, load)
	d.say.end()
	cancel()
	if err := <-seeded; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	n := load.Counts()
	d.say.line("load: %d operations, %d retries at another node, %d errors", n.Ops, n.Retries, n.Errors)
	if d.died != nil {
		return fmt.Errorf("ended by themselves: %s", strings.Join(d.died, ", "))
	}
	return nil
}

// newLoad prepares the load; its preload is the seeded data.
func (d *demo) newLoad(ctx context.Context) (*bench.Run, error) {
	o := bench.Default()
	for _, p := range d.plans {
		o.Addrs = append(o.Addrs, "http://"+p.api)
	}
	o.Prefix, o.Keys, o.Concurrency, o.Rate, o.ReadPercent = "demo-", loadKeys, loadWorkers, loadRate, loadReads
	o.Dist, o.Duration, o.Warmup = bench.Zipfian, 0, 0
	return bench.New(ctx, o)
}

// welcome is the table and three lines to try.
func (d *demo) welcome() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %-22s %-17s %-17s %-8s %s\n", "NODE", "API", "GOSSIP", "PEER", "PID", "LOG")
	for i, p := range d.plans {
		fmt.Fprintf(&b, "%-5s %-22s %-17s %-17s %-8d %s\n", p.name, "http://"+p.api, p.gossip, p.peer, d.children[i].pid(), p.log)
	}
	b.WriteString("\nAny node takes any request:\n")
	for _, line := range d.curls() {
		b.WriteString("  " + line + "\n")
	}
	if d.o.Term.In != nil {
		b.WriteString("\n" + keyHelp + "\n")
		if d.links != nil {
			b.WriteString(isolateHelp + "\n")
		}
	}
	if d.links != nil {
		b.WriteString("\n" + linksNote + "\n")
	}
	return b.String() + "\n"
}

// curls go to different nodes where there are several.
func (d *demo) curls() []string {
	at := func(i int) string { return "http://" + d.plans[i%len(d.plans)].api }
	return []string{
		"curl -i -X PUT --data-binary 'hello' " + at(0) + "/keys/greeting",
		"curl -i " + at(1) + "/keys/greeting",
		"curl -i " + at(2) + "/v1/inspect/default/greeting",
	}
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc.Pid
}
