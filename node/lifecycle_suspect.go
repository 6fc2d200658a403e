package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/store"
)

// A store that must not serve (D2, D4, D6): damaged, or rolled back. Its node is seen
// in gossip and by its peers under a guise, an id drawn for the occasion, so that
// nobody takes the store for alive. A damaged store's Raft log is sound and goes on
// voting: with too few others the group would never commit what the cure needs.
//
// The cure is the same for all: the store is marked suspect, so that it is asked
// nothing; when no partition would lose its last full owner, its directory is set
// aside, and the node begins a new store, which takes the old one's place as that of a
// wiped node does. Until then it waits and keeps everything.

// errOriginal ends a copy of a store whose original runs.
var errOriginal = errors.New("another process runs this store")

// unfit tells why the store must not serve; nil: it may.
func (l *lifecycle) unfit() error { return l.cfg.Unfit }

// suspectLoop waits until the store can be spared.
func (l *lifecycle) suspectLoop(ctx context.Context) {
	if err := l.awaitSpare(ctx); err == nil {
		l.cfg.OnSpare()
	} else if ctx.Err() == nil {
		l.fatal(err)
	}
}

// awaitSpare returns once this store is out of the ring or suspect, and its peers hold
// all that it holds. A store that is found damaged while it serves is marked suspect
// only then: it still stands for what it can read, and may be the last that does.
func (l *lifecycle) awaitSpare(ctx context.Context) error {
	began := time.Now()
	for {
		spare, err := l.spare(ctx, time.Since(began))
		if spare || err != nil {
			return err
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return ctx.Err()
		}
	}
}

// spare is one look at the ring, and the step that it allows.
func (l *lifecycle) spare(ctx context.Context, waited time.Duration) (bool, error) {
	l.refresh(ctx)
	r := l.ring.Load()
	if r == nil {
		l.say(slog.LevelWarn, "this node's store must not serve; waiting for a member of the cluster, to learn what may become of it", "store", l.self.Short())
		return false, nil
	}
	st, ok := r.Store(l.self)
	if !ok || st.State == hashring.StoreRetired {
		return ok || l.unfit() != nil, nil
	}
	if busy, err := l.elsewhere(ctx, st, waited); busy || err != nil {
		return false, err
	}
	if r.Feature < hashring.FeatureBuilding {
		l.say(slog.LevelWarn, "this node's store must not serve, and cannot be replaced before every node is of a version that can", "feature_level", r.Feature)
		return false, nil
	}
	last := r.LastFull(l.self)
	switch {
	case st.State != hashring.StoreSuspect && (l.unfit() != nil || last == nil):
		l.markSuspect(ctx)
		return false, nil
	case last != nil:
		l.say(slog.LevelError, "this node's store is damaged and keeps its data: its peers cannot stand for all of it yet", "reason", last)
		return false, nil
	}
	if l.unfit() != nil && !voteSpared(l.self, l.voters(ctx), r, l.parts.Load().gossip.View().Alive) {
		l.say(slog.LevelWarn, "this node's store is damaged and keeps its data: the Raft group needs its vote until another store has one", "store", l.self.Short())
		return false, nil
	}
	return true, nil
}

// voteSpared tells whether the Raft group, whose voters are known, keeps a majority when self, which is suspect, is
// set aside with its log. Of several such stores one goes after the other, in the order of
// their ids, each once its predecessor's successor votes; were all to go at once, nobody
// would be left to let the new ones in. A suspect store runs and votes until it goes.
func voteSpared(self hashring.SID, voters []hashring.SID, r *hashring.Ring, alive func(hashring.SID) bool) bool {
	if !contains(voters, self) {
		return len(voters) > 0
	}
	left := 0
	for _, v := range voters {
		st, known := r.Store(v)
		switch {
		case v == self:
		case known && st.State == hashring.StoreRetired, known && st.State == hashring.StoreSuspect && v.Compare(self) < 0:
			return false
		case known && st.State == hashring.StoreSuspect || alive(v):
			left++
		}
	}
	return left >= hashring.Majority(len(voters))
}

// markSuspect has the store taken out of service, everywhere at once.
func (l *lifecycle) markSuspect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.cfg.Times.RPC)
	defer cancel()
	err := l.decree(ctx, hashring.Command{Kind: hashring.KindSetStoreState,
		SetStoreState: &hashring.SetStoreState{SID: l.self, State: hashring.StoreSuspect}})
	if err != nil {
		l.say(slog.LevelWarn, "this node's store is damaged; waiting for the Raft group to mark it suspect", "error", err)
		return
	}
	l.log.Warn("this node's store is marked suspect: it serves nothing until a new one takes its place", "store", l.self.Short())
}

// elsewhere tells whether another process runs this store, which only that of a copy
// can be. It ends this one when that lasts.
func (l *lifecycle) elsewhere(ctx context.Context, st *hashring.Store, waited time.Duration) (bool, error) {
	var q *store.QuarantinedError
	if !errors.As(l.unfit(), &q) {
		return false, nil
	}
	if !l.parts.Load().gossip.View().Alive(l.self) && !l.answers(ctx, st) {
		return false, nil
	}
	if waited >= l.cfg.Times.Name {
		return true, fmt.Errorf("%w, node %s at %s: %w", errOriginal, st.Node, st.Peer, l.unfit())
	}
	l.say(slog.LevelWarn, "this store was rolled back or cloned, and another process may run it; waiting to be sure", "store", l.self.Short(), "at_most", l.cfg.Times.Name)
	return true, nil
}

// noRaft stands for the Raft group where this store has no part in it: its log is not
// to be trusted.
type noRaft struct{}

func (noRaft) HasState() bool                 { return false }
func (noRaft) Bootstrap() error               { return errors.New("this store has no part in the Raft group") }
func (noRaft) Leader() (hashring.SID, string) { return hashring.SID{}, "" }
func (noRaft) IsLeader() bool                 { return false }
func (noRaft) LeaderCh() <-chan bool          { return nil }
func (noRaft) Barrier(context.Context) error  { return &ringraft.NotLeaderError{} }
func (noRaft) State() *hashring.State         { return nil }
func (noRaft) Voters() []hashring.SID         { return nil }
func (noRaft) Propose(context.Context, hashring.Command) (*hashring.State, error) {
	return nil, &ringraft.NotLeaderError{}
}
func (noRaft) ReconcileVoters(context.Context, []hashring.SID, func(hashring.SID) string) error {
	return &ringraft.NotLeaderError{}
}
