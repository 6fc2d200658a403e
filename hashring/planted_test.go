//go:build planted

package hashring

import (
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// The word of a closed session makes no store full (E7).
func TestPlantedOldSession(t *testing.T) {
	defer plant.Set(plant.None)
	built := must(t, modernRing(t, 4, 3, 1, "a", "b", "c", "d"), replaceCommand("b", "b2", nil))
	place := Place{0, built.Partitions[0].PlanEpoch(), sidOf("b2"), built.Partitions[0].Session - 1}
	for _, bug := range []plant.Bug{plant.None, plant.FilledOldSession} {
		plant.Set(bug)
		if _, err := built.Apply(built.Version+1, filledCommand(place)); (err == nil) != (bug != plant.None) {
			t.Errorf("%q: %v", bug, err)
		}
	}
}
