//go:build planted

package strong

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

var (
	plantSeeds = flag.Int("strong.plant.seeds", 400, "seeds before a planted bug counts as missed")
	plantOnly  = flag.String("strong.plant.only", "", "the only bug to plant")
)

// Every planted bug is found by the model; the table says how soon, and by what.
//
//	go test -tags planted ./quorum/strong -run TestPlanted -v
func TestPlanted(t *testing.T) {
	defer plant.Set(plant.None)
	for _, bug := range plant.Strong() {
		if *plantOnly != "" && string(bug) != *plantOnly {
			continue
		}
		plant.Set(bug)
		found := false
		for seed := uint64(1); seed <= uint64(*plantSeeds) && !found; seed++ {
			w := newWorld(seed)
			if *plantOnly != "" && seed == *modelFirst && *modelTrace {
				w.trace = func(format string, args ...any) { fmt.Printf("%10v ", w.now); fmt.Printf(format+"\n", args...) }
			}
			if err := w.play(); err != nil {
				found = true
				if *modelTrace {
					fmt.Println(w)
				}
				text, _, _ := strings.Cut(err.Error(), "\n")
				t.Logf("%-28s seed %3d  %.150s", bug, seed, text)
			}
		}
		if !found {
			t.Errorf("%-28s not found in %d seeds", bug, *plantSeeds)
		}
	}
}
