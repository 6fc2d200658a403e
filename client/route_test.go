package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An answer that carries a newer Quorate-Ring makes the client fetch the ring, once,
// and go to the new owner.
func TestANewerRingIsFetched(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	b := c.Bucket("b")
	was := f.ownerOf(c, "b", "k")
	f.mu.Lock()
	f.ring.Version++
	for p := range f.ring.Partitions { // one step on
		r := f.ring.Partitions[p].Replicas
		f.ring.Partitions[p].Replicas = []string{r[1], r[2], r[0]}
	}
	before := f.fetches
	f.mu.Unlock()
	c.asked.Store(0)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := b.Put(context.Background(), "k", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	until(t, "the newer ring", func() error {
		if v := c.Stats().RingVersion; v != 11 {
			return fmt.Errorf("%d", v)
		}
		return nil
	})
	if n := f.ringFetches() - before; n != 1 {
		t.Errorf("%d fetches for one new ring", n)
	}
	if now := f.ownerOf(c, "b", "k"); now == was {
		t.Fatal("the same owner")
	} else if r, err := b.Put(context.Background(), "k", nil); err != nil || r.Node != now.name {
		t.Errorf("%+v %v, the owner is %s now", r, err, now.name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.asked[len(f.asked)-1]; last != "11" {
		t.Errorf("the fetch asked for ring %q", last)
	}
}

// A node that is behind is told of the newer ring, by one request.
func TestANodeBehindIsTold(t *testing.T) {
	f := newFake(t, 1)
	c := f.client()
	v := c.ring.Load()
	v.nodes[0].known.Store(0)
	v.nodes[0].told.Store(0)
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Quorate-Ring", "9")
		ok(w, r)
	})
	for range 3 {
		if _, err := c.Bucket("b").Get(context.Background(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	for _, x := range f.requests() {
		told = append(told, x.header.Get("Quorate-Ring"))
	}
	if strings.Join(told, ",") != "10,," {
		t.Errorf("%q", told)
	}
}

// not_owner sends the call to an owner it names, after a fetch of the ring.
func TestNotOwner(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	right := f.nodes[2].name
	f.set(func(n *fakeNode, w http.ResponseWriter, r *http.Request) {
		if n.name == right {
			ok(w, r)
			return
		}
		problem(w, 421, "not_owner", "not_applied", true, 0)
	})
	for range 10 {
		if r, err := c.Bucket("b").Put(context.Background(), "k", nil); err != nil || r.Node != right {
			t.Fatalf("%+v %v", r, err)
		}
	}
}

// Nodes that leave the ring are not asked any more; those that stay keep what is
// known of them.
func TestNodesComeAndGo(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	old := c.ring.Load()
	f.mu.Lock()
	f.ring.Version++
	f.ring.Nodes[2].State = "retired"
	for p := range f.ring.Partitions {
		f.ring.Partitions[p].Replicas = []string{"n1", "n2"}
	}
	f.mu.Unlock()
	if _, err := c.Ring(context.Background()); err != nil {
		t.Fatal(err)
	}
	v := c.ring.Load()
	if len(v.nodes) != 2 || v.byName["n1"] != old.byName["n1"] || !old.byName["n3"].gone.Load() {
		t.Errorf("%+v", v.nodes)
	}
	for i := range 50 {
		if _, err := c.Bucket("b").Get(context.Background(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range f.requests() {
		if x.node == "n3" && strings.HasPrefix(x.path, "/v1/kv/") {
			t.Fatal("n3 was asked")
		}
	}
	f.mu.Lock()
	f.ring.Nodes[0].API, f.ring.Nodes[1].API = "0.0.0.0:1", "nonsense" // addresses of no use from here
	f.ring.Version++
	f.mu.Unlock()
	if _, err := c.Ring(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Bucket("b").Get(context.Background(), "k"); err != nil || len(c.ring.Load().nodes) != 0 {
		t.Errorf("without an address in the ring the endpoints serve: %v", err)
	}
}

// Reads are spread over the owners, and go away from one that is slow.
func TestBalance(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.HedgeShare = -1 })
	ctx := context.Background()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 40 {
				if _, err := c.Bucket("b").Get(ctx, "k"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	per := map[string]int{}
	for _, x := range f.requests() {
		per[x.node]++
	}
	for _, n := range f.nodes {
		if per[n.name] < 16 {
			t.Errorf("%s had %d of 640 reads of one key", n.name, per[n.name])
		}
	}
	slow := c.ring.Load().byName["n2"]
	before := len(f.requests())
	for range 50 {
		slow.latency.Store(int64(time.Second))
		slow.renewed.Store(c.clock())
		if _, err := c.Bucket("b").Get(ctx, "k"); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range f.requests()[before:] {
		if x.node == "n2" {
			t.Fatal("the slow node was asked again at once")
		}
	}
	slow.seen(c.clock(), time.Minute)
	if d := slow.load(c.clock()); d < 10*time.Second {
		t.Errorf("a late answer counts as %v", d)
	}
	if slow.load(c.clock()+int64(40*time.Second)) != 0 {
		t.Error("a slow node stays slow for ever")
	}
}

// A late read is sent to a second owner, whose answer wins; the first is cancelled.
func TestHedge(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.Timeout = 20 * time.Second })
	ctx := context.Background()
	b := c.Bucket("b")
	for range 2 * quantileLook {
		if _, err := b.Get(ctx, "k", NoHedge()); err != nil {
			t.Fatal(err)
		}
	}
	if c.Stats().HedgeAfter == 0 {
		t.Fatal("nothing was learned")
	}
	var first atomic.Pointer[fakeNode]
	cancelled := make(chan struct{}, 16)
	f.set(func(n *fakeNode, w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(nil, n) || first.Load() == n {
			<-r.Context().Done() // until the client goes away
			cancelled <- struct{}{}
			return
		}
		ok(w, r)
	})
	before := c.Stats()
	v, err := b.Get(ctx, "k")
	if err != nil || string(v.Data) != "value" || v.Node == first.Load().name {
		t.Fatalf("%+v %v", v, err)
	}
	<-cancelled
	after := c.Stats()
	if after.Hedges != before.Hedges+1 || after.HedgeWins != before.HedgeWins+1 || after.Retries != before.Retries || after.NodesDown != 0 {
		t.Errorf("%+v", after)
	}
	// Not for writes, nor where it is forbidden.
	first.Store(nil)
	f.set(func(n *fakeNode, w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(nil, n) {
			<-r.Context().Done()
			return
		}
		ok(w, r)
	})
	short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
	defer cancel()
	if _, err := b.Get(short, "k", NoHedge()); !errors.Is(err, ErrTimeout) || c.Stats().Hedges != after.Hedges {
		t.Errorf("%v, %+v", err, c.Stats())
	}
}

// Hedges are a small share of the reads, however late the answers are.
func TestHedgesAreBounded(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.HedgeShare = 0.05 })
	c.slow[opGet].p95.Store(1) // everything is late
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		c.slow[opGet].p95.Store(1)
		timer := time.NewTimer(3 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		ok(w, r)
	})
	for range 200 {
		if _, err := c.Bucket("b").Get(context.Background(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Hedges == 0 || s.Hedges > hedgeBurst+10 {
		t.Errorf("%d hedges for 200 reads, the most is %d", s.Hedges, hedgeBurst+10)
	}
}

// Close ends what is running, and everything after it is refused.
func TestClose(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	release := make(chan struct{})
	defer close(release)
	f.set(func(_ *fakeNode, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	errs := make(chan error, 3)
	go func() { errs <- second(c.Bucket("b").Put(context.Background(), "k", nil)) }()
	go func() { errs <- second(c.Bucket("b").Get(context.Background(), "k")) }()
	go func() { errs <- second(c.Cluster(context.Background())) }()
	until(t, "all sent", func() error {
		if n := len(f.requests()); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := c.Bucket("b").Put(context.Background(), "k", nil); !errors.Is(err, ErrClosed) || fault(t, err).Outcome != NotApplied {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"ftp://x:1"}, {"http://x:1/path"}, {"http://a:1", "https://b:1"}, {"http://u@x:1"}} {
		if c, err := New(Config{Endpoints: bad}); err == nil {
			_ = c.Close()
			t.Errorf("%q was taken", bad)
		}
	}
	for text, want := range map[string]string{"10.0.0.1:7400": "http://10.0.0.1:7400", "http://x/": "http://x:80", "https://x": "https://x:443", "[::1]:7400": "http://[::1]:7400", "node1:7400": "http://node1:7400"} {
		if got, err := parseEndpoint(text); err != nil || got.base != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
}

// An idle connection that the node has closed is not used for a write.
func TestAClosedConnectionIsNotUsed(t *testing.T) {
	f := newFake(t, 1)
	c := f.client()
	if _, err := c.Bucket("b").Put(context.Background(), "k", nil, Once()); err != nil {
		t.Fatal(err)
	}
	f.nodes[0].srv.CloseClientConnections()
	p, err := c.link.(*httpTransport).pool(&c.ring.Load().nodes[0].target)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	for _, conn := range p.idle {
		conn.used = conn.used.Add(-2 * checkAfter)
	}
	p.mu.Unlock()
	until(t, "closed", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, conn := range p.idle {
			if conn.alive() {
				return errors.New("alive")
			}
		}
		return nil
	})
	if r, err := c.Bucket("b").Put(context.Background(), "k", nil, Once()); err != nil || r.Attempts != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// A node that dies in the middle of a load costs no call.
func TestANodeDies(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.Timeout = 20 * time.Second })
	b := c.Bucket("b")
	var done atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 100 {
				key := fmt.Sprint(g, i)
				if _, err := b.Put(context.Background(), key, nil); err != nil {
					t.Error(err)
				}
				if _, err := b.Get(context.Background(), key); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}
		})
	}
	until(t, "half of it", func() error {
		if n := done.Load(); n < 400 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	f.nodes[1].srv.Listener.Close()
	f.nodes[1].srv.CloseClientConnections()
	wg.Wait()
	if s := c.Stats(); s.NodesDown == 0 || s.Retries > 200 {
		t.Errorf("%+v", s)
	}
}

// With https everything goes by TLS, and a certificate that does not fit is refused.
func TestTLS(t *testing.T) {
	f := newFake(t, 1)
	srv := httptest.NewTLSServer(f.nodes[0])
	t.Cleanup(srv.Close)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.mu.Lock()
	f.ring.Nodes[0].API = srv.Listener.Addr().String()
	f.mu.Unlock()
	trusted := &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	c := newClient(t, Config{Endpoints: []string{srv.URL}, TLS: trusted})
	if _, err := c.Ring(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if v, err := c.Bucket("b").Get(context.Background(), "k"); err != nil || string(v.Data) != "value" {
			t.Fatalf("%+v %v", v, err)
		}
	}
	bad := newClient(t, Config{Endpoints: []string{srv.URL}, MaxAttempts: 1})
	var unknown *tls.CertificateVerificationError
	if _, err := bad.Bucket("b").Put(context.Background(), "k", nil); !errors.As(err, &unknown) || fault(t, err).Outcome != NotApplied {
		t.Errorf("%v", err)
	}
}

// Requests to one node at a time are bounded.
func TestConnectionsAreBounded(t *testing.T) {
	f := newFake(t, 1)
	c := f.client(func(c *Config) { c.MaxConns = 4; c.HedgeShare = -1; c.Timeout = 20 * time.Second })
	var now, most atomic.Int64
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		ok(w, r)
	})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				if _, err := c.Bucket("b").Get(context.Background(), "k"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p, err := c.link.(*httpTransport).pool(&c.ring.Load().nodes[0].target)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	open, idle := len(p.open), len(p.idle)
	p.mu.Unlock()
	if most.Load() > 4 || open > 4 || idle != open {
		t.Errorf("%d at a time, %d open, %d idle", most.Load(), open, idle)
	}
	c.link.(*httpTransport).reap(time.Now().Add(2 * idleTimeout))
	if p.mu.Lock(); len(p.open) != 0 {
		t.Errorf("%d are kept though nobody has used them for long", len(p.open))
	}
	p.mu.Unlock()
}
