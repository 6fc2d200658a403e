package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongWorld is a world with strong buckets "s" and "t", and an authority that stands
// for the Raft group: it goes by the words of the stores, as a Judge would.
type strongWorld struct {
	*world
	silent map[uint32]map[hashring.SID]strong.Word // by partition, of its present epoch
	frozen bool                                    // it decides nothing
	said   []strong.Word
}

func newStrongWorld(t testing.TB, names string, partitions int) *strongWorld {
	return newStrongWorldAt(t, names, partitions, hashring.FeatureStrong, 0)
}

// newStrongWorldAt is one of a feature level, whose stores lend their promises (S11).
func newStrongWorldAt(t testing.TB, names string, partitions int, level uint16, lease time.Duration) *strongWorld {
	w := &strongWorld{world: emptyWorld(t, names, 1), silent: map[uint32]map[hashring.SID]strong.Word{}}
	w.strong.Lease = lease
	s := ringState(names, partitions, 3)
	s.Feature = level
	s.Buckets["s"] = hashring.Bucket{ID: 5, Name: "s", Mode: hashring.Strong, N: 3}
	s.Buckets["t"] = hashring.Bucket{ID: 6, Name: "t", Mode: hashring.Strong, N: 3}
	for p := range s.Partitions {
		part := &s.Partitions[p]
		part.Placed = part.Epoch
		part.Epoch++
		part.Primary = part.Replicas[0]
		part.Strong = &hashring.StrongConfig{Epoch: part.Epoch, Incarnation: 1, Sets: [][]hashring.SID{slices.Clone(part.Replicas)}}
	}
	w.ring = hashring.NewRing(s)
	w.words = w.take
	for _, n := range w.nodes {
		w.start(n, true)
	}
	return w
}

// change commits a new configuration of a partition and tells everybody of it.
func (w *strongWorld) change(p uint32, do func(part *hashring.Partition, conf *hashring.StrongConfig)) {
	s := *w.ring.State
	s.Version++
	s.Partitions = slices.Clone(s.Partitions)
	part := &s.Partitions[p]
	conf := *part.Strong
	do(part, &conf)
	part.Strong = &conf
	w.ring = hashring.NewRing(&s)
	delete(w.silent, p)
	w.push()
}

func (w *strongWorld) push() {
	ring := w.ring
	for _, n := range w.nodes {
		if !w.deafTo[n] {
			w.at(w.now+w.delay(), func() { w.step(n, Event{Ring: ring}) })
		}
	}
}

// move is T1.
func (w *strongWorld) move(p uint32, to hashring.SID) {
	w.change(p, func(part *hashring.Partition, conf *hashring.StrongConfig) {
		part.Epoch++
		part.Primary, conf.Epoch, conf.Activated = to, part.Epoch, false
	})
}

func (w *strongWorld) take(n *wnode, word strong.Word) {
	w.said = append(w.said, word)
	part := &w.ring.Partitions[word.Partition]
	if w.frozen || word.Epoch != part.Strong.Epoch || word.From != n.sid {
		return
	}
	members := part.Strong.Sets[0]
	switch word.Kind {
	case strong.Activate:
		w.change(word.Partition, func(_ *hashring.Partition, conf *hashring.StrongConfig) { conf.Activated = true })
	case strong.AskOut:
		to := word.Prefer
		if i := slices.Index(members, part.Primary); to.IsZero() {
			to = members[(i+1)%len(members)]
		}
		w.move(word.Partition, to)
	case strong.Silent:
		if w.silent[word.Partition] == nil {
			w.silent[word.Partition] = map[hashring.SID]strong.Word{}
		}
		heard := w.silent[word.Partition]
		heard[n.sid] = word
		if 2*len(heard) <= len(members) {
			return
		}
		best := word
		for _, s := range members {
			if h, ok := heard[s]; ok && h.Full && h.Last.Compare(best.Last) > 0 {
				best = h
			}
		}
		w.move(word.Partition, best.From)
	}
}

func (w *strongWorld) primary(p uint32) *wnode { return w.bySID(w.ring.Partitions[p].Primary) }

// active waits until every partition has an active primary.
func (w *strongWorld) active() {
	w.t.Helper()
	w.until("an active primary everywhere", func() bool {
		return !slices.ContainsFunc(w.ring.Partitions, func(p hashring.Partition) bool { return !p.Strong.Activated })
	})
}

// Every partition gets its primary; a step for a thousand of them touches only those
// that something has happened to.
func TestStrongActivates(t *testing.T) {
	w := newStrongWorld(t, "abc", 200)
	steps, touched := 0, 0
	w.active()
	w.run(1e9)
	w.onStep = func(n *wnode, r *Ready) {
		steps++
		for _, o := range r.Now {
			if o.Message != nil && o.Message.Kind == MsgStrong {
				touched++
			}
		}
	}
	a := w.node("a")
	m := &Message{Kind: MsgStrong, From: sidOf("b"), Partition: 7, Strong: []*strong.Message{{Kind: strong.MsgPeek, Epoch: 6, ID: 1, Bucket: 5, Key: []byte("k")}}}
	w.step(a, Event{Message: m})
	if steps != 1 || touched > 1 {
		t.Errorf("one question made %d messages in %d steps", touched, steps)
	}
}

// A killed primary is followed by another store; the killed one comes back and follows.
func TestStrongFailover(t *testing.T) {
	w := newStrongWorld(t, "abc", 4)
	w.active()
	w.crash(w.node("a"), false)
	was := w.now
	w.until("another primary", func() bool {
		return w.ring.Partitions[0].Primary != sidOf("a") && w.ring.Partitions[0].Strong.Activated
	})
	if took := w.now - was; took > 4e9 {
		t.Errorf("it took %v", took)
	}
	w.start(w.node("a"), true)
	w.run(5e9)
	w.active()
	w.checkStrong()
}

// checkStrong holds what the members have on disk against each other, at rest.
func (w *strongWorld) checkStrong() {
	w.t.Helper()
	for id := range w.ring.Partitions {
		members := w.ring.Partitions[id].Strong.Sets[0]
		first := w.bySID(members[0]).disk.strongPart(uint32(id))
		for _, s := range members[1:] {
			o := w.bySID(s).disk.strongPart(uint32(id))
			if o.hard.Applied != first.hard.Applied {
				w.t.Errorf("partition %d: applied %d and %d", id, first.hard.Applied, o.hard.Applied)
			}
			for k, row := range first.gen(first.hard.Generation).values {
				if other := o.gen(o.hard.Generation).values[k].Value; row.Value.Live() && (other == nil || other.Version != row.Value.Version) {
					w.t.Errorf("partition %d: %s is %v and %v", id, k, row.Value, other)
				}
			}
		}
	}
}
