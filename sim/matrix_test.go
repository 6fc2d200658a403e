//go:build planted

package sim

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// TestMatrix plays every script with every bug, on request: which scripts see a bug that
// is not theirs, and which would see none at all.
//
//	SIM_MATRIX=1 go test -tags planted ./sim -run TestMatrix -v -timeout 1h
func TestMatrix(t *testing.T) {
	if os.Getenv("SIM_MATRIX") == "" {
		return
	}
	defer plant.Set(plant.None)
	seen := map[plant.Bug][]string{}
	for i := range stories {
		st := &stories[i]
		var by []string
		for _, b := range slices.Concat(plant.All(), plant.Core(), plant.Strong()) {
			plant.Set(b)
			if st.play(Options{}).finding() != "" {
				by = append(by, string(b))
				seen[b] = append(seen[b], st.name)
			}
		}
		t.Logf("%-60s %2d %s", st.name, len(by), strings.Join(by, " "))
	}
	for _, b := range slices.Concat(plant.All(), plant.Core(), plant.Strong()) {
		t.Logf("%-30s %2d %s", b, len(seen[b]), strings.Join(seen[b], "; "))
	}
}
