package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/httpapi"
	"github.com/quoratedb/quorate/node/peer"
)

// methodMove: have this store lead that partition, if you lead the Raft group.
const methodMove = "move-primary"

// moveAsk is the wish of a person; the judge of the leader keeps it for a while.
type moveAsk struct {
	head
	Partition uint32       `json:"partition"`
	To        hashring.SID `json:"to"`
}

// movePrimary brings the wish to the leader's judge. It is done when the ring says so.
// httpapi.ErrNotProposed: nobody has taken it.
func (l *lifecycle) movePrimary(ctx context.Context, p uint32, to hashring.SID) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, proposeMax)
		defer cancel()
	}
	last := errNoLeader
	for {
		parts := l.parts.Load()
		if parts == nil {
			return fmt.Errorf("%w: %w", httpapi.ErrNotProposed, errStarting)
		}
		if l.hearMove(p, to) {
			return nil
		}
		sid, at := l.leader()
		for _, addr := range l.leaderAddrs(parts, &ringraft.NotLeaderError{Leader: sid, Addr: at}) {
			var out wordsAnswer
			err := l.ask(ctx, addr, methodMove, moveAsk{head{lifeFormat}, p, to}, &out)
			switch {
			case err != nil:
				last = err
			case out.Taken:
				return nil
			default:
				l.hint(out.Leader, out.LeaderAt)
			}
		}
		if !l.rest(ctx, l.cfg.Times.Poll) {
			return fmt.Errorf("%w: %w", httpapi.ErrNotProposed, last)
		}
	}
}

func (l *lifecycle) hearMove(p uint32, to hashring.SID) bool {
	b := l.bench.Load()
	return b != nil && b.tell(func(now time.Duration, j lifeJudge) { j.Move(now, p, to) })
}

// onMove serves methodMove.
func (l *lifecycle) onMove(_ context.Context, _ *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in moveAsk
	if err := errors.Join(decodePayload(payload, &in), l.member(from)); err != nil {
		return nil, err
	}
	out := wordsAnswer{head: head{lifeFormat}, Taken: l.hearMove(in.Partition, in.To)}
	if !out.Taken {
		out.Leader, out.LeaderAt = l.leader()
	}
	return out, nil
}
