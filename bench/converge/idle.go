package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

// off has nodes keep no hash trees and compare nothing.
var off = []string{"QUORATE_TESTING=1", "QUORATE_TESTING_REPAIR_OFF=true"}

// idleWarm is before each measured run: the other cluster's last writes are compacted.
const idleWarm = time.Second

// side is one of two clusters that run at the same time, one with anti-entropy.
type side struct {
	q         *servers.Quorate
	ks        *load.Keyspace
	rate, cpu []float64 // of each round: operations a second, server CPU in us of each
}

// idle compares two clusters, alike but for anti-entropy, that are measured in turn, in
// many short rounds, on then off and off then on: what goes on beside on the machine
// changes over minutes, so neighbours in time are compared and nothing else. Both run all
// the time, so that none is measured just after its start. Processor time of the servers
// says more than throughput, of which the client and the neighbours have their part.
func idle(ctx context.Context, b *bench) error {
	var sides [2]side // on, off
	for i, env := range [][]string{nil, off} {
		q, err := b.start(ctx, fmt.Sprint("idle", i), 3, false)
		if err != nil {
			return err
		}
		defer func() { q.Stop() }()
		sides[i].q = q
		if sides[i].ks, err = b.fill(ctx, q, b.o.keys/10); err != nil {
			return err
		}
		q.Stop() // only once all is alike, which one without it would not come to by itself
		q.Env(env...)
		if err := startAll(ctx, q); err != nil {
			return err
		}
	}
	for round := range b.o.rounds {
		for turn := range 2 {
			s := &sides[(round+turn)%2]
			r, err := b.drive(ctx, s.q, s.ks, fmt.Sprintf("mix:64:%d:zipf", b.o.value), idleWarm, b.o.idleDur)
			if err != nil {
				return err
			}
			s.rate, s.cpu = append(s.rate, r.Good), append(s.cpu, r.ServerCPU)
		}
	}
	how := fmt.Sprintf("three nodes, frames, half and half, 64 clients, %d keys; median of %d rounds of %v on and %v off, in turn", b.o.keys/10, b.o.rounds, b.o.idleDur, b.o.idleDur)
	lost, low, high := difference(sides[1].rate, sides[0].rate)
	b.rep.add(figure{"throughput lost to anti-entropy when nothing differs", -lost, "%", idleMost, fmt.Sprintf("%s; 95 %% sure: %.1f to %.1f %%", how, -high, -low)})
	more, low, high := difference(sides[1].cpu, sides[0].cpu)
	b.rep.add(figure{"server CPU of an operation added by anti-entropy when nothing differs", more, "%", idleMost,
		fmt.Sprintf("the same rounds; 95 %% sure: %.1f to %.1f %%; %.1f us with, %.1f us without", low, high, median(sides[0].cpu), median(sides[1].cpu))})
	return nil
}

func startAll(ctx context.Context, q *servers.Quorate) error {
	for i := range q.Addrs() {
		if err := q.Start(i); err != nil {
			return err
		}
	}
	for i := range q.Addrs() {
		if err := q.AwaitReady(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// idleMost is what anti-entropy may cost, in percent.
const idleMost = 3

// difference is by how many percent the second of two paired series is above the first:
// the median of the pairs' ratios, and between which two of them the true one lies in 95
// of 100 cases, whatever the noise looks like (the ranks of the sign test).
func difference(base, with []float64) (mid, low, high float64) {
	d := make([]float64, len(base))
	for i := range d {
		d[i] = 100 * (with[i]/base[i] - 1)
	}
	slices.Sort(d)
	n := float64(len(d))
	rank := max(0, int(math.Floor((n-1.96*math.Sqrt(n))/2)))
	return median(d), d[rank], d[len(d)-1-rank]
}
