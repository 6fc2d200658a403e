package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
)

// reshape gives all nodes a next ring, in which edit has changed every partition's
// replicas or the stores; a stage begins (session, epoch).
func (w *world) reshape(edit func(*hashring.State)) {
	s := *w.ring.State
	s.Version++
	s.Feature = hashring.FeatureBuilding
	s.Stores = slices.Clone(s.Stores)
	s.Partitions = slices.Clone(s.Partitions)
	for p := range s.Partitions {
		s.Partitions[p].Epoch++
	}
	edit(&s)
	for p := range s.Partitions {
		s.Partitions[p].Session = 0
		if len(s.Partitions[p].Building) > 0 {
			s.Partitions[p].Session = s.Version
		}
	}
	w.ring = hashring.NewRing(&s)
	for _, n := range w.nodes {
		w.step(n, Event{Ring: w.ring})
	}
}

// building makes stores building in every partition, none: all are full.
func building(names ...string) func(*hashring.State) {
	return func(s *hashring.State) {
		for p := range s.Partitions {
			s.Partitions[p].Building = nil
			for _, n := range names {
				s.Partitions[p].Building = append(s.Partitions[p].Building, sidOf(n))
			}
		}
	}
}

// state puts a store into a state.
func state(name string, is hashring.StoreState) func(*hashring.State) {
	return func(s *hashring.State) {
		for i := range s.Stores {
			if s.Stores[i].SID == sidOf(name) {
				s.Stores[i].State = is
			}
		}
	}
}

// A store that is being built gets every write and counts for none, whoever asks for
// what; all that is counted is counted among the full owners.
func TestABuildingOwnerGetsWritesAndCountsForNone(t *testing.T) {
	for _, bucket := range []string{"strict", "sloppy", "lww"} {
		w := newWorld(t, "abcd", 1)
		w.reshape(building("c"))
		r := w.put("a", bucket, "k", "v")
		w.expect("put", r.Receipt.String(), "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2")
		w.run(10 * time.Millisecond)
		w.expect("c has it", w.has("c", bucket, "k"), "v")
		w.expect("w=all", w.put("b", bucket, "k", "v2", having(r), wOf(All)).Receipt.String(), "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2")
		w.expect("w=3", w.show(w.put("a", bucket, "k", "v3", wOf(3))), "quorum_unavailable not_applied") // it passes
		w.expect("w=4", w.show(w.put("a", bucket, "k", "v3", wOf(4))), "quorum_impossible not_applied")
		w.expect("r=3", w.show(w.get("a", bucket, "k", rOf(3))), "quorum_unavailable")
		w.expect("r=4", w.show(w.get("a", bucket, "k", rOf(4))), "quorum_impossible")
		w.expect("r=all", w.get("c", bucket, "k", rOf(All)).Receipt.String(), "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=0")
	}
}

// Its ack comes, one of a full owner does not: there is no quorum.
func TestABuildingAckCompletesNoQuorum(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.put("a", "strict", "before", "v")
	w.reshape(building("c"))
	w.node("b").holdSync = true
	c := w.startPut("a", "strict", "k", "v", in(300*time.Millisecond))
	w.expect("put", w.show(w.wait(c)), "write_quorum_timeout unknown")
	w.expect("receipt", c.reply.Receipt.String(), "n=2, need=2, acks=1, owners=1, fallbacks=0, synced=1")
	w.expect("c has it", w.has("c", "strict", "k"), "v")
	w.expect("pw=2", w.show(w.wait(w.startPut("a", "sloppy", "k", "v", pwOf(2), in(2*time.Second)))), "write_quorum_timeout unknown")
}

// A building store coordinates nothing: it forwards what its clients ask, says so to a
// client that wants an owner, and declines what is forwarded to it.
func TestABuildingStoreCoordinatesNothing(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.reshape(building("c"))
	r := w.put("c", "strict", "k", "v")
	w.expect("put", w.show(r), "applied")
	if by := w.bySID(r.ServedBy).name; by == "c" {
		t.Errorf("coordinated by %s", by)
	}
	w.expect("get", w.show(w.get("c", "strict", "k", rOf(1))), "v")
	only := w.put("c", "strict", "k", "v", ownerOnly)
	w.expect("owner only", w.show(only), "not_owner not_applied")
	if !slices.Equal(only.Owners, []hashring.SID{sidOf("a"), sidOf("b")}) {
		t.Errorf("owners %v", only.Owners)
	}
	w.view("", "cd") // no full owner can be reached: it is no stand-in either, it owns the key
	w.expect("alone", w.show(w.put("c", "sloppy", "k", "v")), "quorum_unavailable not_applied")
	w.expect("a stand-in can", w.show(w.put("d", "sloppy", "k", "v", wOf(1))), "applied")
	w.run(time.Second)
	w.expect("it keeps a hint for one that counts, and c is reachable", w.keeps("d"), "a=v b=v")
}

