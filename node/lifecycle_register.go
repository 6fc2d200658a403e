package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/httpapi"
)

// errRolledBack ends a store for which a start of another directory is registered (D6).
var errRolledBack = errors.New("this store was rolled back or cloned")

// NameTakenError ends a newcomer under a node name that another store has.
type NameTakenError struct {
	Node  string
	Other hashring.Store
	Alive bool
}

func (e *NameTakenError) Error() string {
	if e.Alive {
		return fmt.Sprintf("node name %q is taken: store %s answers under it at %s (peer %s); give this node another --name",
			e.Node, e.Other.SID.Short(), e.Other.API, e.Other.Peer)
	}
	return fmt.Sprintf("node name %q belongs to store %s, last at %s (peer %s), which is down, and this data directory is a new store: "+
		"it could take that one's place only if every node were of a version that can fill it. Upgrade them, bring the old data directory back, "+
		"or start this one under a new --name", e.Node, e.Other.SID.Short(), e.Other.API, e.Other.Peer)
}

// registration is one start's way into the ring state.
type registration struct {
	attempted bool      // a command of ours may have been committed
	taken     time.Time // when the name was first found taken
}

// register makes this start known through Raft; it is tried until it is done or
// refused for good.
func (l *lifecycle) register(ctx context.Context) error {
	var reg registration
	for {
		done, err := l.registerOnce(ctx, &reg)
		if err != nil {
			return err
		}
		if done {
			l.log.Info("registered", "store", l.self.String(), "boot", l.boot, "ring_version", l.version())
			l.confirm("registered through Raft")
			return nil
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return ctx.Err()
		}
	}
}

func (l *lifecycle) me() hashring.Store {
	return hashring.Store{SID: l.self, Node: l.cfg.Name, API: l.cfg.API, Gossip: l.cfg.Gossip, Peer: l.cfg.Peer, Frames: l.cfg.Frames, Zone: l.cfg.Zone,
		Boot: l.boot, Nonce: l.nonceNow(), State: hashring.StoreUp, FeatureMax: l.cfg.Feature}
}

// registered is what the newest ring state known here says of this store.
func (l *lifecycle) registered() (st hashring.Store) {
	if r := l.ring.Load(); r != nil {
		if s, ok := r.Store(l.self); ok {
			st = *s
		}
	}
	return st
}

// mine tells that a registration is that of this very process. A nonce that this
// start drew says so by itself.
func (l *lifecycle) mine(st *hashring.Store, reg *registration) bool {
	if st.Boot != l.boot || st.Nonce != 0 && st.Nonce != l.nonce {
		return false
	}
	me := l.me()
	return st.Nonce != 0 && l.drew ||
		reg.attempted && st.Node == me.Node && st.API == me.API && st.Gossip == me.Gossip && st.Peer == me.Peer
}

func (l *lifecycle) registerOnce(ctx context.Context, reg *registration) (bool, error) {
	l.refresh(ctx)
	old := l.registered()
	if l.mine(&old, reg) {
		return true, nil
	}
	if old.Boot >= l.boot || l.foreign(&old) {
		return false, l.rolledBack(old.Boot)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*l.cfg.Times.RPC)
	defer cancel()
	_, err := l.propose(ctx, hashring.Command{Kind: hashring.KindRegister,
		Register: &hashring.Register{Store: l.me(), Expects: old.Boot, ExpectsNonce: old.Nonce}})
	return l.registerAnswer(ctx, err, reg)
}

