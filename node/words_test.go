package node

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

func said(held []heldWord) (out []strong.Word) {
	for _, h := range held {
		out = append(out, h.word)
	}
	return out
}

func TestWordsKeepTheLatestOfEachKind(t *testing.T) {
	a, b := hashring.SID{1}, hashring.SID{2}
	w := newWords()
	w.say([]strong.Word{{Partition: 7, Kind: strong.Silent, Epoch: 3}, {Partition: 2, Kind: strong.Activate, Epoch: 9}, {Partition: 7, Kind: strong.LearnerReady, Epoch: 3, Prefer: a}})
	w.say([]strong.Word{{Partition: 7, Kind: strong.Silent, Epoch: 4}, {Partition: 7, Kind: strong.LearnerReady, Epoch: 3, Prefer: b}})
	<-w.signal
	want := []strong.Word{{Partition: 2, Kind: strong.Activate, Epoch: 9}, {Partition: 7, Kind: strong.Silent, Epoch: 4},
		{Partition: 7, Kind: strong.LearnerReady, Epoch: 3, Prefer: a}, {Partition: 7, Kind: strong.LearnerReady, Epoch: 3, Prefer: b}}
	if got := said(w.take(nil)); !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
	if left := w.take(nil); len(left) != 0 {
		t.Fatalf("taken twice: %+v", left)
	}
}

func TestWordsThatWereNotDeliveredYieldToNewerOnesAndAge(t *testing.T) {
	w := newWords()
	w.say([]strong.Word{{Partition: 1, Kind: strong.Silent, Epoch: 3}, {Partition: 2, Kind: strong.Silent, Epoch: 3}, {Partition: 3, Kind: strong.Silent, Epoch: 3}})
	held := w.take(nil)
	w.say([]strong.Word{{Partition: 1, Kind: strong.Silent, Epoch: 4}})
	held[2].at = held[2].at.Add(-wordKeep - time.Second)
	w.putBack(held)
	want := []strong.Word{{Partition: 1, Kind: strong.Silent, Epoch: 4}, {Partition: 2, Kind: strong.Silent, Epoch: 3}}
	if got := said(w.take(nil)); !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
}

func TestWordsAreBoundedAndLeaveOutWhatTheRingHasAnswered(t *testing.T) {
	w := newWords()
	for i := range uint32(wordsMax + 10) {
		w.say([]strong.Word{{Partition: i, Kind: strong.Silent, Epoch: 1}})
	}
	w.say([]strong.Word{{Partition: 5, Kind: strong.Silent, Epoch: 2}}) // one that is there already is replaced all the same
	if held := w.take(nil); len(held) != wordsMax || held[5].word.Epoch != 2 {
		t.Fatalf("%d words are kept, want %d; %+v", len(held), wordsMax, held[5].word)
	}
	r := hashring.NewRing(&hashring.State{Partitions: []hashring.Partition{{Epoch: 9, Strong: &hashring.StrongConfig{Epoch: 8, Activated: true}}}})
	w.say([]strong.Word{{Kind: strong.Silent, Epoch: 7}})
	w.say([]strong.Word{{Kind: strong.Activate, Epoch: 8}})
	if held := w.take(r); len(held) != 0 {
		t.Fatalf("the ring has answered %+v", said(held))
	}
	w.say([]strong.Word{{Kind: strong.Silent, Epoch: 8}, {Kind: strong.Activate, Epoch: 9}, {Partition: 4, Kind: strong.Silent, Epoch: 1}})
	if held := w.take(r); len(held) != 3 {
		t.Fatalf("words that the ring has not answered are left out: %+v", said(held))
	}
}

// recorder is a judge that only listens.
type recorder struct {
	mu    sync.Mutex
	heard []strong.Word
}

func (r *recorder) Take(_ time.Duration, w strong.Word) {
	r.mu.Lock()
	r.heard = append(r.heard, w)
	r.mu.Unlock()
}

func (r *recorder) Move(time.Duration, uint32, hashring.SID) {}
func (r *recorder) Next() time.Duration                      { return 0 }

func (r *recorder) Changes(time.Duration, *hashring.State, func(hashring.SID) bool) []hashring.StrongChange {
	return nil
}

func (r *recorder) has(w strong.Word) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.heard, w)
}

// TestWordsReachWhoeverLeads: from the leader itself, from a follower, from nodes that
// have no vote, and the next leader when the one that they were on their way to has gone.
func TestWordsReachWhoeverLeads(t *testing.T) {
	nodes := lifeCluster(t, 5, 5)
	var judge recorder
	for _, n := range nodes {
		n.change = func(c *lifeConfig) { c.Judge = func() lifeJudge { return &judge } }
	}
	startAll(nodes)
	awaitRing(t, nodes, 5, 5)
	awaitVoters(t, nodes, 3)
	for i, n := range nodes {
		w := strong.Word{Partition: uint32(i), From: n.sid, Kind: strong.Silent, Epoch: 1, Last: strong.Position{Epoch: 1, Index: 7}, Full: true}
		lifeEventually(t, "the word of "+n.name+" is heard", func() bool { n.life.words.say([]strong.Word{w}); return judge.has(w) })
	}
	left := slices.DeleteFunc(slices.Clone(nodes), func(n *lifeNode) bool {
		leads := n.life.bench.Load() != nil
		if leads {
			n.stop()
		}
		return leads
	})
	if len(left) != 4 {
		t.Fatalf("%d nodes do not lead, want 4", len(left))
	}
	for i, n := range left {
		w := strong.Word{Partition: uint32(i), From: n.sid, Kind: strong.Silent, Epoch: 2}
		lifeEventually(t, "after the leader's end, the word of "+n.name+" is heard", func() bool { n.life.words.say([]strong.Word{w}); return judge.has(w) })
	}
}

func TestAStoreSpeaksForItselfAlone(t *testing.T) {
	l := fakeLives(2)
	a, b := l[0], l[1]
	cluster := hashring.SID{0xc}
	must(t, a.cfg.Store.SetCluster(cluster))
	must(t, b.cfg.Store.SetCluster(cluster))
	var judge recorder
	b.bench.Store(newBench(&judge))
	own, others := strong.Word{From: a.self, Kind: strong.Silent, Epoch: 1}, strong.Word{From: b.self, Kind: strong.Silent, Epoch: 1}
	for _, c := range []struct {
		words []strong.Word
		ok    bool
	}{{[]strong.Word{own}, true}, {[]strong.Word{own, others}, false}, {make([]strong.Word, wordsCall+1), false}} {
		judge.heard = nil
		var out wordsAnswer
		err := a.ask(t.Context(), b.cfg.Name, methodWords, wordsAsk{head{lifeFormat}, c.words}, &out)
		if (err == nil) != c.ok || out.Taken != c.ok || (len(judge.heard) > 0) != c.ok {
			t.Errorf("%d words: %v, taken=%v, heard %d", len(c.words), err, out.Taken, len(judge.heard))
		}
	}
	b.bench.Load().end()
	var out wordsAnswer
	if err := a.ask(t.Context(), b.cfg.Name, methodWords, wordsAsk{head{lifeFormat}, []strong.Word{own}}, &out); err != nil || out.Taken {
		t.Fatalf("taken by a node that leads no more: %v", err)
	}
}
