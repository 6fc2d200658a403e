package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// garbage is thrown at every gossip and peer port: nothing dies, everything serves.
func garbage(t *testing.T, nodes []*tnode) {
	rng := rand.NewChaCha8([32]byte{7})
	for _, n := range nodes {
		for _, addr := range []string{n.gossip, n.peer} {
			for _, size := range []int{1, 16, 300, 70_000} {
				junk := make([]byte, size)
				_, _ = rng.Read(junk) // never fails
				throw(t, "tcp", addr, junk)
				throw(t, "udp", addr, junk[:min(size, 60_000)])
			}
			throw(t, "tcp", addr, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			throw(t, "tcp", addr, bytes.Repeat([]byte{0xff}, 64))
			throw(t, "tcp", addr, nil)
		}
	}
	for _, n := range nodes {
		select {
		case <-n.gone:
			t.Fatalf("%s ended: %v", n.name, n.err)
		default:
		}
		must(t, http.MethodGet, "http://"+n.api+"/readyz", "", 200)
		must(t, http.MethodPut, "http://"+n.api+"/keys/after-garbage", n.name, 204)
	}
}

func throw(t *testing.T, network, addr string, junk []byte) {
	t.Helper()
	c, err := net.DialTimeout(network, addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second)) // the other side may close, or never answer
	_, _ = c.Write(junk)
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
		_, _ = io.CopyN(io.Discard, c, 1)
	}
}

// refused is a start that must fail: exit code 1, and words that help.
func refused(t *testing.T, n *tnode, want ...string) {
	t.Helper()
	if code := n.exits(20 * time.Second); code != exitOther {
		t.Errorf("exit %d, want %d", code, exitOther)
	}
	for _, w := range want {
		if !regexp.MustCompile(w).MatchString(n.log.String()) {
			t.Errorf("no %q in:\n%s", w, lastLines(n.log.String(), 10))
		}
	}
	if strings.Contains(n.log.String(), "panic:") || strings.Contains(n.log.String(), "ready api=") {
		t.Errorf("log:\n%s", n.log.String())
	}
}

func TestE2EPortInUse(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--api", "--gossip", "--peer"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n := newNode(t, "n1", flag, l.Addr().String())
		n.start()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		refused(t, n, "port "+port, flag+" ", "in use")
		if _, err := os.Stat(n.dir); err == nil {
			t.Errorf("%s: the data directory was made", flag)
		}
	}
}

