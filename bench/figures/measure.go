package figures

import (
	"fmt"
	"slices"
)

// Measured is a figure with what the rounds made of it.
type Measured struct {
	Figure
	Rounds  []float64 `json:"rounds"` // one value a round
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Other   float64   `json:"other_cores"` // the most that anything else used during its runs
	Verdict Verdict   `json:"verdict"`
	Why     string    `json:"why,omitempty"` // of a figure that was not measured, or a remark
}

// Verdict of a figure.
type Verdict string

const (
	AimMet     Verdict = "aim met"
	FloorMet   Verdict = "floor met"
	Missed     Verdict = "missed"
	Shown      Verdict = "published"
	Unmeasured Verdict = "not measured"
)

// Measure computes the figure for every round that has all it needs.
func Measure(f Figure, rounds []Runs) Measured {
	m := Measured{Figure: f, Rounds: []float64{}}
	for i, r := range rounds {
		if n, ok := r.lacks(f.Needs); !ok {
			m.Why = fmt.Sprintf("%s %s did not run", n.System, n.Phase)
			continue
		}
		v, err := f.value(r)
		if err != nil {
			m.Why = fmt.Sprintf("round %d: %v", i+1, err)
			continue
		}
		m.Rounds = append(m.Rounds, v)
		for _, n := range f.Needs {
			m.Other = max(m.Other, r[n].Other)
		}
		if why := r.remark(f.Needs); why != "" {
			m.Why = fmt.Sprintf("round %d: %s", i+1, why)
		}
	}
	if len(m.Rounds) == 0 {
		m.Verdict = Unmeasured
		return m
	}
	sorted := slices.Sorted(slices.Values(m.Rounds))
	m.Median, m.Min, m.Max = Median(sorted), sorted[0], sorted[len(sorted)-1]
	m.Verdict = f.judge(m.Median)
	if f.ID == "overload-lost" { // one lost write in one round is one too many
		m.Verdict = f.judge(m.Max)
	}
	return m
}

func (f Figure) judge(v float64) Verdict {
	reached := func(mark float64) bool {
		if f.Better == Higher {
			return v >= mark
		}
		return v <= mark
	}
	switch {
	case f.Better == Published:
		return Shown
	case reached(f.Aim):
		return AimMet
	case f.aimOnly():
		return Shown
	case reached(f.Floor):
		return FloorMet
	}
	return Missed
}

func (r Runs) lacks(needs []Need) (Need, bool) {
	for _, n := range needs {
		if _, ok := r[n]; !ok {
			return n, false
		}
	}
	return Need{}, true
}

// A rate not reached means that the latencies are those of a queue that grows.
const rateReached = 0.95

// remark says what a reader must know about the runs behind a value.
func (r Runs) remark(needs []Need) string {
	for _, n := range needs {
		run := r[n]
		if n.Phase != Overload1 && n.Phase != Overload2 && run.Target > 0 && run.Good < rateReached*run.Target {
			return fmt.Sprintf("%s answered only %.0f of %.0f a second", n.System, run.Good, run.Target)
		}
		if run.Errs > 0 {
			return fmt.Sprintf("%s %s: %d of %d operations failed", n.System, n.Phase, run.Errs, run.Ops)
		}
	}
	return ""
}

// Median of sorted numbers; the mean of the middle two when their count is even.
func Median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
