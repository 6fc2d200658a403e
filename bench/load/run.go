package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a run.
type Options struct {
	System  string        // label in the result
	Round   int           // label in the result
	Warm    time.Duration // before the measured time
	Dur     time.Duration // measured time
	LoadMax time.Duration // upper bound on a load phase; 0: loadMaxDefault
	Pids    []int         // servers to account
	// Quiet repeats a run, up to twice, while other processes use more than this
	// many cores (0: never): on a shared machine a noisy run measures the neighbour.
	Quiet float64
	Note  func(string) // told of discarded runs; may be nil
	// Ledger, when set, makes all operations of a write phase count: each key has one
	// writer, and after the run every acknowledged write is read back.
	Ledger *Ledger
	// Until ends the measured time before Dur has passed; nil: it is not asked.
	Until <-chan struct{}
	// Curve keeps every operation's time and latency in Result.Curve: for open loops,
	// whose rate bounds how many there are.
	Curve bool
}

const (
	loadMaxDefault = 10 * time.Minute
	drainMax       = 10 * time.Second // a request may outlive its phase by this much
	errorPause     = time.Millisecond // never spin on a dead server
	quietPause     = 2 * time.Second  // let the neighbour finish
	quietTries     = 3                // runs in all
)

const (
	warming int32 = iota
	measuring
	done
)

// Run drives one phase and returns what it measured. It ends early, with ctx's
// error, when ctx ends; no worker outlives it.
func Run(ctx context.Context, d Driver, ks *Keyspace, p Phase, o Options) (Result, error) {
	for try := 1; ; try++ {
		r, err := runOnce(ctx, d, ks, p, o)
		if err != nil || o.Quiet == 0 || r.Other <= o.Quiet || p.Mode == "load" || try == quietTries {
			return r, err
		}
		if o.Note != nil {
			o.Note(fmt.Sprintf("%s %s: run discarded, others used %.2f cores", o.System, p, r.Other))
		}
		if err := sleep(ctx, quietPause); err != nil {
			return r, err
		}
	}
}

