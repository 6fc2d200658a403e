package report

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quoratedb/quorate/sim/check"
)

// view is the page before it is written: strings and numbers, nothing left to decide.
type view struct {
	Style      template.CSS
	Title      string
	Clean      bool
	Verdict    string
	Kinds      []kindCount
	Seed       string
	Hash       string
	Replay     string
	Tiles      []Pair
	Options    []Pair
	Counts     []Pair
	Faults     chart
	FaultList  []Pair
	ListLeft   int
	Ops        chart
	Violations []violationView
	Left       int // violations that are not told
	Keys       []keyView
	KeysLeft   int
	Reached    []Scenario
	Missed     []Scenario
	Later      []Scenario
	ScenLeft   int
}

type kindCount struct {
	Kind string
	N    int
}

func newView(in *Input) *view {
	v := &view{Title: text(in.Title), Seed: strconv.FormatUint(in.Seed, 10), Hash: text(in.TraceHash), Replay: clip(in.Replay, maxProse),
		Clean: len(in.Violations) == 0, Options: pairs(in.Options), Counts: pairs(in.Counts)}
	if in.Title == "" {
		v.Title = "quorate"
	}
	v.verdict(in)
	v.Tiles = tiles(in)
	x := newAxis(in)
	known := newLanes(in)
	v.Faults = x.faultChart(in, known)
	for _, f := range byTime(in.Faults)[:min(len(in.Faults), maxListed)] {
		v.FaultList = append(v.FaultList, Pair{groupOf(f.Class), describe(f)})
	}
	v.ListLeft = len(in.Faults) - len(v.FaultList)
	v.Ops = x.opChart(in, known)
	v.tell(in)
	v.scenarios(in)
	return v
}

func (v *view) verdict(in *Input) {
	if v.Clean {
		v.Verdict = "No violation"
		return
	}
	v.Verdict = plural(len(in.Violations), "violation")
	at := map[string]int{}
	for _, x := range in.Violations {
		i, ok := at[x.Kind]
		if !ok {
			i = len(v.Kinds)
			at[x.Kind] = i
			v.Kinds = append(v.Kinds, kindCount{Kind: text(x.Kind)})
		}
		v.Kinds[i].N++
	}
	v.Kinds = v.Kinds[:min(len(v.Kinds), maxViolations)]
}

func tiles(in *Input) []Pair {
	virtual := time.Duration(in.VirtualSeconds * float64(time.Second))
	out := []Pair{{"virtual time", clock(virtual)}, {"wall time", fmt.Sprintf("%.2f s", in.WallSeconds)}, {"nodes", strconv.Itoa(len(in.Nodes))},
		{"faults", thousands(len(in.Faults))}}
	if len(in.History) > 0 {
		out = append(out, Pair{"operations", thousands(len(in.History))})
	}
	if in.WallSeconds > 0 && in.VirtualSeconds > in.WallSeconds {
		out = append(out, Pair{"speed", thousands(int(in.VirtualSeconds/in.WallSeconds)) + "×"})
	}
	return out
}

func (v *view) scenarios(in *Input) {
	for i, s := range in.Scenarios {
		if i == maxScenarios {
			v.ScenLeft = len(in.Scenarios) - i
			break
		}
		s = Scenario{ID: text(s.ID), About: clip(s.About, maxProse), Reached: s.Reached, Later: text(s.Later)}
		switch {
		case s.Reached:
			v.Reached = append(v.Reached, s)
		case s.Later != "":
			v.Later = append(v.Later, s)
		default:
			v.Missed = append(v.Missed, s)
		}
	}
}

func pairs(list []Pair) (out []Pair) {
	for _, p := range list[:min(len(list), maxPairs)] {
		out = append(out, Pair{text(p.Name), clip(p.Value, maxProse)})
	}
	return out
}

// text makes a name fit for a page: short, and quoted if it has bytes that are no text.
func text(s string) string { return clip(s, maxText) }

func clip(s string, most int) string {
	cut := len(s)
	if longest := most * utf8.UTFMax; cut > longest {
		for cut = longest; cut > 0 && !utf8.RuneStart(s[cut]); {
			cut--
		}
	}
	out, whole := s[:cut], cut == len(s)
	for _, r := range out {
		if r == utf8.RuneError || !strconv.IsPrint(r) && r != '\n' {
			out = strconv.Quote(out)
			break
		}
	}
	if r := []rune(out); len(r) > most {
		out, whole = string(r[:most]), false
	}
	if !whole {
		out += "…"
	}
	return out
}

// clock writes a time as a person reads it: 250 ms, 12.40 s, 3:07.2, 1:00:03.
func clock(t check.Time) string {
	switch {
	case t < 0:
		return "-" + clock(-max(t, -check.Forever))
	case t > 0 && t < time.Millisecond:
		return fmt.Sprintf("%d µs", t.Microseconds())
	case t < time.Second:
		return fmt.Sprintf("%d ms", t.Milliseconds())
	case t < time.Minute:
		return fmt.Sprintf("%.2f s", t.Seconds())
	case t < time.Hour:
		tenths := int64(t / (100 * time.Millisecond))
		return fmt.Sprintf("%d:%02d.%d", tenths/600, tenths/10%60, tenths%10)
	}
	return fmt.Sprintf("%d:%02d:%02d", int64(t.Hours()), int64(t.Minutes())%60, int64(t.Seconds())%60)
}

// brief is a time on an axis, without the zeroes of clock.
func brief(t check.Time) string {
	switch {
	case t == 0:
		return "0"
	case t >= time.Second && t < time.Minute:
		return strconv.FormatFloat(t.Seconds(), 'f', -1, 64) + " s"
	case t >= time.Minute && t < time.Hour:
		return strings.TrimSuffix(clock(t), ".0")
	}
	return clock(t)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + one + "s"
}

// thousands groups digits by thin spaces.
func thousands(n int) string {
	s := strconv.Itoa(n)
	var b strings.Builder
	for i, d := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteRune('\u202f')
		}
		b.WriteRune(d)
	}
	return b.String()
}
