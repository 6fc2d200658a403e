package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim"
	"github.com/quoratedb/quorate/sim/check"
	"github.com/quoratedb/quorate/sim/report"
)

// The page of a failing run is the smaller one: its faults, its findings, its replay.
func TestSimWritesAPageOfAFailure(t *testing.T) {
	dir := t.TempDir()
	args := []string{"sim", "--seed", "5", "--duration", "20s", "--faults", "wipe,pause,loss", "-o", "json", "--shrink", "12", "--report", dir}
	r := invoke(t, "", nil, args...)
	path := filepath.Join(dir, "quorate-sim-5.html")
	page, err := os.ReadFile(path)
	if r.code != exitOther || err != nil || !strings.Contains(r.err, path) {
		t.Fatalf("exit %d, %v: %s", r.code, err, r.err)
	}
	text := html.UnescapeString(string(page))
	for _, want := range []string{"STUCK", "wipe", sim.AboutFault("wipe"), simLines(t, r.out)[0].Smaller, "network"} {
		if want == "" || !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("files %v: nothing here is about a key", left)
	}
	args[len(args)-1] = filepath.Join(dir, "missing")
	if r := invoke(t, "", nil, args...); r.code != exitOther || !strings.Contains(r.err, "no page") || len(simLines(t, r.out)) != 1 {
		t.Errorf("without the directory: exit %d, %s", r.code, r.err)
	}
}

// Everything that a run is gets onto its page, and violations name their operations.
func TestReportOfARun(t *testing.T) {
	o := sim.Options{Seed: 7, Duration: 30 * time.Second, KeepHistory: true}
	r, err := sim.Run(o)
	if err != nil || !r.OK() {
		t.Fatal(err, r.Violations)
	}
	key, at := check.KeyRef{}, 0
	for i := range r.History { // runs are clean: invent a finding
		if op := &r.History[i]; op.Kind == check.Write && op.Bucket == "lww" {
			key, at = op.Ref(), i
		}
	}
	r.Violations = []sim.Violation{{Check: "eventual", Kind: check.Lost, Bucket: key.Bucket, Key: key.Key, Detail: "gone", At: 9 * time.Second, Ops: []int{at}}}
	in := reportOf(&r, o)
	var page strings.Builder
	if err := report.HTML(&page, in); err != nil {
		t.Fatal(err)
	}
	if len(in.History) != len(r.History) || len(in.Faults) != len(r.FaultList) || len(in.Nodes) != 5 || in.Healed != o.Duration || len(in.Scenarios) < 60 {
		t.Errorf("%d operations, %d faults, nodes %v, healed %v, %d scenarios", len(in.History), len(in.Faults), in.Nodes, in.Healed, len(in.Scenarios))
	}
	for _, want := range []string{r.History[at].Value, key.Bucket + "/" + key.Key, "writes acknowledged", r.TraceHash, fmt.Sprintf("<td class=\"n\">%d</td>", at)} {
		if !strings.Contains(html.UnescapeString(page.String()), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if got, ok := pictured(&r); !ok || got != key {
		t.Errorf("a key of the last write that wins is a register, %v %v", got, ok)
	}
}

// A key that showed several values, or none at all, has no picture as a register.
func TestPictured(t *testing.T) {
	read := func(key string, values ...string) check.Op {
		return check.Op{Kind: check.Read, Outcome: check.OK, Bucket: "b", Key: key, Read: values}
	}
	r := sim.Result{History: []check.Op{read("one", "v1"), read("two", "v1", "v2"), read("none"), {Kind: check.Write, Bucket: "b", Key: "unread", Value: "v3"}}}
	for key, want := range map[string]bool{"one": true, "two": false, "none": true, "unread": false, "": false} {
		r.Violations = []sim.Violation{{Bucket: "b", Key: key}}
		if _, ok := pictured(&r); ok != want {
			t.Errorf("%q: %v", key, ok)
		}
	}
}
