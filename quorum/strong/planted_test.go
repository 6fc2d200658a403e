//go:build planted

package strong

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

var (
	plantSeeds = flag.Int("strong.plant.seeds", 700, "seeds before a planted bug counts as missed")
	plantModel = flag.Bool("strong.plant.model", false, "ask the model before the scenarios, which are quicker")
	plantOnly  = flag.String("strong.plant.only", "", "the only bug to plant")
)

// Every planted bug is found, by a scenario or by the model; the table says how soon,
// and by what.
//
//	go test -tags planted ./quorum/strong -run TestPlanted -v
//	go test -tags planted ./quorum/strong -run TestPlanted -v -strong.plant.model -timeout 1h
func TestPlanted(t *testing.T) {
	defer plant.Set(plant.None)
	for _, bug := range plant.Strong() {
		if *plantOnly != "" && string(bug) != *plantOnly {
			continue
		}
		plant.Set(bug)
		found := false
		if file := tellsIn(t); file != "" && !*plantModel && *plantOnly == "" {
			t.Logf("%-28s scenario %s", bug, file)
			continue
		}
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
		if file := tellsIn(t); !found && file != "" {
			t.Logf("%-28s scenario %s", bug, file)
			found = true
		}
		if !found {
			t.Errorf("%-28s not found in %d seeds", bug, *plantSeeds)
		}
	}
}

// tellsIn is the first scenario that shows something else with the bug planted.
func tellsIn(t *testing.T) string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if playStory(t, string(b)) != string(b) {
			return filepath.Base(file)
		}
	}
	return ""
}
