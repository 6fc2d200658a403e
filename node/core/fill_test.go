package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// fillWorld has a ring state that takes commands, and a node whose store may take the
// place of another one's.
type fillWorld struct {
	*world
	decide   func(p Proposal) verdict // nil: what the ring state says
	onFilled func(*hashring.Place)
	lag      func() time.Duration // of a new ring state, to each node by itself; nil: none
	apart    map[string]bool      // pairs whose exchanges fail
	passes   []string             // thorough exchanges, as "ab": a led
	filled   []string             // stores that became full, and by whom: "e<a"
}

// newFillWorld has partitions owned by the first five or fewer of names; "z" is a node
// of no store yet.
func newFillWorld(t testing.TB, names string, partitions, n int) *fillWorld {
	w := &fillWorld{world: emptyWorld(t, names+"z", 1), apart: map[string]bool{}}
	s := ringState(names, partitions, n)
	s.Feature, s.Cluster = hashring.FeatureBuilding, sidOf("cluster")
	for i := range s.Stores {
		s.Stores[i].FeatureMax = hashring.FeatureBuilding
	}
	w.ring = hashring.NewRing(s)
	w.propose = w.onPropose
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.deaf = func(from, to *wnode, m *Message) bool {
		if m.Exchange.Kind == antientropy.MsgOpen && m.Exchange.Thorough {
			w.passes = append(w.passes, from.name+to.name)
		}
		return w.apart[from.name+to.name] || w.apart[to.name+from.name]
	}
	return w
}

func (w *fillWorld) onPropose(n *wnode, p Proposal) {
	boot := n.boot
	w.at(w.now+5*time.Millisecond, func() {
		v, applied := asItIs, false
		switch {
		case p.Filled == nil: // purge rounds have tests of their own
			v = lost
		case w.decide != nil:
			v = w.decide(p)
		}
		if v != lost {
			err := w.command(hashring.Command{Kind: hashring.KindFilled, Filled: &hashring.Filled{Places: []hashring.Place{*p.Filled}}})
			if applied = err == nil; applied {
				w.filled = append(w.filled, string(p.Filled.SID[:1])+"<"+n.name)
				if w.onFilled != nil {
					w.onFilled(p.Filled)
				}
			}
		}
		w.at(w.now+5*time.Millisecond, func() {
			if n.boot == boot {
				w.step(n, Event{Decided: &Decided{Token: p.Token, Applied: applied && v == asItIs}})
			}
		})
	})
}

func (w *fillWorld) command(c hashring.Command) error {
	s, err := w.ring.Apply(w.ring.Version+1, c)
	if err != nil {
		return err
	}
	w.ring = hashring.NewRing(s)
	ring := w.ring
	for _, n := range w.nodes {
		if w.lag == nil {
			w.step(n, Event{Ring: ring})
			continue
		}
		w.at(w.now+w.lag(), func() { w.step(n, Event{Ring: ring}) })
	}
	return nil
}

// replace: z's store takes the place of name's, which is gone.
func (w *fillWorld) replace(name string) {
	w.t.Helper()
	w.crash(w.node(name), false)
	st, _ := w.ring.Store(sidOf(name))
	err := w.command(hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: st.SID, Boot: st.Boot,
		Store: hashring.Store{SID: sidOf("z"), Node: st.Node, Boot: 1, State: hashring.StoreUp, FeatureMax: hashring.FeatureBuilding, API: "z:1", Gossip: "z:2", Peer: "z:3"}}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *fillWorld) settled() bool {
	return !slices.ContainsFunc(w.ring.Partitions, func(p hashring.Partition) bool { return len(p.Building) > 0 })
}

// lacking counts the keys of a bucket that a store lacks.
func (w *fillWorld) lacking(at, bucket string, keys []string) (n int) {
	for _, k := range keys {
		p := w.ring.PartitionOf(hashring.Hash(bucket, []byte(k)))
		b, _ := w.ring.Bucket(bucket)
		if w.ring.Owns(p, w.ring.N(b, p), sidOf(at)) && w.has(at, bucket, k) == "-" {
			n++
		}
	}
	return n
}

