package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// damagedWorld has keys at three owners, those of a on a disk that damage spoils.
func damagedWorld(t *testing.T, every time.Duration, damage func(d *disk, k rowKey)) *world {
	w := emptyWorld(t, "abc", 1)
	w.ring = hashring.NewRing(repairState("abc", 1))
	w.scrubEvery = every
	for i := range 20 {
		for _, n := range w.nodes {
			w.keep(n, "strict", fmt.Sprint("key-", i), valueOf(7, uint64(i+1), "v"))
		}
	}
	for _, n := range w.nodes {
		n.disk.counters = n.disk.count()
	}
	damage(w.node("a").disk, rowKey{bucket: 3, key: "key-5"})
	for _, n := range w.nodes {
		w.start(n, true)
	}
	return w
}

func (d *disk) spoil(k rowKey) { d.corrupt[k] = true }

// A record that fails its checksum is found by a read, served by nobody, and mended
// from the other owners.
func TestMendWhatAReadFinds(t *testing.T) {
	w := damagedWorld(t, time.Hour, (*disk).spoil)
	a := w.node("a")
	w.run(5 * time.Second)
	if s := a.core.Stats().Repair; s.Damaged != 0 {
		t.Fatalf("%+v", s)
	}
	r := w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key-5"), R: 1})
	if r.Code != OK || r.ServedBy != a.sid || string(r.Object.Siblings[0].Value) != "v" {
		t.Fatalf("%+v", r)
	}
	w.until("it is mended", func() bool { return len(a.disk.corrupt) == 0 })
	s := a.core.Stats().Repair
	if s.Damaged != 1 || s.Mended != 1 || s.Quarantined != 0 {
		t.Errorf("%+v", s)
	}
	w.converge(time.Second)
}

// The scrub finds what nobody reads: a damaged record, one that is not what its leaf
// row says, one that is gone, and one without a leaf row.
func TestScrubFinds(t *testing.T) {
	for name, damage := range map[string]func(d *disk, k rowKey){
		"damaged":     (*disk).spoil,
		"older":       func(d *disk, k rowKey) { d.records[k] = valueOf(3, 1, "something else") },
		"gone":        func(d *disk, k rowKey) { delete(d.records, k) },
		"no leaf row": func(d *disk, k rowKey) { delete(d.leaves, k) },
	} {
		t.Run(name, func(t *testing.T) {
			w := damagedWorld(t, 10*time.Second, damage)
			a, k := w.node("a"), rowKey{bucket: 3, key: "key-5"}
			want := w.node("b").disk.records[k]
			w.until("it is mended", func() bool {
				return len(a.disk.corrupt) == 0 && version.Same(a.disk.records[k], want) && a.disk.leaves[k].version == want.Hash()
			})
			w.run(15 * time.Second)
			if s := a.core.Stats().Repair; s.Damaged+s.Received == 0 || s.Quarantined != 0 || s.Scrubs == 0 || s.Scrubbed == 0 {
				t.Errorf("%+v", s)
			}
			w.converge(time.Second)
		})
	}
}

// Without a read quorum of the others nothing is mended: what this store has acked may
// be at just the one that does not answer.
func TestMendNeedsAReadQuorum(t *testing.T) {
	w := damagedWorld(t, time.Hour, (*disk).spoil)
	a := w.node("a")
	w.crash(w.node("b"), false)
	w.view("", "ac")
	w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key-5"), R: 1})
	w.run(time.Minute)
	if s := a.core.Stats().Repair; len(a.disk.corrupt) == 0 || s.Mended != 0 || s.MendsPutOff < 2 || s.Quarantined != 1 {
		t.Fatalf("%+v", s)
	}
	if r := w.do(a, &Request{Op: OpGet, Bucket: "sloppy", Key: []byte("other"), R: 1}); r.Code != KeyNotFound {
		t.Errorf("another key: %+v", r)
	}
	w.start(w.node("b"), true)
	w.view("", "abc")
	w.fate = cut(drop, "b", "a", MsgReadReply) // it is there and says nothing
	w.run(time.Minute)
	if s := a.core.Stats().Repair; s.Mended != 0 {
		t.Fatalf("mended from one of two: %+v", s)
	}
	w.fate = nil
	w.until("it is mended", func() bool { return len(a.disk.corrupt) == 0 })
	if s := a.core.Stats().Repair; s.MendedShort != 0 {
		t.Errorf("%+v", s)
	}
}

