package ringraft

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// goleveldb's buffer pool outlives Close by a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// tcpLayer is the peer port of a test.
type tcpLayer struct{ net.Listener }

func (tcpLayer) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, timeout)
}

type node struct {
	*Raft
	t      *testing.T
	sid    hashring.SID
	addr   string
	dir    string
	paused atomic.Bool
	seen   atomic.Uint64 // version of the last state that OnState got
	fatal  chan error
	opts   func(*Config)
}

func testSID(i int) hashring.SID { return hashring.SID{byte(i)} }

// group is several nodes of one test.
type group struct {
	t     *testing.T
	nodes []*node
}

func newGroup(t *testing.T, n int, opts func(*Config)) *group {
	t.Helper()
	g := &group{t: t}
	for i := range n {
		nd := &node{t: t, sid: testSID(i + 1), dir: filepath.Join(t.TempDir(), "raft"), addr: "127.0.0.1:0", opts: opts}
		nd.open()
		g.nodes = append(g.nodes, nd)
	}
	t.Cleanup(func() {
		for _, nd := range g.nodes {
			nd.stop()
		}
	})
	return g
}

func (n *node) open() {
	n.t.Helper()
	var ln net.Listener
	var err error
	n.eventually("its port", func() bool { ln, err = net.Listen("tcp", n.addr); return err == nil })
	n.addr = ln.Addr().String()
	n.fatal = make(chan error, 1)
	cfg := Config{
		SID: n.sid, PeerAddr: n.addr, Dir: n.dir, Layer: tcpLayer{ln}, Fast: true, Log: slog.New(slog.DiscardHandler),
		Paused: n.paused.Load, OnFatal: func(err error) { n.fatal <- err },
		OnState: func(s *hashring.State) {
			if old := n.seen.Swap(s.Version); old >= s.Version {
				n.t.Errorf("state %d published after %d", s.Version, old)
			}
		},
	}
	if n.opts != nil {
		n.opts(&cfg)
	}
	if n.Raft, err = Open(cfg); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) stop() {
	if n.Raft == nil {
		return
	}
	if err := n.Shutdown(); err != nil {
		n.t.Error(err)
	}
	n.Raft = nil
	n.seen.Store(0)
}