// E13: a store that lost its disk is full again by itself, of more partitions than are
// filled at a time, with all that was acked, though one of the survivors had missed some.
func TestAReplacedStoreIsFilled(t *testing.T) {
	w := newFillWorld(t, "abc", 3*maxFills, 3)
	var keys []string
	for i := range 200 {
		keys = append(keys, fmt.Sprint("key", i))
		w.fate = nil
		if i%3 == 0 {
			w.fate = cut(drop, "ac", "b", MsgWrite, MsgRead) // b misses these
		}
		w.expect("put", w.show(w.put("a", "strict", keys[i], "v")), "applied")
	}
	w.fate = nil
	w.replace("c")
	w.until("all partitions are full", w.settled)
	if n := w.lacking("z", "strict", keys); n > 0 {
		t.Errorf("%d keys are not there", n)
	}
	for _, k := range keys {
		w.expect("get", w.show(w.get("z", "strict", k)), "v")
	}
	w.run(time.Second)
	for _, n := range w.nodes {
		if n.core != nil && (len(n.core.fill.running) > 0 || n.core.fill.ticking) {
			t.Errorf("%s goes on filling", n.name)
		}
	}
}

// E13: the source agrees with the others first. A value that only a survivor holds, which
// the source lacks, is there when the store is full; without the survivor it waits.
func TestTheSourceAgreesFirst(t *testing.T) {
	w := newFillWorld(t, "abc", 1, 3)
	w.fate = cut(drop, "bc", "a", MsgWrite)
	w.expect("put", w.show(w.put("b", "strict", "k", "v")), "applied") // b and c have it
	w.fate = nil
	w.expect("a lacks it", w.has("a", "strict", "k"), "-")
	w.apart["ab"] = true // they cannot compare
	w.replace("c")
	w.run(2 * time.Minute)
	if w.settled() || w.has("z", "strict", "k") == "v" {
		t.Fatal("filled without b")
	}
	clear(w.apart)
	w.until("full", w.settled)
	w.expect("z has it", w.has("z", "strict", "k"), "v")
	w.expect("who filled", fmt.Sprint(w.filled), "[z<a]")
}

// With five owners a read quorum's agreement is enough when one more cannot be compared.
func TestAReadQuorumsAgreementIsEnough(t *testing.T) {
	w := newFillWorld(t, "abcde", 1, 5)
	w.put("b", "strict", "k", "v", wOf(All))
	w.replace("e")
	w.apart["ad"] = true
	began := w.now
	w.until("full", w.settled)
	if took := w.now - began; took < fillAccord {
		t.Errorf("did not wait for d: %v", took)
	}
	w.expect("z has it", w.has("z", "strict", "k"), "v")
}

// Of a replica list of five with two gone at once, all three survivors must agree.
func TestTwoReplacedAtOnce(t *testing.T) {
	w := newFillWorld(t, "abcde", 1, 5)
	w.replace("e")
	w.crash(w.node("d"), false)
	if err := w.command(hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: sidOf("d"), State: hashring.StoreSuspect}}); err != nil {
		t.Fatal(err)
	}
	w.apart["ac"] = true
	w.run(2 * time.Minute)
	if w.settled() {
		t.Fatal("filled with two of three survivors, R is 3 of 3")
	}
	clear(w.apart)
	w.until("full", w.settled)
}

