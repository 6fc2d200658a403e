package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoratedb/quorate/internal/freeport"
	server "github.com/quoratedb/quorate/node"
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopCluster()
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain")); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// fake is a few HTTP servers that play nodes of one ring. What a node answers to a
// request for a key is the test's to say.
type fake struct {
	t     *testing.T
	nodes []*fakeNode

	mu      sync.Mutex
	ring    Ring
	answer  func(n *fakeNode, w http.ResponseWriter, r *http.Request) // never called by two at once; nil: 204 or 200
	got     []seen
	fetches int
	asked   []string // Quorate-Ring of ring fetches
}

type fakeNode struct {
	f    *fake
	name string
	srv  *httptest.Server
	addr string
}

// seen is one request for a key that reached a node.
type seen struct {
	node, method, path, query, body string
	header                          http.Header
}

// newFake starts n nodes n1, n2, ... with 8 partitions on all of them, the first
// owner going round.
func newFake(t *testing.T, n int) *fake {
	t.Helper()
	f := &fake{t: t, ring: Ring{Version: 10, Cluster: "c1", Replicas: n}}
	for i := range n {
		x := &fakeNode{f: f, name: fmt.Sprintf("n%d", i+1)}
		x.srv = httptest.NewServer(x)
		x.addr = x.srv.Listener.Addr().String()
		f.nodes = append(f.nodes, x)
		f.ring.Nodes = append(f.ring.Nodes, RingNode{Name: x.name, API: x.addr, State: "up"})
		t.Cleanup(x.srv.Close)
	}
	for p := range 8 {
		part := RingPartition{ID: p, Epoch: 1}
		for i := range n {
			part.Replicas = append(part.Replicas, f.nodes[(p+i)%n].name)
		}
		f.ring.Partitions = append(f.ring.Partitions, part)
	}
	return f
}

func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	f := n.f
	f.mu.Lock()
	version, answer := f.ring.Version, f.answer
	if r.URL.Path == ringPath {
		f.fetches++
		f.asked = append(f.asked, r.Header.Get("Quorate-Ring"))
	} else if r.URL.Path != "/readyz" {
		f.got = append(f.got, seen{n.name, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Clone()})
	}
	ring, merr := json.Marshal(f.ring)
	f.mu.Unlock()
	if merr != nil {
		f.t.Error(merr)
	}
	if w.Header().Set("Quorate-Served-By", n.name); version != 0 {
		w.Header().Set("Quorate-Ring", fmt.Sprint(version))
	}
	switch {
	case r.URL.Path == ringPath:
		if r.Header.Get("If-None-Match") == fmt.Sprintf("%q", fmt.Sprint(version)) {
			w.WriteHeader(304)
			return
		}
		_, _ = w.Write(ring)
	case r.URL.Path == "/readyz":
	case answer != nil:
		answer(n, w, r)
	default:
		ok(w, r)
	}
}

// ok is a good answer.
func ok(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Etag", `"0123456789abcdef"`)
	h.Set("Quorate-Context", "AQ-token")
	h.Set("Quorate-Receipt", "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	if r.Method != http.MethodGet {
		w.WriteHeader(204)
		return
	}
	h.Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "value")
}

// problem answers with a problem document.
func problem(w http.ResponseWriter, status int, code, outcome string, retryable bool, retryAfterMS int64) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problemJSON{Status: status, Code: code, Outcome: outcome, Retryable: retryable, RetryAfterMS: retryAfterMS, Detail: "as the test wants it"})
}

func (f *fake) set(answer func(*fakeNode, http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// script answers the i-th request for a key by the i-th function, further ones by ok.
func (f *fake) script(answers ...func(http.ResponseWriter)) {
	var mu sync.Mutex
	i := 0
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		at := i
		i++
		mu.Unlock()
		if at < len(answers) {
			answers[at](w)
			return
		}
		ok(w, r)
	})
}

func (f *fake) requests() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *fake) ringFetches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetches
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) { panic(http.ErrAbortHandler) }

