package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/load"
)

const (
	// servesAgain is what the project allows at the 99th percentile: two seconds until a
	// dead primary is believed dead, and two more.
	servesAgain = 4.0
	// outageMax ends the wait for a partition.
	outageMax = 60 * time.Second
	// calmFor is how long nothing happens before a kill, to compare with.
	calmFor = 3 * time.Second
	// noticed is what a client of another partition may have to wait more than before,
	// at the 99th percentile, on a machine that has lost a process and starts another.
	noticed = 3.0
)

// kill kills the node with the most primaries under load, waits until every partition
// serves again and starts it again, as often as asked.
func kill(ctx context.Context, b *bench) error {
	q, err := b.start(ctx, "kill", b.o.nodes)
	if err != nil {
		return err
	}
	defer q.Stop()
	r, err := settled(ctx, q, 0)
	if err != nil {
		return err
	}
	f := newFleet(ctx, q, len(r.primaries), b.o.rate)
	defer f.close()
	var hit, calm, others []time.Duration
	failed, reasons := 0, map[string]int{}
	victim := -1
	for n := 1; n <= b.o.kills; n++ {
		if r, err = settled(ctx, q, 0); err != nil {
			return err
		}
		quiet := time.Now()
		if err := rest(ctx, calmFor); err != nil {
			return err
		}
		victim = r.busiest(b.o.nodes, victim)
		name := fmt.Sprintf("n%d", victim+1)
		f.dead.Store(int64(victim))
		if err := rest(ctx, probeTimeout); err != nil { // who asks it now would lose an answer, not a primary
			return err
		}
		before := collect(f, quiet)
		at := time.Now()
		q.Kill(victim)
		mine, err := f.served(ctx, r, victim, at)
		if err != nil {
			return err
		}
		for p, took := range mine {
			b.rep.Outages = append(b.rep.Outages, outage{n, name, p, took.Seconds()})
			hit = append(hit, took)
		}
		for p, list := range collect(f, at) {
			if r.primaries[p] == victim {
				continue
			}
			for _, s := range list {
				if !s.ok {
					failed++
					reasons[s.why]++
				}
				others = append(others, s.ended.Sub(s.began))
			}
		}
		for p, list := range before {
			for _, s := range list {
				if r.primaries[p] != victim {
					calm = append(calm, s.ended.Sub(s.began))
				}
			}
		}
		fmt.Fprintf(os.Stderr, "kill %d, %s: %d partitions, serving again after %.2f s at most\n", n, name, len(mine), longest(mine).Seconds())
		if err := q.Restart(ctx, victim); err != nil {
			return err
		}
		f.dead.Store(-1)
	}
	b.reportKills(hit, calm, others, failed, reasons)
	return nil
}

func (b *bench) reportKills(hit, calm, others []time.Duration, failed int, reasons map[string]int) {
	how := fmt.Sprintf("%d nodes, a probe for each partition, %g writes a second in all, %d kills, %d partitions hit", b.o.nodes, b.o.rate, b.o.kills, len(hit))
	b.rep.add(figure{Name: "from the kill of a primary until its partition serves again, p50", Value: quantile(hit, 0.5), Unit: "s", Note: how})
	b.rep.add(figure{Name: "the same, p99", Value: quantile(hit, 0.99), Unit: "s", Most: servesAgain})
	b.rep.add(figure{Name: "the same, longest", Value: quantile(hit, 1), Unit: "s"})
	b.rep.add(figure{Name: "writes that failed in partitions with another primary meanwhile", Value: float64(failed), Unit: fmt.Sprintf("of %d", len(others)), Note: listed(reasons)})
	b.rep.add(figure{Name: "p99 of writes in partitions with another primary meanwhile, as a part of the p99 before", Value: quantile(others, 0.99) / max(quantile(calm, 0.99), 1e-9), Unit: "x", Most: noticed,
		Note: fmt.Sprintf("%.1f ms, before %.1f ms; longest %.0f ms, before %.0f ms", 1000*quantile(others, 0.99), 1000*quantile(calm, 0.99), 1000*quantile(others, 1), 1000*quantile(calm, 1))})
}

// listed says how often each reason was given, the most frequent first; nothing when there
// is none.
func listed(reasons map[string]int) string {
	words := slices.Sorted(maps.Keys(reasons))
	slices.SortStableFunc(words, func(a, b string) int { return reasons[b] - reasons[a] })
	for i, w := range words {
		words[i] = fmt.Sprintf("%d %s", reasons[w], w)
	}
	return strings.Join(words, ", ")
}

// collect is every partition's shots since a time.
func collect(f *fleet, since time.Time) [][]shot {
	out := make([][]shot, len(f.probes))
	for i, p := range f.probes {
		out[i] = p.since(since)
	}
	return out
}

