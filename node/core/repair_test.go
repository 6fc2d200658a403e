package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// repairRing is ringState at the level of convergence.
func repairState(names string, partitions int) *hashring.State {
	s := ringState(names, partitions, 3)
	s.Feature = hashring.FeatureBuilding
	return s
}

// newRepairWorld has the nodes of names on disks that fill has its way with first.
func newRepairWorld(t testing.TB, names string, s *hashring.State, fill func(w *world)) *world {
	w := emptyWorld(t, names, 1)
	w.ring = hashring.NewRing(s)
	if fill != nil {
		fill(w)
	}
	for _, n := range w.nodes {
		n.disk.counters = n.disk.count()
		w.start(n, true)
	}
	return w
}

// keep puts an object on a node's disk, as if it had been written there once.
func (w *world) keep(n *wnode, bucket, key string, o *version.Object) {
	b, _ := w.ring.Bucket(bucket)
	hash := hashring.Hash(bucket, []byte(key))
	p := w.ring.PartitionOf(hash)
	n.disk.apply([]*Batch{{Records: []RecordWrite{{p, b.ID, []byte(key), LeafOf(hash), o, o.Hash()}}}})

}

func valueOf(actor, counter uint64, value string) *version.Object {
	return version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: version.Actor(actor), Counter: counter}, Value: []byte(value)})
}

// alike checks that all owners of each key that anybody has hold the same of it.
func (w *world) alike() error {
	keys := map[rowKey]bool{}
	for _, n := range w.nodes {
		for k := range n.disk.records {
			keys[k] = true
		}
	}
	for k := range keys {
		bucket, ok := w.ring.BucketByID(k.bucket)
		if !ok {
			continue
		}
		owners := w.ring.Owners(k.partition, w.ring.N(bucket, k.partition))
		for _, s := range owners[1:] {
			if a, b := w.bySID(owners[0]).disk.records[k], w.bySID(s).disk.records[k]; !version.Same(a, b) {
				return fmt.Errorf("%s/%q: %s has %v, %s has %v", bucket.Name, k.key, w.bySID(owners[0]).name, a, w.bySID(s).name, b)
			}
		}
	}
	return nil
}

// converge runs until all are alike, within limit, and then holds counters and trees
// against the disks.
func (w *world) converge(limit time.Duration) time.Duration {
	w.t.Helper()
	began := w.now
	for w.alike() != nil && w.now < began+limit {
		w.run(100 * time.Millisecond)
	}
	if err := w.alike(); err != nil {
		w.t.Fatalf("not alike after %v: %v", limit, err)
	}
	took := w.now - began
	for _, n := range w.nodes {
		if n.core != nil {
			n.disk.checkCounters(w.t, n.name)
			n.checkTrees(w.t)
		}
	}
	return took
}

// checkTrees holds each known tree against the disk; nothing is on its way to it.
func (n *wnode) checkTrees(t testing.TB) {
	t.Helper()
	if n.core.durable != n.core.lastSeq {
		return
	}
	for _, p := range n.core.ownParts() {
		for _, at := range p.trees {
			if !at.tree.Known() {
				continue
			}
			want := antientropy.EmptyTree()
			for k, o := range n.disk.records {
				if bucket, ok := n.core.ring.BucketByID(k.bucket); ok && k.partition == p.id && bucket.N == at.n {
					want.Put(k.bucket, hashring.Hash(bucket.Name, []byte(k.key)), 0, o.Hash(), 0)
				}
			}
			if want.Root() != at.tree.Root() {
				t.Errorf("%s, partition %d, n %d: the tree is %v, the disk %v", n.name, p.id, at.n, at.tree, want)
			}
		}
	}
}

// countExchange counts the messages of exchanges by kind from now on.
func (w *world) countExchange() map[antientropy.Kind]int {
	seen := map[antientropy.Kind]int{}
	w.onStep = func(_ *wnode, r *Ready) {
		for _, o := range r.Now {
			if o.Message != nil && o.Message.Kind == MsgExchange {
				seen[o.Message.Exchange.Kind]++
			}
		}
		for _, g := range r.AfterSync {
			if m := g.Out.Message; m != nil && m.Kind == MsgExchange {
				seen[m.Exchange.Kind]++
			}
		}
	}
	return seen
}

// noExchange is a fate: nothing is compared.
func noExchange(_, _ *wnode, m *Message) fate {
	if m.Kind == MsgExchange {
		return drop
	}
	return deliver
}

