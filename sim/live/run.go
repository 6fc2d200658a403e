package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// run is one check.
type run struct {
	o       *Options
	id      string // of this run, in the names of its buckets
	dir     string
	began   time.Time
	cluster *cluster // nil with Options.Addrs
	servers []server
	http    *http.Client
	active  []*active
	book    *book
	nemesis *nemesis
	talk    sync.Mutex
	stuck   []string // what did not come to rest
	lists   lists

	noStrong bool // the cluster has no strong buckets
}

// active is a workload under way.
type active struct {
	workload
	bucket string
	pool   *pool
}

func (r *run) now() check.Time { return time.Since(r.began) }

// say writes a line with the time since the load began.
func (r *run) say(format string, args ...any) {
	r.talk.Lock()
	defer r.talk.Unlock()
	at := 0.0
	if !r.began.IsZero() {
		at = time.Since(r.began).Seconds()
	}
	fmt.Fprintf(r.o.Talk, "%7.1fs  %s\n", at, fmt.Sprintf(format, args...))
}

// Run is a whole check. An error means that there is no verdict; violations are in
// the report. All processes that it started have ended when it returns.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Talk == nil {
		o.Talk = io.Discard
	}
	r := &run{o: &o, id: fmt.Sprintf("%06x", rand.Uint32N(1<<24)), http: newHTTP(o.Clients), book: newBook()}
	temporary := o.Dir == ""
	if r.dir, err = workDir(o.Dir); err != nil {
		return nil, err
	}
	if len(o.Addrs) == 0 {
		if r.cluster, err = newCluster(&o, r.dir); err != nil {
			return nil, err
		}
	}
	report, err = r.whole(ctx)
	if r.cluster != nil {
		err = errors.Join(err, r.cluster.stop())
	}
	r.http.CloseIdleConnections()
	if err == nil && report.Clean() && temporary {
		report.Dir = ""
		return report, os.RemoveAll(r.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (logs are in %s)", err, r.dir)
	}
	return report, nil
}

func workDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "quorate-check-")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if held, err := os.ReadDir(dir); err != nil || len(held) > 0 {
		return "", errors.Join(err, fmt.Errorf("--dir %s is not empty", dir))
	}
	return dir, nil
}