// What reads, listings and forwards get from a store that does not count.
func TestWhatIsAskedOfAStoreThatDoesNotCount(t *testing.T) {
	for role, edit := range map[quorum.Reason]func(*hashring.State){
		quorum.ReasonBuilding: building("c"), quorum.ReasonSuspect: state("c", hashring.StoreSuspect),
	} {
		w := newWorld(t, "abcd", 1)
		object := w.put("a", "strict", "k", "v", wOf(3)).Object
		w.reshape(edit)
		for _, m := range []Message{
			{Kind: MsgRead},
			{Kind: MsgScan, Limit: 10},
			{Kind: MsgForward, Request: &Request{Op: OpPut, Bucket: "strict", Key: []byte("k"), HasContext: true}, Timeout: time.Second, Echo: w.node("c").core.echo()},
			{Kind: MsgWrite, Object: object},
		} {
			want := role
			if m.Kind == MsgWrite && role == quorum.ReasonBuilding {
				want = quorum.ReasonNone
			}
			m.From, m.To, m.ID, m.RingVersion, m.Epoch, m.Bucket, m.Key = sidOf("a"), sidOf("c"), 9, w.ring.Version, 6, 3, []byte("k")
			var got []*Message
			w.fate = func(_, _ *wnode, r *Message) fate { got = append(got, r); return drop }
			w.step(w.node("c"), Event{Message: &m})
			w.run(10 * time.Millisecond)
			if len(got) != 1 || got[0].Reason != want || got[0].Object != nil || got[0].Reply != nil {
				t.Errorf("%v to a store that is %v: answered %+v", m.Kind, role, got)
			}
		}
	}
}

// A value that only the building store lacks is found; one that only it holds is not
// shown by a read of any width, and a listing asks full owners.
func TestReadsAskFullOwners(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.fate = cut(drop, "a", "c", MsgWrite)
	w.put("a", "strict", "old", "v")
	w.fate = nil
	w.reshape(building("c"))
	asked := map[string]int{}
	w.fate = func(_, to *wnode, m *Message) fate {
		if m.Kind == MsgRead || m.Kind == MsgScan {
			asked[to.name]++
		}
		return deliver
	}
	for _, at := range []string{"a", "b", "c", "d"} {
		for _, need := range []Count{0, 1, 2, All} {
			w.expect("get", w.show(w.get(at, "strict", "old", rOf(need))), "v")
		}
		list := w.do(w.node(at), listOf("strict"))
		if len(list.List.Rows) != 1 || !list.List.Complete {
			t.Errorf("at %s: %+v", at, list.List)
		}
	}
	if asked["c"] != 0 || asked["a"] == 0 || asked["b"] == 0 {
		t.Errorf("asked %v", asked)
	}
	w.view("", "cd")
	w.expect("r=1, no full owner", w.show(w.get("c", "strict", "old", rOf(1))), "quorum_unavailable")
	if list := w.do(w.node("c"), listOf("strict")); list.List.Complete {
		t.Error("a listing without a full owner says that it is complete")
	}
}

// The answer to a strict read waits for full owners only; the building store gets the
// write-back too, and an asynchronous repair.
func TestRepairsReachTheBuildingStore(t *testing.T) {
	for _, bucket := range []string{"strict", "sloppy"} {
		w := newWorld(t, "abcd", 1)
		w.reshape(building("c"))
		w.fate = cut(drop, "a", "bc", MsgWrite)
		w.put("a", bucket, "k", "v", wOf(1), in(100*time.Millisecond))
		w.fate = nil
		w.run(10 * time.Millisecond)
		w.expect("only a has it", w.has("a", bucket, "k")+w.has("b", bucket, "k")+w.has("c", bucket, "k"), "v--")
		w.expect("get", w.show(w.get("a", bucket, "k", rOf(2))), "v")
		w.run(10 * time.Millisecond)
		w.expect("all have it", w.has("b", bucket, "k")+w.has("c", bucket, "k"), "vv")
	}
}