// Three stores that differ in all ways become alike without a read.
func TestExchangeConverges(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 4), func(w *world) {
		for i := range 400 {
			key, o := fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "old")
			newer := version.Write(o, o.Context, version.Sibling{Dot: version.Dot{Actor: 8, Counter: uint64(i + 1)}, Value: []byte("new"), Tombstone: i%3 == 0})
			beside := version.Write(o, nil, version.Sibling{Dot: version.Dot{Actor: 9, Counter: uint64(i + 1)}, Value: []byte("beside")})
			for at, n := range w.nodes {
				switch bucket := []string{"sloppy", "strict", "lww"}[i/3%3]; (i*7 + at) % 6 {
				case 0, 1:
					w.keep(n, bucket, key, o)
				case 2:
					w.keep(n, bucket, key, newer)
				case 3:
					w.keep(n, bucket, key, beside)
				}
			}
		}
	})
	took := w.converge(30 * time.Second)
	t.Logf("alike after %v", took)
	var s RepairStats
	for _, n := range w.nodes {
		one := n.core.Stats().Repair
		s.Add(&one)
	}
	if s.Complete == 0 || s.Sent == 0 || s.Received == 0 || s.Merged == 0 || s.UnknownTrees != 0 || s.DebtKeys != 0 {
		t.Errorf("%+v", s)
	}
}

// A store that has lost everything costs little more than what it lacks.
func TestExchangeFillsEmpty(t *testing.T) {
	const keys = 8000
	w := newRepairWorld(t, "abc", repairState("abc", 1), func(w *world) {
		for i := range keys {
			for _, n := range w.nodes[1:] {
				w.keep(n, "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), string(make([]byte, 80))))
			}
		}
	})
	w.converge(30 * time.Second)
	missing, sent := uint64(0), uint64(0)
	for _, o := range w.node("a").disk.records {
		missing += uint64(o.Size() + len("key-1000"))
	}
	for _, n := range w.nodes {
		sent += n.core.Stats().Repair.OutBytes
	}
	if len(w.node("a").disk.records) != keys || sent > missing*12/10 {
		t.Errorf("%d keys of %d bytes cost %d bytes", len(w.node("a").disk.records), missing, sent)
	}
}

// Stores that are alike say so in one message and its answer, and read nothing.
func TestExchangeOfEquals(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 4), func(w *world) {
		for i := range 100 {
			for _, n := range w.nodes {
				w.keep(n, "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "v"))
			}
		}
	})
	seen := w.countExchange()
	w.run(60 * time.Second)
	if n := seen[antientropy.MsgOpen]; n < 24 || n > seen[antientropy.MsgOpenReply]+12 || len(seen) != 2 {
		t.Errorf("%v", seen)
	}
	for _, n := range w.nodes {
		if s := n.core.Stats().Repair; s.Equal == 0 || s.ReadBytes != 0 || s.Behind > 30*time.Second || s.Behindhand != 0 {
			t.Errorf("%s: %+v", n.name, s)
		}
	}
}

// Writes go on while stores are compared; nothing is lost and all end alike.
func TestExchangeUnderWrites(t *testing.T) {
	w := newRepairWorld(t, "abcd", repairState("abcd", 4), func(w *world) {
		for i := range 300 {
			for at, n := range w.nodes {
				if (i+at)%3 != 0 && w.ring.Owns(w.ring.PartitionOf(hashring.Hash("strict", fmt.Append(nil, "key-", i))), 3, n.sid) {
					w.keep(n, "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "old"))
				}
			}
		}
	})
	acked := map[string]string{}
	for i := range 600 {
		key, value := fmt.Sprint("key-", i%350), fmt.Sprint("value ", i)
		if r := w.do(w.nodes[i%4], &Request{Op: OpPut, Bucket: "strict", Key: []byte(key), Value: []byte(value)}); r.Code == OK {
			acked[key] = value
		}
		w.run(10 * time.Millisecond)
	}
	w.converge(40 * time.Second)
	for key, value := range acked {
		r := w.do(w.nodes[0], &Request{Op: OpGet, Bucket: "strict", Key: []byte(key)})
		if !slices.ContainsFunc(r.Object.Siblings, func(s version.Sibling) bool { return string(s.Value) == value }) {
			t.Fatalf("%s: %v, acked was %s", key, r.Object, value)
		}
	}
}

// An end that dies takes nothing with it, and its exchange begins anew.
func TestExchangeCrash(t *testing.T) {
	for _, victim := range []string{"a", "c"} {
		w := newRepairWorld(t, "abc", repairState("abc", 1), func(w *world) {
			for i := range 1500 {
				w.keep(w.nodes[i%3], "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), string(make([]byte, 500))))
			}
		})
		n := w.node(victim)
		w.until("objects arrive", func() bool { return n.core.Stats().Repair.Merged > 100 })
		w.crash(n, false)
		w.tellDown(n)
		w.run(3 * time.Second)
		w.start(n, true)
		took := w.converge(2 * time.Minute)
		t.Logf("alike %v after the start", took)
	}
}

// Tickets are met by a complete, thorough exchange that began after the wish.
func TestWantExchange(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 2), nil)
	a := w.node("a").core
	w.run(2 * time.Second)
	tickets := a.wantExchange(0, sidOf("b"))
	if len(tickets) != 1 || a.exchangesMet(tickets) {
		t.Fatalf("%+v", tickets)
	}
	seen := w.countExchange()
	w.until("they are met", func() bool { return a.exchangesMet(tickets) })
	if seen[antientropy.MsgOpen] == 0 {
		t.Error("met without an exchange")
	}
	if strange := a.wantExchange(0, sidOf("z")); len(strange) != 0 {
		t.Errorf("with a store that owns nothing: %+v", strange)
	}
	w.crash(w.node("c"), false)
	w.view("", "ab")
	dead := a.wantExchange(0, sidOf("c"))
	w.run(30 * time.Second)
	if a.exchangesMet(dead) {
		t.Error("met by a store that is dead")
	}
	w.start(w.node("c"), true)
	w.view("", "abc")
	w.until("the dead one is back", func() bool { return a.exchangesMet(dead) })
}

