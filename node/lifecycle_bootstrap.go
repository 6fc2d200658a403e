package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
)

// How a cluster comes to be. Every empty node waits until all --join addresses have
// been tried once. A node that sees a cluster joins it. Where none is seen and K
// nodes without one see each other, the one with the lowest store id, the
// initiator, draws a set id, promises itself to the set and asks the others for
// their promise. A promise is durable and to one set only. With K promises the
// initiator writes the set's id as its cluster id: from that write on the cluster
// exists, and everybody else finds it by gossip.
//
// Why there cannot be two: a second cluster needs K promises too, and a node gives
// its promise to another set only after the first set's initiator, which alone
// could complete it, has itself promised to the other set instead, durably. It does
// that only in favour of a lower store id, so nobody waits in a circle.

// expect is K: how many nodes must have said that they have no cluster; 0: never
// make one, only join.
func (l *lifecycle) expect() int {
	if l.cfg.Expect == 0 && !l.cfg.Join {
		return 1
	}
	return l.cfg.Expect
}

// findCluster returns once this store belongs to a cluster.
func (l *lifecycle) findCluster(ctx context.Context) error {
	if !l.cluster().IsZero() {
		return nil
	}
	parts := l.parts.Load()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-parts.gossip.JoinTried():
	}
	for l.cluster().IsZero() {
		if err := l.tryCluster(ctx, parts); err != nil {
			return err
		}
		if l.cluster().IsZero() && !l.pause(ctx, loopRun, l.cfg.Times.Poll) {
			return ctx.Err()
		}
	}
	parts.gossip.Refresh()
	l.poke()
	return nil
}

// tryCluster is one look around.
func (l *lifecycle) tryCluster(ctx context.Context, parts *lifeParts) error {
	members := map[hashring.ClusterID][]gossip.Member{}
	for _, m := range parts.gossip.View().Members {
		if m.State == gossip.Alive {
			members[m.Cluster] = append(members[m.Cluster], m)
		}
	}
	empty := members[hashring.ClusterID{}]
	delete(members, hashring.ClusterID{})
	switch len(members) {
	case 0:
		return l.tryBootstrap(ctx, empty)
	case 1:
		for id, of := range members {
			return l.tryJoin(ctx, id, of)
		}
	}
	var ids []string
	for id := range members {
		ids = append(ids, id.String())
	}
	l.say(slog.LevelError, "--join leads to more than one cluster; this node joins none of them", "clusters", ids)
	return nil
}

// tryJoin adopts the cluster once one of its members confirms it.
func (l *lifecycle) tryJoin(ctx context.Context, id hashring.ClusterID, of []gossip.Member) error {
	for _, m := range of {
		var out clusterAnswer
		if err := l.ask(ctx, m.Peer, methodCluster, l.introduction(), &out); err != nil {
			l.say(slog.LevelWarn, "a member of a cluster is seen but its peer port does not answer", "other", m.Node, "peer", m.Peer, "error", err)
			continue
		}
		if out.Cluster != id {
			continue // gossip is behind
		}
		l.hint(out.Leader, out.LeaderAt)
		if err := l.joinCluster(id); err != nil {
			return err
		}
		l.log.Info("joined a cluster", "cluster", id.String(), "through", m.Node)
		return nil
	}
	return nil
}

// joinCluster makes an existing cluster this store's own. A set of one's own is
// given up first: resume must not take it for the cluster's beginning.
func (l *lifecycle) joinCluster(id hashring.ClusterID) error {
	l.promise.Lock()
	defer l.promise.Unlock()
	own := l.cfg.Store.Identity()
	if !own.Cluster.IsZero() {
		return nil
	}
	if own.Promise != nil && own.Promise.Initiator == l.self {
		if err := l.cfg.Store.SetPromise(store.Promise{}); err != nil {
			return err
		}
	}
	return l.cfg.Store.SetCluster(id)
}

// tryBootstrap makes a cluster when this node is the one to do it.
func (l *lifecycle) tryBootstrap(ctx context.Context, empty []gossip.Member) error {
	k := l.expect()
	if k == 0 {
		l.say(slog.LevelInfo, "waiting for a cluster at the --join addresses; none is made without --bootstrap-expect")
		return nil
	}
	var set []gossip.Member
	for _, m := range empty {
		if int(m.Expect) == min(k, 255) {
			set = append(set, m)
		} else if m.SID != l.self {
			l.say(slog.LevelWarn, "a node expects another number of nodes", "other", m.Node, "its_bootstrap_expect", m.Expect, "own", k)
		}
	}
	if len(set) < k {
		l.say(slog.LevelInfo, "no cluster yet: waiting for nodes", "have", len(set), "bootstrap_expect", k)
		return nil
	}
	if set[0].SID != l.self {
		l.say(slog.LevelInfo, "no cluster yet: the node with the lowest store id begins one", "other", set[0].Node)
		return nil
	}
	p, err := l.ownSet(ctx, set)
	if err != nil || p == nil {
		return err
	}
	if n := l.gather(ctx, p, set); n < k {
		l.say(slog.LevelInfo, "no cluster yet: not enough promises", "have", n, "bootstrap_expect", k, "set", p.Set.Short())
		return nil
	}
	return l.begin(p)
}