// A write made while a record was damaged makes the mended one newer than the leaf row:
// the counters are counted anew.
func TestMendRecounts(t *testing.T) {
	w := damagedWorld(t, time.Hour, (*disk).spoil)
	a := w.node("a")
	if r := w.do(w.node("b"), &Request{Op: OpDelete, Bucket: "strict", Key: []byte("key-5")}); r.Code != OK {
		t.Fatalf("%+v", r)
	}
	w.until("it is mended", func() bool { return len(a.disk.corrupt) == 0 })
	w.run(5 * time.Second)
	if s := a.core.Stats(); s.Tombstones != 1 || s.Keys != 19 || s.Repair.Recounted != 1 {
		t.Errorf("%+v", s)
	}
	w.converge(10 * time.Second)
}

// A value that has expired has the version of the tombstone that it becomes (E8), so a
// damaged record's leaf row does not tell what was counted: it is counted anew.
func TestMendRecountsWhatExpired(t *testing.T) {
	w := emptyWorld(t, "abc", 1)
	w.ring = hashring.NewRing(repairState("abc", 1))
	w.scrubEvery = time.Hour
	a, k := w.node("a"), rowKey{bucket: 3, key: "key"}
	fresh := valueOf(7, 1, "v")
	fresh.Siblings[0].ExpiryMS = 1
	for _, n := range w.nodes {
		w.keep(n, "strict", k.key, antientropy.Expire(fresh, epochMS))
	}
	w.keep(a, "strict", k.key, fresh)
	for _, n := range w.nodes {
		n.disk.counters = n.disk.count()
	}
	a.disk.spoil(k)
	for _, n := range w.nodes {
		w.start(n, true)
	}
	w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte(k.key), R: 1})
	w.until("it is mended", func() bool { return len(a.disk.corrupt) == 0 })
	w.run(5 * time.Second)
	if s := a.core.Stats(); s.Tombstones != 1 || s.Keys != 0 || s.Expiring != 0 || s.Repair.Recounted != 1 {
		t.Errorf("%d tombstones, %d keys, %d expiring, recounted %d times", s.Tombstones, s.Keys, s.Expiring, s.Repair.Recounted)
	}
	w.converge(10 * time.Second)
}

// A single copy that fails its checksum stays quarantined; one whose leaf row alone is
// wrong is all there is, and gets its leaf row back.
func TestMendAlone(t *testing.T) {
	for name, mended := range map[string]bool{"damaged": false, "no leaf row": true} {
		s := repairState("a", 1)
		b := s.Buckets["strict"]
		b.N = 1
		s.Buckets["strict"] = b
		w := emptyWorld(t, "a", 1)
		w.ring, w.scrubEvery = hashring.NewRing(s), 5*time.Second
		a, k := w.node("a"), rowKey{bucket: 3, key: "key"}
		w.keep(a, "strict", "key", valueOf(7, 1, "v"))
		a.disk.counters = a.disk.count()
		if mended {
			delete(a.disk.leaves, k)
		} else {
			a.disk.spoil(k)
		}
		w.start(a, true)
		w.run(time.Minute)
		r := w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key")})
		st := a.core.Stats().Repair
		if (r.Code == OK) != mended || (a.disk.leaves[k].version != 0 && len(a.disk.corrupt) == 0) != mended || (st.Unmendable == 0) != mended {
			t.Errorf("%s: %+v, %+v", name, r, st)
		}
	}
}

