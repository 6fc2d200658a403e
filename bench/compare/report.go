package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/bench/figures"
	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

// report is what the JSON file holds.
type report struct {
	Machine  servers.Machine   `json:"machine"`
	Versions map[string]string `json:"versions"`
	Options  map[string]string `json:"options"`
	Receipts map[string]string `json:"receipts"` // of one write in each quorate bucket
	Summary  []row             `json:"summary"`
	Ratios   []ratio           `json:"ratios"`
	Runs     []load.Result     `json:"runs"`
	Profiles []profiled        `json:"profiles,omitempty"`

	Figures []figures.Measured `json:"figures,omitempty"`
	Minutes float64            `json:"minutes"`
	Cut     string             `json:"cut_short,omitempty"` // the error that ended it early
}

// row is the medians of one system in one phase, each figure by itself.
type row struct {
	Phase     string  `json:"phase"`
	System    string  `json:"system"`
	Rate      float64 `json:"ops_s"`
	RateMin   float64 `json:"ops_s_min"`
	RateMax   float64 `json:"ops_s_max"`
	Mean      float64 `json:"mean_ms"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	ServerCPU float64 `json:"server_cpu_us_per_op"`
	ClientCPU float64 `json:"client_cpu_us_per_op"`
	RSSMiB    float64 `json:"rss_mib"` // the largest server's
	Other     float64 `json:"other_cores"`
	Errs      uint64  `json:"errs"` // the sum
	Refused   uint64  `json:"refused,omitempty"`
	Shed      uint64  `json:"shed"` // the sum
}

// ratio compares one system with a peer in one phase: medians with medians, or, if they
// ran abreast, the median of the rounds' ratios.
type ratio struct {
	Phase     string  `json:"phase"`
	System    string  `json:"system"`
	Peer      string  `json:"peer"`
	Rate      float64 `json:"ops_s"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	P999      float64 `json:"p999"`
	ServerCPU float64 `json:"server_cpu"`
	Floor     float64 `json:"floor,omitempty"` // the least ratio of rates the project demands
}

// floors are the ratios of operations a second to etcd's that quorate must reach.
var floors = map[string]float64{"put:64:80:zipf": 1.3, "get:64:80:zipf": 1.0}

// strongFloors are those of strong buckets.
var strongFloors = map[string]float64{"put:64:80:zipf": 1.5, "get:64:80:zipf": 1.5, "cas:64:80:uniform": 1.5}

// oldFloors are the least parts of an earlier build's rate.
var oldFloors = map[string]float64{"put:64:80:zipf": 0.97, "get:64:80:zipf": 0.97, "mix:64:80:zipf": 0.97}

func (rep *report) summarise(o options) {
	for _, p := range o.phases {
		byName := map[string]row{}
		for _, name := range o.systems {
			r := medians(p.String(), name, rep.Runs)
			byName[name] = r
			rep.Summary = append(rep.Summary, r)
		}
		for _, ours := range []string{"quorate", "siblings", "strong"} {
			for _, peer := range []string{"etcd", "redis", "old", "oldstrong"} {
				a, okA := byName[ours]
				b, okB := byName[peer]
				if !okA || !okB {
					continue
				}
				r := compare(a, b)
				if o.abreast {
					r.pair(rep.Runs)
				}
				rep.Ratios = append(rep.Ratios, r)
			}
		}
	}
}

// summariseRuns is for runs that follow a plan: a row for each system and phase, in the
// order in which they first ran.
func (rep *report) summariseRuns() {
	seen := map[[2]string]bool{}
	for _, r := range rep.Runs {
		if k := [2]string{r.System, r.Phase}; !seen[k] {
			seen[k] = true
			rep.Summary = append(rep.Summary, medians(r.Phase, r.System, rep.Runs))
		}
	}
}

func medians(phase, system string, runs []load.Result) row {
	r := row{Phase: phase, System: system}
	var of []load.Result
	for _, run := range runs {
		if run.Phase == phase && run.System == system {
			of = append(of, run)
			r.Errs += run.Errs
			r.Shed += run.Shed
			r.Refused += run.Refused
		}
	}
	pick := func(get func(load.Result) float64) []float64 {
		v := make([]float64, len(of))
		for i, run := range of {
			v[i] = get(run)
		}
		slices.Sort(v)
		return v
	}
	med := func(get func(load.Result) float64) float64 { return figures.Median(pick(get)) }
	if rates := pick(func(x load.Result) float64 { return x.Good }); len(rates) > 0 {
		r.Rate, r.RateMin, r.RateMax = figures.Median(rates), rates[0], rates[len(rates)-1]
	}
	r.Mean = med(func(x load.Result) float64 { return x.Mean })
	r.P50 = med(func(x load.Result) float64 { return x.P50 })
	r.P99 = med(func(x load.Result) float64 { return x.P99 })
	r.P999 = med(func(x load.Result) float64 { return x.P999 })
	r.ServerCPU = med(func(x load.Result) float64 { return x.ServerCPU })
	r.ClientCPU = med(func(x load.Result) float64 { return x.ClientCPU })
	r.Other = med(func(x load.Result) float64 { return x.Other })
	r.RSSMiB = med(func(x load.Result) float64 {
		if len(x.RSS) == 0 {
			return 0
		}
		return float64(slices.Max(x.RSS)) / (1 << 20)
	})
	return r
}