// client makes a client that knows the ring already.
func (f *fake) client(change ...func(*Config)) *Client {
	f.t.Helper()
	cfg := Config{Endpoints: []string{f.nodes[0].addr}}
	for _, x := range change {
		x(&cfg)
	}
	before := f.ringFetches()
	c := newClient(f.t, cfg)
	if !cfg.NoOwnerRouting {
		if _, err := c.Ring(context.Background()); err != nil {
			f.t.Fatal(err)
		}
		until(f.t, "the fetch that New begins", func() error {
			if n := f.ringFetches() - before; n < 2 {
				return fmt.Errorf("%d fetches", n)
			}
			return nil
		})
		if err := c.refresh(context.Background(), nil, 0); err != nil { // joins it, if it has not ended
			f.t.Fatal(err)
		}
	}
	return c
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ownerOf is the first owner of a key in the fake ring.
func (f *fake) ownerOf(c *Client, bucket, key string) *fakeNode {
	name := c.ring.Load().owners[partitionOf(c.ring.Load(), bucket, key)][0].name
	for _, n := range f.nodes {
		if n.name == name {
			return n
		}
	}
	f.t.Fatal("no such node: " + name)
	return nil
}

// until polls until f gives no error.
func until(t testing.TB, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in 30 s: %v", what, err)
		}
	}
}

// fault is the *Error of a call.
func fault(t *testing.T, err error) *Error {
	t.Helper()
	f, is := err.(*Error)
	if !is {
		t.Fatalf("not an *Error: %v", err)
	}
	return f
}

// realCluster is three real nodes that all tests share; it is started by the first.
var realCluster struct {
	once  sync.Once
	nodes []*server.Node
	dir   string
	err   error
}

func startCluster() error {
	dir, err := os.MkdirTemp("", "quorate-client")
	if err != nil {
		return err
	}
	realCluster.dir = dir
	var join []string
	for i := range 3 {
		gossip, err1 := freeport.Addr()
		peer, err2 := freeport.Addr()
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%v, %v", err1, err2)
		}
		cfg := server.Config{Name: fmt.Sprintf("n%d", i+1), Data: fmt.Sprintf("%s/n%d", dir, i+1), API: "127.0.0.1:0", Gossip: gossip, Peer: peer, Frames: "127.0.0.1:0",
			Join: join, BootstrapExpect: 3, Partitions: 16, Replicas: 3, Shards: 1, MaxValueBytes: 1 << 20, MaxInFlight: 4096, HintBytesMax: 16 << 20,
			NameWait: time.Second}
		if i == 0 {
			cfg.Join = []string{gossip}
		}
		n, err := server.Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		realCluster.nodes = append(realCluster.nodes, n)
		join = append(join, gossip)
	}
	return nil
}

func stopCluster() {
	for _, n := range realCluster.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := n.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		cancel()
	}
	if realCluster.dir != "" {
		_ = os.RemoveAll(realCluster.dir)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Endpoints gives those of the real cluster, which may still be starting.
func Endpoints() (out []string, err error) {
	realCluster.once.Do(func() { realCluster.err = startCluster() })
	for _, n := range realCluster.nodes {
		out = append(out, "http://"+n.APIAddr())
	}
	return out, realCluster.err
}

// cluster gives the endpoints of the real cluster, once it is ready.
func cluster(t testing.TB) []string {
	t.Helper()
	out, err := Endpoints()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out {
		until(t, "ready", func() error {
			res, err := http.Get(e + "/readyz")
			if err != nil {
				return err
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 {
				return fmt.Errorf("%s", b)
			}
			return nil
		})
	}
	return out
}

// realTransport is what the clients of the real cluster use.
var realTransport = HTTP

// realClient is a client of the real cluster that knows the ring.
func realClient(t testing.TB, change ...func(*Config)) *Client {
	cfg := Config{Endpoints: cluster(t), Transport: realTransport}
	for _, x := range change {
		x(&cfg)
	}
	c := newClient(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}
