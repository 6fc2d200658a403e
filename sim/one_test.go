package sim

import (
	"bufio"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestOne(t *testing.T) {
	seed, _ := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64)
	if seed == 0 {
		return
	}
	o := Options{Seed: seed, Duration: 10 * time.Minute}
	if p := os.Getenv("SIM_STORY"); p != "" {
		f, _ := os.Create(p)
		b := bufio.NewWriter(f)
		defer func() { b.Flush(); f.Close() }()
		o.Story = b
	}
	r, err := Run(o)
	t.Log(r.TraceHash, r.Operations, r.Faults, r.WallSeconds, err, r.Options)
	for _, v := range r.Violations {
		t.Error(v)
	}
}