func compare(a, b row) ratio {
	div := func(x, y float64) float64 {
		if y == 0 {
			return 0
		}
		return x / y
	}
	r := ratio{Phase: a.Phase, System: a.System, Peer: b.System, Rate: div(a.Rate, b.Rate), P50: div(a.P50, b.P50),
		P99: div(a.P99, b.P99), P999: div(a.P999, b.P999), ServerCPU: div(a.ServerCPU, b.ServerCPU)}
	switch {
	case b.System == "etcd" && a.System == "strong":
		r.Floor = strongFloors[a.Phase]
	case b.System == "etcd":
		r.Floor = floors[a.Phase]
	case b.System == "old" && a.System == "quorate", b.System == "oldstrong" && a.System == "strong":
		r.Floor = oldFloors[a.Phase]
	}
	return r
}

// pair takes the medians of each round's own ratios: what ran at the same time was slowed
// down alike.
func (r *ratio) pair(runs []load.Result) {
	of := func(system string) (out []load.Result) {
		for _, run := range runs {
			if run.Phase == r.Phase && run.System == system {
				out = append(out, run)
			}
		}
		return out
	}
	ours, peers := of(r.System), of(r.Peer)
	med := func(get func(load.Result) float64) float64 {
		var v []float64
		for i := range min(len(ours), len(peers)) {
			if by := get(peers[i]); by > 0 {
				v = append(v, get(ours[i])/by)
			}
		}
		slices.Sort(v)
		return figures.Median(v)
	}
	r.Rate, r.ServerCPU = med(func(x load.Result) float64 { return x.Good }), med(func(x load.Result) float64 { return x.ServerCPU })
	r.P50, r.P99, r.P999 = med(func(x load.Result) float64 { return x.P50 }), med(func(x load.Result) float64 { return x.P99 }), med(func(x load.Result) float64 { return x.P999 })
}

// verdict says how a ratio stands to its floor.
func (r ratio) verdict() string {
	switch {
	case r.Floor == 0:
		return ""
	case r.Rate >= r.Floor:
		return fmt.Sprintf("%g: met", r.Floor)
	}
	return fmt.Sprintf("%g: missed", r.Floor)
}

// noisyCores is what anything else may use before a run's numbers are in doubt. A
// peer that idles beside the measured system uses about a tenth of that.
const noisyCores = 0.3

func (rep *report) noisy() (n int) {
	for _, r := range rep.Runs {
		if r.Other > noisyCores {
			n++
		}
	}
	return n
}

// unsound is an error when a read gave a wrong value, or none for a loaded key.
func (rep *report) unsound() error {
	for _, r := range rep.Runs {
		if r.Lost > 0 {
			return fmt.Errorf("%s %s round %d: %d of %d keys read back older than their last acknowledged write", r.System, r.Phase, r.Round, r.Lost, r.Acked)
		}
		if r.Wrong+r.Missing > 0 {
			return fmt.Errorf("%s %s round %d: %d wrong values and %d missing ones; first: %s", r.System, r.Phase, r.Round, r.Wrong, r.Missing, r.FirstErr)
		}
	}
	return nil
}

func (rep *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %s.\n\n", rep.Machine, rep.Machine.Date)
	for _, name := range slices.Sorted(maps.Keys(rep.Versions)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, rep.Versions[name])
	}
	for _, name := range slices.Sorted(maps.Keys(rep.Receipts)) {
		fmt.Fprintf(&b, "- receipt of a write, %s: `%s`\n", name, rep.Receipts[name])
	}
	fmt.Fprintf(&b, "- rounds: %s, each run %s after %s of warm-up, %s keys; medians; servers, clients and all on this machine\n",
		rep.Options["rounds"], rep.Options["dur"], rep.Options["warm"], rep.Options["keys"])
	if rep.Options["abreast"] == "true" {
		b.WriteString("- abreast: all systems at the same time; ratios are medians of the rounds' ratios, rates say nothing by themselves\n")
	} else if n := rep.noisy(); n > 0 {
		fmt.Fprintf(&b, "- NOISY: in %d of %d runs something else used more than %.1f cores; repeat on a quiet machine or with -quiet\n", n, len(rep.Runs), noisyCores)
	}
	fmt.Fprintf(&b, "- took %.0f minutes\n", rep.Minutes)
	if rep.Cut != "" {
		fmt.Fprintf(&b, "- CUT SHORT: %s\n", rep.Cut)
	}
	if rep.Figures != nil {
		rep.markdownFigures(&b)
	}
	b.WriteString("\nMedians of each figure by itself:\n\n")
	rep.markdownMedians(&b)
	rep.markdownRatios(&b)
	markdownProfiles(&b, rep.Profiles)
	return b.String()
}

func (rep *report) markdownMedians(b *strings.Builder) {
	b.WriteString("| Phase | System | ops/s (min to max) | mean ms | p50 ms | p99 ms | p99.9 ms | server CPU us/op | client CPU us/op | RSS MiB | other cores | errors | shed | refused |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rep.Summary {
		fmt.Fprintf(b, "| %s | %s | %.0f (%.0f to %.0f) | %.2f | %.2f | %.2f | %.2f | %.0f | %.0f | %.0f | %.2f | %d | %d | %d |\n", r.Phase, r.System,
			r.Rate, r.RateMin, r.RateMax, r.Mean, r.P50, r.P99, r.P999, r.ServerCPU, r.ClientCPU, r.RSSMiB, r.Other, r.Errs, r.Shed, r.Refused)
	}
}

func (rep *report) markdownRatios(b *strings.Builder) {
	if len(rep.Ratios) == 0 {
		return
	}
	b.WriteString("\n| Phase | Ratio | ops/s | p50 | p99 | p99.9 | server CPU per op | floor |\n|---|---|--:|--:|--:|--:|--:|---|\n")
	for _, r := range rep.Ratios {
		fmt.Fprintf(b, "| %s | %s / %s | %.2f | %.2f | %.2f | %.2f | %.2f | %s |\n", r.Phase, r.System, r.Peer,
			r.Rate, r.P50, r.P99, r.P999, r.ServerCPU, r.verdict())
	}
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
