package sim

import (
	"math/bits"
	"slices"

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
		if t.standsIn(kt, e) {
			kt.standsDown(n, t.w.now) // what it has said of it may be on its way still
		}
		t.lostRow(n, kt, t.inStore(kt, e))
	}
}

// standsIn tells whether a store's disk has a hint of a key.
func (t *truth) standsIn(kt *keyTruth, e *engine) bool {
	hints := e.parts[kt.partition].hints
	return len(hints) > 0 && slices.ContainsFunc(t.w.sids, func(sid hashring.SID) bool {
		return hints[hintKey{kt.bucket, sid, kt.key}].object != nil
	})
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

// lostWith tells whether a machine's lost store had all siblings of an object.
func (t *truth) lostWith(kt *keyTruth, n *node, o *version.Object) bool {
	for i := range o.Siblings {
		if m := kt.mints[o.Siblings[i].Dot]; m == nil || m.lost&(1<<n.idx) == 0 {
			return false
		}
	}
	return true
}

// replaced tells whether something that had seen a version is within a context or on a
// disk, or a purge has dropped it somewhere.
func (t *truth) replaced(kt *keyTruth, d version.Dot, by version.Vector) bool {
	m := kt.mints[d]
	purge := t.w.auth.purge(kt.partition)
	return m == nil || purge.settled(m) || slices.ContainsFunc(m.coverd, func(c *mint) bool { return by.Covers(c.dot) || c.owners|c.stands != 0 })
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