// A tree that has gone wrong is found by its check, counted, and read anew.
func TestTreeDrift(t *testing.T) {
	w := damagedWorld(t, 10*time.Second, func(*disk, rowKey) {})
	a := w.node("a")
	w.run(2 * time.Second)
	tree := a.core.part(0).treeOf(3)
	tree.Put(3, 4711, 0, 99, 0)
	w.until("it is found", func() bool { return a.core.Stats().Repair.Drift > 0 })
	w.until("it is read anew", func() bool { return a.core.part(0).treeOf(3) != tree && a.core.Stats().Repair.UnknownTrees == 0 })
	w.run(30 * time.Second)
	if s := a.core.Stats().Repair; s.Drift != 1 || s.TreeChecks < 2 || s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
	w.converge(time.Second)
}

// Checks go on under writes and find nothing that is not there.
func TestScrubUnderWrites(t *testing.T) {
	w := damagedWorld(t, 500*time.Millisecond, func(*disk, rowKey) {})
	for i := range 1000 {
		w.ask(w.nodes[i%3], &Request{Op: []Op{OpPut, OpPut, OpDelete}[i%3], Bucket: "strict", Key: fmt.Append(nil, "key-", i%40), Value: []byte("v")})
		w.run(7 * time.Millisecond)
	}
	w.converge(30 * time.Second)
	for _, n := range w.nodes {
		if s := n.core.Stats().Repair; s.Scrubs < 5 || s.Drift != 0 || s.Damaged != 0 || s.Mismatched != 0 || s.Recounted != 0 || s.ReadErrors != 0 {
			t.Errorf("%s: %+v", n.name, s)
		}
	}
}

// Two of three owners have damaged a key: each takes the third's copy once it has heard
// that there is no other. While the third is away nothing is mended; where all three are
// damaged nothing ever is, and nobody says that the key is not there.
func TestMendWhereOthersAreDamagedToo(t *testing.T) {
	w := damagedWorld(t, time.Hour, (*disk).spoil)
	k := rowKey{bucket: 3, key: "key-5"}
	a, b, c := w.node("a"), w.node("b"), w.node("c")
	b.disk.spoil(k)
	ask := func() *Reply {
		for _, n := range w.nodes {
			if n.core != nil {
				w.do(n, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key-5"), R: 1})
			}
		}
		return w.do(a, &Request{Op: OpGet, Bucket: "strict", Key: []byte("key-5")})
	}
	w.crash(c, false)
	w.view("", "ab")
	if r := ask(); r.Code != QuorumUnavailable {
		t.Fatalf("with the sound one away: %v", r.Code)
	}
	w.run(time.Minute)
	if s := a.core.Stats().Repair; s.Mended != 0 || s.MendsPutOff < 2 || s.Quarantined != 1 {
		t.Fatalf("%+v", s)
	}
	w.start(c, true)
	w.view("", "abc")
	w.until("both are mended", func() bool { return len(a.disk.corrupt)+len(b.disk.corrupt) == 0 })
	if short := a.core.Stats().Repair.MendedShort + b.core.Stats().Repair.MendedShort; short < 1 {
		t.Errorf("%d were mended from fewer than a read quorum", short)
	}
	if r := ask(); r.Code != OK || string(r.Object.Siblings[0].Value) != "v" {
		t.Errorf("%+v", r)
	}
	w.converge(10 * time.Second)
	for _, n := range w.nodes {
		n.disk.spoil(k)
	}
	ask()
	w.run(2 * time.Minute)
	if r := ask(); r.Code != QuorumUnavailable {
		t.Errorf("with all damaged: %v", r.Code)
	}
	for _, n := range w.nodes {
		if s := n.core.Stats().Repair; len(n.disk.corrupt) != 1 || s.Quarantined != 1 {
			t.Errorf("%s: %+v", n.name, s)
		}
	}
}
