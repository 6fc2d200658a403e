package node

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongLives are nodes that know strong mode, with as many partitions, and a stand-in
// for their shards: whoever is named primary says that it is active.
func strongLives(t *testing.T, count, partitions int) []*lifeNode {
	t.Helper()
	nodes := lifeCluster(t, count, count)
	for _, n := range nodes {
		n.change = func(c *lifeConfig) {
			c.Feature, c.Partitions, c.Rebuild = hashring.FeatureStrong, partitions, true
			published := c.OnRing
			c.OnRing = func(r *hashring.Ring) {
				published(r)
				n.life.words.say(activations(n.sid, r))
			}
		}
	}
	startAll(nodes)
	awaitRing(t, nodes, count, count)
	lifeEventually(t, "the feature level of strong mode", func() bool {
		for _, n := range nodes {
			if n.life.Ring().Feature < hashring.FeatureStrong {
				return false
			}
		}
		return true
	})
	return nodes
}

func activations(self hashring.SID, r *hashring.Ring) (out []strong.Word) {
	for p := range uint32(len(r.Partitions)) {
		if c := r.Strong(p); c != nil && !c.Activated && r.StrongPrimary(p) == self {
			out = append(out, strong.Word{Partition: p, From: self, Kind: strong.Activate, Epoch: c.Epoch, Full: true})
		}
	}
	return out
}

// inactivePartitions of the newest ring that n knows.
func inactivePartitions(n *lifeNode) (count int) {
	r := n.life.Ring()
	for p := range uint32(len(r.Partitions)) {
		if c := r.Strong(p); c == nil || !c.Activated {
			count++
		}
	}
	return count
}

// TestLifeActivatesAllPartitionsOfANewStrongBucket: within 5 s of its creation, and far
// below that where nothing else goes on.
func TestLifeActivatesAllPartitionsOfANewStrongBucket(t *testing.T) {
	nodes := strongLives(t, 3, 64)
	leads := func() (out []*bench) {
		for _, n := range nodes {
			out = append(out, n.life.bench.Load())
		}
		return out
	}
	began, led := time.Now(), leads()
	st, err := proposeKnown(nodes[0], func(int) hashring.Command {
		return hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "s", Mode: hashring.Strong}}
	})
	if err != nil {
		t.Fatal(err)
	}
	committed := time.Since(began)
	for _, n := range nodes {
		lifeEventually(t, n.name+" knows that all partitions are active", func() bool { return inactivePartitions(n) == 0 })
	}
	took := time.Since(began)
	commands := nodes[0].life.version() - st.Version
	t.Logf("committed after %v, all active after %v, in %d more ring versions", committed, took, commands)
	if took > 5*time.Second && slices.Equal(led, leads()) { // elections are the machine's, not ours
		t.Errorf("64 partitions took %v to become active", took)
	}
	if commands > 32 {
		t.Errorf("64 activations took %d commands: they do not go together", commands)
	}
}

// A node that hangs holds up neither commits nor the others.
func TestLifePushWaitsForNobody(t *testing.T) {
	p := newPusher()
	a, b := hashring.SID{1}, hashring.SID{2}
	if !p.claim(a, 3) || !p.claim(b, 3) || p.claim(a, 4) {
		t.Fatal("a node gets one state at a time, whatever others get")
	}
	p.done(b, 3, nil)
	if p.claim(b, 3) || !p.claim(b, 4) {
		t.Fatal("a node gets each version once")
	}
	p.done(a, 3, context.DeadlineExceeded)
	if !p.claim(a, 3) {
		t.Fatal("what did not arrive is sent again")
	}
}

// A node that leads the group with a store that must not serve does not take it for
// alive, whatever gossip, which knows the node under a guise, says.
func TestLifeUnfitStoreIsNotNamed(t *testing.T) {
	l := fakeLives(2)[0]
	if !l.aliveOrSelf(l.self) || !l.aliveOrSelf(hashring.SID{2}) || l.aliveOrSelf(hashring.SID{9}) {
		t.Error("who is alive")
	}
	l.cfg.Unfit = errors.New("damaged")
	if l.aliveOrSelf(l.self) {
		t.Error("a store that must not serve may be named")
	}
}

// stubborn proposes the same change for ever.
type stubborn struct {
	recorder
	asked atomic.Int32
}

func (s *stubborn) Changes(time.Duration, *hashring.State, func(hashring.SID) bool) []hashring.StrongChange {
	s.asked.Add(1)
	return []hashring.StrongChange{{Partition: 0, Epoch: 99, Kind: hashring.StrongActivate}}
}

// What the ring state refuses, because somebody was faster or the judge is wrong, costs
// a pause and nothing else: no busy loop, no end of the leadership.
func TestLifeJudgeThatIsRefusedGoesOn(t *testing.T) {
	nodes := lifeCluster(t, 1, 0)
	var judge stubborn
	nodes[0].change = func(c *lifeConfig) {
		c.Feature, c.Rebuild = hashring.FeatureStrong, true
		c.Judge = func() lifeJudge { return &judge }
	}
	startAll(nodes)
	awaitRing(t, nodes, 1, 1)
	lifeEventually(t, "the judge is asked again", func() bool { return judge.asked.Load() > 5 })
	began, before := time.Now(), judge.asked.Load()
	lifeEventually(t, "and again", func() bool { return judge.asked.Load() > before+10 })
	if each := time.Since(began) / 10; each < judgeRest {
		t.Errorf("a judge that is refused is asked every %v", each)
	}
	if nodes[0].life.bench.Load() == nil {
		t.Error("the node leads no more")
	}
}
