package bench

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run is one run of the benchmark: its workers and what they share.
type Run struct {
	o          Options
	id         string // marks keys and values of this run
	nodes      *cluster
	pace       *pacer
	warmEnd    time.Time
	prefix     string // path before the key
	readQuery  string
	writeQuery string
	strict     bool
	workers    []*worker

	done     atomic.Uint64
	faults   atomic.Uint64
	tries    tally
	errors   tally
	firstErr atomic.Pointer[string]
}

// New prepares a run; it asks the nodes for the bucket when o.Verify.
func New(ctx context.Context, o Options) (*Run, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	b := &Run{o: o, prefix: "/v1/kv/" + o.Bucket + "/", readQuery: query(o, "r", o.R), writeQuery: query(o, "w", o.W)}
	b.id = runID(o.Seed)
	nodes, err := newCluster(&o, &b.tries)
	if err != nil {
		return nil, err
	}
	b.nodes = nodes
	if o.Verify {
		if b.strict, err = b.promise(ctx); err != nil {
			return nil, err
		}
	} else {
		b.readQuery = join(b.readQuery, "resolve=newest") // without a context, concurrent writes leave siblings
	}
	b.makeWorkers()
	return b, nil
}

func runID(seed uint64) string {
	var id [4]byte
	for i := range id {
		id[i] = byte(seed >> (8 * i))
	}
	return hex.EncodeToString(id[:]) + fmt.Sprintf("%x", time.Now().UnixMilli()&0xffffff)
}

func query(o Options, name string, n int) string {
	q := ""
	if n > 0 {
		q = fmt.Sprintf("%s=%d", name, n)
	}
	if o.Sloppy != "" {
		q = join(q, "sloppy="+o.Sloppy)
	}
	return q
}

func join(query, parameter string) string {
	if query == "" {
		return parameter
	}
	return query + "&" + parameter
}

func (b *Run) makeWorkers() {
	for i := range b.o.Concurrency {
		b.workers = append(b.workers, &worker{b: b, rng: rand.New(rand.NewPCG(b.o.Seed, uint64(i))), read: newHist(), write: newHist()})
	}
	if !b.o.Verify {
		shared := newChooser(b.o.Dist, b.o.Keys)
		for _, w := range b.workers {
			w.choose = shared
		}
		return
	}
	for k := range b.o.Keys {
		w := b.workers[k%len(b.workers)]
		w.cells = append(w.cells, cell{name: keyName("verify-"+b.id+"-", k)})
	}
	for _, w := range b.workers {
		w.choose = newChooser(b.o.Dist, len(w.cells))
	}
}

// Do runs it all: preload, load, and the final read when verifying. A run that ctx cuts
// short reports what it has, marked as interrupted.
func (b *Run) Do(ctx context.Context) (*Report, error) {
	if b.o.Preload && !b.o.Verify {
		if err := b.preload(ctx); err != nil {
			return nil, err
		}
	}
	took := b.load(ctx)
	r := b.report(took)
	if b.o.Verify && ctx.Err() == nil {
		r.Verify = b.verify(ctx)
	}
	r.Interrupted = ctx.Err() != nil && b.o.Duration > 0
	return r, nil
}

func (b *Run) load(ctx context.Context) time.Duration {
	start := time.Now()
	b.pace = &pacer{start: start, rate: b.o.Rate}
	if b.o.Duration > 0 {
		b.pace.end = start.Add(b.o.Duration)
	}
	b.warmEnd = start.Add(b.o.Warmup)
	stop := b.watch(start)
	var wg sync.WaitGroup
	for _, w := range b.workers {
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	end := time.Now()
	stop()
	return max(0, end.Sub(b.warmEnd))
}

// watch prints a line a second until stop is called, which waits for it.
func (b *Run) watch(start time.Time) (stop func()) {
	if b.o.Progress == nil {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		last := uint64(0)
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				n := b.done.Load()
				fmt.Fprintf(b.o.Progress, "%s  %d ops  %d ops/s  %d retries  %d errors%s\n", b.clock(now.Sub(start)),
					n, n-last, b.tries.n.Load(), b.errors.n.Load(), b.faultText())
				last = n
			}
		}
	}()
	return func() { close(quit); <-gone }
}

func (b *Run) clock(since time.Duration) string {
	s := since.Round(time.Second).String()
	if b.o.Duration > 0 {
		s += "/" + b.o.Duration.String()
	}
	return s
}

func (b *Run) faultText() string {
	if n := b.faults.Load(); n > 0 {
		return fmt.Sprintf("  %d FAULTS", n)
	}
	return ""
}

func (b *Run) fail(f *failure) {
	b.errors.add(f.reason)
	text := f.Error()
	b.firstErr.CompareAndSwap(nil, &text)
}

// Counts are the figures so far, for a run that somebody watches.
type Counts struct{ Ops, Retries, Errors uint64 }

// Counts may be called at any time.
func (b *Run) Counts() Counts {
	return Counts{Ops: b.done.Load(), Retries: b.tries.n.Load(), Errors: b.errors.n.Load()}
}

// preloadTries is how often the write of one key is tried before the run: a node may
// die meanwhile, and nobody has read the key yet, so writing it again is harmless.
const preloadTries = 3

// preload writes every key; the first that cannot be written ends it.
func (b *Run) preload(ctx context.Context) error {
	if b.o.Progress != nil {
		fmt.Fprintf(b.o.Progress, "writing %d keys first\n", b.o.Keys)
	}
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for _, w := range b.workers {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(b.o.Keys); i = next.Add(1) - 1 {
				var f *failure
				for try := 0; try == 0 || f != nil && try < preloadTries && gctx.Err() == nil; try++ {
					opCtx, cancel := context.WithTimeout(gctx, b.o.OpTimeout)
					f = w.plainWrite(opCtx, keyName(b.o.Prefix, int(i)))
					cancel()
				}
				if f != nil {
					return fmt.Errorf("writing the keys before the run: %w", f)
				}
			}
			return nil
		})
	}
	return g.Wait()
}
