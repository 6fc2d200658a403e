package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

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

func becameTombstone(o *version.Object, d version.Dot) bool {
	for i := range o.Siblings {
		if o.Siblings[i].Dot == d {
			return o.Siblings[i].Tombstone
		}
	}
	return false
}
