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
	"github.com/quoratedb/quorate/node/httpapi"
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

// fastTimes keeps the proportions of lifeDefaults.
func fastTimes() lifeTimes {
	return lifeTimes{
		Poll: 20 * time.Millisecond, RPC: 2 * time.Second, Push: time.Second, Quiet: 400 * time.Millisecond, QuietMax: 4 * time.Second,
		Name: 600 * time.Millisecond, VoterPatience: 2 * time.Second, Reconcile: 5 * time.Second, Say: time.Second,
	}
}

// freeAddr is a port that is free now, for both TCP and UDP.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
			t.Logf("log of %s:\n%s", name, nd.logs.String())
		}
	})
	return nd
}

func (n *lifeNode) start() {
	n.t.Helper()
	if err := n.tryStart(); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
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
			return n.hasRing() && len(n.life.Ring().Stores) == stores && n.life.confirmed.Load()
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

func TestLifeSingleNodeWithoutFlags(t *testing.T) {
	nodes := lifeCluster(t, 1, 0)
	startAll(nodes)
	awaitRing(t, nodes, 1, 1)
	awaitVoters(t, nodes, 1)
	v, cluster := nodes[0].life.version(), nodes[0].life.cluster()
	nodes[0].stop()
	nodes[0].start()
	if nodes[0].life.version() < v {
		t.Fatal("the saved ring state is not there at once")
	}
	awaitRing(t, nodes, 1, 1)
	if st, _ := nodes[0].life.Ring().Store(nodes[0].sid); st.Boot != 2 || nodes[0].life.cluster() != cluster {
		t.Fatalf("registered %+v", st)
	}
}

func TestLifeThreeNodesProposeAnywhere(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3)
	ctx := context.Background()
	for i, n := range nodes {
		st, err := n.life.propose(ctx, makeBucket(fmt.Sprintf("b%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range nodes { // pushed before propose returned
			if other.life.version() < st.Version {
				t.Fatalf("%s has ring %d, %d was just committed", other.name, other.life.version(), st.Version)
			}
		}
		if _, err := n.life.propose(ctx, makeBucket("b0")); !errors.Is(err, hashring.ErrSame) {
			t.Fatalf("a refusal must come back typed: %v", err)
		}
	}
	if sid, addr := nodes[0].life.leader(); sid.IsZero() || addr == "" {
		t.Fatal("no leader known")
	}
	nodes[1].life.refresh(ctx)
}

func TestLifeFiveNodesLateJoinAndRestarts(t *testing.T) {
	nodes := lifeCluster(t, 6, 3)
	first, late := nodes[:5], nodes[5]
	startAll(first)
	awaitRing(t, first, 5, 5)
	awaitVoters(t, first, 3)

	late.start()
	awaitRing(t, nodes, 6, 5) // it owns nothing until moves exist

	victim := nodes[slices.IndexFunc(first, func(n *lifeNode) bool { return n.life.raft.IsLeader() })]
	victim.stop()
	lifeEventually(t, "a new leader commits", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := late.life.propose(ctx, makeBucket("x"))
		return err == nil || errors.Is(err, hashring.ErrSame)
	})
	victim.start()
	awaitRing(t, nodes, 6, 5)
	if st, _ := late.life.Ring().Store(victim.sid); st.Boot != 2 {
		t.Fatalf("registered %+v", st)
	}

	cluster, version := nodes[0].life.cluster(), nodes[0].life.version()
	for _, n := range nodes {
		n.stop()
	}
	startAll(nodes)
	awaitRing(t, nodes, 6, 5)
	if nodes[0].life.cluster() != cluster || nodes[0].life.version() <= version {
		t.Fatal("the cluster did not come back")
	}
}

func TestLifeTwoPairsBecomeOneCluster(t *testing.T) {
	// K=3 of 4 nodes that find each other in pairs first: at most one cluster.
	nodes := lifeCluster(t, 4, 3)
	a, b := nodes[:2], nodes[2:]
	for i, pair := range [][]*lifeNode{a, b} {
		for _, n := range pair {
			n.join = []string{pair[0].gossipAddr, pair[1].gossipAddr}
			if i == 1 {
				n.join = append(n.join, a[0].gossipAddr)
			}
		}
	}
	startAll(a)
	lifeEventually(t, "too few nodes", func() bool { return strings.Contains(a[0].logs.String(), "waiting for nodes") })
	if !a[0].life.cluster().IsZero() {
		t.Fatal("a cluster of two")
	}
	startAll(b)
	awaitRing(t, nodes, 4, 4)
}

func TestLifeJoinWithoutExpectNeverBootstraps(t *testing.T) {
	nodes := lifeCluster(t, 2, 0)
	startAll(nodes)
	for _, n := range nodes {
		lifeEventually(t, "says what it waits for", func() bool { return strings.Contains(n.logs.String(), "none is made without") })
		if !n.life.cluster().IsZero() || n.life.progress() == "" {
			t.Fatal("a cluster was made")
		}
	}
}

func TestLifeForeignClusterStaysApart(t *testing.T) {
	a, b := lifeCluster(t, 1, 1)[0], newLifeNode(t, "m1", 1)
	a.start()
	awaitRing(t, []*lifeNode{a}, 1, 1)
	b.start()
	awaitRing(t, []*lifeNode{b}, 1, 1)
	b.stop()
	b.join = []string{a.gossipAddr}
	b.start()
	awaitRing(t, []*lifeNode{b}, 1, 1)
	lifeEventually(t, "both ids are named", func() bool {
		l := b.logs.String()
		return strings.Contains(l, a.life.cluster().String()) && strings.Contains(l, b.life.cluster().String()) && strings.Contains(l, "another cluster")
	})
	// A node with neither is told about both and joins neither.
	c := newLifeNode(t, "c", 1)
	c.join = []string{a.gossipAddr, b.gossipAddr}
	c.start()
	lifeEventually(t, "two clusters", func() bool { return strings.Contains(c.logs.String(), "more than one cluster") })
	if !c.life.cluster().IsZero() {
		t.Fatal("it joined one of two")
	}
	var out ringAnswer
	if err := b.life.ask(context.Background(), a.peerAddr, methodRing, ringAsk{head: head{lifeFormat}}, &out); err == nil {
		t.Fatal("a foreign node was given the ring")
	}
}

func TestLifeNameConflicts(t *testing.T) {
	nodes := lifeCluster(t, 1, 1)
	startAll(nodes)
	awaitRing(t, nodes, 1, 1)
	twin := newLifeNode(t, "twin", 0)
	twin.name, twin.join = "n1", []string{nodes[0].gossipAddr}
	twin.start()
	err := <-twin.fatal
	var taken *NameTakenError
	if !errors.As(err, &taken) || !taken.Alive || !strings.Contains(err.Error(), nodes[0].peerAddr) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(twin.logs.String(), "waiting for it to become free") {
		t.Fatal("it did not wait")
	}
}

func TestLifeDeadNameIsExplained(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3)
	nodes[2].stop()
	wiped := newLifeNode(t, "n3", 3)
	wiped.join = nodes[2].join
	wiped.start()
	err := <-wiped.fatal
	var taken *NameTakenError
	if !errors.As(err, &taken) || taken.Alive {
		t.Fatalf("got %v", err)
	}
	for _, word := range []string{nodes[2].peerAddr, "old data directory", "new --name"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error lacks %q: %v", word, err)
		}
	}
}

