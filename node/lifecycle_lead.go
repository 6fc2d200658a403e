package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
)

// leadLoop runs duties while this store leads the Raft group.
func (l *lifecycle) leadLoop(ctx context.Context) {
	raft := l.parts.Load().raft
	var running sync.WaitGroup
	stop := func() {}
	defer func() { stop(); running.Wait() }()
	leads := raft.IsLeader()
	for {
		stop()
		running.Wait()
		if leads {
			term, cancel := context.WithCancel(ctx)
			stop = cancel
			running.Go(func() { l.duties(term) })
		}
		select {
		case <-ctx.Done():
			return
		case leads = <-raft.LeaderCh():
		}
	}
}

// firstFeature is the feature level of a new cluster; it rises as soon as every
// store speaks more.
const firstFeature = 1

// term is what one leadership remembers.
type term struct {
	began   time.Time
	changed time.Time                  // when the nodes seen last became more
	nodes   map[hashring.SID]bool      // ever seen alive in this term
	alive   map[hashring.SID]time.Time // when last seen so
}

// duties is the leader's work: the cluster's first command, the first ring, the
// voters, the feature level. Each is a comparison of what is with what should be,
// so a new leader goes on wherever the old one stopped.
func (l *lifecycle) duties(ctx context.Context) {
	l.log.Info("this node leads the Raft group")
	defer l.log.Info("this node no longer leads the Raft group")
	raft := l.parts.Load().raft
	t := &term{began: time.Now(), changed: time.Now(), nodes: map[hashring.SID]bool{}, alive: map[hashring.SID]time.Time{}}
	for ctx.Err() == nil {
		if err := raft.Barrier(ctx); err == nil {
			break
		} else if !raft.IsLeader() || !l.rest(ctx, l.cfg.Times.Poll) {
			return
		}
	}
	var judging sync.WaitGroup
	judging.Go(func() { l.judgeLoop(ctx) })
	defer judging.Wait()
	for raft.IsLeader() && ctx.Err() == nil {
		t.look(l.parts.Load().gossip.View())
		if err := l.duty(ctx, t, raft.State()); err != nil && ctx.Err() == nil {
			l.say(slog.LevelWarn, "a duty of the Raft leader is not done yet", "error", err)
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return
		}
	}
}

// look notes who is alive.
func (t *term) look(v *gossip.View) {
	now := time.Now()
	for _, m := range v.Members {
		if m.State != gossip.Alive {
			continue
		}
		t.alive[m.SID] = now
		if !t.nodes[m.SID] {
			t.nodes[m.SID] = true
			t.changed = now
		}
	}
}

func (l *lifecycle) duty(ctx context.Context, t *term, st *hashring.State) error {
	switch {
	case st.Version == 0:
		return l.decree(ctx, hashring.Command{Kind: hashring.KindInit,
			Init: &hashring.Init{Cluster: l.cluster(), Replicas: l.cfg.Replicas, Feature: firstFeature}})
	case len(st.Partitions) == 0:
		return l.firstRing(ctx, t, st)
	}
	if level := featureLevel(st); level > st.Feature {
		return l.decree(ctx, hashring.Command{Kind: hashring.KindSetFeature, SetFeature: &hashring.SetFeature{Feature: level}})
	}
	return errors.Join(l.growLists(ctx, t, st), l.reconcile(ctx, t, st))
}

// decree commits a command that may have been committed before.
func (l *lifecycle) decree(ctx context.Context, c hashring.Command) error {
	if _, err := l.propose(ctx, c); err != nil && !errors.Is(err, hashring.ErrSame) {
		return err
	}
	return nil
}

// firstRing shares the partitions among all registered live stores, once no new
// node has appeared for Quiet and everybody seen is registered, or at QuietMax.
func (l *lifecycle) firstRing(ctx context.Context, t *term, st *hashring.State) error {
	now := time.Now()
	view := l.parts.Load().gossip.View()
	var stores []hashring.SID
	for i := range st.Stores {
		if s := &st.Stores[i]; view.Alive(s.SID) && s.State == hashring.StoreUp {
			stores = append(stores, s.SID)
		}
	}
	waiting := 0
	for _, m := range view.Members {
		if m.State == gossip.Alive && !contains(stores, m.SID) {
			waiting++
		}
	}
	late := now.Sub(t.began) >= l.cfg.Times.QuietMax
	quiet := waiting == 0 && now.Sub(t.changed) >= l.cfg.Times.Quiet
	if len(stores) == 0 || !late && !quiet {
		l.say(slog.LevelInfo, "waiting for nodes before the first ring is made", "registered", len(stores), "not_yet", waiting)
		return nil
	}
	if !late && l.votersDue(t, st) != nil {
		// First those who vote: a cluster with a ring is ready, and one whose only voter
		// dies then elects nobody, until that node comes back.
		ctx, cancel := context.WithDeadline(ctx, t.began.Add(l.cfg.Times.QuietMax))
		defer cancel()
		return l.reconcile(ctx, t, st)
	}
	err := l.decree(ctx, hashring.Command{Kind: hashring.KindFirstRing,
		FirstRing: &hashring.FirstRing{Partitions: l.cfg.Partitions, Stores: stores}})
	if err == nil {
		l.log.Info("the first ring is made", "partitions", l.cfg.Partitions, "stores", len(stores), "replicas", min(st.Replicas, len(stores)))
	}
	return err
}

// featureLevel is the highest level that every store in service speaks.
func featureLevel(st *hashring.State) uint16 {
	level := ^uint16(0)
	for i := range st.Stores {
		if s := &st.Stores[i]; s.State != hashring.StoreRetired {
			level = min(level, s.FeatureMax)
		}
	}
	if len(st.Stores) == 0 {
		return st.Feature
	}
	return level
}

// reconcile moves the Raft group towards the voters it should have.
func (l *lifecycle) reconcile(ctx context.Context, t *term, st *hashring.State) error {
	want := l.votersDue(t, st)
	if want == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Times.Reconcile)
	defer cancel()
	err := l.parts.Load().raft.ReconcileVoters(ctx, want, l.peerAddr)
	if err == nil {
		l.log.Info("voters of the Raft group", "voters", len(want))
	}
	return err
}

// votersDue are the voters that the Raft group should have and does not; nil: nothing is
// to be done, or can be. A voter keeps its vote until it has been away for VoterPatience;
// a newcomer must be alive now.
func (l *lifecycle) votersDue(t *term, st *hashring.State) []hashring.SID {
	now := time.Now()
	parts := l.parts.Load()
	view, current := parts.gossip.View(), parts.raft.Voters()
	want := hashring.Voters(st, func(sid hashring.SID) bool {
		seen, ok := t.alive[sid]
		if !ok {
			seen = t.began
		}
		if contains(current, sid) {
			return now.Sub(seen) < l.cfg.Times.VoterPatience
		}
		return view.Alive(sid)
	}, current)
	if len(want) == 0 || slices.Equal(want, current) {
		return nil
	}
	for _, sid := range want {
		if !contains(current, sid) && !view.Alive(sid) {
			return nil // too few are alive; nobody is given up for a store that is away
		}
	}
	return want
}
