package figures

import (
	"fmt"
	"strings"
)

// Table writes the figures as markdown.
func Table(all []Measured) string {
	var b strings.Builder
	b.WriteString("| Figure | Floor | Aim | Measured (min to max) | Verdict | Other cores |\n|---|--:|--:|--:|---|--:|\n")
	var remarks []string
	for _, m := range all {
		verdict := string(m.Verdict)
		if m.Verdict == Missed {
			verdict = "**missed**"
		}
		if m.Why != "" {
			remarks = append(remarks, m.Why)
			verdict += fmt.Sprintf(" [%d]", len(remarks))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", m.What, m.floorText(), m.demand(m.Aim), m.text(), verdict, m.noise())
	}
	for i, why := range remarks {
		fmt.Fprintf(&b, "\n[%d] %s.\n", i+1, why)
	}
	return b.String()
}

// Counts says how many figures have each verdict, those not measured apart.
func Counts(all []Measured) string {
	n := map[Verdict]int{}
	for _, m := range all {
		n[m.Verdict]++
	}
	return fmt.Sprintf("%d at their aim, %d more at their floor, %d missed, %d not measured, %d published without a demand",
		n[AimMet], n[FloorMet], n[Missed], n[Unmeasured], n[Shown])
}

func (m Measured) noise() string {
	if m.Verdict == Unmeasured {
		return ""
	}
	return fmt.Sprintf("%.2f", m.Other)
}

func (m Measured) text() string {
	if m.Verdict == Unmeasured {
		return ""
	}
	s := m.format(m.Median)
	if len(m.Rounds) > 1 {
		s += fmt.Sprintf(" (%s to %s)", m.bare(m.Min), m.bare(m.Max))
	}
	return s
}

func (f Figure) floorText() string {
	if f.aimOnly() {
		return "published"
	}
	return f.demand(f.Floor)
}

// demand is a floor or an aim, "" when there is none.
func (f Figure) demand(v float64) string {
	switch f.Better {
	case Published:
		return ""
	case Lower:
		return "at most " + f.format(v)
	}
	return f.format(v)
}

func (f Figure) format(v float64) string {
	if f.Unit == "x" {
		return f.bare(v) + "x"
	}
	return f.bare(v) + " " + f.Unit
}

// bare shows as many digits as such a value is good for.
func (f Figure) bare(v float64) string {
	switch {
	case v == float64(int64(v)) && f.Unit != "x" || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
