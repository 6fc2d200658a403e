package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/sim"
	"github.com/quoratedb/quorate/sim/check"
	"github.com/quoratedb/quorate/sim/report"
)

// maxReports bounds the pages of one campaign: when everything is broken the first few
// seeds show it.
const maxReports = 5

// simReport plays a run that broke a promise once more, with its history, and writes
// what it was into dir: a page, and porcupine's picture of the key where the key is a
// register to its readers. It returns the files' names.
func simReport(dir string, o sim.Options) (files []string, err error) {
	o.KeepHistory, o.Story = true, nil
	r, err := sim.Run(o)
	if err != nil {
		return nil, err
	}
	if r.OK() {
		return nil, fmt.Errorf("seed %d broke a promise, and playing it again breaks none: the run is not deterministic", o.Seed)
	}
	stem := filepath.Join(dir, fmt.Sprintf("quorate-sim-%d", r.Seed))
	in := reportOf(&r, o)
	page := stem + ".html"
	if err := writeNew(page, func(w io.Writer) error { return report.HTML(w, in) }); err != nil {
		return nil, err
	}
	files = append(files, page)
	if key, ok := pictured(&r); ok {
		picture := stem + "-porcupine.html"
		err := writeNew(picture, func(w io.Writer) error {
			return check.Visualize(w, r.History, key, check.RegisterOptions{Plain: true})
		})
		if err != nil {
			return files, err
		}
		files = append(files, picture)
	}
	return files, nil
}

func writeNew(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// pictured is the key of the first violation that a register check can be asked about:
// its reads were answered, and none showed several values, which no register holds.
func pictured(r *sim.Result) (key check.KeyRef, ok bool) {
	for i := range r.Violations {
		key := check.KeyRef{Bucket: r.Violations[i].Bucket, Key: r.Violations[i].Key}
		read, siblings := false, false
		for j := range r.History {
			if o := &r.History[j]; o.Ref() == key && o.Kind == check.Read && o.Outcome == check.OK {
				read, siblings = true, siblings || len(o.Read) > 1
			}
		}
		if read && !siblings {
			return key, true
		}
	}
	return check.KeyRef{}, false
}

// reportOf is how a simulated run becomes a page.
func reportOf(r *sim.Result, o sim.Options) report.Input {
	if o.Duration == 0 {
		o.Duration = sim.DefaultDuration
	}
	in := report.Input{Title: "quorate sim", Seed: r.Seed, TraceHash: r.TraceHash, Replay: r.Replay, VirtualSeconds: r.VirtualSeconds,
		WallSeconds: r.WallSeconds, History: r.History, Options: drawn(&r.Options)}
	in.Healed = min(o.Duration, check.Time(r.VirtualSeconds*1e9))
	out := r.Outcomes
	for _, c := range []struct {
		name string
		n    int
	}{{"operations", r.Operations}, {"reads answered", out.Reads}, {"reads without an answer", out.ReadsFailed}, {"writes acknowledged", out.Acked},
		{"writes not applied", out.NotApplied}, {"writes of unknown outcome", out.Unknown}} {
		in.Counts = append(in.Counts, report.Pair{Name: c.name, Value: strconv.Itoa(c.n)})
	}
	for _, probe := range slices.Sorted(maps.Keys(r.Probes)) {
		in.Counts = append(in.Counts, report.Pair{Name: "met: " + strings.ReplaceAll(probe, "_", " "), Value: strconv.FormatUint(r.Probes[probe], 10)})
	}
	for i := range r.Options.Nodes {
		in.Nodes = append(in.Nodes, fmt.Sprintf("n%d", i+1))
	}
	for _, f := range r.FaultList {
		amount := ""
		if f.X != 0 {
			amount = strconv.FormatFloat(f.X, 'g', 3, 64)
		}
		in.Faults = append(in.Faults, report.Fault{ID: f.ID, Class: f.Class, About: sim.AboutFault(f.Class), At: f.At, For: f.For, Nodes: f.Nodes, Amount: amount})
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

func drawn(d *sim.Draw) (out []report.Pair) {
	add := func(name string, value any) { out = append(out, report.Pair{Name: name, Value: fmt.Sprint(value)}) }
	add("nodes", d.Nodes)
	add("shards", d.Shards)
	add("partitions", d.Partitions)
	add("replicas", d.Replicas)
	add("operations per second", strconv.FormatFloat(d.Rate, 'f', 1, 64))
	add("clients", d.Clients)
	add("keys per workload", d.Keys)
	add("workloads", workloadsOf(d))
	add("fault classes", orNone(strings.Join(d.Faults, ", ")))
	add("a fault every", d.FaultEvery)
	add("network", fmt.Sprintf("%v, one message in a hundred up to %v more", d.NetDelay, d.NetTail))
	add("sync", d.SyncTime)
	add("processor time of an event", d.StepTime)
	add("dead to gossip after", d.DeadAfter)
	add("hint budget", orDefault(d.HintBytes))
	return out
}

func workloadsOf(d *sim.Draw) string {
	var loads []string
	for _, name := range slices.Sorted(maps.Keys(d.Workloads)) {
		loads = append(loads, fmt.Sprintf("%s %d", name, d.Workloads[name]))
	}
	return strings.Join(loads, ", ")
}
