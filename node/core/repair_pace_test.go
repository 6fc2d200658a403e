package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
)

// The histogram's p99 is the true one, a quarter too high at most.
func TestLatencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var l latencies
		all := make([]time.Duration, 1+rng.IntN(2000))
		top := int64(time.Microsecond) << rng.IntN(24)
		for i := range all {
			all[i] = time.Duration(rng.Int64N(top + 1))
			l.add(all[i])
		}
		slices.Sort(all)
		got, n := l.p99()
		want := all[len(all)-1-len(all)/100]
		if n != uint64(len(all)) || got < want || got > want*5/4+2*time.Microsecond {
			t.Fatalf("p99 of %d up to %v: %v, is %v", n, time.Duration(top), got, want)
		}
	}
	var none latencies
	if p99, n := none.p99(); p99 != 0 || n != 0 {
		t.Errorf("of nothing: %v, %d", p99, n)
	}
	none.add(time.Hour)
	none.add(-time.Second)
	if p99, _ := none.p99(); p99 < 30*time.Minute {
		t.Errorf("an hour: %v", p99)
	}
}

// While clients wait longer than the target, repair falls to the floor, and it rises
// again when they do not. What a shard reads and ships keeps to the rate.
func TestPaceFollowsClients(t *testing.T) {
	c := New(Config{Self: sidOf("a"), Shards: 2, Rand: rand.New(rand.NewPCG(1, 2)), RepairTarget: 10 * time.Millisecond,
		RepairFloor: 2 << 20, RepairCeiling: 64 << 20}, newDisk())
	g := &c.repair.pace
	now := time.Second
	window := func(took time.Duration, n int) int64 {
		for range n {
			g.took.add(took)
		}
		now += time.Second
		g.charge(antientropy.ClassScrub, g.pacer.Rate()) // all of it was used
		g.sample(now)
		return g.pacer.Rate()
	}
	if window(time.Millisecond, 10) <= 1<<20 {
		t.Error("does not rise while clients are well")
	}
	for range 100 {
		window(0, 0)
	}
	if r := g.pacer.Rate(); r != 32<<20 {
		t.Errorf("a shard of two has %d at the ceiling", r)
	}
	for range 100 {
		window(20*time.Millisecond, 10)
	}
	if r := g.pacer.Rate(); r != 1<<20 {
		t.Errorf("a shard of two has %d at the floor", r)
	}
	now += time.Minute // what was charged is paid off
	began, done := now, 0
	c.now.Mono = now
	for range 64 {
		c.pay(antientropy.ClassExchange, 128<<10, func() { done++ })
	}
	for done < 64 {
		c.now.Mono += 10 * time.Millisecond
		c.grant()
	}
	if took := c.now.Mono - began; took < 7*time.Second || took > 9*time.Second {
		t.Errorf("8 MiB at 1 MiB a second took %v", took)
	}
}

// A refill at the floor goes on while clients suffer, at the floor's pace, and their
// requests are what the pacer hears of.
func TestRefillAtTheFloor(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), func(w *world) {
		w.repairFloor, w.repairTarget = 1<<20, time.Microsecond // nothing is fast enough
		for i := range 3000 {
			for _, n := range w.nodes[1:] {
				w.keep(n, "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), string(make([]byte, 500))))
			}
		}
	})
	stop := false
	var load func()
	load = func() {
		if !stop {
			for _, n := range w.nodes {
				w.ask(n, &Request{Op: OpPut, Bucket: "sloppy", Key: []byte("k"), Value: []byte("v")})
			}
			w.at(w.now+50*time.Millisecond, load)
		}
	}
	load()
	w.run(2 * time.Second)
	if s := w.nodes[1].core.Stats().Repair; s.P99 == 0 || s.Rate != 1<<20 {
		t.Errorf("%+v", s)
	}
	began := w.now
	w.until("it has them all", func() bool { return len(w.node("a").disk.records) > 3000 })
	took := w.now - began
	stop = true
	t.Logf("1.7 MB within %v", took)
	if took < 1500*time.Millisecond || took > time.Minute { // read and shipped
		t.Errorf("1.7 MB took %v at 1 MiB a second", took)
	}
	w.run(time.Second)
	w.converge(30 * time.Second)
}
