package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/bench"
)

// With no flags: one node that works. The ports come from the environment, so that the
// test may run beside a node on the default ones.
func TestE2EServeWithNoFlags(t *testing.T) {
	t.Parallel()
	n := newNode(t, "n1")
	cmd := exec.Command(binary, "serve")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "QUORATE_API="+n.api, "QUORATE_GOSSIP="+n.gossip, "QUORATE_PEER="+n.peer)
	n.run(cmd)
	n.ready()
	if want := regexp.MustCompile(`(?m)^ready api=http://` + n.api + ` node=n1$`); !want.MatchString(n.log.String()) {
		t.Errorf("no line %q in:\n%s", want, n.log.String())
	}
	key := "http://" + n.api + "/keys/greeting"
	must(t, http.MethodPut, key, "hello", 204)
	if got := must(t, http.MethodGet, key, "", 200); got != "hello" {
		t.Errorf("got %q", got)
	}
	must(t, http.MethodDelete, key, "", 204)
	must(t, http.MethodGet, key, "", 404)
	if _, err := os.Stat(cmd.Dir + "/quorate-data"); err != nil {
		t.Error(err)
	}
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the reload", 10*time.Second, func() error {
		if !strings.Contains(n.log.String(), "configuration read again") {
			return fmt.Errorf("log %s", n.log.String())
		}
		return nil
	})
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := n.exits(20 * time.Second); code != 0 {
		t.Errorf("exit %d after TERM:\n%s", code, n.log.String())
	}
}

// Five nodes: one cluster for everything that leaves it healthy.
func TestE2EFiveNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 5)
	t.Run("every node serves", func(t *testing.T) { everyNodeServes(t, nodes) })
	t.Run("command line", func(t *testing.T) { commandLine(t, nodes) })
	t.Run("garbage on the ports", func(t *testing.T) { garbage(t, nodes) })
	if long() {
		t.Run("verify 60 s", func(t *testing.T) {
			verifyUnderKills(t, nodes, 60*time.Second, 64, []kill{{10 * time.Second, 1}, {35 * time.Second, 1}}, 8*time.Second)
		})
	} else {
		t.Run("verify 8 s", func(t *testing.T) {
			verifyUnderKills(t, nodes, 8*time.Second, 32, []kill{{2 * time.Second, 1}}, 2*time.Second)
		})
	}
	t.Run("verify strict", func(t *testing.T) {
		r := verifyUnderKills(t, nodes, 5*time.Second, 32, []kill{{time.Second, 3}}, 2*time.Second, "--sloppy=false", "--r", "2", "--w", "2")
		if !r.Verify.Strict {
			t.Errorf("%+v", r.Verify)
		}
	})
	cycles := 2
	if long() {
		cycles = 20
	}
	t.Run("kill all", func(t *testing.T) { killAll(t, nodes, cycles) })
}

func everyNodeServes(t *testing.T, nodes []*tnode) {
	for i, n := range nodes {
		other := nodes[(i+1)%len(nodes)]
		path := "/keys/from-" + n.name
		must(t, http.MethodPut, "http://"+n.api+path, "hello from "+n.name, 204)
		if got := must(t, http.MethodGet, "http://"+other.api+path, "", 200); got != "hello from "+n.name {
			t.Errorf("%s through %s: %q", path, other.name, got)
		}
		must(t, http.MethodDelete, "http://"+other.api+path, "", 204)
		must(t, http.MethodGet, "http://"+n.api+path, "", 404)
	}
}

