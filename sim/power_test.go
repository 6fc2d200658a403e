//go:build planted

package sim

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/internal/plant"
)

// TestPower measures how many random seeds the general workloads and the assertions
// need to find each planted bug, and that the clean build passes the same seeds.
//
//	SIM_POWER=300 go test -tags planted ./sim -run TestPower -v -timeout 2h
//	SIM_POWER=300 SIM_BUGS=old-epoch,one-actor go test ...
//
// Each bug gets SIM_TRIALS trials (5) on seeds of their own; without SIM_POWER one
// trial of up to powerDefault seeds is made on a few bugs that fall quickly.
func TestPower(t *testing.T) {
	most, trials := powerDefault, 1
	bugs := []plant.Bug{plant.AckBeforeSync, plant.ContextTooWide, plant.JoinDropsConcurrent}
	if s := os.Getenv("SIM_POWER"); s != "" {
		most, _ = strconv.Atoi(s)
		trials, bugs = 5, slices.Concat(plant.All(), plant.Strong())
	}
	if s := os.Getenv("SIM_TRIALS"); s != "" {
		trials, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("SIM_BUGS"); s != "" {
		bugs = nil
		for _, b := range strings.Split(s, ",") {
			bugs = append(bugs, plant.Bug(b))
		}
	}
	defer plant.Set(plant.None)
	found, deepest := 0, 0
	for _, b := range bugs {
		plant.Set(b)
		seeds, how := power(b, most, trials)
		slices.Sort(seeds)
		if len(seeds) < trials {
			t.Errorf("%-24s found in %d of %d trials of %d seeds", b, len(seeds), trials, most)
			continue
		}
		found++
		deepest = max(deepest, seeds[len(seeds)-1])
		t.Logf("%-24s median %3d seeds %v  %s", b, seeds[len(seeds)/2], seeds, how)
	}
	t.Logf("found %d of %d", found, len(bugs))
	plant.Set(plant.None)
	for trial := range trials {
		o := Options{Seed: seedOf(trial, 1), Duration: powerDuration}
		err := Campaign(t.Context(), o, max(deepest, 1), func(r Result) bool {
			if !r.OK() {
				t.Errorf("the build without bugs fails too: %s\n%s", r.Violations[0], r.Replay)
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("the build without bugs: %d trials of %d seeds", trials, max(deepest, 1))
}

const powerDuration = 10 * time.Minute

// seedOf is the i-th seed of a trial, from 1.
func seedOf(trial, i int) uint64 { return uint64(trial)*1_000_000 + uint64(i) }

const powerDefault = 60

// power is the number of seeds that each trial needed, for those that found it.
func power(b plant.Bug, most, trials int) (seeds []int, how string) {
	kinds := map[string]int{}
	for trial := range trials {
		var next, first atomic.Int64
		first.Store(int64(most) + 1)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := next.Add(1); i < first.Load(); i = next.Add(1) {
					r, err := Run(Options{Seed: seedOf(trial, int(i)), Duration: powerDuration})
					if err != nil || r.OK() {
						continue
					}
					mu.Lock()
					kinds[r.Violations[0].Check+" "+r.Violations[0].Kind]++
					first.Store(min(first.Load(), i))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if n := int(first.Load()); n <= most {
			seeds = append(seeds, n)
		}
	}
	return seeds, fmt.Sprint(kinds)
}
