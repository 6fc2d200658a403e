//go:build planted

package core

import (
	"fmt"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// shows tries a small world with a planted bug and without it: it must go wrong with
// the bug, and only then.
func shows(t *testing.T, bug plant.Bug, wrong func(t *testing.T) bool) {
	for _, b := range []plant.Bug{plant.None, bug} {
		t.Run(fmt.Sprintf("%s/%v", bug, b != plant.None), func(t *testing.T) {
			plant.Set(b)
			defer plant.Set(plant.None)
			if got := wrong(t); got != (b != plant.None) {
				t.Errorf("went wrong: %v", got)
			}
		})
	}
}
