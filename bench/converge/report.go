package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/quoratedb/quorate/bench/servers"
)

// figure is one line of the table. Most is what the project allows, 0: published only.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Most  float64 `json:"most,omitempty"`
	Note  string  `json:"note,omitempty"`
}

type report struct {
	Machine servers.Machine `json:"machine"`
	Version string          `json:"version"`
	Figures []figure        `json:"figures"`
}

func (r *report) add(f figure) { r.Figures = append(r.Figures, f) }

// missed is an error that names the figures that were.
func (r *report) missed() (err error) {
	for _, f := range r.Figures {
		if f.missed() {
			err = errors.Join(err, fmt.Errorf("missed: %s: %.3g %s, allowed %g", f.Name, f.Value, f.Unit, f.Most))
		}
	}
	return err
}

func (f *figure) missed() bool { return f.Most > 0 && f.Value > f.Most }

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %s. %s.\n\n", r.Machine, r.Machine.Date, r.Version)
	b.WriteString("| Figure | Measured | Allowed | | How |\n|---|--:|--:|---|---|\n")
	for _, f := range r.Figures {
		allowed, verdict := "", "published"
		if f.Most > 0 {
			allowed, verdict = fmt.Sprintf("at most %g %s", f.Most, f.Unit), "met"
			if f.missed() {
				verdict = "**missed**"
			}
		}
		fmt.Fprintf(&b, "| %s | %.3g %s | %s | %s | %s |\n", f.Name, f.Value, f.Unit, strings.TrimSpace(allowed), verdict, f.Note)
	}
	return b.String()
}
