//go:build planted

package core

import (
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

func TestPlantedOrphans(t *testing.T) {
	plant.Set(plant.OrphansDropped)
	defer plant.Set(plant.None)
	defer func() {
		if p := recover(); p == nil {
			t.Error("hints of a target that left go unheard")
		} else {
			t.Log(p)
		}
	}()
	orphans(storyT{})
}

// Each breakage of E3's marks and drops falls to the random lives.
func TestPlantedHints(t *testing.T) {
	defer plant.Set(plant.None)
	for _, b := range []plant.Bug{plant.DroppedUnmarked, plant.SweptUnheld, plant.MarkOldGeneration, plant.MarkNotRenewed} {
		t.Run(string(b), func(t *testing.T) {
			plant.Set(b)
			for seed := uint64(1); seed <= 2000; seed++ {
				if err := newLosing(seed, false).play(); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("2000 lives do not find it")
		})
	}
}
