package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary plays a node, and a parent that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("DEMO_TEST_ROLE") {
	case "node":
		playNode(os.Args)
	case "parent":
		playParent()
	default:
		os.Exit(m.Run())
	}
}

// playNode answers everything on --api until its standard input ends.
func playNode(args []string) {
	flags := map[string]string{}
	for i := range args[:len(args)-1] {
		flags[args[i]] = args[i+1]
	}
	fmt.Fprintln(os.Stderr, "fake node", flags["--name"])
	if os.Getenv("DEMO_TEST_DIES") == flags["--name"] {
		fmt.Fprintln(os.Stderr, "the planted reason")
		os.Exit(3)
	}
	l, err := net.Listen("tcp", flags["--api"])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/crash":
				fmt.Fprintln(os.Stderr, "panic: the planted crash")
				os.Exit(2)
			case r.Method == http.MethodPut:
				w.WriteHeader(http.StatusNoContent)
			}
		}))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func playParent() {
	o := options(3)
	o.Dir = os.Getenv("DEMO_TEST_DIR")
	o.Script, _ = ParseScript("0s pause n2")
	o.Term.Out = os.Stdout
	fmt.Fprintln(os.Stderr, Run(context.Background(), o, os.Stderr))
}

func options(nodes int) Options {
	return Options{Nodes: nodes, APIPort: freePort(nodes), Command: []string{os.Args[0]},
		Env: append(os.Environ(), "DEMO_TEST_ROLE=node"), Term: Terminal{Out: io.Discard}}
}

// freePort finds a base whose ports are free now, below the range that the system
// hands out by itself.
func freePort(nodes int) int {
	for {
		o := Options{Nodes: nodes, APIPort: 20000 + rand.IntN(10000)}
		if portsFree(context.Background(), o.plan("")) == nil {
			return o.APIPort
		}
	}
}

// safeBuffer is written by the demo and read by the test.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestParseScript(t *testing.T) {
	got, err := ParseScript("8s start n2; 5s kill n2;;10s pause n3; 12.5s resume n3")
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got); s != "[5s kill n2 8s start n2 10s pause n3 12.5s resume n3]" {
		t.Fatalf("got %s", s)
	}
	for _, bad := range []string{"5s", "x kill n1", "-1s kill n1", "5s eat n1", "5s kill 1", "5s kill n0", "5s kill n99", "5s kill n1 now", strings.Repeat("1s kill n1;", scriptMax+1)} {
		if _, err := ParseScript(bad); err == nil {
			t.Errorf("%.30q was taken", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	late, _ := ParseScript("1s kill n4")
	for name, o := range map[string]Options{
		"--nodes":    {Nodes: NodesMax + 1, APIPort: 7400},
		"--api-port": {Nodes: 5, APIPort: 65500},
		"--duration": {Nodes: 1, APIPort: 7400, Duration: -1},
		"--script":   {Nodes: 3, APIPort: 7400, Script: late},
	} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIsolationOnlyWhereItIsWanted(t *testing.T) {
	script, err := ParseScript("1s isolate n2; 2s heal n2")
	if err != nil {
		t.Fatal(err)
	}
	in := strings.NewReader("")
	for _, c := range []struct {
		name string
		o    Options
		want bool
	}{
		{"nothing asks for it", Options{Nodes: 3, Isolation: true}, false},
		{"keys", Options{Nodes: 3, Isolation: true, Term: Terminal{In: in}}, true},
		{"keys, and not wanted", Options{Nodes: 3, Term: Terminal{In: in}}, false},
		{"keys, too many nodes", Options{Nodes: NodesMax, Isolation: true, Term: Terminal{In: in}}, false},
		{"a script", Options{Nodes: 3, Script: script}, true},
	} {
		if got := c.o.isolates(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	many := Options{Nodes: NodesMax, APIPort: 7400, Script: script}
	if err := many.Check(); err == nil || !strings.Contains(err.Error(), "--script") {
		t.Errorf("got %v", err)
	}
}

func TestPlanPortsAndArguments(t *testing.T) {
	o := Options{Nodes: 3, APIPort: 7400}
	p := o.plan("dir")
	if p[2].api != "127.0.0.1:7420" || p[2].gossip != "127.0.0.1:7421" || p[2].peer != "127.0.0.1:7422" {
		t.Fatalf("%+v", p[2])
	}
	args := strings.Join(p[1].args(p), " ")
	if !strings.Contains(args, "--join 127.0.0.1:7401,127.0.0.1:7411,127.0.0.1:7421 --bootstrap-expect 3") || !strings.Contains(args, "--name n2") {
		t.Fatal(args)
	}
	if one := strings.Join(p[0].args(p[:1]), " "); strings.Contains(one, "--join") {
		t.Fatal(one)
	}
}

func TestKeyReader(t *testing.T) {
	for _, c := range []struct {
		nodes int
		keys  string
		want  string
	}{
		{5, "k2", "[kill 1]"}, {5, "p3c3", "[pause 2 resume 2]"}, {5, "k\n2\n", "[kill 1]"}, {5, "s1q", "[start 0 quit]"},
		{5, "k9", "[help]"}, {5, "k0", "[]"}, {5, "2", "[]"}, {5, "?", "[help]"}, {5, "i2h2", "[isolate 1 heal 1]"}, {5, "\x03", "[quit]"},
		{12, "k1 ", "[kill 0]"}, {12, "k12", "[kill 11]"}, {12, "k2", "[kill 1]"}, {12, "k1k3", "[kill 2]"},
	} {
		r := keyReader{nodes: c.nodes}
		got := []string{}
		for _, b := range []byte(c.keys) {
			cmd, ok := r.feed(b)
			switch {
			case !ok:
			case cmd.quit:
				got = append(got, "quit")
			case cmd.help:
				got = append(got, "help")
			default:
				got = append(got, fmt.Sprint(cmd.action, " ", cmd.node))
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d nodes, %q: got %v, want %s", c.nodes, c.keys, got, c.want)
		}
	}
}

func TestPortInUseIsFoundBeforeAnythingStarts(t *testing.T) {
	o := options(3)
	o.Dir = filepath.Join(t.TempDir(), "d")
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.APIPort+12))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), o, io.Discard)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+" (n2)") || !strings.Contains(err.Error(), "--api-port") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("something started")
	}
}

