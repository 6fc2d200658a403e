package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/internal/freeport"
)

// The end-to-end tests run real processes of the real binary on free loopback ports.

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "quorate-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "quorate")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	// These tests mostly wait for processes: more of them at a time than there are
	// processors shortens the whole, and only the default is overridden.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// long says that the runs of the full length are wanted.
func long() bool { return os.Getenv("QUORATE_E2E") == "long" }

func freeAddr(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + strconv.Itoa(freePorts(t, 1))
}

// freePorts is the first of count free ports in a row.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	port, err := freeport.Block(count)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// tnode is one node under test and its present process.
type tnode struct {
	t                            *testing.T
	name, dir, api, gossip, peer string
	extra, env                   []string // more flags, more of the environment
	cmd                          *exec.Cmd
	log                          *logBuffer
	gone                         chan struct{}
	err                          error
}

// logBuffer keeps what a process said.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNode(t *testing.T, name string, extra ...string) *tnode {
	return &tnode{t: t, name: name, dir: filepath.Join(t.TempDir(), "data"), api: freeAddr(t), gossip: freeAddr(t), peer: freeAddr(t), extra: extra}
}

// start runs the process; it does not wait for anything.
func (n *tnode) start() {
	n.t.Helper()
	args := append([]string{"serve", "--name", n.name, "--data", n.dir, "--api", n.api, "--gossip", n.gossip, "--peer", n.peer}, n.extra...)
	cmd := exec.Command(binary, args...)
	if n.env != nil {
		cmd.Env = append(os.Environ(), n.env...)
	}
	n.run(cmd)
}

func (n *tnode) run(cmd *exec.Cmd) {
	n.t.Helper()
	n.log = &logBuffer{}
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	gone := make(chan struct{})
	n.cmd, n.gone = cmd, gone
	go func() {
		n.err = cmd.Wait()
		close(gone)
	}()
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already, most of the time
		<-gone
		if n.t.Failed() {
			n.t.Logf("log of %s:\n%s", n.name, lastLines(n.log.String(), 30))
		}
	})
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// kill is kill -9, and waits until the process is gone.
func (n *tnode) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Errorf("kill %s: %v; it ended before: %v", n.name, err, n.err)
	}
	<-n.gone
}

// exits waits for the process to end by itself and returns its exit code.
func (n *tnode) exits(within time.Duration) int {
	n.t.Helper()
	select {
	case <-n.gone:
		return n.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		n.t.Fatalf("%s still runs after %v; log:\n%s", n.name, within, lastLines(n.log.String(), 30))
	}
	return -1
}

// readyWithin is generous: the machine may be busy with other tests.
const readyWithin = 45 * time.Second

func (n *tnode) ready() {
	n.t.Helper()
	waitFor(n.t, n.name+" is ready", readyWithin, func() error {
		select {
		case <-n.gone:
			n.t.Fatalf("%s ended: %v; log:\n%s", n.name, n.err, lastLines(n.log.String(), 30))
		default:
		}
		_, err := httpDo(n.t, http.MethodGet, "http://"+n.api+"/readyz", "", 200)
		return err
	})
}

func waitFor(t *testing.T, what string, within time.Duration, ok func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; <-tick.C {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
	}
}

var httpClient = &http.Client{Timeout: 10 * time.Second}

// httpDo sends one request and wants one of the statuses.
func httpDo(t *testing.T, method, url, body string, want ...int) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	for _, w := range want {
		if resp.StatusCode == w {
			return string(b), nil
		}
	}
	return string(b), fmt.Errorf("%s %s: %s, want %v: %s", method, url, resp.Status, want, b)
}

func must(t *testing.T, method, url, body string, want ...int) string {
	t.Helper()
	got, err := httpDo(t, method, url, body, want...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// cluster starts count nodes that know each other and waits until all are ready.
func startCluster(t *testing.T, count int) []*tnode {
	t.Helper()
	return startClusterEnv(t, count)
}

// startClusterEnv is startCluster with more in the processes' environment.
func startClusterEnv(t *testing.T, count int, env ...string) []*tnode {
	t.Helper()
	nodes := make([]*tnode, count)
	var join []string
	for i := range nodes {
		nodes[i] = newNode(t, "n"+strconv.Itoa(i+1))
		join = append(join, nodes[i].gossip)
	}
	for _, n := range nodes {
		n.env = append([]string(nil), env...)
		n.extra = []string{"--join", strings.Join(join, ","), "--bootstrap-expect", strconv.Itoa(count)}
		n.start()
	}
	for _, n := range nodes {
		n.ready()
	}
	return nodes
}

func apis(nodes []*tnode) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.api)
	}
	return strings.Join(list, ",")
}

// quorate runs the binary to its end.
func quorate(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}