// ownSet promises this store to a set that it initiates itself; nil when it is
// bound to another set.
func (l *lifecycle) ownSet(ctx context.Context, set []gossip.Member) (*store.Promise, error) {
	bound := l.cfg.Store.Identity().Promise
	if held(bound) && bound.Initiator != l.self && !l.released(ctx, bound) {
		return nil, nil
	}
	l.promise.Lock()
	defer l.promise.Unlock()
	own := l.cfg.Store.Identity().Promise
	if held(own) && own.Initiator == l.self {
		return own, nil // an earlier try, perhaps before a restart
	}
	if held(own) && (bound == nil || own.Set != bound.Set) {
		return nil, nil // promised to somebody meanwhile
	}
	p := store.Promise{Set: randomSID(), Initiator: l.self}
	for _, m := range set {
		p.Members = append(p.Members, m.SID)
	}
	if err := l.cfg.Store.SetPromise(p); err != nil {
		return nil, err
	}
	l.log.Info("no cluster is seen: asking the other nodes to form one", "set", p.Set.Short(), "nodes", len(set))
	return &p, nil
}

func held(p *store.Promise) bool { return p != nil && !p.Set.IsZero() }

// gather asks all of set for their promise and counts those that gave it, this
// store included.
func (l *lifecycle) gather(ctx context.Context, p *store.Promise, set []gossip.Member) int {
	var mu sync.Mutex
	given := 1
	var wg sync.WaitGroup
	for _, m := range set[:min(len(set), askersMax)] {
		if m.SID == l.self {
			continue
		}
		wg.Go(func() {
			var out promiseAnswer
			err := l.ask(ctx, m.Peer, methodPromise, promiseAsk{head{lifeFormat}, p.Set, p.Members}, &out)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				l.say(slog.LevelWarn, "a node is seen by gossip but its peer port does not answer", "other", m.Node, "peer", m.Peer, "error", err)
			case out.Cluster.IsZero() && out.Set == p.Set && out.Initiator == l.self:
				given++
			default:
				l.log.Debug("a node is promised elsewhere", "other", m.Node, "set", out.Set.Short(), "cluster", out.Cluster.String())
			}
		})
	}
	wg.Wait()
	return given
}

// begin makes the cluster: the one write after which it exists. It must still be
// this store's own set: a lower store id may have asked for the promise meanwhile.
func (l *lifecycle) begin(p *store.Promise) error {
	l.promise.Lock()
	defer l.promise.Unlock()
	own := l.cfg.Store.Identity()
	if !own.Cluster.IsZero() || !held(own.Promise) || own.Promise.Set != p.Set {
		return nil
	}
	if err := l.cfg.Store.SetCluster(p.Set); err != nil {
		return err
	}
	l.log.Info("a new cluster is formed", "cluster", p.Set.String())
	return nil
}

// resume starts the Raft group of a cluster that this store began; after a crash
// between that write and Raft's first one it goes on here.
func (l *lifecycle) resume() error {
	id, raft := l.cfg.Store.Identity(), l.parts.Load().raft
	if !held(id.Promise) || id.Promise.Initiator != l.self || id.Promise.Set != id.Cluster || l.version() > 0 || raft.HasState() {
		return nil
	}
	return raft.Bootstrap()
}

// onPromise answers an initiator.
func (l *lifecycle) onPromise(ctx context.Context, _ *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in promiseAsk
	if err := decodePayload(payload, &in); err != nil {
		return nil, err
	}
	if in.Set.IsZero() || len(in.Members) > 255 || !contains(in.Members, l.self) || !contains(in.Members, from.SID) {
		return nil, fmt.Errorf("%w: a bootstrap set names both sides", errPayload)
	}
	bound := l.cfg.Store.Identity().Promise
	free := !held(bound) || bound.Set == in.Set ||
		bound.Initiator == l.self && from.SID.Compare(l.self) < 0 ||
		bound.Initiator != l.self && l.released(ctx, bound)
	l.promise.Lock()
	defer l.promise.Unlock()
	id := l.cfg.Store.Identity()
	out := promiseAnswer{head: head{lifeFormat}, Cluster: id.Cluster}
	same := held(id.Promise) == held(bound) && (!held(bound) || id.Promise.Set == bound.Set)
	if free && same && id.Cluster.IsZero() && !(held(bound) && bound.Set == in.Set) {
		if err := l.cfg.Store.SetPromise(store.Promise{Set: in.Set, Initiator: from.SID, Members: in.Members}); err != nil {
			return nil, err
		}
		l.log.Info("promised to form a cluster", "set", in.Set.Short(), "initiator", from.Node)
		id = l.cfg.Store.Identity()
	}
	if held(id.Promise) {
		out.Set, out.Initiator = id.Promise.Set, id.Promise.Initiator
	}
	return out, nil
}

// released tells whether the initiator of a set says itself that it gave the set up.
func (l *lifecycle) released(ctx context.Context, p *store.Promise) bool {
	parts := l.parts.Load()
	m, ok := parts.gossip.View().Member(p.Initiator)
	if ok {
		var out clusterAnswer
		err := l.ask(ctx, m.Peer, methodCluster, l.introduction(), &out)
		if err == nil && out.SID == p.Initiator {
			return out.Cluster.IsZero() && out.Set != p.Set
		}
	}
	l.say(slog.LevelWarn, "this node is promised to a cluster being formed by a node that does not answer; start that node, or empty this "+
		"node's data directory, which holds no data yet", "initiator", p.Initiator.Short(), "other", m.Node, "peer", m.Peer)
	return false
}