func (n *node) eventually(what string, ok func() bool) {
	n.t.Helper()
	eventually(n.t, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (g *group) leader() *node {
	g.t.Helper()
	var l *node
	eventually(g.t, "a leader", func() bool {
		for _, n := range g.nodes {
			if n.Raft != nil && n.IsLeader() {
				l = n
				return true
			}
		}
		return false
	})
	return l
}

// propose goes to whoever leads, as often as it takes.
func (g *group) propose(c hashring.Command) *hashring.State {
	g.t.Helper()
	var s *hashring.State
	eventually(g.t, "command "+string(c.Kind), func() bool {
		var err error
		s, err = g.leader().Propose(timeout(g.t), c)
		var not *NotLeaderError
		if errors.Is(err, hashring.ErrExists) || errors.Is(err, hashring.ErrSame) { // committed by an attempt of unknown outcome
			s, err = g.leader().State(), nil
		}
		if err != nil && !errors.As(err, &not) && !errors.Is(err, ErrUnknown) {
			g.t.Fatal(err)
		}
		return err == nil
	})
	return s
}

func (g *group) addr(sid hashring.SID) string {
	for _, n := range g.nodes {
		if n.sid == sid {
			return n.addr
		}
	}
	return ""
}

func (g *group) reconcile(ids ...int) {
	g.t.Helper()
	var want []hashring.SID
	for _, i := range ids {
		want = append(want, testSID(i))
	}
	eventually(g.t, "voters", func() bool {
		l := g.leader()
		err := l.ReconcileVoters(timeout(g.t), want, g.addr)
		if err != nil {
			g.t.Log(err)
		}
		return err == nil && slices.Equal(g.leader().Voters(), want)
	})
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func initCommand() hashring.Command {
	return hashring.Command{Kind: hashring.KindInit, Init: &hashring.Init{Cluster: hashring.ClusterID{9}, Replicas: 3, Feature: 1}}
}

func bucket(name string) hashring.Command {
	return hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: name}}
}

func (g *group) bootstrap() {
	g.t.Helper()
	if g.nodes[0].HasState() {
		g.t.Fatal("a new directory has state")
	}
	if err := g.nodes[0].Bootstrap(); err != nil {
		g.t.Fatal(err)
	}
	if !g.nodes[0].HasState() {
		g.t.Fatal("no state after bootstrap")
	}
	g.propose(initCommand())
}

func TestSingleNode(t *testing.T) {
	g := newGroup(t, 1, nil)
	n := g.nodes[0]
	var not *NotLeaderError
	if _, err := n.Propose(timeout(t), bucket("x")); !errors.As(err, &not) || !not.Leader.IsZero() {
		t.Fatalf("before bootstrap: %v", err)
	}
	g.bootstrap()
	s := g.propose(bucket("x"))
	if _, ok := s.Buckets["x"]; !ok || n.State() != s {
		t.Fatalf("state %+v", s)
	}
	if _, err := n.Propose(timeout(t), bucket("x")); !errors.Is(err, hashring.ErrSame) {
		t.Fatalf("the state machine's refusal must come back typed: %v", err)
	}
	var refusal *hashring.Refusal
	if _, err := n.Propose(timeout(t), initCommand()); !errors.As(err, &refusal) || refusal.Code != "same" {
		t.Fatalf("got %v", err)
	}
	if err := n.Barrier(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if sid, addr := n.Leader(); sid != n.sid || addr != n.addr {
		t.Fatalf("leader %s %s", sid, addr)
	}
	if err := n.Bootstrap(); err == nil {
		t.Fatal("bootstrap with state must fail")
	}
	n.eventually("published", func() bool { return n.seen.Load() == s.Version })
}

func TestRestartFromDisk(t *testing.T) {
	g := newGroup(t, 1, nil)
	g.bootstrap()
	s := g.propose(bucket("x"))
	g.nodes[0].stop()
	g.nodes[0].open()
	g.leader()
	eventually(t, "the state is back", func() bool { return g.nodes[0].State().Version == s.Version })
	if _, ok := g.nodes[0].State().Buckets["x"]; !ok {
		t.Fatal("the bucket is gone")
	}
}

func TestLeaderDiesAndAnotherTakesOver(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.bootstrap()
	g.reconcile(1, 2, 3)
	old := g.leader()
	other := g.nodes[slices.IndexFunc(g.nodes, func(n *node) bool { return n != old })]
	eventually(t, "followers know the leader", func() bool { sid, _ := other.Leader(); return sid == old.sid })
	var not *NotLeaderError
	if _, err := other.Propose(timeout(t), bucket("x")); !errors.As(err, &not) || not.Leader != old.sid || not.Addr != old.addr {
		t.Fatalf("follower: %v", err)
	}
	if err := other.Barrier(timeout(t)); !errors.As(err, &not) {
		t.Fatalf("follower: %v", err)
	}
	s := g.propose(bucket("before"))
	old.stop()
	began := time.Now()
	s2 := g.propose(bucket("after"))
	t.Logf("a new leader committed %s after the old one ended", time.Since(began).Round(time.Millisecond))
	if s2.Version <= s.Version || len(s2.Buckets) != 3 {
		t.Fatalf("state %+v", s2)
	}
	old.open()
	for _, n := range g.nodes {
		eventually(t, "all have it", func() bool { return n.State().Version >= s2.Version && n.seen.Load() >= s2.Version })
	}
}

func TestNoQuorumStillServesState(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.bootstrap()
	g.reconcile(1, 2, 3)
	s := g.propose(bucket("x"))
	for _, n := range g.nodes {
		eventually(t, "applied", func() bool { return n.State().Version >= s.Version })
	}
	for _, n := range g.nodes {
		n.paused.Store(true)
	}
	for _, n := range g.nodes {
		eventually(t, "nobody leads", func() bool { return !n.IsLeader() })
		if n.State().Version < s.Version {
			t.Fatal("the state is gone")
		}
		if _, err := n.Propose(timeout(t), bucket("y")); err == nil {
			t.Fatal("committed without a quorum")
		}
	}
	for _, n := range g.nodes {
		n.paused.Store(false)
	}
	g.propose(bucket("y"))
}

func TestSnapshotTruncatesAndANewcomerTakesIt(t *testing.T) {
	g := newGroup(t, 2, func(c *Config) { c.SnapshotEvery = 8 })
	g.bootstrap()
	var s *hashring.State
	for i := range 40 {
		s = g.propose(bucket("b" + string(rune('a'+i/10)) + string(rune('a'+i%10))))
	}
	l := g.nodes[0]
	eventually(t, "truncated", func() bool { first, _ := l.disk.FirstIndex(); return first > 1 })
	metas, err := snapshots{l.disk}.List()
	if err != nil || len(metas) == 0 || len(metas) > snapshotsKept {
		t.Fatalf("%d snapshots, %v", len(metas), err)
	}
	l.stop()
	l.open()
	eventually(t, "restored", func() bool { return l.State().Version == s.Version && len(l.State().Buckets) == 41 })
	want := []hashring.SID{testSID(1)}
	g.leader()
	// As a non-voter the second one gets snapshot and log, then it is let go again.
	eventually(t, "added", func() bool {
		return l.raft.AddNonvoter(serverID(testSID(2)), raftAddr(g.nodes[1].addr), 0, time.Second).Error() == nil
	})
	eventually(t, "snapshot installed", func() bool { return g.nodes[1].State().Version == s.Version })
	if err := l.ReconcileVoters(timeout(t), want, g.addr); err != nil || len(l.raft.GetConfiguration().Configuration().Servers) != 1 {
		t.Fatal("a stray non-voter stays", err)
	}
}

func TestVotersGrowAndShrink(t *testing.T) {
	g := newGroup(t, 5, nil)
	g.bootstrap()
	if err := g.leader().ReconcileVoters(timeout(t), []hashring.SID{testSID(1), testSID(2)}, g.addr); err == nil {
		t.Fatal("an even number was taken")
	}
	g.reconcile(1, 2, 3)
	g.reconcile(1, 2, 3, 4, 5)
	s := g.propose(bucket("five"))
	for _, n := range g.nodes {
		eventually(t, "all follow", func() bool { return n.State().Version >= s.Version })
	}
	g.reconcile(3, 4, 5) // the leader goes too
	eventually(t, "a leader among those left", func() bool { return g.leader().sid != testSID(1) && g.leader().sid != testSID(2) })
	g.propose(bucket("three"))
	g.reconcile(1, 4, 5) // and may come back
	g.propose(bucket("back"))
}

func TestDeadNewcomerDoesNotHarm(t *testing.T) {
	g := newGroup(t, 2, nil)
	g.bootstrap()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	want := []hashring.SID{testSID(1), testSID(2), testSID(9)}
	err := g.nodes[0].ReconcileVoters(ctx, want, func(sid hashring.SID) string {
		if sid == testSID(9) {
			return "127.0.0.1:1"
		}
		return g.addr(sid)
	})
	if !errors.Is(err, context.DeadlineExceeded) || len(g.nodes[0].Voters()) != 1 {
		t.Fatalf("voters %v, %v", g.nodes[0].Voters(), err)
	}
	g.propose(bucket("x"))
	g.reconcile(1)
	if n := len(g.nodes[0].raft.GetConfiguration().Configuration().Servers); n != 1 {
		t.Fatalf("%d servers, the newcomers should be gone", n)
	}
}

func TestVoterAtANewAddress(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.bootstrap()
	g.reconcile(1, 2, 3)
	g.propose(bucket("a"))
	moved := g.nodes[slices.IndexFunc(g.nodes, func(n *node) bool { return n != g.leader() })]
	moved.stop()
	moved.addr = "127.0.0.1:0"
	moved.open()
	g.reconcile(1, 2, 3)
	s := g.propose(bucket("b"))
	eventually(t, "it follows at its new address", func() bool { return moved.State().Version >= s.Version })
}
