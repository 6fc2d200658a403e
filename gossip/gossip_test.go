package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logBuffer collects log lines of several goroutines.
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

// member is one gossip node of a test.
type member struct {
	*Gossip
	mu   sync.Mutex
	meta Meta
	logs logBuffer
}

func (m *member) set(change func(*Meta)) {
	m.mu.Lock()
	change(&m.meta)
	m.mu.Unlock()
	m.Refresh()
}

func start(t *testing.T, id byte, cluster byte, change func(*Config)) *member {
	t.Helper()
	m := &member{meta: fullMeta()}
	m.meta.SID, m.meta.Cluster = hashring.SID{id}, hashring.ClusterID{cluster}
	m.meta.Node = fmt.Sprintf("n%d", id)
	cfg := Config{
		Bind: "127.0.0.1:0", Fast: true, Log: slog.New(slog.NewTextHandler(&m.logs, nil)),
		Meta: func() Meta { m.mu.Lock(); defer m.mu.Unlock(); return m.meta },
	}
	if change != nil {
		change(&cfg)
	}
	g, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Gossip = g
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of %d:\n%s", id, m.logs.String())
		}
	})
	return m
}

func joining(addrs ...string) func(*Config) { return func(c *Config) { c.Join = addrs } }

// eventually polls until ok, or fails after a generous deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestMembersSeeEachOther(t *testing.T) {
	a := start(t, 1, 0, nil)
	b := start(t, 2, 0, joining(a.Addr()))
	// The same node name: both must be visible.
	c := start(t, 3, 0, func(cfg *Config) { cfg.Join = []string{b.Addr(), a.Addr()} })
	c.set(func(m *Meta) { m.Node = "n1" })
	for _, m := range []*member{a, b, c} {
		eventually(t, "three alive", func() bool { return m.View().Others() == 2 })
	}
	eventually(t, "the new name", func() bool { x, ok := a.View().Member(hashring.SID{3}); return ok && x.Node == "n1" })
	x, ok := b.View().Member(hashring.SID{1})
	if !ok || x.Node != "n1" || x.Gossip != a.Addr() || x.API != "127.0.0.1:7400" || x.Expect != 3 {
		t.Fatalf("b sees a as %+v", x)
	}
	if !c.View().Alive(hashring.SID{3}) {
		t.Fatal("a node must see itself")
	}
}

func TestRingVersionTravels(t *testing.T) {
	a := start(t, 1, 1, nil)
	b := start(t, 2, 1, joining(a.Addr()))
	eventually(t, "joined", func() bool { return a.View().Others() == 1 })
	for v := uint64(1); v <= 500; v++ { // many refreshes are few updates
		b.set(func(m *Meta) { m.RingVersion = v })
	}
	eventually(t, "version 500", func() bool { x, _ := a.View().Member(hashring.SID{2}); return x.RingVersion == 500 })
}

func TestKilledNodeIsSeenDeadAndComesBackElsewhere(t *testing.T) {
	a := start(t, 1, 1, nil)
	b := start(t, 2, 1, joining(a.Addr()))
	c := start(t, 3, 1, joining(a.Addr()))
	eventually(t, "joined", func() bool { return a.View().Others() == 2 && b.View().Others() == 2 })
	if err := c.Close(); err != nil { // without Leave: as good as killed
		t.Fatal(err)
	}
	eventually(t, "dead", func() bool { x, ok := a.View().Member(hashring.SID{3}); return ok && x.State == Dead })
	again := start(t, 3, 1, joining(b.Addr()))
	again.set(func(m *Meta) { m.Boot = 8 })
	eventually(t, "back", func() bool {
		x, _ := a.View().Member(hashring.SID{3})
		return x.State == Alive && x.Boot == 8 && x.Gossip == again.Addr()
	})
}

