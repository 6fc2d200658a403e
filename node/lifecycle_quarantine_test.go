package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/store"
)

// copyOf copies a stopped node's directory.
func copyOf(t *testing.T, n *lifeNode) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(n.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ends starts the node, which must find out that it is a copy, and then never again.
func (n *lifeNode) ends() {
	n.t.Helper()
	n.start()
	var q *store.QuarantinedError
	select {
	case err := <-n.fatal:
		if !errors.Is(err, errRolledBack) || !errors.As(err, &q) {
			n.t.Fatalf("got %v", err)
		}
	case <-n.confirmed:
	}
	if n.life.confirmed.Load() {
		n.t.Fatal("a copy was confirmed")
	}
	n.stop()
	for range 3 {
		if err := n.tryStart(); !errors.As(err, &q) {
			n.t.Fatalf("a restart gave %v", err)
		}
	}
}

// bootTimes starts the store alone, out of everybody's reach.
func bootTimes(t *testing.T, dir string, times int) (id store.Identity) {
	t.Helper()
	for range times {
		s, err := store.Open(dir, store.Options{})
		must(t, err)
		id = s.Identity()
		must(t, s.Close())
	}
	return id
}

func modernCluster(t *testing.T) []*lifeNode {
	nodes := lifeCluster(t, 3, 3)
	for _, n := range nodes {
		n.change = rebuilding
	}
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3)
	lifeEventually(t, "the feature level rises", func() bool {
		for _, n := range nodes {
			if n.life.Ring().Feature < hashring.FeatureNonce {
				return false
			}
		}
		return true
	})
	return nodes
}

// A copy of a store is never let in, however often it is restarted: before it reaches
// the cluster, which brings its boot count above the registered one, and after.
func TestLifeACopyIsNeverConfirmed(t *testing.T) {
	nodes := modernCluster(t)
	victim := nodes[2]
	victim.stop()
	early, late, original := copyOf(t, victim), copyOf(t, victim), victim.dir
	victim.start() // boot 2 is registered
	awaitRing(t, nodes, 3, 3)
	st, _ := victim.life.Ring().Store(victim.sid)
	if st.Boot != 2 || st.Nonce == 0 || st.Nonce != victim.life.nonce {
		t.Fatalf("registered %+v", st)
	}
	victim.stop()

	victim.dir = early // its first start is at the registered boot count
	victim.ends()
	victim.dir = late
	bootTimes(t, late, 5) // boots 2 to 6
	victim.ends()

	victim.dir = original
	victim.start()
	awaitRing(t, nodes, 3, 3)
	if st, _ := victim.life.Ring().Store(victim.sid); st.Boot != 3 {
		t.Fatalf("registered %+v", st)
	}
}

// Below the level of nonces the boot count alone tells, and what it told once stays.
func TestLifeARefusedCopyStaysRefused(t *testing.T) {
	nodes := lifeCluster(t, 3, 3)
	startAll(nodes)
	awaitRing(t, nodes, 3, 3)
	awaitVoters(t, nodes, 3) // a copy of the only voter would elect itself
	victim := nodes[2]
	victim.stop()
	twin := copyOf(t, victim)
	victim.start() // boot 2 is registered, and the copy's first start is at 2
	awaitRing(t, nodes, 3, 3)
	if st, _ := victim.life.Ring().Store(victim.sid); st.Nonce != 0 {
		t.Fatalf("a nonce below its level: %+v", st)
	}
	victim.stop()
	victim.dir = twin
	victim.ends()
}

