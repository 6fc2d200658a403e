package node

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// These tests run whole nodes, with the real memberlist, Raft and goleveldb, in
// virtual time on a network in memory: minutes cost nothing, and a bubble ends only
// when every goroutine has ended. Files are real.

const (
	wallMost = time.Minute // of one test; the watchdog then prints what stands where
	clientIP = "10.0.0.100"
)

var bubbleLogs = flag.Bool("bubble-logs", false, "print the nodes' logs when a bubble test fails")

// bubble is a cluster in virtual time.
type bubble struct {
	t      *testing.T
	net    *memNet
	nodes  []*bubbleNode
	client *http.Client
}

// bubbleNode is one node through all its lives.
type bubbleNode struct {
	b    *bubble
	name string
	ip   string
	dir  string
	join []string
	conf func(*Config) // before each start; nil: nothing to change
	host *memHost
	node *Node // nil: not running
	logs *lockedBuffer
}

// inBubble runs f with n nodes, none started.
func inBubble(t *testing.T, n int, f func(b *bubble)) {
	t.Helper()
	root := t.TempDir()
	watchdog := time.AfterFunc(wallMost, func() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic(t.Name() + " hangs: something waits that virtual time does not pass for")
	})
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, net: newMemNet()}
		outside := b.net.plug(clientIP)
		b.client = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return outside.dial(ctx, addr) },
		}}
		for i := range n {
			nd := &bubbleNode{b: b, name: fmt.Sprintf("n%d", i+1), ip: fmt.Sprintf("10.0.0.%d", i+1), logs: &lockedBuffer{}}
			nd.dir = filepath.Join(root, nd.name)
			b.nodes = append(b.nodes, nd)
		}
		for _, nd := range b.nodes {
			for _, other := range b.nodes {
				if n > 1 {
					nd.join = append(nd.join, other.addr(7401))
				}
			}
		}
		t.Cleanup(b.end)
		f(b)
	})
}

// end stops what runs; then nothing may be left. goleveldb's pools outlive their
// databases by a second.
func (b *bubble) end() {
	for _, nd := range b.nodes {
		nd.stop()
	}
	b.client.CloseIdleConnections()
	time.Sleep(2 * time.Second)
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for c := range b.net.conns {
		b.t.Errorf("connection left open: %v to %v", c.near, c.far)
	}
	for _, h := range b.net.hosts {
		for _, l := range h.listeners {
			b.t.Errorf("still listening: %s", l.addr)
		}
	}
	if b.t.Failed() && *bubbleLogs {
		for _, nd := range b.nodes {
			b.t.Logf("log of %s:\n%s", nd.name, nd.logs.String())
		}
	}
}

func (n *bubbleNode) addr(port int) string { return fmt.Sprintf("%s:%d", n.ip, port) }

func (n *bubbleNode) start() {
	n.b.t.Helper()
	n.host = n.b.net.plug(n.ip)
	cfg := Config{Name: n.name, Data: n.dir, API: n.addr(7400), Gossip: n.addr(7401), Peer: n.addr(7402), Join: n.join,
		Partitions: 8, Replicas: 3, Shards: 2, MaxValueBytes: 1 << 20, MaxInFlight: 64, HintBytesMax: 1 << 20}
	if len(n.join) > 0 {
		cfg.BootstrapExpect = len(n.b.nodes)
	}
	if n.conf != nil {
		n.conf(&cfg)
	}
	log := slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.name)
	node, err := startOn(n.b.t.Context(), n.host.seams(7401), cfg, log)
	if err != nil {
		n.b.t.Fatalf("%s: %v", n.name, err)
	}
	n.node = node
}

// stop is the planned one.
func (n *bubbleNode) stop() {
	n.b.t.Helper()
	node := n.node
	if node == nil {
		return
	}
	n.node = nil
	halt(n.b.t, n.name, node)
	n.host.unplug()
}

// halt stops a node and looks for an error it may have ended with.
func halt(t *testing.T, name string, node *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := node.Stop(ctx); err != nil {
		t.Errorf("stop of %s: %v", name, err)
	}
	select {
	case err := <-node.Done():
		t.Errorf("%s has failed: %v", name, err)
	default:
	}
}

// kill takes the node away as SIGKILL does: the others see resets, then nothing, and
// the next life begins with the files as they are now. Since nothing runs while they
// are copied, the copy is of one moment. The old process ends where nobody hears it.
func (n *bubbleNode) kill() {
	n.b.t.Helper()
	settle()
	n.host.unplug()
	next := n.dir + "+"
	if err := os.CopyFS(next, os.DirFS(n.dir)); err != nil {
		n.b.t.Fatal(err)
	}
	node := n.node
	n.node, n.dir = nil, next
	halt(n.b.t, n.name, node)
}

// within polls until ok; the time is virtual.
func (b *bubble) within(d time.Duration, what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not in %s: %s", d, what)
		}
	}
}

// startAll starts every node and waits until each is ready with all in its ring, there
// are as many voters as there will be, and all know the feature level that they speak.
func (b *bubble) startAll() {
	b.t.Helper()
	for _, nd := range b.nodes {
		nd.start()
	}
	b.within(30*time.Second, "a ring of all nodes, all voters, the feature level", func() bool {
		lead := b.leader()
		if lead == nil || len(lead.node.life.raft.Voters()) != b.voters() {
			return false
		}
		level := featureLevel(lead.node.life.raft.State())
		for _, nd := range b.nodes {
			if !nd.ready() || !nd.ownsWith(len(b.nodes)) || nd.node.ring.Load().Feature != level {
				return false
			}
		}
		return true
	})
}