// E7: a change of stage begins a fill anew; the proof of the older stage is not used.
func TestAStageBeginsTheFillAnew(t *testing.T) {
	w := newFillWorld(t, "abcde", 1, 5)
	w.put("a", "strict", "k", "v", wOf(All))
	w.replace("e")
	epoch := w.ring.Partitions[0].Epoch
	w.until("a pass of z has begun", func() bool {
		r := w.node("a").core.fill.running[0]
		return r != nil && r.agreed && len(r.pass.tickets) > 0
	})
	if err := w.command(hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: sidOf("b"), State: hashring.StoreSuspect}}); err != nil {
		t.Fatal(err)
	}
	w.passes = nil
	w.until("full", w.settled)
	last := slices.Clone(w.passes) // the one with z that counts is the last one
	if n := len(last); n < 3 || last[n-1] != "az" || !slices.Contains(last[:n-1], "ac") || !slices.Contains(last[:n-1], "ad") {
		t.Errorf("passes since: %v", w.passes)
	}
	if w.ring.Partitions[0].Epoch != epoch+2 {
		t.Errorf("epoch %d after %d", w.ring.Partitions[0].Epoch, epoch)
	}
}

// What the ring state does not take is proposed again; what nobody knows of, too, and a
// source that is gone is followed by the next one.
func TestProposalsAreMadeAgain(t *testing.T) {
	for name, v := range map[string]verdict{"lost": lost, "unknown": unknown} {
		w := newFillWorld(t, "abc", 1, 3)
		tries := 0
		w.decide = func(Proposal) verdict {
			if tries++; tries <= 3 {
				return v
			}
			return asItIs
		}
		w.replace("c")
		w.until(name, w.settled)
		if v == lost && tries != 4 {
			t.Errorf("%s: %d tries", name, tries)
		}
	}
	w := newFillWorld(t, "abc", 1, 3)
	w.decide = func(Proposal) verdict { return lost }
	w.replace("c")
	w.run(10 * time.Second)
	w.decide = nil
	w.apart["ab"] = false
	w.crash(w.node("a"), true)
	w.view("", "bz")
	w.run(time.Minute)
	if w.settled() {
		t.Fatal("b has filled alone, it needs a")
	}
	w.start(w.node("a"), true)
	w.view("", "abz")
	w.until("full", w.settled)
}

// Nothing is filled by a store that is not registered, or while the new one is away.
func TestWhenNothingIsFilled(t *testing.T) {
	w := newFillWorld(t, "abc", 1, 3)
	w.view("", "ab")
	w.replace("c")
	w.run(time.Minute)
	if w.settled() || len(w.node("a").core.fill.running) > 0 {
		t.Fatal("filled a store that is away")
	}
	w.crash(w.node("a"), true)
	w.start(w.node("a"), false)
	w.view("", "abz")
	w.run(time.Minute)
	if w.settled() {
		t.Fatal("filled by a start that nobody has confirmed")
	}
	w.step(w.node("a"), Event{Confirmed: true})
	w.until("full", w.settled)
}

// Buckets of fewer owners: who fills must have what those need.
func TestTheSourceOwnsWhatItFills(t *testing.T) {
	w := newFillWorld(t, "abcd", 1, 4)
	s := *w.ring.State
	s.Buckets = map[string]hashring.Bucket{}
	for name, b := range w.ring.Buckets {
		if name == "strict" {
			b.N = 2
		}
		s.Buckets[name] = b
	}
	w.ring = hashring.NewRing(&s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	if err := w.command(hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: sidOf("d"), State: hashring.StoreDraining}}); err != nil {
		t.Fatal(err)
	}
	w.put("a", "strict", "two", "v", wOf(2))
	w.put("a", "sloppy", "four", "v", wOf(4))
	w.crash(w.node("a"), true) // the only other owner of "two"
	w.view("", "cdz")
	w.replace("b")
	w.run(2 * time.Minute)
	if w.settled() {
		t.Fatal("filled though nobody there has what buckets of two owners hold")
	}
	w.start(w.node("a"), true)
	w.view("", "acdz")
	w.until("full", w.settled)
	w.expect("z", w.has("z", "strict", "two")+w.has("z", "sloppy", "four"), "vv")
	w.expect("who filled", fmt.Sprint(w.filled), "[z<a]")
}
