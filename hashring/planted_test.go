//go:build planted

package hashring

import (
	"errors"
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

// Giving up the last full owner is refused while there is another, recorded, and voids
// what absence would say.
func TestPlantedForce(t *testing.T) {
	defer plant.Set(plant.None)
	s := lossyRing(t)
	for bug, wrong := range map[plant.Bug]func() bool{
		plant.ForceAnyway: func() bool {
			_, err := s.Apply(s.Version+1, forceCommand(s, "b2", "c2"))
			return err == nil || !errors.Is(err, ErrUnsettled)
		},
		plant.ForceForgets:    func() bool { return must(t, s, forceCommand(s, "a")).Partitions[0].Loss == 0 },
		plant.ForceKeepsClock: func() bool { return len(must(t, s, forceCommand(s, "a")).Partitions[0].Purge.Clock) > 0 },
	} {
		for _, b := range []plant.Bug{plant.None, bug} {
			plant.Set(b)
			if wrong() != (b != plant.None) {
				t.Errorf("%q with %q", bug, b)
			}
		}
		plant.Set(plant.None)
	}
}
