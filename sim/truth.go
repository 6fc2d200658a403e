package sim

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
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
	open      []*mint // whose way to the disks still matters
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
	nothing  bool // acked as having nothing to delete
	late     bool // a version was made for it after its answer
	unheard  bool // a try of it ended without an answer
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
	covers []*mint // what it may rightly replace
	coverd []*mint // by whom it may rightly be replaced
	owners uint64  // stores that have it, or what replaced it, synced in a record
	stands uint64  // or in a hint
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
	for k, o := range t.vol[n.idx] { // order-free: a count
		if !k.target.IsZero() {
			t.w.probe.hitIf(o == nil, pHandOffCut)
			t.keys[truthKey{k.bucket, k.key}].standsDown(n, t.w.now)
		}
	}
	clear(t.vol[n.idx])
}

// handedOff: a store is about to drop a hint that its target has synced.
func (t *truth) handedOff(n *node, kt *keyTruth, target hashring.SID) {
	t.w.probe.handedOff(n, kt.partition)
	to := t.w.bySID[target]
	hint, record := t.row(n, kt, target), t.row(to, kt, hashring.SID{})
	t.w.probe.hitIf(hint != nil && record != nil && isTombstone(hint) && !isTombstone(record), pHintAfterRecreate)
	kt.standsDown(n, t.w.now)
	onDisk := to.eng.parts[kt.partition].records[recordKey{kt.bucket, kt.key}]
	if !to.banned && hint != nil && (onDisk == nil || !onDisk.Context.Dominates(hint.Context)) {
		t.w.violate(t.wrong(kt, "hints", "E3", "%s drops its hint %v for %s, which has %v on disk", n.name, hint.Context, to.name, onDisk))
	}
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
		for i := range b.Records {
			w := &b.Records[i]
			if kt := t.keys[truthKey{w.Bucket, string(w.Key)}]; kt != nil {
				t.look(s, kt, w.Object, true)
				vol[hintKey{bucket: w.Bucket, key: kt.key}] = w.Object
			}
		}
		for i := range b.Hints {
			w := &b.Hints[i]
			if kt := t.keys[truthKey{w.Bucket, string(w.Key)}]; kt != nil {
				t.look(s, kt, w.Object, false)
				if w.Object == nil {
					t.handedOff(s.n, kt, w.Target)
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
	m := &mint{id: w.load.ids(), dot: sib.Dot, hlc: sib.HLC, by: a, at: n, copied: n.original != nil, covers: a.knows}
	// What came in the same step after the minting is held by now: the object knows
	// nothing of it.
	held := slices.DeleteFunc(t.holding(n, kt, owner), func(old *mint) bool { return !o.Context.Covers(old.dot) })
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
	if len(a.clock) > 0 && !m.copied {
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

// holding are the siblings that a store has of a key, as an owner or in hints, staged
// ones included.
func (t *truth) holding(n *node, kt *keyTruth, owner bool) []*mint {
	if owner {
		return kt.append(nil, t.row(n, kt, hashring.SID{}))
	}
	var all *version.Object
	for _, o := range t.w.nodes {
		all = version.Join(all, t.row(n, kt, o.sid))
	}
	if kt.conflict == hashring.LWW {
		all, _ = version.ReduceLWW(all)
	}
	return kt.append(nil, all)
}

// anywhere are the siblings that any store has.
func (t *truth) anywhere(kt *keyTruth) (out []*mint) {
	for _, n := range t.w.nodes {
		out = kt.append(out, t.row(n, kt, hashring.SID{}))
		for _, target := range t.w.nodes {
			out = kt.append(out, t.row(n, kt, target.sid))
		}
	}
	return out
}

func (kt *keyTruth) append(out []*mint, o *version.Object) []*mint {
	if o != nil {
		for i := range o.Siblings {
			if m := kt.mints[o.Siblings[i].Dot]; m != nil && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

func (t *truth) row(n *node, kt *keyTruth, target hashring.SID) *version.Object {
	k := hintKey{kt.bucket, target, kt.key}
	if n.up {
		if o, ok := t.vol[n.idx][k]; ok {
			return o
		}
	}
	rows := &n.eng.parts[kt.partition]
	if target.IsZero() {
		return rows.records[recordKey{kt.bucket, kt.key}]
	}
	return rows.hints[k].object
}

// synced notes what a batch has brought to a store's disk.
func (t *truth) synced(n *node, b *core.Batch) {
	vol := t.vol[n.idx]
	bit := uint64(1) << n.idx
	for i := range b.Records {
		w := &b.Records[i]
		kt := t.keys[truthKey{w.Bucket, string(w.Key)}]
		if kt == nil {
			continue
		}
		if k := (hintKey{bucket: w.Bucket, key: kt.key}); vol[k] == w.Object {
			delete(vol, k)
		}
		kt.has(w.Object, bit, true)
	}
	for i := range b.Hints {
		w := &b.Hints[i]
		kt := t.keys[truthKey{w.Bucket, string(w.Key)}]
		if kt == nil {
			continue
		}
		if k := (hintKey{w.Bucket, w.Target, kt.key}); vol[k] == w.Object {
			delete(vol, k)
		}
		kt.has(w.Object, bit, false)
	}
}

func (kt *keyTruth) has(o *version.Object, bit uint64, owner bool) {
	if o == nil {
		return
	}
	kept := kt.open[:0]
	for _, m := range kt.open {
		if o.Context.Covers(m.dot) {
			if owner {
				m.owners |= bit
			} else {
				m.stands |= bit
			}
		}
		if m.by.waiting > 0 || m.owners|m.stands == 0 {
			kept = append(kept, m)
		}
	}
	clear(kt.open[len(kept):])
	kt.open = kept
}

// delivered notes requests that were planned under an older epoch than their store
// knows: they must be refused.
func (t *truth) delivered(n *node, m *core.Message) {
	var reply core.Kind
	switch m.Kind {
	case core.MsgWrite, core.MsgHint:
		reply = core.MsgWriteAck
	case core.MsgRead:
		reply = core.MsgReadReply
	case core.MsgForward:
		reply = core.MsgForwarded
	case core.MsgScan:
		reply = core.MsgScanReply
	default:
		return
	}
	k := staleKey{n.idx, t.w.bySID[m.From].idx, m.Partition, m.ID, reply, m.Target}
	if t.w.auth.moved == 0 || m.ID == 0 {
		return
	}
	if len(t.stale) >= maxStale {
		clear(t.stale)
	}
	old := n.ring != nil && int(m.Partition) < len(n.ring.Partitions) && m.Epoch < n.ring.Partitions[m.Partition].Epoch
	t.w.probe.hitIf(old, pOldEpoch)
	if was, known := t.stale[k]; !known || was {
		t.stale[k] = old
	}
}

// maxStale bounds what is remembered of requests and their epochs.
const maxStale = 1 << 14

// sent holds the promises of a reply against what the store may promise.
func (t *truth) sent(n *node, m *core.Message) {
	if !m.Kind.IsReply() || m.Reason != quorum.ReasonNone {
		if m.Kind.IsReply() {
			t.w.probe.refused(m)
		}
		return
	}
	if len(t.stale) > 0 {
		k := staleKey{n.idx, t.w.bySID[m.To].idx, m.Partition, m.ID, m.Kind, m.Target}
		if t.stale[k] {
			t.w.violate(Violation{Check: "epoch", Kind: "OLD_EPOCH", Detail: fmt.Sprintf("%s serves a %s that was planned under an older epoch than it knows", n.name, m.Kind)})
		}
	}
	word := m.Kind == core.MsgWriteAck && m.Target.IsZero() || m.Kind == core.MsgReadReply && !m.Fallback
	if word && !n.confirmed {
		t.w.violate(Violation{Check: "owner", Kind: "UNCONFIRMED", Detail: fmt.Sprintf("%s gives an owner's word (%s) before its start is confirmed", n.name, m.Kind)})
	}
}

func (t *truth) wrong(kt *keyTruth, check, kind, format string, args ...any) Violation {
	return Violation{Check: check, Kind: kind, Bucket: kt.name, Key: kt.key, Detail: fmt.Sprintf(format, args...)}
}

// by names the operations that a violation is about, the guilty one first.
func (v Violation) by(ops ...int) Violation {
	for _, i := range ops {
		if i >= 0 {
			v.Ops = append(v.Ops, i)
		}
	}
	return v
}

// answered holds the answer to a write against what is on disk (D1, E2).
func (t *truth) answered(a *attempt, r *core.Reply, began time.Duration) {
	first := !a.answered
	a.answered, a.outcome, a.nothing, a.seen = true, r.Outcome, r.NothingWritten, r.Context.Seen
	kt := a.key
	for _, m := range a.mints {
		m.acked = r.Outcome == core.Applied && r.Context.Seen.Covers(m.dot)
	}
	switch {
	case r.Outcome == core.NotApplied && len(a.mints) > 0 && first:
		t.w.violate(t.wrong(kt, "outcome", "NOT_APPLIED_YET_DONE", "%s is answered not_applied (%v) and was minted as %v", a.value, r.Code, a.mints[0].dot).by(a.op))
	case r.Outcome != core.Applied || r.NothingWritten:
	default:
		t.onDisk(a, r, began)
	}
	kt.has(&version.Object{}, 0, true) // forget what need not be followed any more
}

func (t *truth) onDisk(a *attempt, r *core.Reply, began time.Duration) {
	kt := a.key
	var best *mint
	for _, m := range a.mints {
		if m.acked {
			best = m
		}
	}
	if best == nil {
		t.w.violate(t.wrong(kt, "durability", "ACKED_NOT_MINTED", "%s is acked, and the answer's context covers no version of it", a.value).by(a.op))
		return
	}
	owners, all := 0, 0
	for _, m := range a.mints {
		owners = max(owners, bits.OnesCount64(m.owners))
		all = max(all, bits.OnesCount64(m.owners|m.stands))
	}
	count := all
	if !a.sloppy {
		count = owners
	}
	if count < a.need || owners < a.pw || count < r.Receipt.Acks {
		t.w.violate(t.wrong(kt, "durability", "ACKED_TOO_EARLY", "%s is acked (need %d, %v); %d owners and %d stores in all have it on disk", a.value, a.need, r.Receipt, owners, all).by(a.op))
	}
	if by := t.w.bySID[r.ServedBy]; by.up && by.born < began && !by.confirmed && r.Receipt.Owners > bits.OnesCount64(best.owners&^(1<<by.idx)) {
		t.w.violate(t.wrong(kt, "owner", "UNCONFIRMED", "%s counts its own copy of %s before its start is confirmed", by.name, a.value).by(a.op))
	}
	i, s := best.at.idx, int(kt.partition)%t.w.draw.Shards
	if !best.copied { // a copy's clock is not the store's
		t.acked[i][s] = max(t.acked[i][s], best.hlc)
	}
	if len(a.mints) == 1 {
		kt.ackedSeen = kt.ackedSeen.With(best.dot)
	}
}
