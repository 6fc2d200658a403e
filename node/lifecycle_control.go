package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/peer"
)

// lifeMethods serves the control calls of the lifecycle.
var lifeMethods = map[string]func(*lifecycle, context.Context, *lifeParts, peer.Hello, []byte) (versioned, error){
	methodCluster:  (*lifecycle).onCluster,
	methodPromise:  (*lifecycle).onPromise,
	methodPropose:  (*lifecycle).onPropose,
	methodRing:     (*lifecycle).onRing,
	methodRingPush: (*lifecycle).onRingPush,
	methodWords:    (*lifecycle).onWords,
	methodMove:     (*lifecycle).onMove,
}

// handles tells whether method is one of the lifecycle's.
func (l *lifecycle) handles(method string) bool { return lifeMethods[method] != nil }

// control is the peer transport's Control for those methods.
func (l *lifecycle) control(ctx context.Context, from peer.Hello, method string, payload []byte) ([]byte, error) {
	serve := lifeMethods[method]
	if serve == nil {
		return nil, fmt.Errorf("no control method %.32q", method)
	}
	parts := l.parts.Load()
	if parts == nil {
		return nil, errStarting
	}
	answer, err := serve(l, ctx, parts, from, payload)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return encodePayload(answer)
}

// member refuses calls from outside the cluster.
func (l *lifecycle) member(from peer.Hello) error {
	if own := l.cluster(); own.IsZero() || from.Cluster != own {
		return fmt.Errorf("node %s of cluster %s is no member of %s", from.Node, from.Cluster, own)
	}
	return nil
}

