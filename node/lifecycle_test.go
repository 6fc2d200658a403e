package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/httpapi"
	"github.com/quoratedb/quorate/node/store"
)

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
		name := ""
		st, err := proposeKnown(n, func(try int) hashring.Command {
			name = fmt.Sprintf("b%d-%d", i, try)
			return makeBucket(name)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range nodes { // pushed before propose returned
			if other.life.version() < st.Version {
				t.Fatalf("%s has ring %d, %d was just committed", other.name, other.life.version(), st.Version)
			}
		}
		if _, err := proposeKnown(n, func(int) hashring.Command { return makeBucket(name) }); !errors.Is(err, hashring.ErrSame) {
			t.Fatalf("a refusal must come back typed: %v", err)
		}
	}
	if sid, addr := nodes[0].life.leader(); sid.IsZero() || addr == "" {
		t.Fatal("no leader known")
	}
	nodes[1].life.refresh(ctx)
}

// A cluster with a ring is ready, and from then on any one node of it may die.
func TestLifeVotersComeBeforeTheFirstRing(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	for _, n := range nodes {
		n.change = func(c *lifeConfig) {
			c.Times.QuietMax = time.Minute // else a busy machine goes on without them
			published := c.OnRing
			c.OnRing = func(r *hashring.Ring) {
				if raft := n.life.raft; r.HasRing() && raft.IsLeader() && len(raft.Voters()) != 3 {
					t.Errorf("%s: ring %d has %d voters", n.name, r.Version, len(raft.Voters()))
				}
				published(r)
			}
		}
	}
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
}

// proposeKnown proposes make(0), and make(1) and so on while the outcome of the last
// one is unknown: on a busy machine an election may come between at any time.
func proposeKnown(n *lifeNode, make func(try int) hashring.Command) (st *hashring.State, err error) {
	for try := range 10 {
		if st, err = n.life.propose(context.Background(), make(try)); !errors.Is(err, ringraft.ErrUnknown) {
			break
		}
	}
	return st, err
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
	old := nodes[2].sid
	nodes[2].stop()
	for _, n := range nodes[:2] {
		lifeEventually(t, "its death is seen", func() bool { return !n.gossip.View().Alive(old) })
	}
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
	nodes := lifeCluster(t, 6, 6)
	startAll(nodes)
	awaitRing(t, nodes, 6, 6)
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
