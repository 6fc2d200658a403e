package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
)

// learn takes in a ring state from anywhere: this store's Raft, a peer's answer or
// a push. Only a newer one of the own cluster counts; it is saved, then published.
func (l *lifecycle) learn(st *hashring.State) {
	if st == nil || st.Version <= l.version() {
		return
	}
	if own := l.cluster(); st.Cluster != own || own.IsZero() {
		l.say(slog.LevelError, "a ring state of another cluster was refused", "own_cluster", own.String(), "other_cluster", st.Cluster.String())
		return
	}
	l.adopt.Lock()
	newer := st.Version > l.version()
	if newer {
		if err := l.cfg.Store.SaveRingState(st); err != nil {
			l.adopt.Unlock()
			l.fatal(fmt.Errorf("the ring state cannot be saved: %w", err))
			return
		}
		l.publish(st)
	}
	l.adopt.Unlock()
	if newer {
		if err := l.ousted(); err != nil {
			l.fatal(err)
			return
		}
		l.setPeers()
		if parts := l.parts.Load(); parts != nil {
			parts.gossip.Refresh()
		}
		l.poke()
	}
}

// ousted is why the newest ring ends this process: another one runs the store, or
// another store has taken its place.
func (l *lifecycle) ousted() error {
	me := l.registered()
	switch {
	case l.unfit() != nil:
		return nil // it waits for just that
	case me.Boot > l.boot || l.foreign(&me):
		return l.rolledBack(me.Boot)
	case !me.Successor.IsZero():
		return replacedError(&me)
	}
	return nil
}

// publish makes st, which is saved, this node's ring. adopt is held, or Raft is
// not open yet.
func (l *lifecycle) publish(st *hashring.State) {
	r := hashring.NewRing(st)
	l.ring.Store(r)
	if l.cfg.OnRing != nil {
		l.cfg.OnRing(r)
	}
}

// wantedMax bounds the table of who said what.
const wantedMax = 1024

// Want says that sid knows ring version v: seen in a message. Quick when v is known.
func (l *lifecycle) Want(v uint64, sid hashring.SID) {
	if v <= l.version() {
		return
	}
	l.mu.Lock()
	old, ok := l.wanted[sid]
	if newer := v > old && (ok || len(l.wanted) < wantedMax); newer {
		l.wanted[sid] = v
	}
	l.mu.Unlock()
	if v > old {
		l.poke()
	}
}

// followLoop fetches newer ring states from whoever has them.
func (l *lifecycle) followLoop(ctx context.Context) {
	for l.pause(ctx, loopFollow, 4*l.cfg.Times.Poll) {
		failed := map[hashring.SID]bool{}
		for ctx.Err() == nil {
			sid, ok := l.ahead(failed)
			if !ok {
				break
			}
			if err := l.fetch(ctx, l.peerAddr(sid), false); err != nil {
				l.log.Debug("ring state not fetched", "from", sid.Short(), "error", err)
			}
			failed[sid] = true // asked once a round, whatever came of it
		}
		if len(failed) > 0 && !l.rest(ctx, l.cfg.Times.Poll) {
			return
		}
	}
}

// ahead names the live node that knows the newest version, when that is newer than
// what is known here.
func (l *lifecycle) ahead(but map[hashring.SID]bool) (best hashring.SID, ok bool) {
	newest := l.version()
	parts := l.parts.Load()
	if parts == nil || l.cluster().IsZero() {
		return best, false
	}
	l.mu.Lock()
	maps.DeleteFunc(l.wanted, func(_ hashring.SID, v uint64) bool { return v <= newest })
	wanted := maps.Clone(l.wanted)
	l.mu.Unlock()
	for _, m := range parts.gossip.View().Members {
		if m.State == gossip.Alive && !m.Cluster.IsZero() {
			wanted[m.SID] = max(wanted[m.SID], m.RingVersion)
		}
	}
	for sid, v := range wanted {
		if v > newest && sid != l.self && !but[sid] {
			best, newest, ok = sid, v, true
		}
	}
	return best, ok
}

// fetch asks one node for its ring state.
func (l *lifecycle) fetch(ctx context.Context, addr string, newest bool) error {
	if addr == "" {
		return fmt.Errorf("no address is known")
	}
	var out ringAnswer
	if err := l.ask(ctx, addr, methodRing, ringAsk{head{lifeFormat}, l.version(), newest}, &out); err != nil {
		return err
	}
	l.hint(out.Leader, out.LeaderAt)
	if len(out.State) == 0 {
		return nil
	}
	st, err := hashring.DecodeState(out.State)
	if err != nil {
		return err
	}
	l.learn(st)
	return nil
}

// askersMax bounds the calls that go out at once.
const askersMax = 32

// everyLive calls f for each other live member of the cluster, some at a time.
func (l *lifecycle) everyLive(f func(gossip.Member)) {
	parts := l.parts.Load()
	if parts == nil {
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, askersMax)
	for _, m := range parts.gossip.View().Members {
		if m.State != gossip.Alive || m.SID == l.self || m.SID == l.guise || m.Cluster.IsZero() {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(m)
		})
	}
	wg.Wait()
}