// Below the feature level there are no trees, and no messages that peers do not know.
func TestRepairNeedsFeature(t *testing.T) {
	w := newWorld(t, "abc", 2)
	seen := w.countExchange()
	w.do(w.nodes[0], &Request{Op: OpPut, Bucket: "strict", Key: []byte("k"), Value: []byte("v")})
	w.run(30 * time.Second)
	if a := w.nodes[0].core; len(seen) != 0 || len(a.ownParts()) != 0 || a.exchangesMet(a.wantExchange(0, sidOf("b"))) {
		t.Errorf("%v", seen)
	}
	s := repairState("abc", 2)
	s.Version++
	w.ring = hashring.NewRing(s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	w.run(30 * time.Second)
	if w.converge(time.Second); seen[antientropy.MsgOpen] == 0 {
		t.Error("nothing is compared")
	}
}

// The rows of a bucket that was dropped leave the trees; stores that still have them
// and stores that do not are alike.
func TestExchangeDroppedBucket(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), func(w *world) {
		for i := range 50 {
			w.keep(w.nodes[0], "sloppy", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "v"))
			w.keep(w.nodes[i%3], "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "v"))
		}
	})
	s := repairState("abc", 1)
	s.Version++
	delete(s.Buckets, "sloppy")
	w.ring = hashring.NewRing(s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
	w.converge(30 * time.Second)
	w.run(20 * time.Second)
	if n := len(w.node("b").disk.records); n != 50 {
		t.Errorf("b has %d records", n)
	}
	for _, n := range w.nodes {
		if s := n.core.Stats().Repair; s.Behindhand != 0 {
			t.Errorf("%s: %+v", n.name, s)
		}
	}
}

// A peer that answers no exchange, though all else reaches it, delays those with the
// others by seconds: a difference between two is repaired while the third is silent.
func TestASilentPeerDelaysLittle(t *testing.T) {
	w := newRepairWorld(t, "abc", repairState("abc", 1), func(w *world) {
		w.keep(w.node("b"), "strict", "key", valueOf(7, 1, "v"))
	})
	silent := w.node("c")
	w.deaf = func(from, to *wnode, _ *Message) bool { return from == silent || to == silent }
	began := w.now
	w.until("a has it", func() bool { return len(w.node("a").disk.records) > 0 })
	if took := w.now - began; took > 12*time.Second {
		t.Errorf("it took %v", took)
	}
	worst := w.now
	for i := range 10 { // and again, each time
		w.put("b", "strict", fmt.Sprint("key-", i), "v", wOf(1))
	}
	w.run(time.Second)
	w.until("all pairs but the silent one's are compared", func() bool {
		for _, d := range w.node("a").core.repair.sched.Pairs(w.now) {
			if d.Peer == w.node("b").sid && d.Behind > w.now-worst {
				return false
			}
		}
		return true
	})
	if took := w.now - worst; took > 25*time.Second {
		t.Errorf("the next took %v", took)
	}
}