// leader is the running node that leads the Raft group, if there is just one.
func (b *bubble) leader() (lead *bubbleNode) {
	for _, nd := range b.nodes {
		if nd.node != nil && nd.node.life.raft.IsLeader() {
			if lead != nil {
				return nil
			}
			lead = nd
		}
	}
	return lead
}

// whole waits until every node writes to and reads from all owners.
func (b *bubble) whole(d time.Duration) {
	b.t.Helper()
	began := time.Now()
	for _, nd := range b.nodes {
		for i := range 8 {
			path := fmt.Sprintf("/keys/whole%d?sloppy=false", i)
			b.within(d, "a write to and a read of all owners through "+nd.name, func() bool {
				wrote, _ := nd.ask("PUT", path+"&w=3", nd.name)
				read, _ := nd.ask("GET", path+"&r=3", "")
				return wrote == http.StatusNoContent && read == http.StatusOK
			})
		}
	}
	b.t.Logf("whole again after %s", time.Since(began))
}

// voters is how many there will be; no test has more than six nodes.
func (b *bubble) voters() int {
	if len(b.nodes) < 3 {
		return 1
	}
	return 3
}

func (n *bubbleNode) ready() bool {
	status, _ := n.ask("GET", "/readyz", "")
	return status == http.StatusOK
}

// ownsWith tells that this node knows a ring in which every partition has count owners.
func (n *bubbleNode) ownsWith(count int) bool {
	ring := n.node.ring.Load()
	if ring == nil || !ring.HasRing() || len(ring.Stores) != len(n.b.nodes) {
		return false
	}
	for _, p := range ring.Partitions {
		if len(p.Replicas) != min(count, ring.Replicas) {
			return false
		}
	}
	return true
}

// sees tells whether gossip here holds other for alive.
func (n *bubbleNode) sees(other *bubbleNode) bool { return n.node.alive(other.node.self) }

// ask is one request of a client that always reaches the node; status 0: no answer.
func (n *bubbleNode) ask(method, path, body string) (int, string) {
	n.b.t.Helper()
	req, err := http.NewRequest(method, "http://"+n.addr(7400)+path, bytes.NewReader([]byte(body)))
	if err != nil {
		n.b.t.Fatal(err)
	}
	res, err := n.b.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(got)
}

// put writes key through the node, with a query such as "?w=3".
func (n *bubbleNode) put(key, value, query string) {
	n.b.t.Helper()
	if status, got := n.ask("PUT", "/keys/"+key+query, value); status != http.StatusNoContent {
		n.b.t.Fatalf("PUT %s%s through %s: %d: %s", key, query, n.name, status, got)
	}
}

// get wants a value.
func (n *bubbleNode) get(key, value, query string) {
	n.b.t.Helper()
	if status, got := n.ask("GET", "/keys/"+key+query, ""); status != http.StatusOK || got != value {
		n.b.t.Fatalf("GET %s%s through %s: %d: %.200s, want %s", key, query, n.name, status, got, value)
	}
}

// hints is what all running nodes keep for others.
func (b *bubble) hints() (count uint64) {
	for _, nd := range b.nodes {
		if nd.node != nil {
			count += nd.node.totals().Hints
		}
	}
	return count
}

// repair reads every key through everybody with all owners: without stores beside the
// owners nobody keeps hints, and reads are what brings owners up.
func (b *bubble) repair(keys ...string) {
	b.t.Helper()
	for range 2 {
		for _, nd := range b.nodes {
			for _, key := range keys {
				if status, got := nd.ask("GET", "/keys/"+key+"?r=3&sloppy=false", ""); status != http.StatusOK {
					b.t.Fatalf("GET %s of all through %s: %d: %s", key, nd.name, status, got)
				}
			}
		}
	}
	time.Sleep(time.Second)
}

// numbered is prefix0, prefix1 and so on.
func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(prefix, i))
	}
	return out
}

// quiet waits until nobody keeps a hint; shards publish their figures once a second.
func (b *bubble) quiet(d time.Duration) {
	b.t.Helper()
	time.Sleep(2 * time.Second)
	b.within(d, "no hint left", func() bool { return b.hints() == 0 })
}

// alone reads what the node itself holds: it is cut off meanwhile.
func (n *bubbleNode) alone(f func()) {
	n.b.t.Helper()
	n.b.split(n)
	f()
	n.b.net.heal()
}

// split cuts the given nodes off from all others; clients reach everybody.
func (b *bubble) split(minority ...*bubbleNode) {
	var in, out []string
	for _, nd := range b.nodes {
		if slices.Contains(minority, nd) {
			in = append(in, nd.ip)
		} else {
			out = append(out, nd.ip)
		}
	}
	b.net.cut(in, out, true)
}

// united waits until everybody sees everybody.
func (b *bubble) united(d time.Duration) {
	b.t.Helper()
	b.within(d, "everybody sees everybody", func() bool {
		for _, nd := range b.nodes {
			for _, other := range b.nodes {
				if nd != other && !nd.sees(other) {
					return false
				}
			}
		}
		return true
	})
}

// owns tells whether the node is an owner of a key of the default bucket.
func (n *bubbleNode) owns(key string) bool {
	ring := n.node.ring.Load()
	p := ring.PartitionOf(hashring.Hash("default", []byte(key)))
	return slices.Contains(ring.Partitions[p].Replicas, n.node.self)
}
