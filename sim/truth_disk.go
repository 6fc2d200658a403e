package sim

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// holding are the siblings that a store has of a key, as an owner or in hints, staged
// ones included.
func (t *truth) holding(n *node, kt *keyTruth, owner bool) []*mint {
	if owner {
		return kt.append(nil, t.row(n, kt, hashring.SID{}))
	}
	var all *version.Object
	for _, sid := range t.w.sids {
		all = version.Join(all, t.row(n, kt, sid))
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
		for _, sid := range t.w.sids {
			out = kt.append(out, t.row(n, kt, sid))
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
	bit, machine := n.bit(), uint64(1)<<n.idx
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
		kt.regained(w.Object, machine)
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
		kt.regained(w.Object, machine)
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
