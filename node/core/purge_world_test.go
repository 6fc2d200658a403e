package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// purgeWorld is a world with purge rounds: a ring state that takes commands, told to
// the nodes at different times.
type purgeWorld struct {
	*world
	ringDelay func() time.Duration     // of a new state, to each node by itself
	decide    func(p Proposal) verdict // nil: what the ring state says
	rounds    int                      // committed
	allExpire bool                     // quiet is when nothing expiring is left
	confirms  bool                     // a start that is not confirmed is after a while
	stall     string                   // no exchange with this node ends
}

// verdict is what becomes of a proposal.
type verdict uint8

const (
	asItIs  verdict = iota
	lost            // it is not applied, and the proposer hears that
	unknown         // it is applied, and the proposer hears that it is not
)

func newPurgeWorld(t testing.TB, names string, partitions int) *purgeWorld {
	w := emptyPurgeWorld(t, names, partitions, 1)
	for _, n := range w.nodes {
		w.start(n, true)
	}
	return w
}

func emptyPurgeWorld(t testing.TB, names string, partitions int, seed uint64) *purgeWorld {
	w := &purgeWorld{world: emptyWorld(t, names, seed)}
	w.ringDelay = func() time.Duration { return time.Millisecond }
	w.purgeEvery = 2 * time.Second
	s := ringState(names, partitions, 3)
	s.Feature, s.Cluster = hashring.FeatureBuilding, sidOf("cluster")
	for i := range s.Stores {
		s.Stores[i].FeatureMax = hashring.FeatureBuilding
	}
	w.ring = hashring.NewRing(s)
	w.propose = w.onPropose
	w.onStart = w.started
	w.deaf = func(from, to *wnode, _ *Message) bool { return from.name == w.stall || to.name == w.stall }
	return w
}

// change makes the next ring state and tells everybody.
func (w *purgeWorld) change(edit func(s *hashring.State)) {
	s := *w.ring.State
	s.Version++
	s.Stores, s.Partitions = slices.Clone(s.Stores), slices.Clone(s.Partitions)
	edit(&s)
	w.publish(&s)
}

func (w *purgeWorld) publish(s *hashring.State) {
	w.ring = hashring.NewRing(s)
	ring := w.ring
	for _, n := range w.nodes {
		if !w.deafTo[n] {
			w.at(w.now+w.ringDelay(), func() { w.step(n, Event{Ring: ring}) })
		}
	}
}

func (w *purgeWorld) onPropose(n *wnode, p Proposal) {
	if p.Purge == nil {
		return // nothing is filled here
	}
	boot := n.boot
	w.at(w.now+w.ringDelay(), func() {
		v, applied := asItIs, false
		if w.decide != nil {
			v = w.decide(p)
		}
		if v != lost {
			s, err := w.ring.Apply(w.ring.Version+1, hashring.Command{Kind: hashring.KindPurge, Purge: &hashring.PurgeRounds{Rounds: []hashring.PurgeRound{*p.Purge}}})
			if applied = err == nil; applied {
				w.rounds++
				w.note("purge of %d, generation %d, %v", p.Purge.Partition, p.Purge.Generation, p.Purge.Clock)
				w.publish(s)
			} else {
				w.note("purge of %d refused: %v", p.Purge.Partition, err)
			}
		}
		w.at(w.now+w.ringDelay(), func() {
			if n.boot == boot {
				w.step(n, Event{Decided: &Decided{Token: p.Token, Applied: applied && v == asItIs}})
			}
		})
	})
}

// registers a start: before it, as Raft has it, or some time after.
func (w *purgeWorld) started(n *wnode, confirmed bool) {
	boot := n.boot
	if !w.confirms || confirmed {
		if st, ok := w.ring.Store(n.sid); ok && confirmed && st.Boot != uint64(boot) {
			w.register(n, boot)
		}
		return
	}
	w.at(w.now+time.Duration(w.rng.IntN(2000))*time.Millisecond, func() {
		if st, _ := w.ring.Store(n.sid); n.core != nil && n.boot == boot && st.Boot != uint64(boot) {
			w.register(n, boot)
			w.step(n, Event{Ring: w.ring}, Event{Confirmed: true})
		}
	})
}

func (w *purgeWorld) register(n *wnode, boot int) {
	w.change(func(s *hashring.State) {
		for i := range s.Stores {
			if s.Stores[i].SID == n.sid {
				s.Stores[i].Boot = uint64(boot)
			}
		}
	})
}

// everywhere draws what the disks of all nodes hold of a key.
func (w *purgeWorld) everywhere(bucket, key string) (out string) {
	for _, n := range w.nodes {
		out += w.has(n.name, bucket, key)
	}
	return out
}

// purged waits until a round of every partition with tombstones has passed, and the
// walks after it.
func (w *purgeWorld) purged(what string) {
	w.t.Helper()
	quiet := func() string {
		for _, n := range w.nodes {
			switch {
			case n.core == nil:
				return n.name + " is down"
			case n.core.ring != w.ring:
				return fmt.Sprintf("%s has ring %d of %d", n.name, n.core.ring.Version, w.ring.Version)
			case w.allExpire && n.core.Stats().Expiring > 0, n.core.Stats().Tombstones > 0 || len(n.core.purge.rounds) > 0 || n.core.purge.walks > 0:
				return fmt.Sprintf("%s: %+v, %+v", n.name, n.core.PurgeStatus(), n.core.Stats().Purge)
			}
		}
		return ""
	}
	for end := w.now + 2*time.Minute; quiet() != ""; {
		if !w.one(end) {
			w.t.Fatalf("did not happen: %s: %s", what, quiet())
		}
	}
}

// status is the lead's line of partition 0.
func (w *purgeWorld) status(at string) string {
	for _, r := range w.node(at).core.PurgeStatus().Rows {
		if r.Partition == 0 {
			phase := r.Phase
			if phase == "" {
				phase = "none"
			}
			return fmt.Sprintf("%s: %v %s", phase, r.Block.Why, string(r.Block.Store[:1]))
		}
	}
	return "no row"
}
