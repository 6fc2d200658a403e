package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// simDoc is what -o json promises for each seed.
type simDoc struct {
	Seed             uint64            `json:"seed"`
	TraceHash        string            `json:"trace_hash"`
	VirtualSeconds   float64           `json:"virtual_seconds"`
	WallSeconds      float64           `json:"wall_seconds"`
	Operations       int               `json:"operations"`
	Faults           int               `json:"faults"`
	Violations       []json.RawMessage `json:"violations"`
	ScenariosReached []string          `json:"scenarios_reached"`
	Replay, Smaller  string
}

func simLines(t *testing.T, out string) (docs []simDoc) {
	t.Helper()
	for line := range strings.Lines(out) {
		var d simDoc
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		docs = append(docs, d)
	}
	return docs
}

func TestSimPrintsALineForEachSeed(t *testing.T) {
	args := []string{"sim", "--seed", "11", "--seeds", "3", "--duration", "30s", "-o", "json"}
	one, two := invoke(t, "", nil, args...), invoke(t, "", nil, args...)
	if one.code != 0 || two.code != 0 {
		t.Fatalf("exit %d: %s", one.code, one.err)
	}
	a, b := simLines(t, one.out), simLines(t, two.out)
	if len(a) != 3 || len(b) != 3 {
		t.Fatalf("%d lines: %s", len(a), one.out)
	}
	for i := range a {
		if a[i].Seed != uint64(11+i) || len(a[i].TraceHash) != 16 || a[i].TraceHash != b[i].TraceHash || a[i].VirtualSeconds < 30 || a[i].WallSeconds <= 0 ||
			a[i].Operations < 300 || a[i].Violations == nil || a[i].ScenariosReached == nil {
			t.Errorf("%+v and %+v", a[i], b[i])
		}
	}
	if !strings.Contains(one.err, "3 seeds from 11") || !strings.Contains(one.err, "0 with violations") {
		t.Errorf("stderr %q", one.err)
	}
}

func TestSimTellsOneSeed(t *testing.T) {
	story := filepath.Join(t.TempDir(), "story")
	r := invoke(t, "", nil, "sim", "--seed", "5", "--duration", "20s", "--faults", "kill,loss", "--workload", "strict", "--story", story)
	told, err := os.ReadFile(story)
	if r.code != 0 || err != nil || !strings.Contains(string(told), "HEAL") {
		t.Fatalf("exit %d %s, a story of %d bytes, %v", r.code, r.err, len(told), err)
	}
	for _, want := range []string{"trace hash", "strict", "#1 at", "every promise held"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in %s", want, r.out)
		}
	}
	for _, other := range []string{"halves [", "sets "} {
		if strings.Contains(r.out, other) {
			t.Errorf("%q in %s", other, r.out)
		}
	}
}

func TestSimRefusesWhatCannotWork(t *testing.T) {
	for _, args := range []string{"--faults nonsense", "--workload nonsense", "--nodes 0x", "--nodes 65", "--duration 1ms", "--seeds 0", "--keep a", "--max-ops -1", "extra"} {
		r := invoke(t, "", nil, append([]string{"sim"}, strings.Fields(args)...)...)
		if r.code != exitUsage || r.out != "" || r.err == "" {
			t.Errorf("%s: exit %d, %q %q", args, r.code, r.out, r.err)
		}
	}
}