func (r *run) whole(ctx context.Context) (*Report, error) {
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	r.load(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	state := r.finish(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.say("judging %d operations", len(r.book.ops))
	report := r.judge(state)
	if report.Clean() {
		r.dropBuckets(ctx)
		if r.o.Dir == "" {
			return report, nil
		}
	}
	report.Dir = r.dir
	return report, r.save(report)
}

// Bounds of the phases before and after the load; a busy machine needs them, an idle
// one a fraction.
const (
	readyPatience = 90 * time.Second
	quietPatience = 3 * time.Minute
	poll          = 100 * time.Millisecond
)

func (r *run) setUp(ctx context.Context) error {
	addrs := r.o.Addrs
	if r.cluster != nil {
		r.say("starting %d nodes in %s", r.o.Nodes, r.dir)
		if err := r.cluster.start(ctx); err != nil {
			return err
		}
		for _, n := range r.cluster.children {
			addrs = append(addrs, "http://"+n.api)
		}
	}
	for _, a := range addrs {
		r.servers = append(r.servers, server{name: a, base: a})
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	for _, w := range workloads {
		for _, name := range r.o.Workloads {
			if w.name == name {
				a := &active{workload: w, bucket: "check-" + r.id + "-" + w.name, pool: &pool{}}
				made, err := r.makeBucket(ctx, a)
				if err != nil {
					return err
				}
				if made {
					r.active = append(r.active, a)
				}
			}
		}
	}
	return nil
}

// ready waits until every node is, and learns their names.
func (r *run) ready(ctx context.Context) error {
	deadline := time.Now().Add(readyPatience)
	for i := range r.servers {
		s := &r.servers[i]
		for {
			a := send(ctx, r.http, *s, &request{method: http.MethodGet, path: "/readyz", timeout: time.Second})
			if a.outcome == check.OK {
				break
			}
			if r.cluster != nil && !r.cluster.children[i].runs() {
				return fmt.Errorf("%s does not run:\n%s", r.cluster.children[i].name, strings.Join(r.cluster.dead(), "\n"))
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s was not ready within %v: %s", s.base, readyPatience, cmp.Or(a.code, "no answer"))
			}
			if !rest(ctx, poll) {
				return context.Cause(ctx)
			}
		}
		a := send(ctx, r.http, *s, &request{method: http.MethodGet, path: "/v1/cluster/ring", timeout: 2 * time.Second})
		if a.servedBy == "" {
			return fmt.Errorf("%s does not say its name", s.base)
		}
		s.name = a.servedBy
	}
	return nil
}

// control sends a request to one node after the other until one takes it.
func (r *run) control(ctx context.Context, method, path string, body []byte) error {
	var last answer
	began := time.Now()
	for deadline := began.Add(readyPatience); ; {
		for _, s := range r.servers {
			if last = send(ctx, r.http, s, &request{method: method, path: path, body: body, timeout: 5 * time.Second}); last.outcome == check.OK {
				return nil
			}
		}
		if last.code == "not_supported" && time.Since(began) > featurePatience {
			return fmt.Errorf("%s %s: %w: %s", method, path, errNotSupported, bytes.TrimSpace(last.body))
		}
		if time.Now().After(deadline) || !rest(ctx, poll) {
			return fmt.Errorf("%s %s: %s: %s", method, path, last.code, bytes.TrimSpace(last.body))
		}
	}
}

// makeBucket makes the bucket of a workload; false: the cluster has no strong buckets
// yet, and the workload was not asked for by name.
func (r *run) makeBucket(ctx context.Context, a *active) (bool, error) {
	body := map[string]any{"name": a.bucket}
	for k, v := range a.workload.bucket {
		body[k] = v
	}
	text, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	if a.strong && r.noStrong {
		return false, nil
	}
	err = r.control(ctx, http.MethodPost, "/v1/buckets", text)
	if errors.Is(err, errNotSupported) && a.strong && r.o.unnamed {
		r.say("no workloads on strong buckets: %v", err)
		r.noStrong = true
		return false, nil
	}
	return err == nil, err
}

// errNotSupported: the cluster refuses to do it, as it is.
var errNotSupported = errors.New("not supported")

// featurePatience is how long a cluster that has just begun may take to find out what
// all its nodes can do.
const featurePatience = 15 * time.Second

// dropBuckets leaves a cluster that is not ours as it was.
func (r *run) dropBuckets(ctx context.Context) {
	if r.cluster != nil {
		return
	}
	for _, a := range r.active {
		if err := r.control(ctx, http.MethodDelete, "/v1/buckets/"+a.bucket, nil); err != nil {
			r.say("bucket %s is left: %v", a.bucket, err)
		}
	}
}

const progressEvery = 10 * time.Second

// load runs clients and faults for the run's time.
func (r *run) load(ctx context.Context) {
	var schedule []Fault
	if r.cluster != nil {
		schedule = Schedule(r.o.Seed, r.o.Nodes, r.o.Duration, r.o.Faults)
	}
	r.say("seed %d, %d clients at %.0f operations a second, %d faults to come", r.o.Seed, r.o.Clients, r.o.Rate, len(schedule))
	r.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.o.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for i := range r.o.Clients {
		c := &client{id: i + 1, run: r, rng: rand.New(rand.NewPCG(r.o.Seed, uint64(i)+2)), http: r.http, servers: r.servers}
		wg.Go(func() { c.work(ctx) })
	}
	r.nemesis = &nemesis{c: r.cluster, began: r.began, say: r.say, schedule: schedule}
	if r.cluster != nil {
		wg.Go(func() { r.nemesis.run(ctx) })
	}
	wg.Go(func() {
		for rest(ctx, progressEvery) {
			total, by := r.book.counts()
			r.say("%d operations: %s", total, counts(by))
		}
	})
	wg.Wait()
}

// names are the writes that values come from.
func (r *run) names(k check.KeyRef, s server, values [][]byte) (out []string) {
	for _, v := range values {
		nameOf := nameOf
		if r.is(k.Bucket, appending) {
			nameOf = r.lists.nameOf
		}
		name, err := nameOf(v)
		if err != nil {
			r.book.damage(fmt.Sprintf("%s/%s from %s: %v", k.Bucket, k.Key, s.name, err))
			continue
		}
		out = append(out, name)
	}
	return out
}
