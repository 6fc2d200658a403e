package figures

import (
	"fmt"
	"html"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLabel  = 470 // width of the names
	plotWidth  = 420 // of the bars
	plotValues = 230 // of the numbers
	plotRow    = 24
	plotBar    = 12
	plotTop    = 64
	plotBottom = 16
	plotMost   = 3.0 // times the floor: where the bars end
)

var plotColours = map[Verdict]string{AimMet: "#2e7d32", FloorMet: "#b8860b", Missed: "#c62828", Shown: "#78909c"}

// Plot draws every figure that has a demand as a bar, as long as it is good: how many
// times the floor it reaches, so that all floors make one line however different
// their units. A tick shows the aim, a thin line the least and the most of the rounds.
func Plot(all []Measured, title string) string {
	var rows []Measured
	for _, m := range all {
		if m.scale() > 0 {
			rows = append(rows, m)
		}
	}
	height := plotTop + plotRow*len(rows) + plotBottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n",
		plotLabel+plotWidth+plotValues, height)
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	fmt.Fprintf(&b, `<text x="12" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	b.WriteString(`<text x="12" y="40" fill="#555555">Longer is better. Bar: times the floor (no floor: times the aim). Tick: the aim. Thin line: least and most of the rounds.</text>` + "\n")
	for v := 0.0; v <= plotMost; v += 0.5 {
		colour, width := "#dddddd", 1
		if v == 1 {
			colour, width = "#222222", 2
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="%d"/>`+"\n", plotX(v), plotTop-4, plotX(v), height-plotBottom, colour, width)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555555" font-size="10">%s</text>`+"\n", plotX(v), plotTop-8, axisLabel(v))
	}
	for i, m := range rows {
		m.draw(&b, plotTop+plotRow*i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func axisLabel(v float64) string {
	if v == 1 {
		return "floor"
	}
	return fmt.Sprintf("%.1f", v)
}

// plotX places a multiple of the floor; what is beyond the plot ends at its edge.
func plotX(times float64) float64 { return plotLabel + plotWidth*min(max(times, 0), plotMost)/plotMost }

// times says how many times the floor a value is worth, or the aim where there is no
// floor.
func (f Figure) times(v float64) float64 {
	switch {
	case f.Better == Higher:
		return v / f.scale()
	case v <= 0:
		return plotMost
	}
	return f.scale() / v
}

func (m Measured) draw(b *strings.Builder, y int) {
	text := func(x float64, anchor, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`+"\n", x, y+plotRow/2+4, anchor, html.EscapeString(s))
	}
	text(plotLabel-8, "end", m.What)
	after := plotLabel + plotWidth + 8.0
	if m.Verdict == Unmeasured {
		text(after, "start", "not measured")
		return
	}
	top := y + (plotRow-plotBar)/2
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotLabel, top, plotX(m.times(m.Median))-plotLabel, plotBar, plotColours[m.Verdict])
	line := func(x1, y1, x2, y2 float64, colour string, width int) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%d"/>`+"\n", x1, y1, x2, y2, colour, width)
	}
	middle := float64(y) + plotRow/2
	line(plotX(m.times(m.Min)), middle, plotX(m.times(m.Max)), middle, "#222222", 1)
	if m.Aim != m.Floor || m.aimOnly() {
		x := plotX(m.times(m.Aim))
		line(x, float64(top)-3, x, float64(top)+plotBar+3, "#1565c0", 3)
	}
	text(after, "start", fmt.Sprintf("%s (%s) %s", m.format(m.Median), m.demands(), m.Verdict))
}

// demands are the floor and the aim, as far as they differ.
func (f Figure) demands() string {
	switch {
	case f.aimOnly():
		return "aim " + f.bare(f.Aim)
	case f.Aim == f.Floor:
		return f.bare(f.Floor)
	}
	return f.bare(f.Floor) + " / " + f.bare(f.Aim)
}
