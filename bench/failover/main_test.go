package main

import (
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func TestParse(t *testing.T) {
	o, err := parse(nil)
	if err != nil || len(o.only) != len(scenes) || o.nodes != 5 {
		t.Errorf("%+v %v", o, err)
	}
	for _, bad := range []string{"-only nothing", "-nodes 2", "-kills 0", "-rate 0", "-paused 1ms", "x"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestKeysFallIntoTheirPartitions(t *testing.T) {
	for p := range 64 {
		if got := hashring.PartitionOf(hashring.Hash(bucket, []byte(keyOf(p, 64))), 64); got != uint32(p) {
			t.Errorf("the key of %d is in %d", p, got)
		}
	}
}

func TestTheBusiestIsNext(t *testing.T) {
	for _, c := range []struct {
		primaries  []int
		last, want int
	}{{[]int{0, 1, 1, 2}, -1, 1}, {[]int{0, 1, 2}, 0, 1}, {[]int{0, 1, 2}, 2, 0}, {[]int{-1, -1, 2}, 0, 2}} {
		if got := (ring{c.primaries}).busiest(3, c.last); got != c.want {
			t.Errorf("%v after %d: %d", c.primaries, c.last, got)
		}
	}
}

func TestReport(t *testing.T) {
	var d []time.Duration
	for i := range 100 {
		d = append(d, time.Duration(100-i)*time.Second)
	}
	if a, b, c := quantile(d, 0.5), quantile(d, 0.99), quantile(d, 1); a != 51 || b != 100 || c != 100 || quantile(nil, 0.5) != 0 {
		t.Error(a, b, c)
	}
	r := report{}
	r.add(figure{Name: "a", Value: 3, Unit: "s", Most: 4})
	r.add(figure{Name: "b", Value: 5, Unit: "s", Most: 4})
	r.add(figure{Name: "c", Value: 0.5, Unit: "x", Least: 0.9})
	r.add(figure{Name: "d", Value: 7})
	text := r.markdown()
	for _, want := range []string{"| a | 3 s | at most 4 s | met |", "| b | 5 s | at most 4 s | **missed** |", "| c | 0.5 x | at least 0.9 x | **missed** |", "| d | 7  |  | published |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestReasonsAreListed(t *testing.T) {
	if got := listed(map[string]int{"b": 2, "a": 2, "timeout": 11}); got != "11 timeout, 2 a, 2 b" || listed(map[string]int{}) != "" {
		t.Errorf("%q, and for none %q", got, listed(map[string]int{}))
	}
}

// What is older than asked for is forgotten.
func TestShotsAreForgotten(t *testing.T) {
	p := &probe{}
	now := time.Now()
	p.shots = []shot{{ended: now.Add(-time.Second)}, {ended: now.Add(time.Second)}}
	if got := p.since(now); len(got) != 1 || len(p.shots) != 1 {
		t.Errorf("%v, %v kept", got, p.shots)
	}
}
