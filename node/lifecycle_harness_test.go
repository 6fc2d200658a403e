package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/freeport"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
	"go.uber.org/goleak"
)

// lifeNode is one node with real store, gossip, peer port and Raft, without data path.
type lifeNode struct {
	t    *testing.T
	name string
	dir  string
	join []string
	k    int
	sid  hashring.SID

	gossipAddr, peerAddr string
	change               func(*lifeConfig)

	store     *store.Store
	peers     *peer.Transport
	life      *lifecycle
	gossip    *gossip.Gossip
	fatal     chan error
	confirmed chan struct{}
	last      atomic.Uint64
	logs      lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the last lines but those of level DEBUG: a report of a failure is read in
// places that cut it.
func (l *lockedBuffer) tail(lines int) string {
	all := slices.DeleteFunc(strings.SplitAfter(l.String(), "\n"), func(s string) bool { return strings.Contains(s, "level=DEBUG") })
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// fastTimes keeps the proportions of lifeDefaults.
func fastTimes() lifeTimes {
	return lifeTimes{
		Poll: 20 * time.Millisecond, RPC: 2 * time.Second, Push: time.Second, Quiet: 400 * time.Millisecond, QuietMax: 4 * time.Second,
		Name: 600 * time.Millisecond, VoterPatience: 2 * time.Second, Reconcile: 5 * time.Second, Say: time.Second, Word: 20 * time.Millisecond,
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// lifeCluster is the nodes of one test, not started.
func lifeCluster(t *testing.T, n, k int) []*lifeNode {
	t.Helper()
	checkLeaks(t)
	var all []*lifeNode
	var addrs []string
	for i := range n {
		nd := newLifeNode(t, fmt.Sprintf("n%d", i+1), k)
		all = append(all, nd)
		addrs = append(addrs, nd.gossipAddr)
	}
	for _, nd := range all {
		if n > 1 {
			nd.join = addrs
		}
	}
	return all
}

func checkLeaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, ignore, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	})
}

func newLifeNode(t *testing.T, name string, k int) *lifeNode {
	nd := &lifeNode{t: t, name: name, k: k, dir: filepath.Join(t.TempDir(), name), gossipAddr: freeAddr(t), peerAddr: freeAddr(t)}
	t.Cleanup(func() {
		nd.stop()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, nd.logs.tail(40))
		}
	})
	return nd
}

// start runs a new process. The one before may not have given all its ports back: a
// probe that memberlist is just sending holds its socket, and other test binaries try
// ports out. So a port in use is tried again for a while.
func (n *lifeNode) start() {
	n.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		err := n.tryStart()
		if err == nil {
			return
		}
		n.stop()
		if !strings.Contains(err.Error(), "address already in use") {
			n.t.Fatalf("%s: %v", n.name, err)
		}
		select {
		case <-deadline:
			n.t.Fatalf("%s: %v", n.name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (n *lifeNode) tryStart() (err error) {
	log := slog.New(slog.NewTextHandler(&n.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.name)
	n.fatal, n.confirmed = make(chan error, 1), make(chan struct{})
	n.last.Store(0)
	if n.store, err = store.Open(n.dir, store.Options{}); err != nil {
		return err
	}
	n.sid = n.store.Identity().SID
	cfg := lifeConfig{
		Name: n.name, Version: "0.0.0", API: "127.0.0.1:1", Gossip: n.gossipAddr, Peer: n.peerAddr, Join: len(n.join) > 0, Expect: n.k,
		Partitions: 16, Replicas: 3, Feature: 1, Store: n.store, Log: log, Times: fastTimes(), Fast: true,
		OnRing: func(r *hashring.Ring) {
			if old := n.last.Swap(r.Version); old >= r.Version {
				n.t.Errorf("%s: ring %d published after %d", n.name, r.Version, old)
			}
			if saved, err := n.store.RingState(); err != nil || saved.Version != r.Version {
				n.t.Errorf("%s: ring %d published before it was saved: %v", n.name, r.Version, err)
			}
		},
		OnConfirmed: func() { close(n.confirmed) },
		OnFatal:     func(err error) { n.fatal <- err },
	}
	if n.change != nil {
		n.change(&cfg)
	}
	n.life = newLifecycle(cfg)
	ln, err := net.Listen("tcp", n.peerAddr)
	if err != nil {
		return err
	}
	n.peers = peer.New(ln, peer.Config{
		Self: func() peer.Hello { return n.life.hello(1, 1) }, Check: n.life.check, Control: n.life.control,
		Down: func(hashring.SID) {}, Up: func(peer.Hello) {}, Log: log,
	})
	if err := n.life.open(n.peers, n.peers.Raft(), filepath.Join(n.dir, "raft")); err != nil {
		return err
	}
	n.gossip, err = gossip.Start(gossip.Config{Bind: n.gossipAddr, Join: n.join, Meta: n.life.meta, OnChange: n.life.onView,
		Ring: n.life.ringGossip, Log: log, Fast: true})
	if err != nil {
		return err
	}
	return n.life.start(n.gossip)
}

// stop is a kill: nobody is told.
func (n *lifeNode) stop() {
	if n.store == nil {
		return
	}
	var errs []error
	if n.life != nil {
		errs = append(errs, n.life.stop())
	}
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.peers != nil {
		errs = append(errs, n.peers.Close())
	}
	errs = append(errs, n.store.Close())
	n.store, n.life, n.gossip, n.peers = nil, nil, nil, nil
	if err := errors.Join(errs...); err != nil {
		n.t.Errorf("%s: %v", n.name, err)
	}
}

func (n *lifeNode) hasRing() bool {
	r := n.life.Ring()
	return r != nil && r.HasRing()
}

func startAll(nodes []*lifeNode) {
	for _, n := range nodes {
		n.start()
	}
}

func lifeEventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitRing waits until all nodes are confirmed and share one ring with that many
// stores and owners.
func awaitRing(t *testing.T, nodes []*lifeNode, stores, owners int) {
	t.Helper()
	for _, n := range nodes {
		lifeEventually(t, n.name+" has the ring", func() bool {
			select {
			case err := <-n.fatal:
				t.Fatalf("%s: %v", n.name, err)
			default:
			}
			if !n.hasRing() || len(n.life.Ring().Stores) != stores || !n.life.confirmed.Load() {
				return false
			}
			st, ok := n.life.Ring().Store(n.sid)
			return ok && st.Boot == n.life.boot
		})
		<-n.confirmed
	}
	lifeEventually(t, "one ring version", func() bool {
		for _, n := range nodes {
			if n.life.version() != nodes[0].life.version() {
				return false
			}
		}
		return true
	})
	seen := map[hashring.SID]bool{}
	for _, p := range nodes[0].life.Ring().Partitions {
		for _, sid := range p.Replicas {
			seen[sid] = true
		}
	}
	if len(seen) != owners {
		t.Fatalf("%d stores own partitions, want %d", len(seen), owners)
	}
	for _, n := range nodes {
		if n.life.cluster() != nodes[0].life.cluster() || n.life.cluster().IsZero() {
			t.Fatal("not one cluster")
		}
	}
}

func awaitVoters(t *testing.T, nodes []*lifeNode, count int) {
	t.Helper()
	for _, n := range nodes {
		lifeEventually(t, fmt.Sprintf("%s knows %d voters", n.name, count), func() bool {
			return len(n.life.voters(context.Background())) == count
		})
	}
}

func makeBucket(name string) hashring.Command {
	return hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: name}}
}
