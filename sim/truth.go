package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// truth is the causal ground truth of a run: who wrote what, having seen what, and
// where it is on disk. It watches every step from outside and believes nothing that a
// context says.
type truth struct {
	w     *World
	keys  map[truthKey]*keyTruth
	order []*keyTruth
	byID  map[version.RequestID]*attempt
	vol   []map[hintKey]*version.Object // by node: rows as of the newest batch, where not on disk yet
	stale map[staleKey]bool             // requests, and whether all of them came with an epoch older than their store's
	older map[staleKey]bool             // those before them
	last  *version.Object               // looked at last
	acked [][]version.HLC               // by node and shard: greatest acked stamp (E9)
}

type truthKey struct {
	bucket hashring.BucketID
	key    string
}

// keyTruth is all there is to know of one key.
type keyTruth struct {
	truthKey
	name      string // of the bucket
	conflict  hashring.Conflict
	partition uint32
	attempts  []*attempt
	mints     map[version.Dot]*mint
	open      []*mint        // whose way to the disks still matters
	hurt      []*mint        // lost by a machine that has not got it back
	fixed     map[*mint]bool // below the purge clock, and looked at
	expires   bool
	strict    bool // all reads and writes so far were strict
	ackedSeen version.Vector
	readSeen  version.Vector
	stood     map[*node]time.Duration // when a stand-in held a hint last, if it does not now
}

// attempt is one client write, re-sent or not.
type attempt struct {
	key      *keyTruth
	id       version.RequestID
	op       int // in the history
	value    string
	deletes  bool
	has      bool    // it has a context,
	knows    []*mint // which stands for these
	mints    []*mint
	need, pw int
	sloppy   bool
	waiting  int // tries that their client still waits for
	answered bool
	outcome  core.Outcome
	nothing  bool   // acked as having nothing to delete
	late     bool   // a version was made for it after its answer
	forfeit  bool   // as many stores that held it were lost as acked it: nobody promises it any more
	epoch    uint64 // that all nodes knew when it was asked for; 0: they differed
	unheard  bool   // a try of it ended without an answer
	asked    time.Duration
	unsure   bool // an earlier try may have been applied
	seen     version.Vector
	clock    []version.HLC // what each store had acked when it was asked for, by node and shard flattened
}

// mint is one dot made for an attempt.
type mint struct {
	id     int
	dot    version.Dot
	hlc    version.HLC
	by     *attempt
	at     *node
	store  int     // of at's, that minted it
	covers []*mint // what it may rightly replace
	coverd []*mint // by whom it may rightly be replaced
	owners uint64  // stores that have it, or what replaced it, synced in a record
	stands uint64  // or in a hint
	lost   uint64  // by machine: its store held it and is gone
	expiry int64   // unix ms; 0: never
	acked  bool
	copied bool // by a copy of the store, see clone.go
	mark   int  // the search that met it last
	good   int  // the search that found it explained
}

type staleKey struct {
	at, from int
	part     uint32
	id       uint64
	reply    core.Kind
	target   hashring.SID
}

func (t *truth) init(w *World) {
	t.w, t.keys, t.byID, t.stale = w, map[truthKey]*keyTruth{}, map[version.RequestID]*attempt{}, map[staleKey]bool{}
	t.vol = make([]map[hintKey]*version.Object, w.draw.Nodes)
	t.acked = make([][]version.HLC, w.draw.Nodes)
	for i := range t.vol {
		t.vol[i] = map[hintKey]*version.Object{}
		t.acked[i] = make([]version.HLC, w.draw.Shards)
	}
}

func (t *truth) key(b *hashring.Bucket, key []byte, partition uint32) *keyTruth {
	k := truthKey{b.ID, string(key)}
	kt := t.keys[k]
	if kt == nil {
		kt = &keyTruth{truthKey: k, name: b.Name, conflict: b.Conflict, partition: partition, mints: map[version.Dot]*mint{}, strict: true}
		t.keys[k] = kt
		t.order = append(t.order, kt)
	}
	return kt
}

func (t *truth) started(n *node) { clear(t.vol[n.idx]) }

func (t *truth) died(n *node) {
	t.w.strong.died(n)
	for k, o := range t.vol[n.idx] { // order-free: a count
		if !k.target.IsZero() {
			t.w.probe.hitIf(o == nil, pHandOffCut)
			t.keys[truthKey{k.bucket, k.key}].standsDown(n, t.w.now)
		}
	}
	clear(t.vol[n.idx])
}

