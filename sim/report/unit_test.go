package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

func TestTimesAsAPersonReadsThem(t *testing.T) {
	for in, want := range map[time.Duration]string{0: "0 ms", 40 * time.Microsecond: "40 µs", 250 * time.Millisecond: "250 ms", 12400 * time.Millisecond: "12.40 s",
		187200 * time.Millisecond: "3:07.2", time.Hour + 3*time.Second: "1:00:03", -time.Second: "-1.00 s"} {
		if got := clock(in); got != want {
			t.Errorf("%d is written %q, not %q", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{0: "0", 10 * time.Second: "10 s", 80 * time.Second: "1:20"} {
		if got := brief(in); got != want {
			t.Errorf("%d is written %q, not %q", in, got, want)
		}
	}
}

func TestAroundKeepsTheCitedAndTheirNeighbours(t *testing.T) {
	all := make([]int, 100)
	for i := range all {
		all[i] = 1000 + i
	}
	got := around(all, map[int]bool{1000: true, 1050: true}, 7)
	if want := []int{1000, 1001, 1002, 1048, 1049, 1050, 1051}; !slices.Equal(got, want) && !slices.Equal(got, []int{1000, 1001, 1002, 1049, 1050, 1051, 1052}) {
		t.Errorf("got %v", got)
	}
	if got := around(all, nil, 7); len(got) != 7 {
		t.Errorf("without citations %v", got)
	}
}

// Bars of one row never overlap while there are rows left.
func TestBarsOfALaneDoNotHideEachOther(t *testing.T) {
	var s strip
	for i := range maxRows {
		s.add(box{X: float64(10 * i), W: 500})
	}
	s.add(box{X: 600, W: 5})
	if s.rows != maxRows || len(s.bars[0]) != 2 {
		t.Errorf("%d rows, the first has %d bars", s.rows, len(s.bars[0]))
	}
	s.add(box{X: 601, W: 5})
	for _, row := range s.bars {
		for i := 1; i < len(row); i++ {
			if row[i].X < row[i-1].X+row[i-1].W {
				t.Errorf("%v hides %v", row[i], row[i-1])
			}
		}
	}
}

func TestEveryFaultClassHasItsFamily(t *testing.T) {
	for class, want := range map[string]string{"kill": "g-process", "kill_all": "g-process", "clock_back_restart": "g-clock", "one_way": "g-network",
		"one-way": "g-network", "client_links": "g-network", "enospc": "g-disk", "disk-full": "g-disk", "raft-pause": "g-ring", "epochs": "g-ring",
		"stragglers": "g-network", "slow": "g-network", "storm": "g-process", "rollback": "g-disk", "something": otherGroup} {
		if got := groupOf(class); got != want {
			t.Errorf("%s is in %s, not %s", class, got, want)
		}
	}
}

func TestABurstDoesNotFlattenTheRest(t *testing.T) {
	count := make([][bins][fates]int, 1)
	for i := range bins {
		count[0][i][fine] = 8
	}
	count[0][bins-1][open] = 1000
	if high, most := height(count); high != 10 || most != 1008 {
		t.Errorf("a full column is %d of at most %d", high, most)
	}
}

func TestNamesAreCut(t *testing.T) {
	if got := clip(strings.Repeat("é", 300), 100); got != strings.Repeat("é", 100)+"…" {
		t.Errorf("got %q", got)
	}
	if got := clip(strings.Repeat("€", 300), 101); got != strings.Repeat("€", 101)+"…" {
		t.Errorf("got %q", got)
	}
	if got := clip("a\x00\xff", 100); got != `"a\x00\xff"` {
		t.Errorf("got %s", got)
	}
	if got := clip("naïve ✓", 100); got != "naïve ✓" {
		t.Errorf("got %s", got)
	}
}

// What the end of the faults cuts short is not drawn beyond it.
func TestHealingEndsBars(t *testing.T) {
	in := Input{VirtualSeconds: 100, Healed: 50 * time.Second, Nodes: []string{"n1"}}
	x := newAxis(&in)
	for _, f := range []Fault{{At: 40 * time.Second, For: time.Minute}, {At: 49 * time.Second, For: check.Forever}} {
		if b := x.bar(f); b.X+b.W > x.at(in.Healed)+0.1 {
			t.Errorf("%v is drawn to %v, the healing stands at %v", f, b.X+b.W, x.at(in.Healed))
		}
	}
	if b := x.bar(Fault{At: 10 * time.Second, For: 10 * time.Second}); round(b.X+b.W) != x.at(20*time.Second) {
		t.Errorf("a bar ends at %v, not %v", b.X+b.W, x.at(20*time.Second))
	}
}