// refresh fetches the newest ring state that any live node has; the leader makes
// sure of its own first. Bounded by ctx and the time of one call.
func (l *lifecycle) refresh(ctx context.Context) {
	parts := l.parts.Load()
	if parts == nil || l.cluster().IsZero() {
		return
	}
	if parts.raft.IsLeader() && l.barriers.wait(ctx, parts.raft.Barrier) == nil {
		l.learn(parts.raft.State())
		return
	}
	l.everyLive(func(m gossip.Member) {
		if err := l.fetch(ctx, m.Peer, true); err != nil {
			l.log.Debug("ring state not fetched", "from", m.Node, "error", err)
		}
	})
}

// push tells all live nodes a state just committed, so that a bucket just made is
// known wherever the client turns next. Whoever misses it hears of it by gossip.
func (l *lifecycle) push(ctx context.Context, st *hashring.State) {
	b, err := hashring.EncodeState(st)
	if err != nil {
		l.log.Error("ring state not pushed", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Times.Push)
	defer cancel()
	l.everyLive(func(m gossip.Member) {
		if m.RingVersion >= st.Version {
			return
		}
		var out ringAnswer
		if err := l.ask(ctx, m.Peer, methodRingPush, ringPush{head{lifeFormat}, b}, &out); err != nil {
			l.log.Debug("ring state not pushed", "to", m.Node, "error", err)
		}
	})
}

// peerAddr is where a store's peer port is: what its newest start says in gossip,
// else what it registered.
func (l *lifecycle) peerAddr(sid hashring.SID) string {
	var addr string
	var boot uint64
	if r := l.ring.Load(); r != nil {
		if st, ok := r.Store(sid); ok {
			addr, boot = st.Peer, st.Boot
		}
	}
	if parts := l.parts.Load(); parts != nil {
		if m, ok := parts.gossip.View().Member(sid); ok && m.Boot >= boot && !(m.State != gossip.Alive && addr != "") {
			addr = m.Peer
		}
	}
	return addr
}

// setPeers tells the transport whom to stay connected with.
func (l *lifecycle) setPeers() {
	parts, r := l.parts.Load(), l.ring.Load()
	if parts == nil || r == nil || l.unfit() != nil {
		return
	}
	addrs := make(map[hashring.SID]string, len(r.Stores))
	for i := range r.Stores {
		st := &r.Stores[i]
		if st.SID != l.self && st.State != hashring.StoreRetired {
			addrs[st.SID] = l.peerAddr(st.SID)
		}
	}
	parts.peer.SetPeers(addrs)
}

// ringGossip is gossip's Ring: where the ring's members gossip.
func (l *lifecycle) ringGossip() []string {
	r := l.ring.Load()
	if r == nil {
		return nil
	}
	var out []string
	for i := range r.Stores {
		if st := &r.Stores[i]; st.SID != l.self && st.State != hashring.StoreRetired {
			out = append(out, st.Gossip)
		}
	}
	return out
}

// hint remembers who another node says leads.
func (l *lifecycle) hint(sid hashring.SID, addr string) {
	if sid.IsZero() || sid == l.self {
		return
	}
	l.mu.Lock()
	l.leaderSID, l.leaderAt = sid, addr
	l.mu.Unlock()
}

// leader is the Raft leader as far as this node knows; zero and "" when unknown.
func (l *lifecycle) leader() (hashring.SID, string) {
	if parts := l.parts.Load(); parts != nil {
		if sid, addr := parts.raft.Leader(); !sid.IsZero() {
			return sid, addr
		}
		if contains(parts.raft.Voters(), l.self) {
			return hashring.SID{}, "" // a voter would hear of it, what others said is past
		}
	}
	l.mu.Lock()
	sid, addr := l.leaderSID, l.leaderAt
	l.mu.Unlock()
	if parts := l.parts.Load(); parts == nil || !parts.gossip.View().Alive(sid) {
		return hashring.SID{}, ""
	}
	return sid, addr
}

// votes gives the voters when this store is surely one of them: one that lost its
// vote may not have been told, but it hears of no leader any more.
func (l *lifecycle) votes(raft lifeRaft) []hashring.SID {
	if leader, _ := raft.Leader(); leader.IsZero() {
		return nil
	}
	if v := raft.Voters(); contains(v, l.self) {
		return v
	}
	return nil
}

// voters are the Raft group's voters: known here when this store is one of them,
// else asked of one that is.
func (l *lifecycle) voters(ctx context.Context) []hashring.SID {
	parts := l.parts.Load()
	if parts == nil {
		return nil
	}
	if v := l.votes(parts.raft); v != nil {
		return v
	}
	var mu sync.Mutex
	var newest []hashring.SID
	var at uint64
	l.everyLive(func(m gossip.Member) {
		var out clusterAnswer
		if l.ask(ctx, m.Peer, methodCluster, l.introduction(), &out) != nil || len(out.Voters) == 0 {
			return
		}
		if out.SID == out.Leader {
			l.hint(out.Leader, out.LeaderAt)
		}
		mu.Lock()
		defer mu.Unlock()
		if newest == nil || out.Ring > at || out.SID == out.Leader {
			newest, at = out.Voters, out.Ring
		}
	})
	if newest == nil { // nobody knows a leader: as it was when there was one
		if v := parts.raft.Voters(); contains(v, l.self) {
			return v
		}
	}
	slices.SortFunc(newest, hashring.SID.Compare)
	return newest
}

func (l *lifecycle) introduction() clusterAsk {
	ask := clusterAsk{head: head{lifeFormat}, Boot: l.boot, Run: l.runID}
	if r := l.ring.Load(); r != nil && r.Feature >= hashring.FeatureNonce {
		ask.Starts, ask.Ring = l.remembered(), r.Version
	}
	return ask
}