// handedOff: a store is about to drop a hint that its target has synced, or all other
// full owners if it marks the target as lacking it (E3): then it is one store less that
// holds it.
func (t *truth) handedOff(s *shard, kt *keyTruth, target hashring.SID) {
	n := s.n
	t.w.probe.handedOff(n, kt.partition)
	kt.standsDown(n, t.w.now)
	ring := t.w.auth.ringAt(t.w.auth.state.Version)
	heir, _ := ring.Successor(target)
	to, hint := t.w.holder(heir), t.row(n, kt, target)
	if to == nil || to.back || hint == nil {
		return // the target is lost, and nobody has its place yet
	}
	record := t.row(to, kt, hashring.SID{})
	t.w.probe.hitIf(record != nil && isTombstone(hint) && !isTombstone(record), pHintAfterRecreate)
	onDisk := to.ownDisk().parts[kt.partition].records[recordKey{kt.bucket, kt.key}]
	switch {
	case t.w.auth.has(kt.partition, onDisk, hint):
		t.w.probe.hitIf(onDisk == nil || !onDisk.Context.Dominates(hint.Context), pHintAfterPurge)
	case s.marks(kt.partition, target) && t.keptByOthers(n, kt, heir, hint):
		t.w.probe.hit(pHintDropped)
		t.lostRow(n, kt, hint)
	case heir != target && t.lostWith(kt, to, hint): // the target had it, and is lost since
	case heir != target && t.ownersHave(kt, ring, hint):
		t.w.probe.hit(pOrphanMerged)
	default:
		t.w.violate(t.wrong(kt, "hints", "E3", "%s drops its hint %v for %s, which has %v on disk", n.name, hint.Context, to.name, onDisk))
	}
}

// keptByOthers tells that every full owner of the key but one has the hint's object on
// disk, as far as the ring of its holder goes.
func (t *truth) keptByOthers(n *node, kt *keyTruth, but hashring.SID, hint *version.Object) bool {
	bucket, ok := n.ring.BucketByID(kt.bucket)
	if !ok {
		return true
	}
	others := 0
	for _, s := range n.ring.Full(kt.partition, n.ring.N(bucket, kt.partition)) {
		if o := t.w.holder(s); s != but && o != nil && !o.back {
			others++
			if !t.w.auth.has(kt.partition, o.ownDisk().parts[kt.partition].records[recordKey{kt.bucket, kt.key}], hint) {
				return false
			}
		}
	}
	return others > 0
}

// standsDown notes when a store last held a hint of the key.
func (kt *keyTruth) standsDown(n *node, now time.Duration) {
	if kt.stood == nil {
		kt.stood = map[*node]time.Duration{}
	}
	kt.stood[n] = now
}

// stepped looks at what a step staged and sent, for dots that nobody has seen before:
// they were minted in this step.
func (t *truth) stepped(s *shard, r *core.Ready) {
	vol := t.vol[s.n.idx]
	if b := r.Batch; b != nil {
		for i := range b.Counters {
			c := &b.Counters[i]
			s.lines[c.Partition] = c.Counters.Hints
			t.w.probe.hitIf(slices.ContainsFunc(c.Counters.Hints, func(l antientropy.HintLine) bool { return l.Dirty != 0 }), pMarked)
		}
		for i := range b.Records {
			w := &b.Records[i]
			if kt := t.keys[truthKey{w.Bucket, string(w.Key)}]; kt != nil {
				t.look(s, kt, w.Object, true)
				t.raised(s.n, kt, w.Object)
				t.dropped(s.n, kt, w.Object)
				vol[hintKey{bucket: w.Bucket, key: kt.key}] = w.Object
			}
		}
		for i := range b.Hints {
			w := &b.Hints[i]
			if kt := t.keys[truthKey{w.Bucket, string(w.Key)}]; kt != nil {
				t.look(s, kt, w.Object, false)
				if w.Object == nil {
					t.handedOff(s, kt, w.Target)
				} else if old := t.row(s.n, kt, w.Target); old != nil && !w.Object.Context.Dominates(old.Context) {
					t.w.violate(t.wrong(kt, "hints", "2.3", "%s has a hint %v and makes it %v", s.n.name, old, w.Object))
				}
				vol[hintKey{w.Bucket, w.Target, kt.key}] = w.Object
			}
		}
	}
	for i := range r.Now {
		t.lookMessage(s, r.Now[i].Message)
	}
	for i := range r.AfterSync {
		t.lookMessage(s, r.AfterSync[i].Out.Message)
	}
}

