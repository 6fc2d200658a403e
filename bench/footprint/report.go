package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/bench/servers"
)

// report holds the figures, each of the node that did worst.
type report struct {
	Machine   servers.Machine `json:"machine"`
	Version   string          `json:"version"`
	Nodes     int             `json:"nodes"`
	Records   int             `json:"records"`
	Value     int             `json:"value_bytes"`
	RestMiB   float64         `json:"rss_rest_mib"`
	PeakMiB   float64         `json:"rss_peak_while_loading_mib"`
	LoadedMiB float64         `json:"rss_loaded_mib"`
	Ready     []float64       `json:"restart_ready_s"`
}

// The most the project allows a node, with a million records of 100 bytes.
const (
	restMiBMax   = 100
	loadedMiBMax = 300
	readySecsMax = 5
)

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %s. %s. %d nodes, each with all %d records of %d bytes; the worst node counts.\n\n",
		r.Machine, r.Machine.Date, r.Version, r.Nodes, r.Records, r.Value)
	b.WriteString("| Figure | Measured | Allowed | |\n|---|--:|--:|---|\n")
	line := func(name, unit string, got, allowed float64) {
		verdict := "met"
		if got >= allowed {
			verdict = "missed"
		}
		fmt.Fprintf(&b, "| %s | %.2f %s | under %.0f %s | %s |\n", name, got, unit, allowed, unit, verdict)
	}
	line("resident, at rest and empty", "MiB", r.RestMiB, restMiBMax)
	line("resident, at rest with the records", "MiB", r.LoadedMiB, loadedMiBMax)
	line("resident, peak while they were written", "MiB", r.PeakMiB, loadedMiBMax)
	if len(r.Ready) > 0 {
		line(fmt.Sprintf("start to ready after kill -9, slowest of %d", len(r.Ready)), "s", slices.Max(r.Ready), readySecsMax)
	}
	return b.String()
}
