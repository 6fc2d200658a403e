//go:build planted

package core

import (
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// Random lives go wrong without the guard, and when keys are dropped that no round has
// settled, or that were written again. The other lines of the rounds are held by the
// tests in purge_test.go, each of which fails without its line.
func TestMiniPurgeFindsPlanted(t *testing.T) {
	for bug, most := range map[plant.Bug]uint64{plant.PurgeUnproven: 400, plant.PurgeStale: 400, plant.NoGuard: 1000} {
		plant.Set(bug)
		found := false
		for seed := uint64(1); seed <= most && !found; seed++ {
			if _, _, err := playPurge(seed, false); err != nil {
				t.Logf("%s: seed %d: %.200v", bug, seed, err)
				found = true
			}
		}
		if !found {
			t.Errorf("%s is not found in %d lives", bug, most)
		}
	}
	plant.Set(plant.None)
}