// A start that the ring took, and that ended before it heard of it, locks nobody out.
func TestLifeARegistrationNobodyHeardOf(t *testing.T) {
	nodes := modernCluster(t)
	victim := nodes[2]
	if victim.life.raft.IsLeader() {
		nodes[2], nodes[0] = nodes[0], nodes[2]
		victim = nodes[2]
	}
	reg := victim.life.me()
	victim.stop()
	id := bootTimes(t, victim.dir, 1)
	reg.Boot, reg.Nonce = id.Boot, id.Nonce()
	c := hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: reg}}
	lifeEventually(t, "a leader commits it", func() bool {
		for _, n := range nodes[:2] {
			st, _ := n.life.Ring().Store(victim.sid)
			if st.Nonce == id.Nonce() {
				return true
			}
			c.Register.Expects, c.Register.ExpectsNonce = st.Boot, st.Nonce
			if n.life.raft.IsLeader() {
				_, _ = n.life.propose(context.Background(), c)
			}
		}
		return false
	})
	bootTimes(t, victim.dir, 2) // and these never reached anybody
	victim.start()
	awaitRing(t, nodes, 3, 3)
	if st, _ := victim.life.Ring().Store(victim.sid); st.Boot != id.Boot+3 || st.Nonce != victim.life.nonce {
		t.Fatalf("registered %+v", st)
	}
}

// lineages are three lifecycles under one ring in which c is registered as (3, 33).
func lineages(t *testing.T) (peers []*lifecycle, start func(boot, ring uint64, nonces ...uint64) *lifecycle) {
	t.Helper()
	cluster := hashring.SID{7}
	all := fakeLives(3)
	state := func(version uint64) *hashring.Ring {
		st := &hashring.State{Version: version, Cluster: cluster, Feature: hashring.FeatureNonce, Replicas: 3}
		for _, l := range all {
			st.Stores = append(st.Stores, hashring.Store{SID: l.self, Node: l.cfg.Name, Peer: l.cfg.Name, Boot: 1, State: hashring.StoreUp, FeatureMax: hashring.FeatureNonce})
		}
		st.Stores[2].Boot, st.Stores[2].Nonce = 3, 33
		st.Partitions = hashring.Claim(4, st.Stores, 3)
		return hashring.NewRing(st)
	}
	var members []gossip.Member
	for _, l := range all {
		must(t, l.cfg.Store.SetCluster(cluster))
		l.ring.Store(state(10))
		members = append(members, gossip.Member{Meta: l.meta(), State: gossip.Alive})
	}
	routes := map[string]*lifecycle{"a": all[0], "b": all[1]}
	start = func(boot, ring uint64, nonces ...uint64) *lifecycle {
		id := store.Identity{SID: all[2].self, Cluster: cluster, Boot: boot}
		for i, n := range nonces {
			id.Starts = append(id.Starts, store.Start{Boot: boot - uint64(len(nonces)-1-i), Nonce: n})
		}
		l := newLifecycle(lifeConfig{Name: "c", Peer: "c", Expect: 3, Join: true, Store: &fakeStore{id}, Log: slog.New(slog.DiscardHandler), OnFatal: func(error) {}})
		l.parts.Store(&lifeParts{gossip: fakeGossip{gossip.NewView(l.self, members)}, peer: &fakePeer{routes, l}, raft: fakeRaft{}})
		l.ring.Store(state(ring))
		return l
	}
	return all[:2], start
}

func TestPeersCompareLineages(t *testing.T) {
	for name, c := range map[string]struct {
		boot, ring uint64
		nonces     []uint64
		want       bool
	}{
		"the registered start itself":        {3, 10, []uint64{33}, true},
		"the next start":                     {4, 10, []uint64{33, 44}, true},
		"later, others in between":           {9, 10, []uint64{33, 55, 99}, true},
		"a copy":                             {4, 10, []uint64{22, 98}, false},
		"a copy, restarted often":            {70, 10, []uint64{22, 98, 97, 96}, false},
		"a copy, at the registered count":    {3, 10, []uint64{22, 98}, false},
		"a copy with an older ring":          {70, 9, []uint64{22, 98}, false},
		"one that says nothing":              {70, 10, nil, false},
		"an older start":                     {2, 10, []uint64{33}, false},
		"registered since, known here later": {9, 11, []uint64{88, 99}, true}, // its own ring is held against it by itself
	} {
		peers, start := lineages(t)
		l := start(c.boot, c.ring, c.nonces...)
		in := l.introduction()
		in.Starts = c.nonces
		h := l.hello(1, 1)
		if err := peers[0].take(h, &in); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if s, ok := peers[0].seen[h.SID]; ok != c.want || s.boot != 0 && s.boot != c.boot {
			t.Errorf("%s: it was seen: %+v, %t", name, s, ok)
		}
	}
}

