package node

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewriteFixture = flag.String("rewrite-fixture", "", "write the data directory of this release as testdata/data-NAME")

// startNode starts a node on dir and waits until it is ready.
func startNode(t *testing.T, dir string) *Node {
	t.Helper()
	cfg := Config{Name: "n1", Data: dir, API: "127.0.0.1:0", Gossip: freeAddr(t), Peer: freeAddr(t), Partitions: 8, Replicas: 3,
		MaxValueBytes: 1 << 20, MaxInFlight: 64, HintBytesMax: 1 << 20}
	n, err := Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if status, _ := ask(t, n, "GET", "/readyz", nil); status == 200 {
			return n
		}
		select {
		case <-look.C:
		case err := <-n.Done():
			t.Fatal(err)
		case <-deadline:
			t.Fatal("not ready in 30 s")
		}
	}
}

func stopNode(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, n *Node, method, path string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+n.APIAddr()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

// A node stops cleanly and finds everything again.
func TestStopAndStartAgain(t *testing.T) {
	checkLeaks(t)
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	n := startNode(t, dir)
	for i := range 50 {
		if status, b := ask(t, n, "PUT", fmt.Sprintf("/keys/k%d", i), fmt.Appendf(nil, "v%d", i)); status != 204 {
			t.Fatalf("%d: %s", status, b)
		}
	}
	stopNode(t, n)
	n = startNode(t, dir)
	defer stopNode(t, n)
	for i := range 50 {
		if status, b := ask(t, n, "GET", fmt.Sprintf("/keys/k%d", i), nil); status != 200 || string(b) != fmt.Sprintf("v%d", i) {
			t.Fatalf("k%d: %d: %s", i, status, b)
		}
	}
}

// fixture is what a kept data directory must still hold.
type fixture struct {
	Live    map[string]string `json:"live"`    // "bucket/key" -> value
	Deleted []string          `json:"deleted"` // read as 404
}

// A release opens the data directories of every release before it, kept under
// testdata with what they hold.
func TestOpensOlderDataDirectories(t *testing.T) {
	if *rewriteFixture != "" {
		writeFixture(t, filepath.Join("testdata", "data-"+*rewriteFixture))
	}
	dirs, err := filepath.Glob("testdata/data-*/contents.json")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no data directory is kept: %v", err)
	}
	for _, path := range dirs {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { openFixture(t, filepath.Dir(path)) })
	}
}

func openFixture(t *testing.T, kept string) {
	b, err := os.ReadFile(filepath.Join(kept, "contents.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want fixture
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(kept, "node"))); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, dir)
	defer stopNode(t, n)
	for name, value := range want.Live {
		if status, got := ask(t, n, "GET", "/v1/kv/"+name, nil); status != 200 || string(got) != value {
			t.Errorf("%s: %d: %.60q, want %.60q", name, status, got, value)
		}
	}
	for _, name := range want.Deleted {
		if status, _ := ask(t, n, "GET", "/v1/kv/"+name, nil); status != 404 {
			t.Errorf("%s: %d, want 404", name, status)
		}
	}
	if status, b := ask(t, n, "PUT", "/v1/kv/default/new", []byte("still writable")); status != 204 {
		t.Errorf("PUT: %d: %s", status, b)
	}
}

func writeFixture(t *testing.T, to string) {
	dir := t.TempDir()
	n := startNode(t, dir)
	must := func(status int, b []byte) {
		t.Helper()
		if status > 299 {
			t.Fatalf("%d: %s", status, b)
		}
	}
	must(ask(t, n, "POST", "/v1/buckets", []byte(`{"name":"newest","conflict":"lww"}`)))
	must(ask(t, n, "POST", "/v1/buckets", []byte(`{"name":"exact","mode":"strong"}`)))
	f := fixture{Live: map[string]string{}}
	for i := range 40 {
		for _, bucket := range []string{"default", "newest", "exact"} {
			name, value := fmt.Sprintf("%s/key-%d", bucket, i), strings.Repeat(fmt.Sprintf("value %d ", i), 1+i*i)
			must(ask(t, n, "PUT", "/v1/kv/"+name, []byte("before")))
			must(ask(t, n, "PUT", "/v1/kv/"+name, []byte(value)))
			if i%4 == 3 {
				must(ask(t, n, "DELETE", "/v1/kv/"+name, nil))
				f.Deleted = append(f.Deleted, name)
			} else {
				f.Live[name] = value
			}
		}
	}
	stopNode(t, n)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(to, "node"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "contents.json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
