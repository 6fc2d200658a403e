package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node"
	"github.com/quoratedb/quorate/sim/live"
)

// quorate check as a user runs it: kills and partitions on real nodes, every promise
// held, nothing left behind.
func TestE2ECheck(t *testing.T) {
	t.Parallel()
	nodes, length, faults := 3, "9s", []string{"kill", "partition"}
	if long() {
		nodes, length, faults = 5, "2m", []string{"kill", "pause", "partition"}
	}
	r := checked(t, nodes, length, faults)
	if len(r.Checks) < 18 {
		t.Errorf("too little was looked at: %+v", r.Checks)
	}
}

// The same on strong buckets alone, with clocks that jump and disks that are full too.
func TestE2EStrongCheck(t *testing.T) {
	if !long() {
		t.Parallel()
	}
	nodes, length, faults, least := 3, "10s", []string{"kill", "clock"}, 1
	if long() {
		least = 100
		nodes, length, faults = 5, "2m", []string{"kill", "kill-all", "pause", "partition", "one-way", "clock", "disk-full", "raft-pause"}
	}
	r := checked(t, nodes, length, faults, "--workload", "register,append,create,counter,lock")
	if r.Outcomes["writes mismatch"] < 20 {
		t.Errorf("too few conditions were refused: %v", r.Outcomes)
	}
	for _, kind := range []string{"leader", "lease", "quorum", "replica", "stale"} {
		if kind == "lease" && !node.BootTime() {
			continue // such nodes answer as the leader
		}
		if r.Reads[kind] < least {
			t.Errorf("too few %s reads were answered: %v", kind, r.Reads)
		}
	}
}

// checked runs quorate check, in which every promise must hold.
func checked(t *testing.T, nodes int, length string, faults []string, more ...string) *live.Report {
	t.Helper()
	tmp := t.TempDir()
	cmd := exec.Command(binary, append([]string{"check", "--duration", length, "--nodes", strconv.Itoa(nodes), "--faults", strings.Join(faults, ","), "-o", "json"}, more...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	talk := &logBuffer{}
	cmd.Stderr = talk
	out, err := cmd.Output()
	var r live.Report
	if bad := errors.Join(err, json.Unmarshal(out, &r)); bad != nil {
		t.Fatalf("%v\n%s\n%s", bad, out, talk.String())
	}
	t.Logf("seed %d: %d operations on %d keys, outcomes %v, strong reads %v, faults %v, at rest %.1f s after healing", r.Seed, r.Operations, r.Keys, r.Outcomes, r.Reads, r.Faults, r.Healed)
	for _, v := range r.Checks {
		t.Logf("%-16s %-8s %6d  %s", v.Check, v.Verdict, v.Looked, v.Detail)
		if v.Verdict != live.Holds && v.Verdict != live.Note {
			t.Errorf("%+v", v)
		}
	}
	for _, f := range faults {
		if r.Faults[f] == 0 || !strings.Contains(talk.String(), "s  "+f+" ") {
			t.Errorf("no %s in %v:\n%s", f, r.Faults, talk.String())
		}
	}
	if r.Outcomes["reads ok"] < 20 || r.Outcomes["writes ok"] < 20 {
		t.Errorf("too little was looked at: %+v", r)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return &r
}

func TestE2ECheckUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--faults earthquake", "--workload bank", "--nodes 0", "--duration 1s", "--addrs 127.0.0.1:1 --faults kill", "--faults="} {
		if r := quorate(t, append([]string{"check"}, strings.Fields(args)...)...); r.code != exitUsage || r.out != "" {
			t.Errorf("%s: exit %d, %s %s", args, r.code, r.out, r.err)
		}
	}
}

// The demo isolates a node: the others see it as gone, it serves what needs nobody
// else, and after healing all is well. Then a check is pointed at that cluster.
func TestE2EDemoIsolatesANode(t *testing.T) {
	t.Parallel()
	first := freePorts(t, 30)
	port := strconv.Itoa(first)
	cmd := exec.Command(binary, "demo", "--nodes", "3", "--api-port", port, "--duration", "3m", "--script", "0s isolate n3; 6s heal n3")
	talk, out := &logBuffer{}, &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("the demo said:\n%s", lastLines(talk.String(), 40))
		}
	}()
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt) // where that does not work, the kill does
		select {
		case <-gone:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
		}
	}()
	n1 := fmt.Sprintf("http://127.0.0.1:%d", first)
	n3 := fmt.Sprintf("http://127.0.0.1:%d", first+20)
	third := func(alive bool) func() error {
		return func() error { return seesThird(t, n1, alive) }
	}
	waitFor(t, "n3 is gone for n1", readyWithin, third(false))
	if !strings.Contains(talk.String(), "heal n3") { // a busy machine may be late
		if _, err := httpDo(t, http.MethodPut, n3+"/keys/alone?sloppy=false", "v", 503, 504); err != nil && !strings.Contains(talk.String(), "heal n3") {
			t.Error(err)
		}
	}
	waitFor(t, "n3 is back for n1", readyWithin, third(true))
	waitFor(t, "n3 writes with the others", readyWithin, func() error {
		_, err := httpDo(t, http.MethodPut, n3+"/keys/together?sloppy=false&w=3", "v", 204)
		return err
	})
	if !strings.Contains(out.String(), "QUORATE_TESTING=1") || !strings.Contains(talk.String(), "isolate n3: done") {
		t.Errorf("%s\n%s", out.String(), talk.String())
	}
	r := quorate(t, "check", "--addrs", n1+","+n3, "--duration", "3s")
	if r.code != 0 || !regexp.MustCompile(`(?m)^faults +none$`).MatchString(r.out) {
		t.Errorf("exit %d: %s\n%s", r.code, r.out, r.err)
	}
	if list := quorate(t, "bucket", "list", "--addrs", n1); strings.Contains(list.out, "check-") {
		t.Errorf("buckets are left:\n%s", list.out)
	}
}

func seesThird(t *testing.T, api string, alive bool) error {
	body, err := httpDo(t, http.MethodGet, api+"/v1/cluster", "", 200)
	if err != nil {
		return err
	}
	var d struct {
		Nodes []struct {
			Name  string
			Alive bool
		}
		Testing []string
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		return err
	}
	if !slices.Contains(d.Testing, "n1 peer-via") {
		return fmt.Errorf("testing is not shown: %v", d.Testing)
	}
	for _, n := range d.Nodes {
		if n.Name == "n3" && n.Alive == alive {
			return nil
		}
	}
	return fmt.Errorf("n1 sees %+v after %v", d.Nodes, time.Now().Format(time.TimeOnly))
}
