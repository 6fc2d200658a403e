package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/bench/figures"
	"github.com/quoratedb/quorate/bench/layers"
	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

func TestPresets(t *testing.T) {
	for line, want := range map[string]options{
		"":                             {rounds: 3, keys: 100000, dur: 10e9, settle: settleMax},
		"-figures":                     {rounds: 3, keys: 100000, dur: figureDur, settle: settleMax},
		"-figures -dur 2s":             {rounds: 3, keys: 100000, dur: 2e9, settle: settleMax},
		"-figures -quick":              {rounds: 1, keys: quickKeys, dur: quickDur, settle: settleQuick},
		"-quick -rounds 2 -keys 7":     {rounds: 2, keys: 7, dur: quickDur, settle: settleQuick},
		"-figures -quick -only put-.*": {rounds: 1, keys: quickKeys, dur: quickDur, settle: settleQuick, only: "put-.*"},
	} {
		o, err := parse(strings.Fields(line))
		if err != nil || o.rounds != want.rounds || o.keys != want.keys || o.dur != want.dur || o.settle != want.settle || o.only != want.only {
			t.Errorf("%q: %+v, %v", line, o, err)
		}
	}
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("no marks\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"-only x", "-svg f", "-doc f", "-figures -quick -doc " + doc, "-figures -doc " + doc, "-figures -doc /no/such", "-figures -only cpu -doc ../../docs/BENCHMARKS.md", "-figures -keys 100"} {
		if _, err := parse(strings.Fields(line)); err == nil {
			t.Errorf("%q taken", line)
		}
	}
}

func TestChosen(t *testing.T) {
	all, err := chosen("")
	if err != nil || len(all) != len(figures.All()) {
		t.Errorf("%d figures, %v", len(all), err)
	}
	if some, err := chosen("^cpu-"); err != nil || len(some) != 3 {
		t.Errorf("%d figures, %v", len(some), err)
	}
	for _, bad := range []string{"nothing-like-it", "("} {
		if _, err := chosen(bad); err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestDoc(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	before := "# Title\n\n" + docBegin + "\nnot measured yet\n" + docEnd + "\n\n## After\n"
	if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	fig, err := chosen("put-etcd-64")
	if err != nil {
		t.Fatal(err)
	}
	rounds := []figures.Runs{{}}
	rep := &report{Options: map[string]string{"rounds": "1", "dur": "1s"}}
	for system, rate := range map[string]float64{"http": 30, "etcd": 10} {
		r := load.Result{System: system, Phase: "put:64:80:zipf", Good: rate, Rate: rate}
		rounds[0][figures.Need{System: system, Phase: r.Phase}] = r
		rep.Runs = append(rep.Runs, r)
	}
	rep.Figures = []figures.Measured{figures.Measure(fig[0], rounds)}
	rep.summariseRuns()
	for range 2 { // the second time replaces the first
		if err := rep.writeDoc(file); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, "3.00x") != 1 || strings.Contains(text, "not measured yet") || !strings.HasPrefix(text, "# Title\n") || !strings.HasSuffix(text, docEnd+"\n\n## After\n") {
		t.Errorf("the document is\n%s", text)
	}
	if !strings.Contains(text, "| put:64:80:zipf | etcd | 10 (10 to 10) |") || !strings.Contains(text, "1 at their aim") {
		t.Errorf("the document lacks a row:\n%s", text)
	}
	svg, err := os.ReadFile(filepath.Join(filepath.Dir(file), docPlot))
	if err != nil || !strings.HasPrefix(string(svg), "<svg ") {
		t.Errorf("plot %.40q, %v", svg, err)
	}
	if _, err := replaceBetween("nothing", "x"); !errors.Is(err, errNoMarks) {
		t.Errorf("%v", err)
	}
}

// The document of this repository can take what is measured.
func TestOurDocHasMarks(t *testing.T) {
	if err := checkDoc("../../docs/BENCHMARKS.md"); err != nil {
		t.Error(err)
	}
}

func TestTurn(t *testing.T) {
	f := newField(nodes)
	for _, name := range []string{"http", "etcd", "redis"} {
		f.contenders = append(f.contenders, contender{name: name, cluster: (*servers.Redis)(nil)})
	}
	for round, want := range []string{"http redis", "redis http", "http redis"} {
		var got []string
		for _, c := range f.turn([]string{"http", "frames", "redis"}, round) {
			got = append(got, c.name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("round %d: %v", round, got)
		}
	}
}

func TestMarkdownProfiles(t *testing.T) {
	share := func(name string, part float64) layers.Share {
		return layers.Share{Layer: name, Share: part, Micros: part * 80, Kernel: part / 2, Memory: part / 4}
	}
	ours := []layers.Share{share("front", 0.75), share("runtime", 0.25)}
	var b strings.Builder
	markdownProfiles(&b, []profiled{
		{System: "http", Phase: "put", Micros: 80, Layers: ours},
		{System: "etcd", Phase: "put", Micros: 99, Layers: []layers.Share{share("grpc", 1)}},
		{System: "http", Phase: "get", Micros: 80, Layers: ours},
	})
	for _, want := range []string{"| Layer | http put | http get |", "| front | 60.0 (30.0, 15.0) | 60.0 (30.0, 15.0) |", "| all | 80.0 | 80.0 |", "| Layer | etcd put |\n|---|--:|\n| grpc |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if markdownProfiles(&b, nil); b.Len() > 0 {
		t.Errorf("of nothing: %q", b.String())
	}
}

func TestLostWritesAreUnsound(t *testing.T) {
	rep := &report{Runs: []load.Result{{System: "http", Phase: figures.Overload2, Acked: 5}}}
	if err := rep.unsound(); err != nil {
		t.Error(err)
	}
	rep.Runs[0].Lost = 1
	if rep.unsound() == nil {
		t.Error("a lost write passed")
	}
}