func runOnce(ctx context.Context, d Driver, ks *Keyspace, p Phase, o Options) (Result, error) {
	if err := o.Ledger.open(p, ks.n); err != nil {
		return Result{}, err
	}
	reqCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := &run{ks: ks, p: p, start: time.Now(), stop: make(chan struct{}), ledger: o.Ledger}
	workers := make([]Worker, 0, p.Workers)
	defer func() {
		for _, w := range workers {
			w.Close()
		}
	}()
	for i := range p.Workers {
		w, err := d.Worker(reqCtx, i)
		if err != nil {
			return Result{}, fmt.Errorf("worker %d: %w", i, err)
		}
		if _, can := w.(Swapper); p.swaps() && !can {
			w.Close()
			return Result{}, fmt.Errorf("phase %s: this driver cannot compare and set", p)
		}
		workers = append(workers, w)
	}
	runtime.GC()
	if p.Mode == "load" {
		run.phase.Store(measuring)
	}
	before := readMeter(o.Pids)
	var wg sync.WaitGroup
	for i, w := range workers {
		t := newTally()
		t.curve = o.Curve
		run.tallies = append(run.tallies, t)
		wg.Go(func() { run.work(i, w, t) })
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()

	var err error
	if p.Mode == "load" {
		err = run.awaitLoad(ctx, finished, o)
	} else if err = sleep(ctx, o.Warm); err == nil {
		before = readMeter(o.Pids)
		run.start = time.Now()
		run.phase.Store(measuring)
		err = measured(ctx, o)
	}
	secs := time.Since(run.start).Seconds()
	run.phase.Store(done)
	after := readMeter(o.Pids)
	close(run.stop)
	select {
	case <-finished:
	case <-time.After(drainMax):
		cancel()
		<-finished
	}
	r := result(p, run.tallies, before, after, secs)
	r.System, r.Round = o.System, o.Round
	if err == nil && o.Ledger != nil {
		err = o.Ledger.verify(ctx, d, ks, p.Value, &r)
	}
	return r, err
}

// run is the state that the workers of one phase share.
type run struct {
	ks      *Keyspace
	p       Phase
	phase   atomic.Int32
	next    atomic.Int64 // next key of a load
	start   time.Time
	ledger  *Ledger
	stop    chan struct{} // closed when the phase is over: wakes those waiting to be due
	tallies []*tally
}

func (r *run) awaitLoad(ctx context.Context, finished chan struct{}, o Options) error {
	limit := o.LoadMax
	if limit == 0 {
		limit = loadMaxDefault
	}
	select {
	case <-finished:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("load of %d keys not done within %v, at key %d", r.ks.n, limit, r.next.Load())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work issues requests until the phase is done or, in a load, the keys are. A
// request counts when it completes in the measured time, whenever it began.
func (r *run) work(id int, w Worker, t *tally) {
	rng := rand.New(rand.NewPCG(uint64(id)+1, uint64(time.Now().UnixNano())))
	key, val := make([]byte, keyLen), make([]byte, r.p.Value)
	pace := newPacer(r.p, rng)
	page := r.ledger.page(id)
	for r.phase.Load() != done {
		n := r.pick(rng)
		if n < 0 {
			return
		}
		n = page.own(n)
		r.ks.key(key, n, r.p.Value >= largeFrom)
		write := rng.IntN(100) >= r.p.reads
		if write {
			r.ks.value(val, key, rng)
			page.stamp(val)
		}
		began, ok := pace.wait(r.stop)
		if !ok {
			return
		}
		var got []byte
		var err error
		refused := false
		if r.p.swaps() {
			refused, err = w.(Swapper).Swap(key, val)
		} else if write {
			err = w.Put(key, val)
			page.settle(n, err)
		} else {
			got, err = w.Get(key, r.p.stale())
		}
		if r.phase.Load() == measuring {
			t.count(time.Since(began), write, key, got, err)
			t.note(began, err)
			if refused {
				t.refused++
			}
		}
		if err != nil {
			time.Sleep(errorPause)
		}
	}
}

// pick returns a key number, or -1 when a load has none left.
func (r *run) pick(rng *rand.Rand) int {
	if r.p.swaps() {
		return rng.IntN(min(casKeys, r.ks.n))
	}
	if r.p.Mode != "load" {
		return r.ks.pick(rng, r.p.Dist == "zipf")
	}
	if n := int(r.next.Add(1) - 1); n < r.ks.n {
		return n
	}
	return -1
}

func (t *tally) count(el time.Duration, write bool, key, got []byte, err error) {
	t.ops++
	if errors.Is(err, ErrShed) {
		t.shed++ // at once: its latency would flatter the others
		return
	}
	// Within the range by the clamp, so it cannot fail.
	_ = t.h.RecordValue(min(max(int64(el), 1), latencyMax))
	fail := func(n *uint64, why string) {
		*n++
		if t.firstErr == "" {
			t.firstErr = why
		}
	}
	switch {
	case err != nil:
		fail(&t.errs, err.Error())
	case write:
	case got == nil:
		t.missing++
	case len(got) < keyLen || string(got[:keyLen]) != string(key):
		fail(&t.wrong, fmt.Sprintf("wrong value for %s: %.60q", key, got))
	}
}

// pacer says when a worker's next request falls due: at once in a closed loop.
type pacer struct {
	every time.Duration
	due   time.Time
	timer *time.Timer
}

func newPacer(p Phase, rng *rand.Rand) *pacer {
	if p.Rate == 0 {
		return &pacer{}
	}
	every := time.Duration(float64(p.Workers) / p.Rate * float64(time.Second))
	first := time.Now().Add(time.Duration(rng.Int64N(max(int64(every), 1))))
	return &pacer{every: every, due: first, timer: time.NewTimer(0)}
}

// wait returns the time from which the next request's latency counts; not ok when
// the phase ended first.
func (p *pacer) wait(stop <-chan struct{}) (time.Time, bool) {
	if p.every == 0 {
		return time.Now(), true
	}
	due := p.due
	p.due = due.Add(p.every)
	if d := time.Until(due); d > 0 {
		p.timer.Reset(d)
		select {
		case <-p.timer.C:
		case <-stop:
			return due, false
		}
	}
	return due, true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measured waits until the measured time is over.
func measured(ctx context.Context, o Options) error {
	t := time.NewTimer(o.Dur)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-o.Until:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
