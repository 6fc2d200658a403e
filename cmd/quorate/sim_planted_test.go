//go:build planted

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// From a planted bug to its page, as a user gets it: found by a random seed, replayed,
// shrunk, drawn; and porcupine's picture, since the bug is about a register.
func TestSimShowsAPlantedBug(t *testing.T) {
	plant.Set(plant.LWWByDot)
	defer plant.Set(plant.None)
	dir := t.TempDir()
	r := invoke(t, "", nil, "sim", "--seed", "1", "--seeds", "20", "--duration", "1m", "--workload", "register", "--shrink", "40", "--report", dir)
	if r.code != exitOther || !strings.Contains(r.out, "play it again:") || !strings.Contains(r.out, "smaller (") {
		t.Fatalf("exit %d: %s %s", r.code, r.out, r.err)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "quorate-sim-*[0-9].html"))
	pictures, _ := filepath.Glob(filepath.Join(dir, "quorate-sim-*-porcupine.html"))
	if len(pages) == 0 || len(pages) > maxReports || len(pictures) == 0 {
		t.Fatalf("pages %v and pictures %v", pages, pictures)
	}
	for path, want := range map[string]string{pages[0]: "--max-ops", pictures[0]: "Porcupine"} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: no %q in %d bytes, %v", path, want, len(text), err)
		}
	}
}
