//go:build planted

package sim

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// TestMatrix plays every script with every bug, on request: which scripts see a bug that
// is not theirs, and which would see none at all.
//
//	SIM_MATRIX=. go test -tags planted ./sim -run TestMatrix -v -timeout 1h
//	SIM_MATRIX='F07|F13' SIM_BUGS=strong- go test ...
func TestMatrix(t *testing.T) {
	if os.Getenv("SIM_MATRIX") == "" {
		return
	}
	names, bugs := regexp.MustCompile(os.Getenv("SIM_MATRIX")), regexp.MustCompile(os.Getenv("SIM_BUGS"))
	planted := slices.DeleteFunc(slices.Concat(plant.All(), plant.Core(), plant.Strong()), func(b plant.Bug) bool { return !bugs.MatchString(string(b)) })
	defer plant.Set(plant.None)
	seen := map[plant.Bug][]string{}
	for i := range stories {
		st := &stories[i]
		if !names.MatchString(st.name) {
			continue
		}
		plant.Set(plant.None)
		if f := st.play(Options{}).finding(); f != "" {
			t.Errorf("%s: %s", st.name, f)
		}
		var by []string
		for _, b := range planted {
			plant.Set(b)
			if st.play(Options{}).finding() != "" {
				by = append(by, string(b))
				seen[b] = append(seen[b], st.name)
			}
		}
		t.Logf("%-60s %2d %s", st.name, len(by), strings.Join(by, " "))
	}
	for _, b := range planted {
		t.Logf("%-30s %2d %s", b, len(seen[b]), strings.Join(seen[b], "; "))
	}
}
