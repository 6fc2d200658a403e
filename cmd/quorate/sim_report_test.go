package main

import (
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim"
	"github.com/quoratedb/quorate/sim/check"
	"github.com/quoratedb/quorate/sim/report"
)

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
