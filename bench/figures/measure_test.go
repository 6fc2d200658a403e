package figures

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/bench/load"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{1, 2, 10}, 2}, {[]float64{1, 2, 4, 10}, 3}} {
		if got := Median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
	}
}

// roundOf answers each need of every figure with the given rate, and an overload that
// sheds half.
func roundOf(rates map[string]float64) Runs {
	r := Runs{}
	for _, f := range All() {
		for _, n := range f.Needs {
			r[n] = load.Result{System: n.System, Phase: n.Phase, Good: rates[n.System], Seconds: 2, P99: 4, P999: 60, Mean: 2, ServerCPU: 30, Acked: 9, Shed: 10, Other: 0.1}
		}
	}
	return r
}

func find(t *testing.T, id string) Figure {
	t.Helper()
	for _, f := range All() {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no figure %s", id)
	return Figure{}
}

func TestMeasure(t *testing.T) {
	rounds := []Runs{roundOf(map[string]float64{HTTP: 200, Etcd: 100}), roundOf(map[string]float64{HTTP: 500, Etcd: 100}), roundOf(map[string]float64{HTTP: 170, Etcd: 100})}
	m := Measure(find(t, "put-etcd-64"), rounds)
	if m.Median != 2 || m.Min != 1.7 || m.Max != 5 || m.Verdict != FloorMet || len(m.Rounds) != 3 || m.Why != "" || m.Other != 0.1 {
		t.Errorf("%+v", m)
	}
	if m = Measure(find(t, "get-etcd-64"), rounds); m.Verdict != AimMet {
		t.Errorf("%+v", m)
	}
	if m = Measure(find(t, "cpu-get-r1"), rounds); m.Median != 30 || m.Verdict != FloorMet {
		t.Errorf("30 us of 32 and 26: %+v", m)
	}
	if m = Measure(find(t, "open-5k-etcd"), rounds); m.Verdict != Missed {
		t.Errorf("as late as etcd: %+v", m)
	}
	if m = Measure(find(t, "owner-part"), rounds); m.Median != 1 || m.Verdict != Shown {
		t.Errorf("an aim alone cannot be missed: %+v", m)
	}
	if m = Measure(find(t, "overload-shed"), rounds); m.Median != 5 || m.Verdict != Shown {
		t.Errorf("%+v", m)
	}
	if m = Measure(find(t, "put-redis-64"), rounds); m.Verdict != Unmeasured || !strings.Contains(m.Why, "by nothing") {
		t.Errorf("against a Redis that answered nothing: %+v", m)
	}
}

// A figure is missed or not measured, never met, when its runs went wrong.
func TestNothingIsMetByMistake(t *testing.T) {
	for _, m := range measured(Runs{}) {
		if m.Verdict != Unmeasured || !strings.Contains(m.Why, "did not run") {
			t.Errorf("of no run: %+v", m)
		}
	}
	r := roundOf(map[string]float64{HTTP: 100, Etcd: 100})
	open := Need{HTTP, open10k}
	late := r[open]
	late.Target, late.P99 = 10000, 900
	r[open] = late
	if m := Measure(find(t, "open-10k"), []Runs{r}); m.Verdict != Missed || !strings.Contains(m.Why, "only 100 of 10000") {
		t.Errorf("a rate not reached: %+v", m)
	}
	lossy := roundOf(map[string]float64{HTTP: 100})
	twice := Need{HTTP, Overload2}
	lost := lossy[twice]
	lost.Lost = 1
	lossy[twice] = lost
	if m := Measure(find(t, "overload-lost"), []Runs{r, lossy, r}); m.Verdict != Missed || m.Max != 1 {
		t.Errorf("one lost write in one of three rounds: %+v", m)
	}
	lost.Acked = 0
	lossy[twice] = lost
	if m := Measure(find(t, "overload"), []Runs{lossy}); m.Verdict != Unmeasured {
		t.Errorf("an overload that acknowledged nothing: %+v", m)
	}
}

func measured(rounds ...Runs) []Measured {
	var out []Measured
	for _, f := range All() {
		out = append(out, Measure(f, rounds))
	}
	return out
}

func TestOverload(t *testing.T) {
	r := roundOf(map[string]float64{HTTP: 100})
	twice := r[Need{HTTP, Overload2}]
	twice.Good = 89
	r[Need{HTTP, Overload2}] = twice
	if m := Measure(find(t, "overload"), []Runs{r}); m.Median != 0.89 || m.Verdict != Missed {
		t.Errorf("%+v", m)
	}
	once := r[Need{HTTP, Overload1}]
	once.Good = 178 // the peak, wherever it was
	r[Need{HTTP, Overload1}] = once
	if m := Measure(find(t, "overload"), []Runs{r}); m.Median != 0.5 {
		t.Errorf("%+v", m)
	}
}

func TestFiguresAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All() {
		if seen[f.ID] || f.What == "" || len(f.Needs) == 0 {
			t.Errorf("%+v", f)
		}
		seen[f.ID] = true
		if f.Better == Higher && f.Aim < f.Floor || f.Better == Lower && f.Aim > f.Floor && !f.aimOnly() {
			t.Errorf("%s: the aim %v is easier than the floor %v", f.ID, f.Aim, f.Floor)
		}
		for _, n := range f.Needs {
			if _, err := load.ParsePhase(n.Phase); err != nil && n.Phase != Overload1 && n.Phase != Overload2 {
				t.Errorf("%s: %v", f.ID, err)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	steps := Plan(All(), SceneThree)
	at := map[Need]int{}
	for i, s := range steps {
		for _, name := range s.Systems {
			n := Need{name, s.Phase}
			if _, twice := at[n]; twice {
				t.Errorf("%v runs twice", n)
			}
			at[n] = i
		}
	}
	for _, s := range Plan(All(), SceneFive) {
		for _, name := range s.Systems {
			at[Need{name, s.Phase}] = 0
		}
	}
	for _, f := range All() {
		for _, n := range f.Needs {
			if _, ok := at[n]; !ok {
				t.Errorf("%s needs %v, which never runs", f.ID, n)
			}
		}
	}
	if a, b, c := at[Saturating], at[Need{HTTP, Overload1}], at[Need{HTTP, Overload2}]; a >= b || b >= c || c != len(steps)-1 {
		t.Errorf("saturating run %d, overloads %d and %d of %d", a, b, c, len(steps))
	}
	alone := Plan([]Figure{find(t, "overload-lost")}, SceneThree)
	if len(alone) != 2 || alone[0].Phase != Saturating.Phase || strings.Join(Systems(alone), " ") != HTTP {
		t.Errorf("an overload alone: %+v", alone)
	}
	if steps := Plan([]Figure{find(t, "owner-part")}, SceneThree); steps != nil {
		t.Errorf("five nodes on three: %+v", steps)
	}
}

func TestTable(t *testing.T) {
	r := roundOf(map[string]float64{HTTP: 150, Etcd: 100})
	text := Table(measured(r, r))
	for _, want := range []string{
		"| HTTP PUT against etcd, 64 clients | 1.80x | 2.40x | 1.50x (1.50 to 1.50) | **missed** | 0.10 |",
		"| server CPU of an HTTP GET with r=1, 64 clients | at most 32 us | at most 26 us | 30 us (30 to 30) | floor met | 0.10 |",
		"| acknowledged writes lost in the overload | at most 0 keys | at most 0 keys | 0 keys (0 to 0) | aim met | 0.10 |",
		"| five nodes, Go client to any node, 5,000/s: mean |  |  | 2 ms (2 to 2) | published | 0.10 |",
		"|  | not measured [1] |  |",
		"| straight to an owner as a part of any node: p99 | published | at most 0.67x | 1.00x (1.00 to 1.00) | published | 0.10 |",
		"\n[1] round 2: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := Counts(measured(Runs{})); !strings.Contains(got, "0 missed, 38 not measured") {
		t.Errorf("%q", got)
	}
}

func TestPlot(t *testing.T) {
	r := roundOf(map[string]float64{HTTP: 150, Etcd: 100, Frames: 1e9, Redis: 1})
	all := append(measured(r), Measure(find(t, "put-etcd-64"), nil))
	svg := Plot(all, "A < B")
	d := xml.NewDecoder(strings.NewReader(svg))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if v, err := strconv.ParseFloat(a.Value, 64); a.Name.Local == "width" && err == nil {
					bars++
					if v < 0 || v > plotWidth {
						t.Errorf("a bar of %v pixels", v)
					}
				}
			}
		}
	}
	want := 0
	for _, m := range all {
		if m.Better != Published && m.ID != "overload-lost" && m.Verdict != Unmeasured {
			want++
		}
	}
	if bars != want || want < 10 {
		t.Errorf("%d bars for %d figures", bars, want)
	}
	for _, want := range []string{"A &lt; B", "1.50x (1.80 / 2.40) missed", "not measured"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
	f := find(t, "cpu-put")
	if f.times(80) != 1 || f.times(40) != 2 || f.times(0) != plotMost || plotX(99) != plotLabel+plotWidth {
		t.Error("the plot's scale is off")
	}
}
