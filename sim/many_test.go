package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMany plays SIM_SEEDS seeds from SIM_FROM on.
func TestMany(t *testing.T) {
	n, _ := strconv.ParseUint(os.Getenv("SIM_SEEDS"), 10, 64)
	from, _ := strconv.ParseUint(os.Getenv("SIM_FROM"), 10, 64)
	var next atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	probes := map[string]uint64{}
	bad := 0
	o := Options{Duration: 10 * time.Minute}
	if f := os.Getenv("SIM_FAULTS"); f != "" {
		o.Faults = strings.Split(f, ",")
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				o := o
				o.Seed = from + i
				r, err := Run(o)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for k, v := range r.Probes {
					probes[k] += v
				}
				if len(r.Violations) > 0 {
					bad++
					v := r.Violations[0].String()
					t.Errorf("seed %d: %s", r.Seed, v[:min(len(v), 400)])
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var out []string
	for p, name := range probeNames {
		_ = p
		out = append(out, fmt.Sprintf("%s=%d", name, probes[name]))
	}
	t.Logf("%d seeds, %d bad: %s", n, bad, strings.Join(out, " "))
}
