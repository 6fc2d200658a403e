package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/internal/plant"
)

// docs/SIMULATION.md names every fault class, workload, script and planted bug, and the
// reachable scenarios.
func TestDocsNameEverything(t *testing.T) {
	text, err := os.ReadFile("../docs/SIMULATION.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(text), "\r", "")
	want := func(kind, line string) {
		if !strings.Contains(doc, line) {
			t.Errorf("%s: docs/SIMULATION.md has no %q", kind, line)
		}
	}
	for i := range classes {
		c := &classes[i]
		asked := ""
		if c.off {
			asked = " (asked)"
		}
		want("fault class", fmt.Sprintf("| `%s`%s | %s |", c.name, asked, c.about))
	}
	for i := range workloads {
		w := &workloads[i]
		want("workload", fmt.Sprintf("| `%s` | %s | %s |", w.name, w.number, w.about))
	}
	for _, b := range slices.Concat(plant.All(), plant.StrongTold()) {
		want("planted bug", "| `"+string(b)+"` |")
	}
	for i := range stories {
		if st := &stories[i]; !strings.HasPrefix(st.name, "F") && len(st.bugs) == 0 {
			want("script", st.name)
		}
	}
	for i := range scenarios {
		if s := &scenarios[i]; s.Later == "" {
			want("scenario", s.ID)
		}
	}
}