// A building store that cannot be reached gets a hint, which counts for nothing.
func TestAHintForABuildingStore(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.reshape(building("c"))
	w.view("", "abd")
	r := w.put("a", "sloppy", "k", "v")
	w.expect("put", r.Receipt.String(), "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	w.run(time.Second)
	w.expect("d keeps", w.keeps("d"), "c=v")
	w.view("", everybody)
	w.run(3 * time.Second)
	w.expect("c has it", w.keeps("d")+w.has("c", "sloppy", "k"), "v")
}

// A suspect store is asked nothing; what it should get waits with a stand-in.
func TestASuspectStoreIsLeftOut(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.put("a", "sloppy", "k", "v", wOf(3))
	w.reshape(state("c", hashring.StoreSuspect))
	told := 0
	w.fate = func(_, to *wnode, m *Message) fate {
		if to.name == "c" && m.Kind != MsgHintNotice && m.Kind != MsgHintPage && m.Kind != MsgForwarded {
			told++
		}
		return deliver
	}
	r := w.put("a", "sloppy", "k", "v2")
	w.expect("put", r.Receipt.String(), "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	w.expect("get", w.show(w.get("d", "sloppy", "k", rOf(All))), "v2")
	w.run(5 * time.Second)
	w.expect("d keeps it, and c drops nothing", w.keeps("d")+" "+w.has("c", "sloppy", "k"), "c=v2 v")
	w.expect("its clients are forwarded", w.show(w.put("c", "sloppy", "k", "v3")), "applied")
	if told != 0 {
		t.Errorf("it was told %d times", told)
	}
	rows := w.do(w.node("a"), &Request{Op: OpInspect, Bucket: "sloppy", Key: []byte("k")}).Inspect
	w.expect("inspected", rows[2].State.String(), "suspect")
}

// With no full owner nothing can be promised, and it is said so.
func TestWithoutAFullOwner(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	w.reshape(func(s *hashring.State) {
		for _, n := range []string{"a", "b", "c"} {
			state(n, hashring.StoreSuspect)(s)
		}
	})
	for _, at := range []string{"a", "d"} {
		for _, bucket := range []string{"strict", "sloppy"} {
			w.expect("put", w.show(w.put(at, bucket, "k", "v")), "quorum_unavailable not_applied")
			w.expect("delete", w.show(w.del(at, bucket, "k")), "quorum_unavailable not_applied")
			w.expect("get", w.show(w.get(at, bucket, "k")), "quorum_unavailable")
		}
	}
}

// Inspection shows a building store as such, and as an owner like the others when it is full.
func TestInspectShowsBuilding(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.reshape(building("c"))
	w.put("a", "strict", "k", "v")
	w.run(10 * time.Millisecond)
	at := func() InspectRow {
		return w.do(w.node("a"), &Request{Op: OpInspect, Bucket: "strict", Key: []byte("k")}).Inspect[2]
	}
	if row := at(); row.State != Building || row.InSync || row.Size != 0 {
		t.Errorf("%+v", row)
	}
	w.reshape(building())
	if row := at(); row.State != Present || !row.InSync {
		t.Errorf("%+v", row)
	}
}

// E1: a stand-in's hints may be kept for a store that is replaced; what it mints next
// must not cover what only they hold.
func TestAStandInMintsAnewWhenTheOwnersChange(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	w.view("", "d")
	w.expect("put", w.show(w.put("d", "sloppy", "k", "v1", wOf(1))), "applied")
	w.run(time.Second)
	w.reshape(func(s *hashring.State) { // e takes a's place
		for p := range s.Partitions {
			s.Partitions[p].Replicas = []hashring.SID{sidOf("e"), sidOf("b"), sidOf("c")}
			s.Partitions[p].Building = []hashring.SID{sidOf("e")}
		}
		s.Stores[0].State, s.Stores[0].Successor = hashring.StoreRetired, sidOf("e")
	})
	w.node("d").disk.hints = map[rowKey]storedHint{} // as if all it had kept was kept for a, and is gone to e
	w.expect("put", w.show(w.put("d", "sloppy", "k", "v2", wOf(1), emptyHanded)), "applied")
	w.run(time.Second)
	w.expect("the other's context covers nothing of the first", w.keeps("d"), "b=v2 c=v2 e=v2")
	o := w.node("d").disk.hints
	for k, h := range o { // order-free: each by itself
		if len(h.object.Context) != 1 || h.object.Context[0].Counter != 1 {
			t.Errorf("%v: %v", k.target.Short(), h.object)
		}
	}
}

// A write's owners and its quorum are of one ring: with a plan from before all owners
// were lost, and the quorum of the ring after it, it would need no copy at all.
func TestAPlansQuorumIsOfItsOwnRing(t *testing.T) {
	w := newWorld(t, "abcd", 1)
	c := w.node("a").core
	bucket, _ := w.ring.Bucket("sloppy")
	pl := c.plan(bucket, []byte("k"))
	w.reshape(building("a", "b", "c"))
	write, err := c.writePolicy(&pl, &Request{})
	read, err2 := c.readPolicy(&pl, &Request{})
	if err != nil || err2 != nil || write.Need != 2 || read.Need != 2 {
		t.Errorf("a plan on %d full owners needs %d for a write (%v) and %d for a read (%v)", len(pl.full), write.Need, err, read.Need, err2)
	}
	later := c.plan(bucket, []byte("k"))
	if _, err := c.writePolicy(&later, &Request{}); err == nil {
		t.Error("a write is planned on no full owner")
	}
}
