package sim

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// flip damages one synced record of an owner, one that every other owner has: what is
// damaged is lost until it is mended (D4).
func (n *node) flip(r *rand.Rand) {
	w := n.w
	for _, o := range w.nodes {
		if o.doubted || o.original != nil || o.eng.damaged() > 0 {
			return
		}
	}
	if w.auth.whole() != "" {
		return
	}
	p := r.IntN(len(n.eng.parts))
	rows := &n.eng.parts[p]
	ring := w.auth.ringAt(w.auth.state.Version)
	var keys []recordKey
	for _, k := range rows.keys() { // the only copy is nobody's to mend
		if b, ok := ring.BucketByID(k.bucket); ok && ring.N(b, uint32(p)) > 1 {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		n.damage(uint32(p), keys[r.IntN(len(keys))])
	}
}

// flipLog damages one synced entry of a strong partition's log, or its hard row. It is met
// when it is read, at the next start at the latest, and then the store is one that has
// forgotten.
func (n *node) flipLog(r *rand.Rand) bool {
	w := n.w
	if !w.canLose(n) {
		return false
	}
	p := r.IntN(len(n.eng.parts))
	rows := n.eng.parts[p].strong
	if rows == nil || len(rows.entries) == 0 {
		return false
	}
	index := rows.hard.Base.Index + 1 + uint64(r.IntN(len(rows.entries)))
	if r.IntN(4) == 0 {
		n.damageHard(uint32(p))
	} else {
		n.damageLog(uint32(p), index)
	}
	return true
}

// rotValue damages one applied value of a strong partition: what the log says of it may be
// cut off already, so it is pulled anew from the others (D5).
func (n *node) rotValue(r *rand.Rand) {
	w := n.w
	if !w.canLose(n) {
		return
	}
	p := r.IntN(len(n.eng.parts))
	rows := n.eng.parts[p].strong
	keys := slices.SortedFunc(maps.Keys(rows.values()), recordKey.compare)
	if len(keys) == 0 {
		return
	}
	k := keys[r.IntN(len(keys))]
	w.note("%s: the value of %q in strong p%d is damaged", n.name, k.key, p)
	w.probe.hit(pValueRot)
	rows.gens[rows.hard.Generation].rotten[k] = true
}

func (n *node) damageLog(p uint32, index uint64) {
	rows := n.eng.parts[p].strong
	n.w.note("%s: entry %d of the log of p%d is damaged", n.name, index, p)
	n.w.probe.hit(pStrongDamage)
	if rows.damaged == nil {
		rows.damaged = map[uint64]bool{}
	}
	rows.damaged[index] = true
}

func (n *node) damageHard(p uint32) {
	n.w.note("%s: the hard row of p%d is damaged", n.name, p)
	n.w.probe.hit(pStrongDamage)
	n.eng.parts[p].strong.torn = true
}

func (n *node) damage(p uint32, k recordKey) {
	rows := &n.eng.parts[p]
	n.w.note("%s: the record of %q in p%d is damaged", n.name, k.key, p)
	n.w.probe.hit(pFlipped)
	if kt := n.w.truth.keys[truthKey(k)]; kt != nil {
		n.w.truth.lostRow(n, kt, rows.records[k])
	}
	if rows.corrupt == nil {
		rows.corrupt = map[recordKey]bool{}
	}
	rows.corrupt[k] = true
	n.w.truth.durable("damage")
}

func (k recordKey) compare(o recordKey) int {
	return cmp.Or(cmp.Compare(k.bucket, o.bucket), cmp.Compare(k.key, o.key))
}

// damaged counts the records that fail their checksums, do not fit their leaf rows, or
// are not what they were.
func (e *engine) damaged() (n int) {
	if e.ill {
		n++
	}
	if e.drift.live() {
		n++
	}
	for i := range e.parts {
		n += len(e.parts[i].corrupt) + len(e.parts[i].rotted)
		if r := e.parts[i].strong; r != nil {
			n += len(r.damaged) + r.rotten()
			if r.torn {
				n++
			}
		}
	}
	return n
}

// rot changes one row of the leaf index (D5). The record is quarantined until it is
// mended from the others, so it is damage like another: what only it had is lost.
func (n *node) rot(r *rand.Rand) {
	for _, o := range n.w.nodes {
		if o.eng.damaged() > 0 {
			return
		}
	}
	p := r.IntN(len(n.eng.parts))
	rows := &n.eng.parts[p]
	keys := rows.keys()
	if len(keys) == 0 {
		return
	}
	k := keys[r.IntN(len(keys))]
	if kt := n.w.truth.keys[truthKey(k)]; kt != nil {
		n.w.truth.lostRow(n, kt, rows.records[k])
	}
	leaf := rows.leaves[k]
	leaf.version ^= 1 << r.IntN(64)
	rows.leaves[k] = leaf
	if rows.rotted == nil {
		rows.rotted = map[recordKey]bool{}
	}
	rows.rotted[k] = true
	n.w.note("%s: the leaf row of %q in p%d is wrong", n.name, k.key, p)
	n.w.probe.hit(pLeafRot)
}
