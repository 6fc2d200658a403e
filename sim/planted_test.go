//go:build planted

package sim

import (
	"slices"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// Every planted bug falls to its scripted scenario, and every bug has one.
func TestPlantedBugsFallToTheirScenarios(t *testing.T) {
	defer plant.Set(plant.None)
	told := map[plant.Bug]bool{}
	for i := range stories {
		st := &stories[i]
		for _, b := range st.bugs {
			told[b] = true
			t.Run(string(b), func(t *testing.T) {
				plant.Set(b)
				defer plant.Set(plant.None)
				f := st.play(Options{}).finding()
				if f == "" {
					t.Fatalf("%q does not find it", st.name)
				}
				t.Logf("%s: %s", st.name, f)
			})
		}
	}
	for _, b := range slices.Concat(plant.All(), plant.StrongTold()) {
		if !told[b] {
			t.Errorf("no scenario for %s", b)
		}
	}
}
