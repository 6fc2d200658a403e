package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/bench/layers"
	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

var known = map[string]bool{"quorate": true, "siblings": true, "strong": true, "lease": true, "old": true, "oldstrong": true, "etcd": true, "redis": true}

const (
	nodes  = 3 // of quorate and of etcd, where nothing else is said
	copies = 3 // of every record
)

// cluster is what all kinds of servers have in common.
type cluster interface {
	Addrs() []string
	Pids() []int
	Stop()
}

// contender is one system as the load sees it.
type contender struct {
	name    string
	driver  load.Driver
	cluster cluster
	bucket  string         // of a quorate cluster
	shares  bool           // its data with an earlier contender: nothing to load
	layers  []layers.Layer // of its CPU profiles; none: it has no profiles
}

// field holds everything that was started.
type field struct {
	contenders []contender
	clusters   []cluster
	quorate    *servers.Quorate
	past       *field // the cluster of an earlier build
	size       int    // nodes of the quorate cluster
	frames     bool   // it takes frames
	versions   map[string]string
	receipts   map[string]string
}

func newField(size int) *field {
	return &field{size: size, versions: map[string]string{}, receipts: map[string]string{}}
}

// assemble starts the systems of the command line. The field is to be stopped even
// when an error comes with it.
func assemble(ctx context.Context, o options, dir string) (*field, error) {
	f := newField(nodes)
	for _, name := range o.systems {
		fmt.Fprintf(os.Stderr, "starting %s\n", name)
		var err error
		switch name {
		case "quorate":
			err = f.addQuorate(ctx, o, dir, name, evenBucket("bench", "lww"), "?r=2", "?r=1")
		case "siblings":
			err = f.addQuorate(ctx, o, dir, name, evenBucket("benchsib", "siblings"), "?r=2&resolve=newest", "?r=1&resolve=newest")
		case "strong":
			err = f.addQuorate(ctx, o, dir, name, strongBucket, "", "?consistency=stale")
		case "lease":
			err = f.addQuorate(ctx, o, dir, name, servers.Bucket{Name: "benchlease", Mode: "strong"}, "?consistency=lease", "?consistency=stale")
		case "old":
			err = f.addOld(ctx, o, dir, name, evenBucket("bench", "lww"), "?r=2", "?r=1")
		case "oldstrong":
			err = f.addOld(ctx, o, dir, name, strongBucket, "", "?consistency=stale")
		case "etcd":
			err = f.addEtcd(ctx, o, dir)
		case "redis":
			err = f.addRedis(ctx, o, dir)
		}
		if err != nil {
			return f, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, nil
}

// addQuorate adds a bucket of the one quorate cluster over HTTP.
func (f *field) addQuorate(ctx context.Context, o options, dir, name string, b servers.Bucket, get, sget string) error {
	if err := f.ensureBucket(ctx, o, dir, name, b); err != nil {
		return err
	}
	return f.add(name, "http", httpOpts(b, get, sget), f.quorate, layers.Quorate)
}

// addOld adds a bucket of the cluster of another build of quorate, to be measured in the
// same rounds as this one.
func (f *field) addOld(ctx context.Context, o options, dir, name string, b servers.Bucket, get, sget string) error {
	dir = filepath.Join(dir, "old")
	if f.past == nil {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		f.past = newField(f.size)
	}
	g := f.past
	clusters, contenders := len(g.clusters), len(g.contenders)
	was := o
	was.bin = o.old
	err := g.addQuorate(ctx, was, dir, name, b, get, sget)
	f.clusters = append(f.clusters, g.clusters[clusters:]...)
	f.contenders = append(f.contenders, g.contenders[contenders:]...)
	f.versions["old"], f.receipts[name] = g.versions["quorate"], g.receipts[name]
	return err
}

func httpOpts(b servers.Bucket, get, sget string) load.Opts {
	path, put := "/v1/kv/"+b.Name+"/%s", ""
	if b.W > 0 {
		put = "?w=" + strconv.Itoa(b.W)
	}
	return load.Opts{"put": path + put, "get": path + get, "sget": path + sget}
}

// evenBucket is an eventual bucket of n=3, r=2, w=2, strict.
func evenBucket(name, conflict string) servers.Bucket {
	return servers.Bucket{Name: name, Mode: "eventual", Conflict: conflict, N: copies, R: 2, W: 2}
}

// strongBucket has no numbers to choose: three copies, a majority.
var strongBucket = servers.Bucket{Name: "benchstrong", Mode: "strong"}

// ensureBucket has the cluster run and makes a bucket.
func (f *field) ensureBucket(ctx context.Context, o options, dir, name string, b servers.Bucket) error {
	if f.quorate == nil {
		if err := f.startQuorate(ctx, o, dir); err != nil {
			return err
		}
	}
	q := f.quorate
	if err := q.CreateBucket(ctx, b); err != nil {
		return err
	}
	receipt, err := q.Receipt(ctx, b.Name)
	if err != nil {
		return err
	}
	for _, part := range []string{"n=3", "need=2", "fallbacks=0"} {
		if !slices.Contains(strings.Split(receipt, ", "), part) {
			return fmt.Errorf("a write's receipt says %q, without %s: this would not be the promise to compare", receipt, part)
		}
	}
	f.receipts[name] = receipt
	return nil
}

func (f *field) startQuorate(ctx context.Context, o options, dir string) (err error) {
	bin := o.bin
	if bin == "" {
		if bin, err = servers.BuildQuorate(ctx, o.repo, dir); err != nil {
			return err
		}
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	var env []string
	if o.profiles != "" {
		env = append(env, "QUORATE_PROFILE=true")
	}
	if slices.Contains(o.systems, "lease") {
		env = append(env, "QUORATE_STRONG_LEASE=1s")
	}
	if f.quorate, err = servers.StartQuorate(ctx, bin, dir, f.size, f.frames, env...); err != nil {
		return err
	}
	f.clusters = append(f.clusters, f.quorate)
	f.versions["quorate"] = servers.Version(ctx, bin, "version")
	if o.bin == "" {
		out, err := exec.CommandContext(ctx, "git", "-C", o.repo, "describe", "--always", "--dirty").Output()
		if err == nil { // a tree without its history has no commit to name
			f.versions["commit"] = strings.TrimSpace(string(out))
		}
	}
	return nil
}

func (f *field) addEtcd(ctx context.Context, o options, dir string) error {
	var extra []string
	if o.profiles != "" {
		extra = append(extra, "--enable-pprof")
	}
	e, err := servers.StartEtcd(ctx, dir, nodes, extra...)
	if err != nil {
		return err
	}
	f.clusters = append(f.clusters, e)
	f.versions["etcd"] = servers.Version(ctx, "etcd", "--version")
	return f.add("etcd", "etcd", nil, e, layers.Etcd)
}

func (f *field) addRedis(ctx context.Context, o options, dir string) error {
	r, err := servers.StartRedis(ctx, dir, o.redisReplicas)
	if err != nil {
		return err
	}
	f.clusters = append(f.clusters, r)
	f.versions["redis"] = servers.Version(ctx, "redis-server", "--version") + ", replicas " + strconv.Itoa(o.redisReplicas)
	return f.add("redis", "redis", load.Opts{"wait": "1"}, r, nil)
}

func (f *field) add(name, driver string, o load.Opts, c cluster, l []layers.Layer) error {
	return f.addAt(c.Addrs(), name, driver, o, c, l)
}

func (f *field) addAt(addrs []string, name, driver string, o load.Opts, c cluster, l []layers.Layer) error {
	d, err := load.Open(driver, addrs, o)
	if err != nil {
		return err
	}
	f.contenders = append(f.contenders, contender{name: name, driver: d, cluster: c, layers: l})
	return nil
}

// stop ends everything, clients first.
func (f *field) stop() {
	for _, c := range f.contenders {
		c.driver.Close()
	}
	for _, c := range f.clusters {
		c.Stop()
	}
}

// pids are those of every server, each once.
func (f *field) pids() []int {
	var out []int
	for _, c := range f.clusters {
		out = append(out, c.Pids()...)
	}
	return out
}