// rolledBack shows an older boot than the store has.
type rolledBack struct {
	lifeStore
	by uint64
}

func (r rolledBack) Identity() store.Identity {
	id := r.lifeStore.Identity()
	id.Boot -= r.by
	return id
}

func TestLifeRolledBackStoreEnds(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3)
	victim := nodes[2]
	for range 2 {
		victim.stop()
		victim.start()
		awaitRing(t, nodes, 3, 3)
	}
	victim.stop() // its boot 3 is registered; the restored image makes it 4-1 again
	victim.change = func(c *lifeConfig) { c.Store = rolledBack{c.Store, 1} }
	victim.start()
	if err := <-victim.fatal; !errors.Is(err, errRolledBack) {
		t.Fatalf("got %v", err)
	}
	if victim.life.confirmed.Load() {
		t.Fatal("it was confirmed")
	}
}

func TestLifeConfirmedByPeersWithoutRaft(t *testing.T) {
	nodes := lifeCluster(t, 5, 5)
	startAll(nodes)
	awaitRing(t, nodes, 5, 5)
	awaitVoters(t, nodes, 3)
	voters := nodes[0].life.voters(context.Background())
	var rest []*lifeNode
	stopped := 0
	for _, n := range nodes { // take Raft's quorum away: two of three voters
		if stopped < 2 && contains(voters, n.sid) {
			n.stop()
			stopped++
			continue
		}
		rest = append(rest, n)
	}
	again := rest[0]
	again.stop()
	again.start()
	lifeEventually(t, "confirmed by its peers", again.life.confirmed.Load)
	if !strings.Contains(again.logs.String(), "majority of the ring's other stores") {
		t.Fatal("confirmed by what?")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := again.life.propose(ctx, makeBucket("x")); err == nil || errors.Is(err, hashring.ErrSame) {
		t.Fatalf("committed without a quorum: %v", err)
	}
	// A copy of the store at the boot its peers have seen is not taken.
	again.stop()
	again.change = func(c *lifeConfig) { c.Store = rolledBack{c.Store, 1} }
	again.start()
	lifeEventually(t, "a peer says no", func() bool { return strings.Contains(again.logs.String(), "a peer does not take this start") })
	if again.life.confirmed.Load() {
		t.Fatal("it was confirmed")
	}
}

func TestLifeNotProposedIsSaid(t *testing.T) {
	nodes := lifeCluster(t, 2, 0)
	nodes[0].start()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := nodes[0].life.propose(ctx, makeBucket("x")); !errors.Is(err, httpapi.ErrNotProposed) {
		t.Fatalf("got %v", err)
	}
}
