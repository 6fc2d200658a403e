//go:build planted

package antientropy

import (
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// Without the second look writes in flight are shipped (E12); with it none is.
func TestPlantedLooksOnce(t *testing.T) {
	defer plant.Set(plant.None)
	for _, bug := range []plant.Bug{plant.None, plant.ExchangeLooksOnce} {
		plant.Set(bug)
		shipped := 0
		for seed := range uint64(50) {
			flight := inFlight{seed: seed, full: seed%2 == 0, keys: 30, rate: 0.5}
			if _, wrong := flight.exchanges(t); wrong != "" {
				shipped++
			}
		}
		if (shipped > 0) != (bug != plant.None) {
			t.Errorf("%q: shipped %d times", bug, shipped)
		}
	}
}