// check is the peer transport's Check: an older start of a store than the newest
// one seen was rolled back or cloned (D6).
func (l *lifecycle) check(h peer.Hello) error {
	if r := l.ring.Load(); r != nil && h.Cluster == r.Cluster {
		if st, ok := r.Store(h.SID); ok {
			if st.State == hashring.StoreRetired {
				return fmt.Errorf("store %s is retired", h.SID.Short())
			}
			if h.Boot < st.Boot {
				return olderBoot(h.SID, h.Boot, st.Boot)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.seen[h.SID]; ok && h.Boot < s.boot {
		return olderBoot(h.SID, h.Boot, s.boot)
	}
	return nil
}

func olderBoot(sid hashring.SID, boot, newest uint64) error {
	return fmt.Errorf("boot %d of store %s is below %d, the newest seen: it was rolled back or cloned", boot, sid.Short(), newest)
}

// seenMax bounds the memory of processes seen; a cluster is a handful of nodes.
const seenMax = 1024

// sight remembers the process that runs a store, and refuses a second one under
// one boot count, which only a copy or a restored image can have.
func (l *lifecycle) sight(h peer.Hello, in *clusterAsk) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.seen[h.SID]
	switch {
	case ok && h.Boot < s.boot:
		return olderBoot(h.SID, h.Boot, s.boot)
	case ok && h.Boot == s.boot && in.Run != s.run:
		return fmt.Errorf("two processes have run store %s at boot %d: it was rolled back or cloned", h.SID.Short(), h.Boot)
	case !ok && len(l.seen) >= seenMax:
		return fmt.Errorf("more than %d stores seen", seenMax)
	}
	next := sighting{boot: h.Boot, run: in.Run}
	if n := len(in.Starts); n > 0 {
		next.nonce = in.Starts[n-1]
	}
	l.seen[h.SID] = next
	return nil
}

// take accepts a start of a store of this cluster, or says why not. What is refused
// leaves no trace: a copy must not count as the newest seen.
func (l *lifecycle) take(h peer.Hello, in *clusterAsk) error {
	if err := errors.Join(l.check(h), l.lineage(h, in)); err != nil {
		return err
	}
	return l.sight(h, in)
}

func (l *lifecycle) onCluster(_ context.Context, parts *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in clusterAsk
	if err := errors.Join(decodePayload(payload, &in), in.check()); err != nil {
		return nil, err
	}
	id := l.cfg.Store.Identity()
	out := clusterAnswer{head: head{lifeFormat}, SID: l.self, Node: l.cfg.Name, Cluster: id.Cluster, Ring: l.version()}
	if id.Promise != nil {
		out.Set, out.Initiator = id.Promise.Set, id.Promise.Initiator
	}
	out.Leader, out.LeaderAt = l.leader()
	out.Voters = l.votes(parts.raft)
	if from.Boot != in.Boot {
		return nil, fmt.Errorf("%w: two boot counts", errPayload)
	}
	if !id.Cluster.IsZero() && from.Cluster == id.Cluster {
		if err := l.take(from, &in); err != nil {
			out.Refused = err.Error()
		}
	}
	return out, nil
}

// remote commands: what another node may have the leader commit. Clusters and
// first rings are made by the leader itself.
var remoteKinds = map[hashring.CommandKind]bool{
	hashring.KindRegister: true, hashring.KindCreateBucket: true, hashring.KindUpdateBucket: true,
	hashring.KindDeleteBucket: true, hashring.KindSetStoreState: true, hashring.KindSetFeature: true,
	hashring.KindReplaceStore: true, hashring.KindFilled: true, hashring.KindPurge: true, hashring.KindStrong: true, hashring.KindForce: true,
}

func (l *lifecycle) onPropose(ctx context.Context, parts *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in proposeAsk
	if err := errors.Join(decodePayload(payload, &in), l.member(from)); err != nil {
		return nil, err
	}
	c, err := hashring.DecodeCommand(in.Command)
	if err != nil {
		return nil, err
	}
	if !remoteKinds[c.Kind] {
		return nil, fmt.Errorf("command %s is not taken from another node", c.Kind)
	}
	if err := ownAffair(&c, from.SID, parts.gossip.View(), l.ring.Load()); err != nil {
		return nil, err
	}
	st, err := parts.raft.Propose(ctx, c)
	return proposed(st, err)
}

// ownAffair refuses what a store may not say of another: that it has started or takes
// a place, or that it is full, which its source, a full owner, says (E13); and a
// replacement of a store that this node sees alive.
func ownAffair(c *hashring.Command, from hashring.SID, v *gossip.View, r *hashring.Ring) error {
	about := from
	switch c.Kind {
	case hashring.KindRegister:
		about = c.Register.Store.SID
	case hashring.KindReplaceStore:
		if about = c.ReplaceStore.Store.SID; v.Alive(c.ReplaceStore.Old) {
			return fmt.Errorf("store %s, to be replaced, is alive", c.ReplaceStore.Old.Short())
		}
	case hashring.KindFilled:
		if r == nil {
			return errStarting
		}
		for _, pl := range c.Filled.Places {
			if role, owner := r.Role(pl.Partition, from); pl.SID == from || !owner || role != hashring.Full {
				return fmt.Errorf("store %s is no full owner of partition %d and cannot have filled store %s", from.Short(), pl.Partition, pl.SID.Short())
			}
		}
	}
	if about != from {
		return fmt.Errorf("%s: store %s speaks for store %s", c.Kind, from.Short(), about.Short())
	}
	return nil
}

// proposed turns the Raft group's answer into the call's.
func proposed(st *hashring.State, err error) (versioned, error) {
	out := proposeAnswer{head: head{lifeFormat}}
	var not *ringraft.NotLeaderError
	switch {
	case err == nil:
		if out.State, err = hashring.EncodeState(st); err != nil {
			out.Unknown = err.Error() // it is committed, but cannot be shown
		}
	case errors.As(err, &out.Refusal):
	case errors.As(err, &not):
		out.NotLeader, out.Leader, out.LeaderAt = true, not.Leader, not.Addr
	case errors.Is(err, ringraft.ErrUnknown):
		out.Unknown = err.Error()
	default:
		return nil, err
	}
	return out, nil
}

func (l *lifecycle) onRing(ctx context.Context, parts *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in ringAsk
	if err := errors.Join(decodePayload(payload, &in), l.member(from)); err != nil {
		return nil, err
	}
	if in.Newest && parts.raft.IsLeader() {
		if err := l.barriers.wait(ctx, parts.raft.Barrier); err == nil {
			l.learn(parts.raft.State())
		}
	}
	return l.ringAnswer(in.Have)
}

// ringAnswer carries the state only when it is newer than have.
func (l *lifecycle) ringAnswer(have uint64) (versioned, error) {
	out := ringAnswer{head: head{lifeFormat}}
	out.Leader, out.LeaderAt = l.leader()
	r := l.ring.Load()
	if r == nil {
		return out, nil
	}
	out.Version = r.Version
	if r.Version <= have {
		return out, nil
	}
	var err error
	out.State, err = hashring.EncodeState(r.State)
	return out, err
}

func (l *lifecycle) onRingPush(_ context.Context, _ *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in ringPush
	if err := errors.Join(decodePayload(payload, &in), l.member(from)); err != nil {
		return nil, err
	}
	st, err := hashring.DecodeState(in.State)
	if err != nil {
		return nil, err
	}
	l.learn(st)
	return l.ringAnswer(^uint64(0))
}

func contains(list []hashring.SID, sid hashring.SID) bool {
	for _, s := range list {
		if s == sid {
			return true
		}
	}
	return false
}