func (t *truth) lookMessage(s *shard, m *core.Message) {
	if m == nil || m.Object == nil || m.Object == t.last || m.Kind != core.MsgWrite && m.Kind != core.MsgHint {
		return
	}
	if kt := t.keys[truthKey{m.Bucket, string(m.Key)}]; kt != nil {
		t.look(s, kt, m.Object, m.Kind == core.MsgWrite)
	}
}

func (t *truth) look(s *shard, kt *keyTruth, o *version.Object, owner bool) {
	t.last = o
	if o == nil {
		return
	}
	for i := range o.Siblings {
		if sib := &o.Siblings[i]; kt.mints[sib.Dot] == nil {
			t.minted(s, kt, o, sib, owner)
		}
	}
}

func (t *truth) minted(s *shard, kt *keyTruth, o *version.Object, sib *version.Sibling, owner bool) {
	w, n := t.w, s.n
	a := t.byID[sib.Request]
	if a == nil || a.key != kt {
		w.violate(Violation{Check: "truth", Kind: "PHANTOM", Bucket: kt.name, Key: kt.key, Detail: fmt.Sprintf("%s holds %v of a request that nobody made", n.name, sib.Dot)})
		a = &attempt{key: kt, op: -1}
	}
	m := &mint{id: w.load.ids(), expiry: sib.ExpiryMS, dot: sib.Dot, hlc: sib.HLC, by: a, at: n, store: n.store, copied: n.original != nil, covers: a.knows}
	// What came in the same step after the minting is held by now: the object knows
	// nothing of it.
	held := slices.DeleteFunc(t.holding(n, kt, owner), func(old *mint) bool { return !o.Context.Covers(old.dot) })
	if kt.conflict == hashring.LWW && owner {
		t.skewed(n, kt, held, a)
	}
	switch {
	case a.has:
	case !a.deletes:
		m.covers = held
	default: // it has read some stores: anything that is anywhere and that it left out
		for _, c := range t.anywhere(kt) {
			if o.Context.Covers(c.dot) && !holds(o, c.dot) {
				m.covers = append(m.covers, c)
			}
		}
	}
	for _, c := range m.covers {
		c.coverd = append(c.coverd, m)
	}
	kt.mints[sib.Dot] = m
	kt.open = append(kt.open, m)
	a.mints = append(a.mints, m)
	w.probe.minted(w, a, m, o, owner)
	if len(a.mints) > 1 && slices.ContainsFunc(held, func(old *mint) bool { return old.by == a }) {
		w.violate(t.wrong(kt, "requests", "E16", "%s mints %s again as %v, where it stands already", n.name, a.value, m.dot).by(a.op))
	}
	if len(a.clock) > 0 && !m.copied && !n.back && n.eng.since <= a.asked { // an older image knows no newer bound, until it is found out
		if was := a.clock[n.idx*w.draw.Shards+s.idx]; sib.HLC <= was {
			w.violate(t.wrong(kt, "clock", "HLC_BACK", "%s stamps a write with %d, after it had acked one with %d before the write was asked for", n.name, sib.HLC, was).by(a.op))
		}
	}
	if sib.ExpiryMS != 0 && w.telling() {
		w.note("%s: %v expires at %d", n.name, sib.Dot, sib.ExpiryMS)
	}
	if a.answered && a.outcome == core.NotApplied {
		w.violate(t.wrong(kt, "outcome", "NOT_APPLIED_YET_DONE", "%s was answered not_applied and is minted as %v", a.value, m.dot).by(a.op))
	}
	if a.answered && a.outcome == core.Applied {
		t.mintedLate(n, kt, a, m)
	}
}

// mintedLate: a version made for a write whose client has its answer. A client that
// sent the write more than once, and was not answered each time, has itself to thank.
// Nobody else makes copies that outlive the answer (E16), as long as the clocks go on:
// on a machine that stood still no forward grows old.
func (t *truth) mintedLate(n *node, kt *keyTruth, a *attempt, m *mint) {
	t.w.probe.hit(pMintedAfterAck)
	a.late = true
	if a.waiting == 0 && !a.unheard && n.clock.stood < a.asked {
		t.w.violate(t.wrong(kt, "requests", "E16", "%s mints %s as %v after its client was answered", n.name, a.value, m.dot).by(a.op))
	}
}

func holds(o *version.Object, d version.Dot) bool {
	for i := range o.Siblings {
		if o.Siblings[i].Dot == d {
			return true
		}
	}
	return false
}
