package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// lifeJudge turns what stores say of strong partitions into changes of the ring state;
// strong.Judge in production.
type lifeJudge interface {
	Take(now time.Duration, w strong.Word)
	Move(now time.Duration, p uint32, to hashring.SID)
	// Changes are one command; Next is when to ask again if nothing is heard, 0: then only.
	Changes(now time.Duration, st *hashring.State, alive func(hashring.SID) bool) []hashring.StrongChange
	Next() time.Duration
}

const (
	// judgeGather is how long the leader lets words gather once one has come: primaries
	// that activate together then go together, each command being a commit, and a state
	// that every node computes anew.
	judgeGather = 3 * time.Millisecond
	// judgeIdle is how long the judge may sit without anything new: the ring state and
	// who is alive may have changed.
	judgeIdle = 250 * time.Millisecond
	// judgeRest is the pause after a commit: every node computes what follows of a new
	// state, so that a store that comes back must not cause a hundred of them a second.
	judgeRest = 15 * time.Millisecond
	// judgeMax bounds the wait for one commit; the judge then looks again.
	judgeMax = 5 * time.Second
)

// bench is where one leadership's judge hears words. Its judge knows nothing of what
// former leaders have heard: shards say again what still holds.
type bench struct {
	began time.Time
	mu    sync.Mutex
	judge lifeJudge
	wake  chan struct{}
	over  bool
}

func newBench(j lifeJudge) *bench {
	return &bench{began: time.Now(), judge: j, wake: make(chan struct{}, 1)}
}

// tell gives the judge something new; false: the leadership is over.
func (b *bench) tell(f func(now time.Duration, j lifeJudge)) bool {
	b.mu.Lock()
	over := b.over
	if !over {
		f(time.Since(b.began), b.judge)
	}
	b.mu.Unlock()
	if over {
		return false
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

func (b *bench) hear(said []strong.Word) bool {
	return b.tell(func(now time.Duration, j lifeJudge) {
		for i := range said {
			j.Take(now, said[i])
		}
	})
}

// changes asks the judge, and gives how long it may be left alone if nothing is heard.
func (b *bench) changes(st *hashring.State, alive func(hashring.SID) bool) (changes []hashring.StrongChange, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Since(b.began)
	changes = b.judge.Changes(now, st, alive)
	if next := b.judge.Next(); next != 0 {
		return changes, max(next-now, judgeGather)
	}
	return changes, judgeIdle
}

func (b *bench) end() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
}

// judgeLoop commits what the judge finds, at once when words come and now and then
// without any, while this node leads the Raft group. Nothing waits for the new state to
// reach every node: a node that hangs must not hold up the failover of the next ones.
func (l *lifecycle) judgeLoop(ctx context.Context) {
	b := newBench(l.cfg.Judge())
	l.bench.Store(b)
	defer func() { b.end(); l.bench.CompareAndSwap(b, nil) }()
	raft := l.parts.Load().raft
	for wait := judgeIdle; raft.IsLeader() && b.waits(ctx, min(wait, judgeIdle)); {
		st := raft.State()
		if st == nil || st.Feature < hashring.FeatureStrong {
			wait = judgeIdle
			continue
		}
		var changes []hashring.StrongChange
		if changes, wait = b.changes(st, l.aliveOrSelf); len(changes) == 0 {
			continue
		}
		if err := l.judged(ctx, changes); err != nil {
			l.say(slog.LevelWarn, "changes of strong partitions are not committed yet", "changes", len(changes), "error", err)
			if !l.rest(ctx, l.cfg.Times.Word) {
				return
			}
		}
		if !l.rest(ctx, judgeRest) {
			return
		}
		wait = judgeGather // there may be more than one command
	}
}

// waits returns when words have come and gathered, or after at most; false: ctx ended.
func (b *bench) waits(ctx context.Context, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	case <-b.wake:
	}
	t.Reset(judgeGather)
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	}
	return true
}

// judged commits changes and sends the new state on its way. That all of them are
// outdated is no error: somebody was faster.
func (l *lifecycle) judged(ctx context.Context, changes []hashring.StrongChange) error {
	ctx, cancel := context.WithTimeout(ctx, judgeMax)
	defer cancel()
	began := time.Now()
	st, err := l.parts.Load().raft.Propose(ctx, hashring.Command{Kind: hashring.KindStrong, Strong: &hashring.StrongChanges{Changes: changes}})
	if err != nil {
		if errors.Is(err, hashring.ErrStaleEpoch) || errors.Is(err, hashring.ErrSame) {
			return nil
		}
		return err
	}
	l.learn(st)
	l.pusher.wake()
	l.counts.add(changes)
	l.tellJudged(changes, time.Since(began))
	return nil
}

// tellJudged logs what was changed, by kind: what a primary lost aloud, the rest, which
// goes its usual way, for those who look closely.
func (l *lifecycle) tellJudged(changes []hashring.StrongChange, took time.Duration) {
	kinds := map[hashring.StrongKind]int{}
	for i := range changes {
		kinds[changes[i].Kind]++
	}
	level := slog.LevelDebug
	if kinds[hashring.StrongPrimary]+kinds[hashring.StrongAbort] > 0 {
		level = slog.LevelInfo
	}
	args := []any{"commit_ms", took.Milliseconds()}
	for _, k := range []hashring.StrongKind{hashring.StrongPrimary, hashring.StrongJoint, hashring.StrongSettle, hashring.StrongAbort, hashring.StrongLearners, hashring.StrongActivate} {
		if kinds[k] > 0 {
			args = append(args, string(k), kinds[k])
		}
	}
	l.log.Log(context.Background(), level, "strong partitions changed", args...)
}

// aliveOrSelf is gossip's opinion of a store, and of itself a node knows: one that leads
// the group with a store that must not serve can name that for nothing.
func (l *lifecycle) aliveOrSelf(sid hashring.SID) bool {
	if sid == l.self {
		return l.unfit() == nil
	}
	return l.parts.Load().gossip.View().Alive(sid)
}