// A running node and everything that must not disturb it.
func TestE2EDataDirectory(t *testing.T) {
	t.Parallel()
	n := newNode(t, "n1")
	n.start()
	n.ready()
	must(t, http.MethodPut, "http://"+n.api+"/keys/kept", "value", 204)

	twice := newNode(t, "n1")
	twice.dir = n.dir
	twice.start()
	refused(t, twice, "in use", regexp.QuoteMeta(n.dir))
	must(t, http.MethodGet, "http://"+n.api+"/keys/kept", "", 200)
	n.kill()

	copied := func(change func(dir string)) *tnode {
		c := newNode(t, "n1")
		if err := os.CopyFS(c.dir, os.DirFS(n.dir)); err != nil {
			t.Fatal(err)
		}
		change(c.dir)
		c.start()
		return c
	}
	newer := copied(func(dir string) {
		b, err := os.ReadFile(filepath.Join(dir, "identity"))
		if err != nil {
			t.Fatal(err)
		}
		b = regexp.MustCompile(`format \d+`).ReplaceAll(b, []byte("format 999"))
		if err := os.WriteFile(filepath.Join(dir, "identity"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	refused(t, newer, "newer quorate", "999")
	half := copied(func(dir string) {
		if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	})
	refused(t, half, "database is gone")

	n.start()
	n.ready()
	if got := must(t, http.MethodGet, "http://"+n.api+"/keys/kept", "", 200); got != "value" {
		t.Errorf("after kill -9: %q", got)
	}
}

func TestE2EUnwritableDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, "n1")
	n.dir = filepath.Join(file, "data") // below a file even root cannot make one
	n.start()
	refused(t, n, regexp.QuoteMeta(file))
}

func TestE2ETooFewFiles(t *testing.T) {
	t.Parallel()
	n := newNode(t, "n1")
	n.run(exec.Command("/bin/sh", "-c", "ulimit -n 40 && exec "+binary+" serve --data "+n.dir+" --api "+n.api+" --gossip "+n.gossip+" --peer "+n.peer))
	refused(t, n, "too few file descriptors")
}

func TestE2EConfigurationError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "q.yaml")
	if err := os.WriteFile(file, []byte("name: n1\n\nreplicas: many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := quorate(t, "serve", "--config", file)
	if r.code != exitUsage || !strings.Contains(r.err, file+":3: replicas: want an integer, got many") {
		t.Errorf("%+v", r)
	}
}

// A node of one cluster that is told to join another: refused with both ids, and both
// clusters go on.
func TestE2EForeignCluster(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a1"), newNode(t, "b1")
	a.start()
	b.start()
	a.ready()
	b.ready()
	ids := []string{clusterID(t, a), clusterID(t, b)}
	a.kill()
	a.extra = []string{"--join", b.gossip}
	a.start()
	waitFor(t, "a refusal with both ids", 30*time.Second, func() error {
		text := a.log.String() + b.log.String()
		for _, id := range ids {
			if !strings.Contains(text, id) {
				return fmt.Errorf("no %s", id)
			}
		}
		return nil
	})
	a.ready()
	for _, n := range []*tnode{a, b} {
		must(t, http.MethodPut, "http://"+n.api+"/keys/k", n.name, 204)
		if got := must(t, http.MethodGet, "http://"+n.api+"/keys/k", "", 200); got != n.name {
			t.Errorf("%s serves %q", n.name, got)
		}
	}
}

// clusterID reads the id from the data directory: the API need not show it.
func clusterID(t *testing.T, n *tnode) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var id struct{ Cluster any }
		if json.Unmarshal(line, &id) == nil && id.Cluster != nil {
			return fmt.Sprint(id.Cluster)
		}
	}
	t.Fatalf("no cluster id in %s", b)
	return ""
}

// A newcomer under a live name waits (30 s unless it is told otherwise), then ends
// and names the other's address.
func TestE2ESecondNodeUnderOneName(t *testing.T) {
	t.Parallel()
	n := newNode(t, "n1")
	n.start()
	n.ready()
	other := newNode(t, "n1", "--join", n.gossip, "--name-wait", "3s")
	other.start()
	if code := other.exits(50 * time.Second); code != exitOther {
		t.Errorf("exit %d", code)
	}
	said := other.log.String()
	if !strings.Contains(said, n.api) && !strings.Contains(said, n.peer) && !strings.Contains(said, n.gossip) {
		t.Errorf("no address of the other in:\n%s", lastLines(said, 10))
	}
	must(t, http.MethodGet, "http://"+n.api+"/readyz", "", 200)
}

// The demo as a newcomer runs it, with its printed lines, a kill and a restart.
func TestE2EDemo(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(freePorts(t, 30))
	cmd := exec.Command(binary, "demo", "--nodes", "3", "--api-port", port, "--duration", "6s", "--script", "1s kill n2; 3s start n2")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	talk := &logBuffer{}
	cmd.Stderr = talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, tried := bufio.NewScanner(out), 0
	for lines.Scan() {
		if m := regexp.MustCompile(`^  curl (.*?)(http://\S+)$`).FindStringSubmatch(lines.Text()); m != nil {
			method, body := http.MethodGet, ""
			if strings.Contains(m[1], "-X PUT") {
				method, body = http.MethodPut, "hello"
			}
			got, err := httpDo(t, method, m[2], body, 200, 204)
			if err != nil || (strings.HasSuffix(m[2], "/keys/greeting") && method == http.MethodGet && got != "hello") {
				t.Errorf("%s: %v %q", lines.Text(), err, got)
			}
			tried++
		}
	}
	if err := cmd.Wait(); err != nil || tried != 3 {
		t.Errorf("%v, %d lines tried:\n%s", err, tried, talk.String())
	}
	for _, want := range []string{"kill n2: done", "start n2: done", "load: "} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("no %q in:\n%s", want, talk.String())
		}
	}
}
