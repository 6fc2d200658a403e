package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

const (
	// window is a piece of the curve with a p99 of its own: a neighbour's burst on the
	// machine spoils one of them, not the median.
	window = 500 * time.Millisecond
	// calmFor is measured without disturbance before the node goes and after all is done.
	calmFor = 20 * time.Second
	// calmRest is left alone before the second undisturbed time: exchanges of pairs that
	// are alike, and what the last hints left to be compacted.
	calmRest = 5 * time.Second
	downMost = time.Hour // of the load, however long the rest takes
)

// down keeps a node away for a while under a load that goes on all the time, from before
// to after, over the nodes that stay.
func down(ctx context.Context, b *bench) error {
	keys := b.o.keys / 10
	q, err := b.start(ctx, "down", 5, true)
	if err != nil {
		return err
	}
	defer q.Stop()
	ks, err := b.fill(ctx, q, keys)
	if err != nil {
		return err
	}
	const away = 4
	stop := make(chan struct{})
	type ended struct {
		r   load.Result
		err error
	}
	loaded := make(chan ended, 1)
	go func() {
		r, err := b.loadUntil(ctx, q.FrameAddrs()[:away], ks, stop)
		loaded <- ended{r, err}
	}()
	t, err := b.comeAndGo(ctx, q, away)
	close(stop)
	l := <-loaded
	if err != nil || l.err != nil {
		return fmt.Errorf("%w; load: %w", err, l.err)
	}
	b.judge(&t, l.r.Curve)
	return nil
}

func (b *bench) loadUntil(ctx context.Context, addrs []string, ks *load.Keyspace, stop <-chan struct{}) (load.Result, error) {
	p, err := load.ParsePhase(fmt.Sprintf("mix:64:%d:uniform@%g", b.o.value, b.o.rate))
	if err != nil {
		return load.Result{}, err
	}
	d, err := load.Open("frames", addrs, load.Opts{"bucket": bucket})
	if err != nil {
		return load.Result{}, err
	}
	defer d.Close()
	r, err := load.Run(ctx, d, ks, p, load.Options{System: "quorate", Dur: downMost, Until: stop, Curve: true})
	if err == nil {
		fmt.Fprintln(os.Stderr, r)
	}
	return r, err
}

// times of a node's absence.
type times struct {
	calm, gone, back, ready, drained, again, end time.Time
	hints                                        float64
}

func (b *bench) comeAndGo(ctx context.Context, q *servers.Quorate, away int) (t times, err error) {
	if err = rest(ctx, calmRest); err != nil {
		return t, err
	}
	t.calm = time.Now()
	if err = rest(ctx, calmFor); err != nil {
		return t, err
	}
	t.gone = time.Now()
	q.Kill(away)
	if err = rest(ctx, b.o.away); err != nil {
		return t, err
	}
	held, err := sumOf(ctx, q, away)
	if err != nil {
		return t, err
	}
	t.hints = held.must("hints")
	t.back = time.Now()
	if err = q.Restart(ctx, away); err != nil {
		return t, err
	}
	t.ready = time.Now()
	if _, t.drained, err = settled(ctx, q, func(metrics) bool { return true }); err != nil {
		return t, err
	}
	if err = rest(ctx, calmRest); err != nil {
		return t, err
	}
	t.again = time.Now()
	err = rest(ctx, calmFor)
	t.end = time.Now()
	return t, err
}

// judge compares the time from the node's start until it was drained with the undisturbed
// times before and after.
func (b *bench) judge(t *times, c load.Curve) {
	calm := append(c.Between(t.calm, t.gone), c.Between(t.again, t.end)...)
	back := c.Between(t.back, t.drained)
	windows := append(c.Windows(t.calm, t.gone, window), c.Windows(t.again, t.end, window)...)
	during := c.Windows(t.back, t.drained, window)
	fmt.Fprintf(os.Stderr, "p99 of each half second in ms, undisturbed: %s\nfrom the start of the node on (ready after %v, drained after %v): %s\n",
		millis(windows), t.ready.Sub(t.back).Round(time.Millisecond), t.drained.Sub(t.back).Round(time.Millisecond), millis(c.Windows(t.back, t.again, window)))
	fmt.Fprintf(os.Stderr, "while it was away: %s\n", millis(c.Windows(t.gone, t.back, window)))
	b.rep.add(figure{"the foreground's p99 from the start of a node that was away until it is drained, as a part of the undisturbed", ratio(medianOf(during), medianOf(windows)), "x", b.o.p99Most,
		fmt.Sprintf("five nodes, frames, half and half, %g/s, one node away for %v: %.0f hints held; drained %.1f s after its start; medians of windows of %v, %.2f ms and %.2f ms (all operations together: %.2f and %.2f ms), errors %d of %d",
			b.o.rate, b.o.away, t.hints, t.drained.Sub(t.back).Seconds(), window, ms(medianOf(during)), ms(medianOf(windows)), ms(back.P99()), ms(calm.P99()), back.Failures(), len(back))})
}

func medianOf(v []time.Duration) time.Duration {
	if len(v) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(v))[len(v)/2]
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func millis(v []time.Duration) string {
	out := make([]string, len(v))
	for i := range v {
		out[i] = fmt.Sprintf("%.2f", ms(v[i]))
	}
	return strings.Join(out, " ")
}
