package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/httpapi"
	"github.com/quoratedb/quorate/node/peer"
)

// proposeMax bounds a proposal whose caller gave no deadline.
const proposeMax = 10 * time.Second

// propose commits a ring command through the leader, wherever it is. When it
// returns a state, this node has it, and so have the live nodes that answered
// within Times.Push. Refusals are hashring's typed errors; httpapi.ErrNotProposed:
// certainly not committed; ringraft.ErrUnknown: nobody knows.
func (l *lifecycle) propose(ctx context.Context, c hashring.Command) (*hashring.State, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, proposeMax)
		defer cancel()
	}
	st, err := l.commit(ctx, c)
	if err != nil {
		return nil, err
	}
	l.learn(st)
	l.push(ctx, st)
	return st, nil
}

// commit tries the leader until it answers or ctx ends; no second try once a
// command may have been taken.
func (l *lifecycle) commit(ctx context.Context, c hashring.Command) (*hashring.State, error) {
	last := errors.New("no other node can be reached")
	for {
		parts := l.parts.Load()
		if parts == nil {
			return nil, fmt.Errorf("%w: %w", httpapi.ErrNotProposed, errStarting)
		}
		st, err := parts.raft.Propose(ctx, c)
		var not *ringraft.NotLeaderError
		if !errors.As(err, &not) {
			return st, err
		}
		for _, addr := range l.leaderAddrs(parts, not) {
			st, err := l.proposeAt(ctx, addr, c)
			if err == nil || !errors.Is(err, httpapi.ErrNotProposed) {
				return st, err
			}
			last = err
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return nil, fmt.Errorf("%w: %w", httpapi.ErrNotProposed, last)
		}
	}
}

// leaderAddrs are the addresses to try, the likeliest first.
func (l *lifecycle) leaderAddrs(parts *lifeParts, not *ringraft.NotLeaderError) []string {
	var out []string
	add := func(addr string) {
		if addr == "" || addr == l.cfg.Peer {
			return
		}
		for _, a := range out {
			if a == addr {
				return
			}
		}
		out = append(out, addr)
	}
	l.mu.Lock()
	sid, at := l.leaderSID, l.leaderAt
	l.mu.Unlock()
	if !not.Leader.IsZero() {
		sid, at = not.Leader, not.Addr
	}
	if parts.gossip.View().Alive(sid) { // a machine that is gone would cost a timeout of unknown outcome
		add(l.peerAddr(sid))
		add(at)
	}
	for _, m := range parts.gossip.View().Members {
		if m.State == gossip.Alive && m.SID != l.self && !m.Cluster.IsZero() {
			add(m.Peer)
		}
	}
	return out
}

// proposeAt asks the node at addr, and the one it points to.
func (l *lifecycle) proposeAt(ctx context.Context, addr string, c hashring.Command) (*hashring.State, error) {
	b, err := hashring.EncodeCommand(c)
	if err != nil {
		return nil, err
	}
	for range 2 {
		var out proposeAnswer
		if err := l.ask(ctx, addr, methodPropose, proposeAsk{head{lifeFormat}, b}, &out); err != nil {
			return nil, callFailed(err)
		}
		switch {
		case out.Refusal != nil:
			return nil, out.Refusal
		case out.Unknown != "":
			return nil, fmt.Errorf("%w: at %s: %s", ringraft.ErrUnknown, addr, out.Unknown)
		case len(out.State) > 0:
			return hashring.DecodeState(out.State)
		}
		l.hint(out.Leader, out.LeaderAt)
		if addr = out.LeaderAt; addr == "" {
			break
		}
	}
	return nil, fmt.Errorf("%w: no leader is known there", httpapi.ErrNotProposed)
}

// callFailed tells a call that nobody took from one that may have been carried out.
func callFailed(err error) error {
	var refused *peer.RefusedError
	var remote *peer.RemoteError
	var op *net.OpError
	switch {
	case errors.As(err, &refused), errors.As(err, &remote), errors.Is(err, errStarting),
		errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", httpapi.ErrNotProposed, err)
	}
	return fmt.Errorf("%w: %w", ringraft.ErrUnknown, err)
}