// commandLine drives every client command at a real cluster.
func commandLine(t *testing.T, nodes []*tnode) {
	addrs := apis(nodes)
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"put k1 v1", 0, "acks="}, {"get k1", 0, "v1"}, {"get k1 -o table", 0, "n=3"},
		{"inspect k1", 0, "owner"}, {"list --prefix k -o raw", 0, "k1\n"}, {"list --prefix k -o table", 0, "k1"},
		{"delete k1", 0, "acks="}, {"get k1", 3, ""},
		{"bucket list", 0, "default"}, {"bucket create b2 --n 2", 0, "b2"}, {"bucket create b2 --n 2", 0, "b2"},
		{"bucket create b2 --n 3", 4, ""}, {"bucket set b2 --r 1", 0, "b2"}, {"bucket show b2", 0, "eventual"},
		{"put k2 v2 -b b2", 0, "n=2"}, {"get k2 -b b2", 0, "v2"}, {"bucket delete b2 --yes", 0, ""},
		{"get k2 -b b2", 3, ""}, {"put k v --w 9", 2, ""},
		{"cluster", 0, "64 ok"}, {"cluster -o ndjson", 0, `"n3"`}, {"ring", 0, "PARTITION"}, {"ring locate k1", 0, "FALLBACKS"},
		{"put k v --addrs 127.0.0.1:1", 5, ""},
	} {
		args := strings.Fields(c.line)
		if !strings.Contains(c.line, "--addrs") {
			args = append(args, "--addrs", addrs)
		}
		if r := quorate(t, args...); r.code != c.code || !strings.Contains(r.out, c.want) {
			t.Errorf("%s: exit %d, want %d with %q; got %s %s", c.line, r.code, c.code, c.want, r.out, r.err)
		}
	}
}

// kill is a kill -9 at a time of a run.
type kill struct {
	at   time.Duration
	node int
}

// verifyUnderKills runs the benchmark's check through all nodes while nodes are killed
// and started again: no error after retries, nothing acknowledged lost.
func verifyUnderKills(t *testing.T, nodes []*tnode, length time.Duration, concurrency int, kills []kill, away time.Duration, extra ...string) *bench.Report {
	t.Helper()
	var wg sync.WaitGroup
	began := time.Now()
	for _, k := range kills {
		wg.Go(func() {
			<-time.After(time.Until(began.Add(k.at)))
			nodes[k.node].kill()
			<-time.After(away)
			nodes[k.node].start()
		})
	}
	r := quorate(t, append([]string{"bench", "--verify", "--addrs", apis(nodes), "--concurrency", strconv.Itoa(concurrency), "--mix", "50",
		"--keys", "2000", "--duration", length.String(), "-o", "json"}, extra...)...)
	wg.Wait()
	var report bench.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("exit %d, %v: %s", r.code, err, r.err)
	}
	if r.code != 0 || report.Errors != 0 || report.Verify == nil || report.Verify.Lost != 0 || report.Verify.Acked == 0 {
		t.Errorf("exit %d: %s\n%s", r.code, r.err, r.out)
	}
	t.Logf("%d ops, %.0f/s, retries %v, verify %+v", report.Ops, report.OpsPerS, report.RetriesBy, report.Verify)
	for _, k := range kills {
		nodes[k.node].ready()
	}
	return &report
}

// killAll kills all nodes with -9 at a random moment of a write load and starts them
// again: every acknowledged write is there.
func killAll(t *testing.T, nodes []*tnode, cycles int) {
	for cycle := range cycles {
		o := bench.Default()
		for _, n := range nodes {
			o.Addrs = append(o.Addrs, "http://"+n.api)
		}
		o.Verify, o.ReadPercent, o.Concurrency, o.Keys = true, 0, 32, 2000
		moment := 300*time.Millisecond + rand.N(900*time.Millisecond)
		// The load ends with the kill, but for what is in flight, so that later writes
		// do not hide what is lost.
		o.Duration, o.Warmup, o.OpTimeout = moment+20*time.Millisecond, 0, readyWithin+15*time.Second
		run, err := bench.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			<-time.After(moment)
			for _, n := range nodes {
				_ = n.cmd.Process.Kill() // all before any is waited for
			}
			for _, n := range nodes {
				<-n.gone
				n.start()
			}
		})
		r, err := run.Do(t.Context())
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Failed(); err != nil {
			t.Errorf("cycle %d, killed after %v: %v\n%+v", cycle, moment, err, r.Verify)
		}
		t.Logf("cycle %d, killed after %v: %d writes acknowledged, %d lost, retries %v", cycle, moment, r.Verify.Acked, r.Verify.Lost, r.RetriesBy)
		for _, n := range nodes {
			n.ready()
		}
	}
}