func TestLeaveIsSeenAsLeft(t *testing.T) {
	a := start(t, 1, 1, nil)
	b := start(t, 2, 1, joining(a.Addr()))
	eventually(t, "joined", func() bool { return a.View().Others() == 1 && b.View().Others() == 1 })
	if err := b.Leave(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Leave(time.Second); err != nil {
		t.Fatal("Leave after Close must do nothing:", err)
	}
	eventually(t, "left", func() bool { x, _ := a.View().Member(hashring.SID{2}); return x.State == Left })
}

func TestForeignClusterIsKeptOut(t *testing.T) {
	a := start(t, 1, 1, nil)
	a2 := start(t, 2, 1, joining(a.Addr()))
	eventually(t, "joined", func() bool { return a.View().Others() == 1 })
	b := start(t, 11, 2, joining(a.Addr()))
	eventually(t, "both named in the log", func() bool {
		for _, m := range []*member{a, b} {
			if l := m.logs.String(); !strings.Contains(l, hashring.SID{1}.String()) || !strings.Contains(l, hashring.SID{2}.String()) {
				return false
			}
		}
		return true
	})
	// A node without a cluster may be taken in by either: then the other goes.
	e := start(t, 5, 0, joining(a.Addr(), b.Addr()))
	eventually(t, "empty node sees both", func() bool { return e.View().Alive(hashring.SID{1}) && e.View().Alive(hashring.SID{11}) })
	e.set(func(m *Meta) { m.Cluster = hashring.ClusterID{1} })
	eventually(t, "the other cluster is gone", func() bool { _, ok := e.View().Member(hashring.SID{11}); return !ok })
	for _, m := range []*member{a, a2} {
		if _, ok := m.View().Member(hashring.SID{11}); ok {
			t.Fatal("a foreign member is in the view")
		}
	}
	if _, ok := b.View().Member(hashring.SID{1}); ok {
		t.Fatal("a foreign member is in the view")
	}
	if n := strings.Count(a.logs.String(), "another cluster: check"); n != 1 {
		t.Fatalf("the foreign cluster was logged %d times within the interval", n)
	}
}

func TestJoinIsRetriedAndOwnAddressIgnored(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := held.Addr().String()
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	a := start(t, 1, 0, func(c *Config) { c.Bind = "localhost:0"; c.Join = []string{late, "no-such-host.invalid:1"} })
	if done, err := a.joinOne(a.Addr()); !done || err != nil {
		t.Fatalf("own address: %v %v", done, err)
	}
	b := start(t, 2, 0, func(c *Config) { c.Bind = late; c.Join = []string{late} })
	eventually(t, "found", func() bool { return a.View().Others() == 1 && b.View().Others() == 1 })
}

func TestRejoinFindsARingMemberAgain(t *testing.T) {
	a := start(t, 1, 1, nil)
	b := start(t, 2, 1, func(c *Config) { c.Ring = func() []string { return []string{"127.0.0.1:1", a.Addr()} } })
	eventually(t, "joined by the rejoin loop", func() bool { return a.View().Others() == 1 && b.View().Others() == 1 })
}

func TestOnChangeMayBlockWithoutHarm(t *testing.T) {
	release := make(chan struct{})
	var last sync.Map
	a := start(t, 1, 1, func(c *Config) {
		c.OnChange = func(v *View) { <-release; last.Store("n", v.Others()) }
	})
	b := start(t, 2, 1, joining(a.Addr()))
	c := start(t, 3, 1, joining(a.Addr()))
	eventually(t, "gossip goes on", func() bool { return b.View().Others() == 2 && c.View().Others() == 2 })
	close(release)
	eventually(t, "the newest view arrives", func() bool { n, _ := last.Load("n"); return n == 2 })
}

func TestGarbageDoesNoHarm(t *testing.T) {
	a := start(t, 1, 1, nil)
	b := start(t, 2, 1, joining(a.Addr()))
	eventually(t, "joined", func() bool { return a.View().Others() == 1 })
	r := rand.New(rand.NewPCG(1, 2))
	udp, err := net.Dial("udp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	head := append([]byte{244, byte(len(label))}, label...)
	for i := range 3000 {
		p := make([]byte, 1+r.IntN(200))
		for j := range p {
			p[j] = byte(r.Uint32())
		}
		if i%2 == 0 { // behind a good label, with every message type
			p[0] = byte(i / 2 % 16)
			p = append(append([]byte{}, head...), p...)
		}
		if _, err := udp.Write(p); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			tcp, err := net.Dial("tcp", a.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tcp.Write(p); err != nil {
				t.Log("closed by the other side:", err)
			}
			tcp.Close()
		}
	}
	// Both still talk: a change arrives, and nobody was added.
	b.set(func(m *Meta) { m.Boot = 99 })
	eventually(t, "change arrives", func() bool { x, _ := a.View().Member(hashring.SID{2}); return x.Boot == 99 })
	if n := len(a.View().Members); n != 2 {
		t.Fatalf("%d members", n)
	}
	if n := strings.Count(a.logs.String(), "\n"); n > 200 {
		t.Fatalf("garbage wrote %d log lines", n)
	}
}

func TestPortInUse(t *testing.T) {
	a := start(t, 1, 1, nil)
	m := fullMeta()
	_, err := Start(Config{Bind: a.Addr(), Meta: func() Meta { return m }, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), a.Addr()) {
		t.Fatalf("got %v", err)
	}
}

func TestAdvertiseAddr(t *testing.T) {
	for bind, want := range map[string]string{"127.0.0.1:7401": "127.0.0.1:7401", "host.example:1": "host.example:1", "[::1]:5": "[::1]:5"} {
		if got, err := AdvertiseAddr(bind); err != nil || got != want {
			t.Errorf("%s: %q %v", bind, got, err)
		}
	}
	for _, bind := range []string{"0.0.0.0:7401", ":7401", "[::]:7401"} {
		got, err := AdvertiseAddr(bind)
		host, port, _ := net.SplitHostPort(got)
		if ip := net.ParseIP(host); err != nil || port != "7401" || ip == nil || ip.IsUnspecified() {
			t.Errorf("%s: %q %v", bind, got, err)
		}
	}
	if _, err := AdvertiseAddr("nonsense"); err == nil {
		t.Error("no port must be an error")
	}
	a := start(t, 1, 1, func(c *Config) { c.Bind = "0.0.0.0:0" })
	b := start(t, 2, 1, joining(fmt.Sprintf("127.0.0.1:%d", a.Port())))
	eventually(t, "joined through an interface", func() bool { return a.View().Others() == 1 && b.View().Others() == 1 })
}

func TestOwnAddresses(t *testing.T) {
	a := start(t, 1, 1, func(c *Config) { c.Bind = "0.0.0.0:0" })
	for addr, own := range map[string]bool{
		fmt.Sprintf("127.0.0.1:%d", a.Port()): true, fmt.Sprintf("localhost:%d", a.Port()): true, a.Addr(): true, "127.0.0.1:1": false,
	} {
		ips, err := resolve(context.Background(), addr)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, ip := range ips {
			got = got || isOwn(ip, a.advertised, a.bound)
		}
		if got != own {
			t.Errorf("%s: own=%v", addr, got)
		}
	}
}