// A start that was seen, but not registered, is remembered too, and the ring has the
// last word.
func TestPeersCompareWithWhatTheySaw(t *testing.T) {
	peers, start := lineages(t)
	a := peers[0]
	take := func(l *lifecycle) error { in := l.introduction(); return a.take(l.hello(1, 1), &in) }
	must(t, take(start(5, 10, 33, 55)))
	must(t, take(start(6, 10, 33, 55, 66)))
	fork := start(7, 10, 33, 57)
	if take(fork) == nil || take(start(90, 10, 33, 58)) == nil || a.seen[fork.self].boot != 6 {
		t.Fatalf("a copy made before boot 5 was taken: %+v", a.seen)
	}
	must(t, take(start(7, 10, 33, 55, 66, 77)))
	seen := a.seen[fork.self]
	a.seen[fork.self] = sighting{boot: 2, nonce: 21} // before what is registered by now, and forgotten
	must(t, take(start(4, 10, 33, 44)))
	a.seen[fork.self] = seen
	st := *a.ring.Load().State
	st.Version, st.Stores = 12, append([]hashring.Store(nil), st.Stores...)
	st.Stores[2].Boot, st.Stores[2].Nonce = 95, 59 // the fork's, through Raft
	a.ring.Store(hashring.NewRing(&st))
	must(t, take(start(95, 10, 33, 57, 59)))
	if take(start(96, 10, 33, 55, 66, 77, 78)) == nil {
		t.Fatal("the other branch was taken")
	}
}

func TestACopyIsNotConfirmedByItsPeers(t *testing.T) {
	_, start := lineages(t)
	ctx := context.Background()
	for range 5 { // boots 70 to 74
		taken := map[hashring.SID]uint64{}
		l := start(70, 9, 22, 98)
		l.ring.Load().Stores[2].Nonce, l.ring.Load().Stores[2].Boot = 22, 2 // as it was when the copy was made
		if l.introduce(ctx, taken); len(taken) != 0 || l.takenByMost(taken) {
			t.Fatalf("taken by %v", taken)
		}
	}
	taken := map[hashring.SID]uint64{}
	l := start(4, 10, 33, 44)
	if l.introduce(ctx, taken); len(taken) != 2 || !l.takenByMost(taken) {
		t.Fatalf("taken by %v only", taken)
	}
	l = start(4, 9, 33, 44) // one of the others may know more
	clear(taken)
	if l.introduce(ctx, taken); len(taken) != 0 {
		t.Fatalf("taken by %v, whose ring is newer", taken)
	}
	if l = start(3, 10, 33); l.takenByMost(map[hashring.SID]uint64{{1}: 1, {2}: 1}) {
		t.Fatal("confirmed at the boot count that is registered")
	}
	l = start(4, 10, 22, 98) // whatever the others say, its own ring says no
	if l.takenByMost(map[hashring.SID]uint64{{1}: 1, {2}: 1}) {
		t.Fatal("a copy that knows it was confirmed")
	}
}

// Too many starts, or empty ones, are no introduction.
func TestIntroductionsAreBounded(t *testing.T) {
	peers, start := lineages(t)
	for _, starts := range [][]uint64{make([]uint64, 1), make([]uint64, store.MaxStarts+1)} {
		in := start(4, 10, 33, 44).introduction()
		in.Starts = starts
		b, err := encodePayload(in)
		must(t, err)
		if _, err := peers[0].control(context.Background(), peers[1].hello(1, 1), methodCluster, b); !errors.Is(err, errPayload) {
			t.Fatalf("%d starts: %v", len(starts), err)
		}
	}
}
