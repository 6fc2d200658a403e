package sim

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	for seed := uint64(1); seed <= 60; seed++ {
		r, err := Run(Options{Seed: seed, Duration: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %s ops %d faults %d wall %.3f v %d %+v", r.Seed, r.TraceHash, r.Operations, r.Faults, r.WallSeconds, len(r.Violations), r.Outcomes)
		for _, v := range r.Violations {
			t.Errorf("%s\n%s", v, r.Replay)
		}
	}
}
