package sim

import (
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// What the truth knows of lost stores, of replicas that are built, and of purges.

// lost: a store's disk is gone. What it held is held by one store less, until its
// machine has it again. A write that was acked by W stores is promised while fewer
// than W of those that held it are lost.
func (t *truth) lost(n *node, e *engine) {
	t.w.strong.lostStore(n, e)
	for _, kt := range t.order {
		t.lostRow(n, kt, t.inStore(kt, e))
	}
}

func (t *truth) lostRow(n *node, kt *keyTruth, o *version.Object) {
	if o == nil {
		return
	}
	for _, a := range kt.attempts {
		for _, m := range a.mints {
			if !o.Context.Covers(m.dot) {
				continue
			}
			if m.lost == 0 {
				kt.hurt = append(kt.hurt, m)
			}
			m.lost |= 1 << n.idx
			if !a.forfeit && bits.OnesCount64(m.lost) >= a.need {
				a.forfeit, kt.strict = true, false
			}
		}
	}
}

// regained: the machine has on disk again what it had lost.
func (kt *keyTruth) regained(o *version.Object, machine uint64) {
	if o == nil || len(kt.hurt) == 0 {
		return
	}
	kt.hurt = slices.DeleteFunc(kt.hurt, func(m *mint) bool {
		if o.Context.Covers(m.dot) {
			m.lost &^= machine
		}
		return m.lost == 0
	})
}

// inStore joins what one store has of a key on its disk.
func (t *truth) inStore(kt *keyTruth, e *engine) *version.Object {
	rows := &e.parts[kt.partition]
	var o *version.Object
	if k := (recordKey{kt.bucket, kt.key}); !rows.corrupt[k] {
		o = rows.records[k]
	}
	if len(rows.hints) > 0 {
		for _, sid := range t.w.sids {
			o = version.Join(o, rows.hints[hintKey{kt.bucket, sid, kt.key}].object)
		}
	}
	return o
}

// purgeOf is what the rounds of one partition have settled.
type purgeOf struct {
	at         time.Duration // virtual, of the newest round
	generation uint64
	clock      version.Vector
	timeMS     int64
}

func (a *authority) purge(p uint32) purgeOf { return a.purges[p] }

// settled: the version is a tombstone that a round has dropped, or may have.
func (p *purgeOf) settled(m *mint) bool {
	return len(p.clock) > 0 && p.clock.Covers(m.dot) && (m.by.deletes || m.expiry != 0 && m.expiry <= p.timeMS)
}

func vectorOf(c hashring.Clock) version.Vector {
	out := make(version.Vector, len(c))
	for i, d := range c {
		out[i] = version.Dot{Actor: version.Actor(d.Actor), Counter: d.Counter}
	}
	return out
}

// has tells whether a record stands for all that an object has seen, or a purge does.
func (a *authority) has(p uint32, record, o *version.Object) bool {
	var seen version.Vector
	if record != nil {
		seen = record.Context
	}
	return seen.Dominates(o.Context) || seen.Join(a.purge(p).clock).Dominates(o.Context)
}

// knows tells whether an answer stands for what was to be seen: what is below the
// newest purge clock that any node knows and is not there was deleted. The node that
// was asked may not know it yet.
func (t *truth) knows(c *call, r *core.Reply, must version.Vector) bool {
	if r.Context.Seen.Dominates(must) {
		return true
	}
	if r.Receipt.Owners == 0 {
		return false // what a stand-in does not hold may live all the same
	}
	ring := t.newest()
	return ring != nil && c.key != nil && r.Context.Seen.Join(vectorOf(ring.PurgeClock(c.key.partition))).Dominates(must)
}

// newest is the newest ring that any node knows: what it has dropped or converted by
// that, others may hear of before they know the ring.
func (t *truth) newest() (ring *hashring.Ring) {
	for _, n := range t.w.nodes {
		if n.ring != nil && (ring == nil || n.ring.Version > ring.Version) {
			ring = n.ring
		}
	}
	return ring
}

// agreed is the epoch of a partition if all running nodes know it, else 0.
func (a *authority) agreed(p uint32) uint64 {
	epoch := a.state.Partitions[p].PlanEpoch()
	for _, n := range a.w.nodes {
		if n.up && (n.ring == nil || n.ring.Partitions[p].PlanEpoch() != epoch) {
			return 0
		}
	}
	return epoch
}

// counting is how many acks a write needed, and whose count: those of full owners,
// where all knew who they were from the asking to the answer.
func (t *truth) counting(a *attempt, r *core.Reply) (need int, stores uint64) {
	p := a.key.partition
	part := &t.w.auth.state.Partitions[p]
	if a.epoch != part.PlanEpoch() {
		return min(a.need, max(1, r.Receipt.Need)), ^uint64(0)
	}
	ring := t.w.auth.ringAt(t.w.auth.state.Version)
	for _, sid := range ring.Full(p, len(part.Replicas)) {
		stores |= 1 << slices.Index(t.w.sids, sid) // lost ones too: they acked before they went
	}
	return a.need, stores
}

// filled: a store counts as full from now on. Then every read quorum of full owners
// has a store with every strict write that was acked (E13).
func (t *truth) filled(pl hashring.Place) {
	ring := t.w.auth.ringAt(t.w.auth.state.Version)
	t.w.note("%s is full in p%d", t.w.name(pl.SID), pl.Partition)
	t.w.probe.hitIf(t.w.auth.purge(pl.Partition).generation > 0, pFilledAfterPurge)
	for _, kt := range t.order {
		if kt.partition != pl.Partition || kt.conflict == hashring.LWW || !kt.strict {
			continue
		}
		b, ok := ring.BucketByID(kt.bucket)
		if !ok {
			continue
		}
		n := ring.N(b, kt.partition)
		full := ring.Full(kt.partition, n)
		read, write := ring.Quorum(kt.partition, n)
		for _, a := range kt.attempts {
			if !a.answered || a.outcome != core.Applied || a.forfeit || a.nothing || a.sloppy || a.need < write {
				continue
			}
			if t.lacking(kt, a, full) >= read {
				t.w.violate(t.wrong(kt, "fill", "E13", "%s is full, and of %d full owners %d lack the acked %s: a read asks %d",
					t.w.name(pl.SID), len(full), t.lacking(kt, a, full), a.value, read).by(a.op))
				return
			}
		}
	}
}

// lacking counts the stores that have no version of a write on disk, nor one that had
// seen it, and where no purge has dropped it.
func (t *truth) lacking(kt *keyTruth, a *attempt, stores []hashring.SID) (lack int) {
	purge := t.w.auth.purge(kt.partition)
	for _, sid := range stores {
		n := t.w.holder(sid)
		if n == nil || n.back {
			continue // lost: what that costs is counted by writes
		}
		rows := &n.ownDisk().parts[kt.partition]
		o := rows.records[recordKey{kt.bucket, kt.key}]
		if !slices.ContainsFunc(a.mints, func(m *mint) bool { return o != nil && o.Context.Covers(m.dot) || purge.clock.Covers(m.dot) }) {
			lack++
		}
	}
	return lack
}

// purged: a round was committed. What is at or below its clock is at every full owner,
// or nowhere (PROTOCOLS.md, 2.1).
func (t *truth) purged(c *hashring.PurgeRound) {
	a := &t.w.auth
	now := a.state.Partitions[c.Partition].Purge
	a.purges[c.Partition] = purgeOf{t.w.now, now.Generation, vectorOf(now.Clock), now.TimeMS}
	clock := a.purges[c.Partition].clock
	ring := a.ringAt(a.state.Version)
	t.w.note("purge of p%d, generation %d: %v, T %d", c.Partition, now.Generation, clock, now.TimeMS)
	for _, kt := range t.order {
		b, ok := ring.BucketByID(kt.bucket)
		if kt.partition != c.Partition || !ok {
			continue
		}
		var held []*mint
		looked := false
		for _, at := range kt.attempts {
			for _, m := range at.mints {
				if kt.fixed[m] || !clock.Covers(m.dot) {
					continue
				}
				if kt.fixed == nil {
					kt.fixed = map[*mint]bool{}
				}
				kt.fixed[m] = true
				t.w.probe.hitIf(m.expiry != 0 && m.expiry <= now.TimeMS, pExpiryPurged)
				if !looked {
					held, looked = t.anywhere(kt), true
				}
				if slices.Contains(held, m) {
					t.everywhere(kt, m, ring, ring.N(b, kt.partition))
				}
			}
		}
	}
}

func (t *truth) everywhere(kt *keyTruth, m *mint, ring *hashring.Ring, n int) {
	for _, sid := range ring.Full(kt.partition, n) {
		holder := t.w.holder(sid)
		if holder == nil || holder.back {
			continue // it is lost, and nobody knows yet
		}
		rows := &holder.ownDisk().parts[kt.partition]
		k := recordKey{kt.bucket, kt.key}
		o := rows.records[k]
		if o == nil || !o.Context.Covers(m.dot) {
			t.w.violate(t.wrong(kt, "purge", "2.1", "a round cuts at %v (%s), which is held somewhere, and %s has %v", m.dot, m.by.value, holder.name, o).by(m.by.op))
		}
	}
}

// back tells which acked delete below a purge clock had seen a version that stands in
// an object which does not know the delete; nil: none.
func (kt *keyTruth) back(m *mint, o *version.Object, clock hashring.Clock) *mint {
	for _, d := range m.coverd {
		if d.by.deletes && d.acked && !d.by.forfeit && clock.Covers(hashring.Dot{Actor: uint64(d.dot.Actor), Counter: d.dot.Counter}) && !o.Context.Covers(d.dot) {
			return d
		}
	}
	return nil
}

// purgedShown: no answer shows what an acked delete had seen, once a round has purged
// the delete and the node that was asked knew so.
func (t *truth) purgedShown(kt *keyTruth, c *call, r *core.Reply) {
	if r.Object == nil || c.ring == nil || len(c.ring.PurgeClock(kt.partition)) == 0 {
		return
	}
	for i := range r.Object.Siblings {
		m := kt.mints[r.Object.Siblings[i].Dot]
		if m == nil || r.Object.Siblings[i].Tombstone {
			continue
		}
		if d := kt.back(m, r.Object, c.ring.PurgeClock(kt.partition)); d != nil {
			t.w.violate(t.wrong(kt, "reads", "RESURRECTED", "a read shows %s, which the purged delete %v had seen", m.by.value, d.dot).by(c.op, m.by.op, d.by.op))
		}
	}
}

// raised: no full owner stages what a purged delete had seen.
func (t *truth) raised(n *node, kt *keyTruth, o *version.Object) {
	if o == nil || n.back || n.original != nil || n.ring == nil || len(n.ring.PurgeClock(kt.partition)) == 0 {
		return // an older image is found out and set aside
	}
	if role, ok := n.ring.Role(kt.partition, n.sid); !ok || role != hashring.Full {
		return
	}
	for i := range o.Siblings {
		s := &o.Siblings[i]
		m := kt.mints[s.Dot]
		if m == nil || s.Tombstone {
			continue
		}
		if d := kt.back(m, o, n.ring.PurgeClock(kt.partition)); d != nil {
			t.w.violate(t.wrong(kt, "guard", "RESURRECTED", "%s stages %s, which the purged delete %v had seen", n.name, m.by.value, d.dot).by(m.by.op, d.by.op))
		}
	}
}

// expiredAndPurged are the versions of a key that are gone because they expired: to
// the checker, which knows of no expiry, they are there.
func (t *truth) expiredAndPurged(kt *keyTruth, left *version.Object) (ids []string) {
	if !kt.expires {
		return nil
	}
	purge := t.w.auth.purge(kt.partition)
	replaced := map[*mint]bool{} // by something acked, or by what that had replaced
	var seen func(m *mint)
	seen = func(m *mint) {
		for _, c := range m.covers {
			if !replaced[c] {
				replaced[c] = true
				seen(c)
			}
		}
	}
	for _, a := range kt.attempts {
		for _, m := range a.mints {
			if m.acked && !a.forfeit || left != nil && holds(left, m.dot) {
				seen(m)
			}
		}
	}
	var gone []*mint
	for _, a := range kt.attempts {
		for _, m := range a.mints {
			if m.expiry != 0 && purge.settled(m) && (left == nil || !holds(left, m.dot)) {
				gone = append(gone, m)
			}
		}
	}
	slices.SortFunc(gone, func(a, b *mint) int { return b.id - a.id }) // what replaced another is newer
	for _, m := range gone {
		if !replaced[m] {
			ids = append(ids, strconv.Itoa(m.id))
			seen(m)
		}
	}
	return ids
}

// marks tells whether a mark for the target stands, staged or on disk.
func (s *shard) marks(p uint32, target hashring.SID) bool {
	lines, staged := s.lines[p]
	if !staged {
		lines = s.n.eng.parts[p].counters.Hints
	}
	return slices.ContainsFunc(lines, func(l antientropy.HintLine) bool { return l.Target == target && l.Dirty != 0 })
}

// ownersHave tells whether all full owners of a key have an object on disk.
func (t *truth) ownersHave(kt *keyTruth, ring *hashring.Ring, o *version.Object) bool {
	b, ok := ring.BucketByID(kt.bucket)
	if !ok {
		return true // it went with its bucket
	}
	for _, sid := range ring.Full(kt.partition, ring.N(b, kt.partition)) {
		n := t.w.holder(sid)
		if n == nil || n.back {
			continue // lost
		}
		if !t.w.auth.has(kt.partition, n.ownDisk().parts[kt.partition].records[recordKey{kt.bucket, kt.key}], o) {
			return false
		}
	}
	return true
}

// midPurge: a read of a key while one owner has dropped its tombstone and another has
// not (F74).
func (t *truth) midPurge(kt *keyTruth) {
	purge := t.w.auth.purge(kt.partition)
	if purge.generation == 0 || t.w.now-purge.at > 5*time.Second {
		return
	}
	here, gone := false, false
	for _, sid := range t.w.auth.state.Partitions[kt.partition].Replicas {
		if n := t.w.holder(sid); n != nil {
			o := n.eng.parts[kt.partition].records[recordKey{kt.bucket, kt.key}]
			here, gone = here || o != nil && isTombstone(o), gone || o == nil
		}
	}
	t.w.probe.hitIf(here && gone, pReadMidPurge)
}

// lostWith tells whether a machine's lost store had all siblings of an object.
func (t *truth) lostWith(kt *keyTruth, n *node, o *version.Object) bool {
	for i := range o.Siblings {
		if m := kt.mints[o.Siblings[i].Dot]; m == nil || m.lost&(1<<n.idx) == 0 {
			return false
		}
	}
	return true
}

// dropped: a record goes only by a purge that this node knows of (E5), and a value that
// expired becomes a tombstone only by such a purge's time (E8).
func (t *truth) dropped(n *node, kt *keyTruth, o *version.Object) {
	rows := &n.eng.parts[kt.partition]
	k := recordKey{kt.bucket, kt.key}
	old := t.row(n, kt, hashring.SID{})
	if old == nil || n.ring == nil || rows.corrupt[k] || rows.rotted[k] {
		return
	}
	purge := n.ring.Purge(kt.partition)
	var clock version.Vector
	if o == nil {
		clock = vectorOf(purge.Clock)
	}
	for i := range old.Siblings {
		s := &old.Siblings[i]
		expired := s.Tombstone || s.ExpiryMS != 0 && s.ExpiryMS <= purge.TimeMS
		switch {
		case o == nil && !(expired && clock.Dominates(old.Context)):
			t.w.violate(t.wrong(kt, "purge", "E5", "%s drops %v, and the purge clock is %v at %d", n.name, old, clock, purge.TimeMS))
			return
		case o != nil && !s.Tombstone && s.ExpiryMS != 0 && s.ExpiryMS <= t.newest().Purge(kt.partition).TimeMS: // it came from a node that knows
		case o != nil && !s.Tombstone && !expired && becameTombstone(o, s.Dot):
			t.w.violate(t.wrong(kt, "purge", "E8", "%s takes %v for expired, and the purge time is %d", n.name, s.Dot, purge.TimeMS))
			return
		case o != nil && kt.conflict != hashring.LWW && !holds(o, s.Dot) && !t.replaced(kt, s.Dot, o.Context):
			t.w.violate(t.wrong(kt, "joins", "2.3", "%s drops %v of %v, and nothing in %v had seen it", n.name, s.Dot, old, o))
			return
		}
	}
}

// replaced tells whether something that had seen a version is within a context or on a
// disk, or a purge has dropped it somewhere.
func (t *truth) replaced(kt *keyTruth, d version.Dot, by version.Vector) bool {
	m := kt.mints[d]
	purge := t.w.auth.purge(kt.partition)
	return m == nil || purge.settled(m) || slices.ContainsFunc(m.coverd, func(c *mint) bool { return by.Covers(c.dot) || c.owners|c.stands != 0 })
}

func becameTombstone(o *version.Object, d version.Dot) bool {
	for i := range o.Siblings {
		if o.Siblings[i].Dot == d {
			return o.Siblings[i].Tombstone
		}
	}
	return false
}

// skewed: in a last-write-wins bucket nothing is written over a stamp far ahead of the
// clock of the store that mints (E9).
func (t *truth) skewed(n *node, kt *keyTruth, held []*mint, a *attempt) {
	for _, old := range held {
		if ahead := old.hlc.MS() - n.wall(); ahead > core.MaxSkew.Milliseconds() && old.by != a {
			t.w.violate(t.wrong(kt, "clock", "E9", "%s takes %s, %d ms behind the stamp of %s", n.name, a.value, ahead, old.by.value).by(a.op, old.by.op))
			return
		}
	}
}