func longest(of map[int]time.Duration) (most time.Duration) {
	for _, d := range of {
		most = max(most, d)
	}
	return most
}

// served waits until every partition whose primary was killed has acknowledged a write
// that began after the kill, and tells how long that took.
func (f *fleet) served(ctx context.Context, r ring, victim int, at time.Time) (map[int]time.Duration, error) {
	out := map[int]time.Duration{}
	want := 0
	for _, p := range r.primaries {
		if p == victim {
			want++
		}
	}
	for {
		for p, list := range collect(f, at) {
			if _, has := out[p]; has || r.primaries[p] != victim {
				continue
			}
			for _, s := range list {
				if s.ok && s.began.After(at) {
					out[p] = s.ended.Sub(at)
					break
				}
			}
		}
		if len(out) == want {
			return out, nil
		}
		if time.Since(at) > outageMax {
			_, state, _ := f.q.Get(ctx, (victim+1)%len(f.q.Addrs()), "/v1/cluster")
			return out, fmt.Errorf("%d of %d partitions do not serve %v after the kill of n%d; the cluster says %s", want-len(out), want, outageMax, victim+1, state)
		}
		if err := rest(ctx, poll); err != nil {
			return out, err
		}
	}
}

// Phases of raft, and what the project demands of them.
const (
	raftKeys  = 10_000
	raftWarm  = time.Second     // before each run
	raftBatch = 5 * time.Second // one run
	raftUsual = 3               // rounds before, and as many afterwards
	fullRate  = 0.9             // "at full rate", with the noise of a shared machine
)

var raftPhases = []string{"put:64:80:uniform", "get:64:80:uniform"}

// raft compares rates before the Raft group is stopped and while it is.
func raft(ctx context.Context, b *bench) error {
	switches := filepath.Join(b.dir, "switches")
	q, err := b.start(ctx, "raft", 3, "QUORATE_TESTING=1", "QUORATE_TESTING_SWITCHES="+switches)
	if err != nil {
		return err
	}
	defer q.Stop()
	path := "/v1/kv/" + bucket + "/%s"
	d, err := load.Open("http", q.Addrs(), load.Opts{"put": path, "get": path})
	if err != nil {
		return err
	}
	defer d.Close()
	ks := load.NewKeyspace(raftKeys)
	drive := func(phase string, dur time.Duration) (load.Result, error) {
		p, err := load.ParsePhase(phase)
		if err != nil {
			return load.Result{}, err
		}
		r, err := load.Run(ctx, d, ks, p, load.Options{System: "quorate", Pids: q.Pids(), Warm: raftWarm, Dur: dur})
		if err == nil {
			fmt.Fprintln(os.Stderr, r)
		}
		return r, err
	}
	if _, err := drive("load:64:80:uniform", 0); err != nil {
		return err
	}
	rounds := max(1, int(b.o.paused/(time.Duration(len(raftPhases))*(raftBatch+raftWarm))))
	usual, meanwhile := make([]rates, len(raftPhases)), make([]rates, len(raftPhases))
	for _, stage := range []struct {
		paused bool
		rounds int
		into   []rates
	}{{false, raftUsual, usual}, {true, rounds, meanwhile}, {false, raftUsual, usual}} { // before, meanwhile, afterwards
		if err := os.WriteFile(switches, fmt.Appendf(nil, `{"raft-paused":%t}`, stage.paused), 0o600); err != nil {
			return err
		}
		for range stage.rounds {
			for i, phase := range raftPhases {
				r, err := drive(phase, raftBatch)
				if err != nil {
					return err
				}
				stage.into[i].good = append(stage.into[i].good, r.Good)
				stage.into[i].errs += r.Errs
			}
		}
	}
	for i, what := range []string{"writes", "leader reads"} {
		m, u := &meanwhile[i], &usual[i]
		b.rep.add(figure{Name: "rate of strong " + what + " with Raft standing still on all nodes, as a part of the rate before and afterwards", Value: m.median() / max(u.median(), 1), Unit: "x", Least: fullRate,
			Note: fmt.Sprintf("three nodes, HTTP, 64 clients; runs of %v, medians: %.0f a second of %d runs, the slowest %.0f; before and afterwards %.0f of %d; %d failed",
				raftBatch, m.median(), len(m.good), slices.Min(m.good), u.median(), len(u.good), m.errs)})
	}
	return nil
}

// rates of the runs of one phase.
type rates struct {
	good []float64
	errs uint64
}

func (r *rates) median() float64 {
	s := slices.Sorted(slices.Values(r.good))
	return s[len(s)/2]
}
