package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/servers"
)

// figure is one line of the table. Most is what the project allows, Least what it
// demands; both 0: published only.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Most  float64 `json:"most,omitempty"`
	Least float64 `json:"least,omitempty"`
	Note  string  `json:"note,omitempty"`
}

type report struct {
	Machine servers.Machine `json:"machine"`
	Version string          `json:"version"`
	Figures []figure        `json:"figures"`
	Outages []outage        `json:"outages,omitempty"`
}

// outage is one partition that lost its primary.
type outage struct {
	Kill      int     `json:"kill"`
	Node      string  `json:"node"`
	Partition int     `json:"partition"`
	Seconds   float64 `json:"seconds"` // from the kill to the first write that began after it and was acknowledged
}

func (r *report) add(f figure) { r.Figures = append(r.Figures, f) }

func (f figure) verdict() (demand, verdict string) {
	met := func(yes bool) string {
		if yes {
			return "met"
		}
		return "**missed**"
	}
	switch {
	case f.Most > 0:
		return fmt.Sprintf("at most %g %s", f.Most, f.Unit), met(f.Value <= f.Most)
	case f.Least > 0:
		return fmt.Sprintf("at least %g %s", f.Least, f.Unit), met(f.Value >= f.Least)
	}
	return "", "published"
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %s. %s.\n\n", r.Machine, r.Machine.Date, r.Version)
	b.WriteString("| Figure | Measured | Demanded | | How |\n|---|--:|--:|---|---|\n")
	for _, f := range r.Figures {
		demand, verdict := f.verdict()
		fmt.Fprintf(&b, "| %s | %.4g %s | %s | %s | %s |\n", f.Name, f.Value, f.Unit, strings.TrimSpace(demand), verdict, f.Note)
	}
	return b.String()
}

// quantile of some durations, in seconds; q from 0 to 1; 0 of none.
func quantile(of []time.Duration, q float64) float64 {
	if len(of) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(of))
	return s[min(len(s)-1, int(q*float64(len(s))))].Seconds()
}
