package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/bench/load"
)

func runOf(system string, rate, p99 float64) load.Result {
	return load.Result{System: system, Phase: "put:64:80:zipf", Rate: rate, Good: rate, P99: p99, ServerCPU: 1e5 / rate, RSS: []int64{1 << 20, 3 << 20}}
}

func TestReport(t *testing.T) {
	o, err := parse([]string{"-phases", "put:64:80:zipf", "-systems", "quorate,etcd"})
	if err != nil {
		t.Fatal(err)
	}
	rep := &report{Options: o.describe(), Runs: []load.Result{
		runOf("quorate", 300, 5), runOf("etcd", 100, 10), runOf("quorate", 100, 50), runOf("etcd", 50, 20), runOf("quorate", 200, 6), runOf("etcd", 900, 30)}}
	rep.summarise(o)
	if len(rep.Summary) != 2 || rep.Summary[0].Rate != 200 || rep.Summary[0].RateMin != 100 || rep.Summary[0].RateMax != 300 || rep.Summary[0].RSSMiB != 3 {
		t.Errorf("summary %+v", rep.Summary)
	}
	if len(rep.Ratios) != 1 {
		t.Fatalf("ratios %+v", rep.Ratios)
	}
	r := rep.Ratios[0]
	if r.Rate != 2 || r.P99 != 0.3 || r.ServerCPU != 0.5 || r.verdict() != "1.3: met" {
		t.Errorf("ratio %+v is %q", r, r.verdict())
	}
	r.Rate = 1.29
	if r.verdict() != "1.3: missed" {
		t.Errorf("1.29 is %q", r.verdict())
	}
	text := rep.markdown()
	for _, want := range []string{"| put:64:80:zipf | quorate | 200 (100 to 300) |", "| put:64:80:zipf | quorate / etcd | 2.00 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "NOISY") {
		t.Error("quiet runs are called noisy")
	}
	rep.Runs[0].Other = 1.2
	if text := rep.markdown(); !strings.Contains(text, "NOISY: in 1 of 6 runs") {
		t.Errorf("a noisy run passed in silence:\n%s", text)
	}
	if rep.unsound() != nil {
		t.Error(rep.unsound())
	}
	rep.Runs[3].Missing = 1
	if rep.unsound() == nil {
		t.Error("a missing value passed")
	}
}

// What ran at the same time is compared round by round: the machine was as fast for both.
func TestAbreast(t *testing.T) {
	o, err := parse([]string{"-phases", "put:64:80:zipf", "-systems", "strong,oldstrong", "-old", "bin", "-abreast"})
	if err != nil {
		t.Fatal(err)
	}
	rep := &report{Options: o.describe(), Runs: []load.Result{
		runOf("strong", 300, 5), runOf("oldstrong", 100, 10), runOf("strong", 110, 50), runOf("oldstrong", 100, 50), runOf("strong", 50, 6), runOf("oldstrong", 200, 30)}}
	rep.summarise(o)
	if len(rep.Ratios) != 1 {
		t.Fatalf("ratios %+v", rep.Ratios)
	}
	if r := rep.Ratios[0]; r.Rate != 1.1 || r.P99 != 0.5 || r.verdict() != "0.97: met" {
		t.Errorf("ratio %+v is %q", r, r.verdict())
	}
	if text := rep.markdown(); !strings.Contains(text, "- abreast: ") {
		t.Errorf("the report does not say how it was made:\n%s", text)
	}
	for _, args := range [][]string{{"-systems", "quorate,strong"}, {"-systems", "old,oldstrong", "-old", "bin"}, {"-figures"}, {"-profiles", "x"}, {"-quiet", "1"}} {
		if _, err := parse(append(args, "-abreast")); err == nil {
			t.Errorf("-abreast %v taken", args)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-redis", "-wide", "-rates", "1000,2000"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(o.systems, "redis") || len(o.phases) != 8 || o.phases[7].Rate != 2000 {
		t.Errorf("%+v", o)
	}
	for _, args := range [][]string{{"-systems", "mysql"}, {"-systems", "oldstrong"}, {"-systems", "etcd,etcd"}, {"-phases", "load:1:80:zipf"}, {"-rounds", "0"}, {"-rates", "x"}, {"extra"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v taken", args)
		}
	}
	if got := valueSizes(o.phases); !slices.Equal(got, []int{80}) {
		t.Errorf("value sizes %v", got)
	}
}
