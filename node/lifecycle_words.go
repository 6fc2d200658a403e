package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/quorum/strong"
)

// wordsWait bounds one delivery of words. A leader that hangs loses its role in less;
// the words then go to the next one.
const wordsWait = 700 * time.Millisecond

// methodWords: what my shards say of strong partitions, if you lead.
const methodWords = "words"

// wordsAsk carries words of the asker's own store.
type wordsAsk struct {
	head
	Words []strong.Word `json:"words"`
}

// wordsAnswer: taken by the leader, or who may be it.
type wordsAnswer struct {
	head
	Taken    bool         `json:"taken"`
	Leader   hashring.SID `json:"leader"`
	LeaderAt string       `json:"leader_at"`
}

var errNoLeader = errors.New("no leader of the Raft group is known")

// wordLoop brings the words of this node's shards to the leader of the Raft group. While
// some are on their way the next ones gather.
func (l *lifecycle) wordLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.words.signal:
		}
		todo := l.words.take(l.ring.Load())
		for len(todo) > 0 {
			n := min(len(todo), wordsCall)
			if err := l.deliver(ctx, todo[:n]); err != nil {
				l.log.Debug("words about strong partitions not delivered yet", "words", len(todo), "error", err)
				l.words.putBack(todo)
				if !l.rest(ctx, l.cfg.Times.Word) {
					return
				}
				l.words.wake()
				break
			}
			todo = todo[n:]
		}
	}
}

// deliver gives words to the leader: to the judge of this node when it leads, else to
// the node that does. A node without a vote may know a leader that is gone, and nobody
// tells it of the next one: it asks the other nodes in turn, each of which points to whom
// it knows.
func (l *lifecycle) deliver(ctx context.Context, held []heldWord) error {
	said := make([]strong.Word, len(held))
	for i := range held {
		said[i] = held[i].word
	}
	if l.hearWords(said) {
		return nil
	}
	parts := l.parts.Load()
	if parts == nil {
		return errNoLeader
	}
	var known ringraft.NotLeaderError
	known.Leader, known.Addr = parts.raft.Leader()
	ctx, cancel := context.WithTimeout(ctx, wordsWait)
	defer cancel()
	err := errNoLeader
	for _, addr := range l.leaderAddrs(parts, &known) {
		if err = l.wordsAt(ctx, addr, said); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// wordsAt gives words to the node at addr, or to the one it points to.
func (l *lifecycle) wordsAt(ctx context.Context, addr string, said []strong.Word) error {
	for range 2 {
		var out wordsAnswer
		if err := l.ask(ctx, addr, methodWords, wordsAsk{head{lifeFormat}, said}, &out); err != nil {
			return err
		}
		if out.Taken {
			return nil
		}
		l.hint(out.Leader, out.LeaderAt)
		if addr = out.LeaderAt; addr == "" || addr == l.cfg.Peer {
			break
		}
	}
	return errNoLeader
}

// hearWords gives words to this node's judge; false: it does not lead.
func (l *lifecycle) hearWords(said []strong.Word) bool {
	b := l.bench.Load()
	return b != nil && b.hear(said)
}

// onWords serves methodWords. A store speaks for itself alone.
func (l *lifecycle) onWords(_ context.Context, _ *lifeParts, from peer.Hello, payload []byte) (versioned, error) {
	var in wordsAsk
	if err := errors.Join(decodePayload(payload, &in), l.member(from)); err != nil {
		return nil, err
	}
	if len(in.Words) > wordsCall {
		return nil, fmt.Errorf("%w: %d words, not at most %d", errPayload, len(in.Words), wordsCall)
	}
	for i := range in.Words {
		if w := &in.Words[i]; w.From != from.SID {
			return nil, fmt.Errorf("store %s speaks for store %s", from.SID.Short(), w.From.Short())
		}
	}
	out := wordsAnswer{head: head{lifeFormat}, Taken: l.hearWords(in.Words)}
	if !out.Taken {
		out.Leader, out.LeaderAt = l.leader()
	}
	return out, nil
}
