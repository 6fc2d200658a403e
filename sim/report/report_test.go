package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim/check"
	"github.com/quoratedb/quorate/sim/report"
)

// render draws and insists on a well-formed page that needs nothing from elsewhere.
func render(t *testing.T, in report.Input) string {
	t.Helper()
	var b strings.Builder
	if err := report.HTML(&b, in); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if slices.Contains([]string{"script", "iframe", "img", "link", "object", "use", "image", "foreignObject"}, el.Name.Local) {
			t.Fatalf("the page has a <%s>", el.Name.Local)
		}
		for _, a := range el.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "src" || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
				t.Fatalf("<%s %s=%q>", el.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	for _, bad := range []string{"ZgotmplZ", "NaN", "Inf", "url("} {
		if strings.Contains(page, bad) {
			t.Fatalf("the page has %q", bad)
		}
	}
	return page
}

// holdsEverything looks for every fault, violation and scenario of a run.
func holdsEverything(t *testing.T, in report.Input, page string) {
	t.Helper()
	plain := html.UnescapeString(page)
	for _, f := range in.Faults {
		if want := fmt.Sprintf("<title>#%d %s at ", f.ID, f.Class); strings.Count(plain, want) != max(len(f.Nodes), 1) {
			t.Errorf("fault %d is there %d times, not once for each of %v", f.ID, strings.Count(plain, want), f.Nodes)
		}
	}
	for i, v := range in.Violations {
		_, section, _ := strings.Cut(plain, fmt.Sprintf("<article id=\"v%d\">", i+1))
		section, _, _ = strings.Cut(section, "</article>")
		if !strings.Contains(section, v.Kind) || !strings.Contains(section, v.Detail) {
			t.Errorf("violation %v is not told", v)
		}
		for _, at := range v.Ops {
			if !strings.Contains(section, fmt.Sprintf("<td class=\"n\">%d</td>", at)) {
				t.Errorf("violation %d does not show operation %d", i+1, at)
			}
		}
		if v.Key == "" {
			continue
		}
		keys := plain[strings.Index(plain, "<h2>The keys</h2>"):]
		for at := range in.History {
			if in.History[at].Key == v.Key && in.History[at].Bucket == v.Bucket && !strings.Contains(keys, fmt.Sprintf("<td class=\"n\">%d</td>", at)) {
				t.Errorf("operation %d of %s/%s is missing", at, v.Bucket, v.Key)
			}
		}
	}
	for _, s := range in.Scenarios {
		if !strings.Contains(plain, s.ID+"</b> "+s.About) {
			t.Errorf("scenario %s is missing", s.ID)
		}
	}
	for _, n := range in.Nodes {
		if strings.Count(plain, ">"+n+"</text>") != 2 {
			t.Errorf("node %s does not have its two lanes", n)
		}
	}
}

func small() report.Input {
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return report.Input{
		Seed: 42, TraceHash: "00ff", Replay: "quorate sim --seed 42", VirtualSeconds: 60, WallSeconds: 0.1, Nodes: []string{"n1", "n2"}, Healed: at(50),
		Faults: []report.Fault{{ID: 1, Class: "kill", At: at(3), For: at(10), Nodes: []string{"n1"}}, {ID: 2, Class: "loss", At: at(8), For: at(4), Amount: "0.2"},
			{ID: 3, Class: "pause", At: at(9), Nodes: []string{"n1", "n2"}}},
		History: []check.Op{
			{Client: 1, Kind: check.Write, Bucket: "b", Key: "k", Call: at(1), Return: at(2), Value: "a", Node: "n1"},
			{Client: 2, Kind: check.Write, Bucket: "b", Key: "k", Call: at(4), Outcome: check.Unknown, Value: "c", Node: "n2", HasContext: true, Context: []string{"a"}},
			{Client: 1, Kind: check.Read, Bucket: "b", Key: "k", Call: at(5), Return: at(6), Node: "n2"},
			{Client: 1, Kind: check.Read, Bucket: "b", Key: "other", Call: at(7), Return: at(8), Read: []string{"x"}, Node: "n2"},
		},
		Violations: []report.Violation{{At: at(7), Violation: check.Violation{Check: "eventual", Kind: check.Lost, Bucket: "b", Key: "k", Detail: "gone", Ops: []int{2, 0}}}},
		Scenarios:  []report.Scenario{{ID: "F33", About: "power", Reached: true}, {ID: "F46", About: "session"}, {ID: "F01", About: "strong", Later: "strong mode"}},
	}
}

func TestASmallRun(t *testing.T) {
	in := small()
	page := render(t, in)
	holdsEverything(t, in, page)
	for _, want := range []string{"1 violation", "seed <b>42</b>", "00ff", "quorate sim --seed 42", "#2 loss at 8.00 s to 12.00 s (4.00 s), 0.2", "→ not found",
		"1 reached", "1 not reached in this run", "1 out of reach", "<li><b class=\"dim\">F01</b> strong <span class=\"dim\">(strong mode)",
		"0 answered, 0 refused, 1 unknown or failed</title>", "answered <b>3</b>", "unknown or failed <b>1</b>", "all faults over at 50.00 s"} {
		if !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestACleanRunAndAnEmptyOne(t *testing.T) {
	in := small()
	in.Violations = nil
	for name, in := range map[string]report.Input{"clean": in, "empty": {}} {
		page := render(t, in)
		if !strings.Contains(page, "<h1>No violation</h1>") || strings.Contains(page, "LOST") {
			t.Errorf("%s: the verdict is wrong", name)
		}
	}
}

func TestHostileTextStaysText(t *testing.T) {
	for _, evil := range []string{`</style></title></svg><script>alert(1)</script>`, `" onload="alert(1)`, "{{.}}", "\x00\xff\xfe\x1b[31m", "]]><!--", "javascript:alert(1)", strings.Repeat("long", 1<<16)} {
		in := small()
		in.Title, in.TraceHash, in.Replay, in.Nodes[0] = evil, evil, evil, evil
		in.Options, in.Counts = []report.Pair{{Name: evil, Value: evil}}, []report.Pair{{Name: evil, Value: evil}}
		in.Faults[0] = report.Fault{Class: evil, About: evil, Amount: evil, Nodes: []string{evil}, At: time.Second, For: time.Minute}
		for i := range in.History {
			o := &in.History[i]
			o.Bucket, o.Key, o.Value, o.Version, o.Node, o.Context, o.Read = evil, evil, evil, evil, evil, []string{evil}, []string{evil}
		}
		v := &in.Violations[0].Violation
		v.Kind, v.Check, v.Bucket, v.Key, v.Detail = evil, evil, evil, evil, evil
		in.Scenarios = append(in.Scenarios, report.Scenario{ID: evil, About: evil, Later: evil})
		if page := render(t, in); len(page) > 300_000 {
			t.Errorf("%.20q makes a page of %d bytes", evil, len(page))
		}
	}
}

// Positions that are not of the violation's key belong to another history.
func TestPositionsOfAnotherHistory(t *testing.T) {
	in := small()
	in.Violations[0].Ops = []int{-1, 3, 99, 0}
	page := render(t, in)
	if !strings.Contains(page, "3 cited positions not in this history, or of another key.") {
		t.Error("positions that lead astray are not told")
	}
	if _, section, _ := strings.Cut(page, `<article id="v1">`); strings.Contains(section, `<td class="n">3</td>`) {
		t.Error("an operation of another key is shown")
	}
}

func TestABigRunStaysBounded(t *testing.T) {
	in := small()
	var ops []int
	for i := range 200_000 {
		in.History = append(in.History, check.Op{Client: i % 50, Kind: check.Write, Bucket: "b", Key: fmt.Sprint("k", i%20), Value: fmt.Sprint(i),
			Call: time.Duration(i) * time.Millisecond, Return: time.Duration(i+2) * time.Millisecond, Node: fmt.Sprint("n", i%100)})
		ops = append(ops, len(in.History)-1)
	}
	for i := range 20_000 {
		in.Faults = append(in.Faults, report.Fault{ID: i + 10, Class: "pause", At: time.Duration(i) * 10 * time.Millisecond, For: 1 << 62, Nodes: []string{"n1", "n7"}})
	}
	for i := range 1000 {
		in.Nodes = append(in.Nodes, fmt.Sprint("n", i+3))
		in.Violations = append(in.Violations, report.Violation{Violation: check.Violation{Kind: check.Stale, Bucket: "b", Key: fmt.Sprint("k", i%20), Ops: ops}})
	}
	page := html.UnescapeString(render(t, in))
	if len(page) > 8<<20 {
		t.Errorf("a page of %d bytes", len(page))
	}
	for _, want := range []string{"are not drawn.", "more violations are not told", "more operations cited.", "more keys are not told in full", "those nearest to what is cited",
		"beyond those drawn", "Only the first 500 of the operations cited are marked"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestTimesThatMakeNoSense(t *testing.T) {
	in := small()
	in.VirtualSeconds, in.WallSeconds = -5, 0
	in.Faults = append(in.Faults, report.Fault{ID: 9, Class: "odd", At: -time.Hour, For: -time.Second}, report.Fault{ID: 10, Class: "odd", At: check.Forever, For: check.Forever})
	in.History[0].Call, in.History[0].Return = -time.Hour, check.Forever
	in.History[2].Return = -1
	render(t, in)
}

func TestAWriterThatFails(t *testing.T) {
	if err := report.HTML(full{}, small()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

var errFull = errors.New("no space")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
