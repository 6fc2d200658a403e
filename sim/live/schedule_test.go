package live

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	for seed := range uint64(50) {
		for _, nodes := range []int{2, 3, 5, 12} {
			length := []time.Duration{8 * time.Second, 2 * time.Minute}[seed%2]
			got := Schedule(seed, nodes, length, Faults())
			if again := Schedule(seed, nodes, length, Faults()); fmt.Sprint(again) != fmt.Sprint(got) {
				t.Fatalf("seed %d: two schedules", seed)
			}
			checkSchedule(t, got, nodes, length)
		}
	}
	if fmt.Sprint(Schedule(1, 5, time.Minute, Faults())) == fmt.Sprint(Schedule(2, 5, time.Minute, Faults())) {
		t.Error("two seeds, one schedule")
	}
	if got := Schedule(1, 5, time.Minute, []string{NoFaults}); got != nil {
		t.Errorf("got %v", got)
	}
}

func checkSchedule(t *testing.T, got []Fault, nodes int, length time.Duration) {
	t.Helper()
	busy := map[track]time.Duration{}
	seen := map[string]int{}
	for _, f := range got {
		at := slices.IndexFunc(classes, func(c class) bool { return c.name == f.Class })
		if f.At < busy[classes[at].track] || f.Until <= f.At || f.Until >= length {
			t.Errorf("%v from %v until %v of %v, its track is busy until %v", f, f.At, f.Until, length, busy[classes[at].track])
		}
		busy[classes[at].track] = f.Until
		seen[f.Class]++
		for _, n := range f.Nodes {
			if n < 0 || n >= nodes {
				t.Errorf("%v: no such node", f)
			}
		}
		if len(f.Nodes) == 0 || f.Class == "partition" && len(f.Nodes) == nodes {
			t.Errorf("%v strikes nobody", f)
		}
	}
	if length >= time.Minute {
		for _, c := range classes {
			if seen[c.name] < 2 {
				t.Errorf("%d times %s in %v", seen[c.name], c.name, length)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	good := Default()
	if err := good.Check(); err != nil || len(good.Faults) != len(classes) || len(good.Workloads) != len(workloads) {
		t.Fatalf("%v, %+v", err, good)
	}
	pointed := Default()
	pointed.Addrs = []string{"http://127.0.0.1:1"}
	if err := pointed.Check(); err != nil || !slices.Equal(pointed.Faults, []string{NoFaults}) {
		t.Fatalf("%v, %+v", err, pointed)
	}
	for name, change := range map[string]func(*Options){
		"nodes":         func(o *Options) { o.Nodes = NodesMax + 1 },
		"duration":      func(o *Options) { o.Duration = time.Second },
		"rate":          func(o *Options) { o.Rate = 0 },
		"clients":       func(o *Options) { o.Clients = 0 },
		"fault":         func(o *Options) { o.Faults = []string{"kill", "earthquake"} },
		"none and more": func(o *Options) { o.Faults = []string{NoFaults, "kill"} },
		"no fault":      func(o *Options) { o.Faults = []string{} },
		"workload":      func(o *Options) { o.Workloads = []string{"bank"} },
		"a partition":   func(o *Options) { o.Nodes, o.Faults = 1, []string{"partition"} },
		"addrs":         func(o *Options) { o.Addrs, o.Faults = []string{"http://127.0.0.1:1"}, []string{"kill"} },
	} {
		o := Default()
		if change(&o); o.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	one := Default()
	one.Nodes = 1
	if err := one.Check(); err != nil || slices.Contains(one.Faults, "partition") {
		t.Errorf("%v, %v", err, one.Faults)
	}
}
