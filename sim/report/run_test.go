package report_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim"
	"github.com/quoratedb/quorate/sim/check"
	"github.com/quoratedb/quorate/sim/report"
)

// fromSim is how a simulated run becomes a report.
func fromSim(r *sim.Result, duration time.Duration) report.Input {
	in := report.Input{Title: "quorate sim", Seed: r.Seed, TraceHash: r.TraceHash, Replay: r.Replay, VirtualSeconds: r.VirtualSeconds, Healed: duration,
		WallSeconds: r.WallSeconds, History: r.History, Options: options(&r.Options)}
	o := r.Outcomes
	in.Counts = []report.Pair{{Name: "operations", Value: strconv.Itoa(r.Operations)}, {Name: "reads answered", Value: strconv.Itoa(o.Reads)},
		{Name: "reads without an answer", Value: strconv.Itoa(o.ReadsFailed)}, {Name: "writes acknowledged", Value: strconv.Itoa(o.Acked)},
		{Name: "writes not applied", Value: strconv.Itoa(o.NotApplied)}, {Name: "writes of unknown outcome", Value: strconv.Itoa(o.Unknown)}}
	for i := range r.Options.Nodes {
		in.Nodes = append(in.Nodes, fmt.Sprintf("n%d", i+1))
	}
	for _, f := range r.FaultList {
		amount := ""
		if f.X != 0 {
			amount = strconv.FormatFloat(f.X, 'g', 3, 64)
		}
		in.Faults = append(in.Faults, report.Fault{ID: f.ID, Class: f.Class, At: f.At, For: f.For, Nodes: f.Nodes, Amount: amount})
	}
	for _, v := range r.Violations {
		in.Violations = append(in.Violations, report.Violation{At: v.At,
			Violation: check.Violation{Check: v.Check, Kind: v.Kind, Bucket: v.Bucket, Key: v.Key, Detail: v.Detail, Ops: v.Ops}})
	}
	for _, s := range sim.Scenarios() {
		in.Scenarios = append(in.Scenarios, report.Scenario{ID: s.ID, About: s.About, Later: s.Later, Reached: slices.Contains(r.ScenariosReached, s.ID)})
	}
	return in
}

func options(d *sim.Draw) (out []report.Pair) {
	add := func(name string, value any) { out = append(out, report.Pair{Name: name, Value: fmt.Sprint(value)}) }
	add("nodes", d.Nodes)
	add("shards", d.Shards)
	add("partitions", d.Partitions)
	add("replicas", d.Replicas)
	add("operations per second", strconv.FormatFloat(d.Rate, 'f', 1, 64))
	add("clients", d.Clients)
	add("keys per workload", d.Keys)
	add("workloads", d.Workloads)
	add("faults", d.Faults)
	add("a fault every", d.FaultEvery)
	add("network delay", fmt.Sprintf("%v, tail %v", d.NetDelay, d.NetTail))
	add("sync", d.SyncTime)
	return out
}

// TestARealRun draws what the simulator made. With REPORT_OUT set the page is kept.
func TestARealRun(t *testing.T) {
	r, err := sim.Run(sim.Options{Seed: 7, Duration: 2 * time.Minute, KeepHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	in := fromSim(&r, 2*time.Minute)
	invent(&in)
	page := render(t, in)
	if len(in.History) < 500 || len(in.Faults) < 5 {
		t.Fatalf("a run of %d operations and %d faults shows little", len(in.History), len(in.Faults))
	}
	holdsEverything(t, in, page)
	if path := os.Getenv("REPORT_OUT"); path != "" {
		if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// invent adds a finding about a key with a history, since runs are clean.
func invent(in *report.Input) {
	count := map[check.KeyRef][]int{}
	var best check.KeyRef
	for i := range in.History {
		ref := in.History[i].Ref()
		count[ref] = append(count[ref], i)
		if n := len(count[ref]); n > len(count[best]) && n < 80 {
			best = ref
		}
	}
	ops := count[best]
	in.Replay = fmt.Sprintf("quorate sim --seed %d --nodes 5 --duration 2m0s --keep 3,7", in.Seed)
	in.Violations = append(in.Violations, report.Violation{At: 74 * time.Second, Violation: check.Violation{Check: "eventual", Kind: check.Lost,
		Bucket: best.Bucket, Key: best.Key, Detail: "an acknowledged write is gone, and no write that had seen it replaced it", Ops: ops[2:4]}},
		report.Violation{Violation: check.Violation{Check: "liveness", Kind: "STUCK", Detail: "healed for 2m0s, and pending are n2: 3 hints on disk"}})
}