// registerAnswer sorts what came of one try: done, to be tried again, or the end.
func (l *lifecycle) registerAnswer(ctx context.Context, err error, reg *registration) (bool, error) {
	var refusal *hashring.Refusal
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ringraft.ErrUnknown):
		reg.attempted = true
		l.say(slog.LevelWarn, "registration is on its way, outcome unknown; trying again", "error", err)
	case errors.Is(err, hashring.ErrBootNotNewer) && errors.As(err, &refusal) && refusal.Other != nil:
		if l.mine(refusal.Other, reg) {
			return true, nil
		}
		return false, l.rolledBack(refusal.Other.Boot)
	case errors.Is(err, hashring.ErrNameTaken) && errors.As(err, &refusal) && refusal.Other != nil:
		return l.nameTaken(ctx, *refusal.Other, reg)
	case errors.Is(err, hashring.ErrStaleEpoch) && errors.As(err, &refusal) && refusal.Other != nil &&
		refusal.Other.SID == l.self && l.foreign(refusal.Other):
		return false, l.rolledBack(refusal.Other.Boot)
	case errors.Is(err, hashring.ErrRetired) && errors.As(err, &refusal) && refusal.Other != nil:
		return false, replacedError(refusal.Other)
	case errors.Is(err, hashring.ErrNoCluster), errors.Is(err, hashring.ErrStaleEpoch):
		// the cluster's first command, or a newer state, is about to arrive
	case errors.As(err, &refusal):
		return false, fmt.Errorf("the cluster does not take this node: %w", refusal)
	case errors.Is(err, httpapi.ErrNotProposed):
		l.say(slog.LevelInfo, "not registered yet: no Raft leader is reached", "error", err)
	default:
		reg.attempted = true // not surely not: a mark of quarantine is for ever
		l.say(slog.LevelWarn, "not registered yet", "error", err)
	}
	return false, nil
}

// confirm says once that this start is the store's newest.
func (l *lifecycle) confirm(how string) {
	if l.confirmed.CompareAndSwap(false, true) {
		l.log.Info("boot confirmed", "boot", l.boot, "how", how)
		if l.cfg.OnConfirmed != nil {
			l.cfg.OnConfirmed()
		}
	}
}

// confirmLoop introduces this start to every other store of the ring, each of its
// starts anew: the others then refuse a second process of this store. While Raft
// has not confirmed it, a majority of the others does (D6).
func (l *lifecycle) confirmLoop(ctx context.Context) {
	taken := map[hashring.SID]uint64{} // store -> boot that took this start
	for l.pause(ctx, loopConfirm, 4*l.cfg.Times.Poll) {
		l.introduce(ctx, taken)
		if l.takenByMost(taken) {
			l.confirm("accepted by a majority of the ring's other stores")
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return
		}
	}
}

// introduce asks those of the ring's live stores that have not taken this start.
func (l *lifecycle) introduce(ctx context.Context, taken map[hashring.SID]uint64) {
	r := l.ring.Load()
	if r == nil {
		return
	}
	var mu sync.Mutex
	l.everyLive(func(m gossip.Member) {
		mu.Lock()
		boot, done := taken[m.SID]
		mu.Unlock()
		if _, ok := r.Store(m.SID); !ok || done && boot == m.Boot {
			return
		}
		var out clusterAnswer
		if err := l.ask(ctx, m.Peer, methodCluster, l.introduction(), &out); err != nil || out.SID != m.SID || out.Cluster != r.Cluster {
			return
		}
		if out.Refused != "" {
			l.say(slog.LevelError, "a peer does not take this start of the store", "peer", m.Node, "reason", out.Refused)
			return
		}
		if l.Want(out.Ring, m.SID); out.Ring > l.version() {
			return // it may know a registration that this node has to compare itself with first
		}
		mu.Lock()
		defer mu.Unlock()
		taken[m.SID] = m.Boot
	})
}

// takenByMost is true when a majority of the ring's other stores took this start.
// A store that the ring does not know, or that is alone, needs Raft; so does one that
// is registered at this boot count, by itself or by a copy.
func (l *lifecycle) takenByMost(taken map[hashring.SID]uint64) bool {
	r := l.ring.Load()
	if r == nil || !r.HasRing() {
		return false
	}
	if own, ok := r.Store(l.self); !ok || own.Boot >= l.boot || l.foreign(own) {
		return false
	}
	others, yes := 0, 0
	for i := range r.Stores {
		st := &r.Stores[i]
		if st.SID == l.self || st.State == hashring.StoreRetired {
			continue
		}
		others++
		if _, ok := taken[st.SID]; ok {
			yes++
		}
	}
	return others > 0 && yes >= hashring.Majority(others)
}