func TestScriptedRunEndsCleanly(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	o := options(3)
	o.Duration = 1500 * time.Millisecond
	o.Script, _ = ParseScript("100ms kill n2; 300ms start n2; 400ms pause n3; 600ms resume n3; 700ms resume n3")
	var out, talk safeBuffer
	o.Term.Out = &out
	if err := Run(t.Context(), o, &talk); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	for _, want := range []string{"kill n2: done", "start n2: done", "n2 is ready again", "pause n3: done", "resume n3: done", "resume n3: n3 is running", "load: "} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("no %q in:\n%s", want, talk.String())
		}
	}
	if strings.Count(out.String(), "curl ") != 3 || !strings.Contains(out.String(), fmt.Sprintf("http://127.0.0.1:%d/keys/greeting", o.APIPort)) {
		t.Errorf("welcome:\n%s", out.String())
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := portsFree(t.Context(), o.plan("")); err != nil {
		t.Errorf("a child is left: %v", err)
	}
}

func TestScriptedIsolation(t *testing.T) {
	o := options(3)
	o.Duration = 900 * time.Millisecond
	o.Script, _ = ParseScript("100ms isolate n2; 200ms isolate n3; 400ms heal n2; 500ms kill n1")
	var out, talk safeBuffer
	o.Term.Out = &out
	if err := Run(t.Context(), o, &talk); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	for _, want := range []string{"isolate n2: done", "isolate n3: done", "heal n2: done", "kill n1: done"} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("no %q in:\n%s", want, talk.String())
		}
	}
	if !strings.Contains(out.String(), "QUORATE_TESTING=1") {
		t.Errorf("nothing says that the links are not direct:\n%s", out.String())
	}
}

func TestKeysDriveTheDemo(t *testing.T) {
	o := options(2)
	o.Dir = t.TempDir()
	in, keys := io.Pipe()
	defer keys.Close()
	o.Term.In = in
	var talk safeBuffer
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), o, &talk) }()
	press := func(k, want string) {
		if _, err := io.WriteString(keys, k); err != nil {
			t.Error(err)
		}
		eventually(t, want, func() bool { return strings.Contains(talk.String(), want) })
	}
	press("k2", "kill n2: done")
	press("s2", "n2 is ready again")
	press("s2", "start n2: n2 runs already")
	press("?", keyHelp)
	if _, err := io.WriteString(keys, "q"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
}

func TestChildThatDiesIsReportedWithItsLog(t *testing.T) {
	o := options(2)
	o.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, talk safeBuffer
	o.Term.Out = &out
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o, &talk) }()
	eventually(t, "the welcome", func() bool { return strings.Contains(out.String(), "curl") })
	if resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/crash", o.APIPort+10)); err == nil {
		resp.Body.Close()
	}
	eventually(t, "the report", func() bool { return strings.Contains(talk.String(), "| panic: the planted crash") })
	if !strings.Contains(talk.String(), "n2 ended by itself (exit status 2)") {
		t.Error(talk.String())
	}
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "n2") {
		t.Fatalf("got %v", err)
	}
}

func TestChildThatNeverStartsIsReportedWithItsLog(t *testing.T) {
	o := options(2)
	o.Dir = t.TempDir()
	o.Env = append(o.Env, "DEMO_TEST_DIES=n1")
	err := Run(t.Context(), o, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "n1 ended before it was ready") || !strings.Contains(err.Error(), "the planted reason") {
		t.Fatalf("got %v", err)
	}
}

// The parent is killed with -9 while one child stands still: all children end.
func TestChildrenEndWithTheirParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DEMO_TEST_ROLE=parent", "DEMO_TEST_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var apis []string
	lines := bufio.NewScanner(out)
	for len(apis) < 3 && lines.Scan() {
		if m := regexp.MustCompile(`^n\d +http://(\S+) `).FindStringSubmatch(lines.Text()); m != nil {
			apis = append(apis, m[1])
		}
	}
	said := bufio.NewScanner(talk)
	for said.Scan() && !strings.Contains(said.Text(), "pause n2: done") {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for _, api := range apis {
		eventually(t, api+" is free", func() bool {
			l, err := net.Listen("tcp", api)
			if err != nil {
				return false
			}
			return l.Close() == nil
		})
	}
	if len(apis) != 3 {
		t.Fatalf("saw %d children", len(apis))
	}
}
