package sim

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSeeds plays random seeds; every promise must hold. One in a hundred, and the
// first, is played twice and must leave the same trace.
//
//	go test ./sim -run TestSeeds                                    a few short ones
//	SIM_SEEDS=300 SIM_FROM=1000 go test ./sim -run TestSeeds -v     many of ten minutes
//
// One of them is told in full by: quorate sim --seed N --story file
func TestSeeds(t *testing.T) {
	o, n := Options{Seed: 1, Duration: 2 * time.Minute}, 12
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		n, _ = strconv.Atoi(s)
		o.Duration = DefaultDuration
	}
	if s := os.Getenv("SIM_FROM"); s != "" {
		o.Seed, _ = strconv.ParseUint(s, 10, 64)
	}
	reached, met := map[string]int{}, map[string]uint64{}
	virtual, ops, bad := 0.0, 0, 0
	err := Campaign(context.Background(), o, n, func(r Result) bool {
		virtual += r.VirtualSeconds
		ops += r.Operations
		for _, id := range r.ScenariosReached {
			reached[id]++
		}
		for name, times := range r.Probes { // order-free: sums
			met[name] += times
		}
		if !r.OK() {
			bad++
			t.Errorf("seed %d: %s\n%s", r.Seed, r.Violations[0], r.Replay)
		}
		if r.Seed%100 == 1 {
			again := o
			again.Seed = r.Seed
			if second, _ := Run(again); second.TraceHash != r.TraceHash {
				t.Errorf("seed %d left two traces: %s and %s", r.Seed, r.TraceHash, second.TraceHash)
			}
		}
		if perSecond := float64(r.Operations) / o.Duration.Seconds(); perSecond < 10 {
			t.Errorf("seed %d: %.1f client operations a second", r.Seed, perSecond)
		}
		if every := o.Duration.Seconds() / float64(r.Faults); every > 10 {
			t.Errorf("seed %d: a fault every %.1f s", r.Seed, every)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds from %d: %d with violations, %.0f virtual s, %d operations, scenarios %v, probes %v", n, o.Seed, bad, virtual, ops, reached, met)
	if n < 100 {
		return
	}
	for _, s := range scenarios {
		if s.Later == "" && reached[s.ID] == 0 {
			t.Errorf("%s was never reached: %s", s.ID, s.About)
		}
	}
}

// The same seed leaves the same trace, told or not, and another seed another one.
func TestOneSeedOneTrace(t *testing.T) {
	seen := map[string]uint64{}
	for seed := uint64(1); seed <= 6; seed++ {
		o := Options{Seed: seed, Duration: time.Minute}
		silent, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		var story bytes.Buffer
		o.Story = &story
		told, _ := Run(o)
		if silent.TraceHash != told.TraceHash || silent.Operations != told.Operations {
			t.Errorf("seed %d: %s silent, %s told", seed, silent.TraceHash, told.TraceHash)
		}
		if other, known := seen[silent.TraceHash]; known {
			t.Errorf("seeds %d and %d leave one trace", seed, other)
		}
		seen[silent.TraceHash] = seed
		if story.Len() < 10_000 {
			t.Errorf("seed %d: a story of %d bytes", seed, story.Len())
		}
	}
}

// BenchmarkSeeds is the speed: virtual seconds a second of one processor, all fault
// classes drawn, codec and checkers on.
func BenchmarkSeeds(b *testing.B) {
	virtual, seed := 0.0, uint64(0)
	for b.Loop() {
		seed++
		r, err := Run(Options{Seed: seed})
		if err != nil || !r.OK() {
			b.Fatal(err, r.Violations)
		}
		virtual += r.VirtualSeconds
	}
	b.ReportMetric(virtual/b.Elapsed().Seconds(), "virtual-s/s")
}
