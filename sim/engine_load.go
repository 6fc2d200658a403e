package sim

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// load walks a slice of durable rows, as node/store does.
func (e *engine) load(l *core.Load) core.Loaded {
	r := &e.parts[l.Partition]
	switch l.Kind {
	case core.LoadLeafRows:
		return r.loadLeafRows(l)
	case core.LoadObjects:
		return r.loadObjects(l)
	case core.LoadPurgeable:
		return r.loadPurgeable(l)
	case core.LoadScrubRecords, core.LoadScrubLeaves:
		return r.loadScrub(l)
	case core.LoadRecords:
		return r.loadRecords(l)
	case core.LoadStrong:
		return r.loadStrong(l)
	case core.LoadStrongLive:
		return r.loadStrongLive(l)
	}
	return r.loadHints(l)
}

func (r *rows) loadRecords(l *core.Load) core.Loaded {
	var found []core.Row
	for k, o := range r.records { // order-free: they are sorted
		if k.bucket != l.Bucket || !strings.HasPrefix(k.key, string(l.Prefix)) || k.key < string(l.Start) || l.After != nil && k.key <= string(l.After) {
			continue
		}
		if r.corrupt[k] {
			return core.Loaded{Token: l.Token, Err: core.ErrCorrupt}
		}
		found = append(found, core.Row{Bucket: k.bucket, Key: []byte(k.key), Object: o})
	}
	slices.SortFunc(found, func(a, b core.Row) int { return bytes.Compare(a.Key, b.Key) })
	return cutSlice(l, found)
}

// loadHints: a hint's cursor is its bucket, then its key.
func (r *rows) loadHints(l *core.Load) core.Loaded {
	var found []core.Row
	for k, h := range r.hints { // order-free: they are sorted
		if k.target != l.Target {
			continue
		}
		cursor := append(binary.BigEndian.AppendUint64(nil, uint64(k.bucket)), k.key...)
		if bytes.Compare(cursor, l.After) > 0 {
			found = append(found, core.Row{Bucket: k.bucket, Key: cursor[8:], Object: h.object, Target: k.target, Gen: h.gen, Cursor: cursor})
		}
	}
	slices.SortFunc(found, func(a, b core.Row) int { return bytes.Compare(a.Cursor, b.Cursor) })
	return cutSlice(l, found)
}

// cutSlice bounds the rows of one slice.
func cutSlice(l *core.Load, found []core.Row) core.Loaded {
	n, size := 0, 0
	for n < len(found) && n < l.MaxRows && (n == 0 || size < l.MaxBytes) {
		size += len(found[n].Key) + found[n].Object.Size()
		n++
	}
	return core.Loaded{Token: l.Token, Rows: found[:n], More: n < len(found)}
}

func (r *rows) loadLeafRows(l *core.Load) core.Loaded {
	var places []antientropy.Pos
	for k, leaf := range r.leaves { // order-free: they are sorted
		at := antientropy.Pos{Leaf: leaf.leaf, Bucket: k.bucket, Key: []byte(k.key)}
		if at.Compare(l.LeafAfter) <= 0 || l.LeafUpto.Compare(antientropy.Pos{}) != 0 && at.Compare(l.LeafUpto) > 0 {
			continue
		}
		if _, in := slices.BinarySearch(l.Leaves, leaf.leaf); in || l.Leaves == nil {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, antientropy.Pos.Compare)
	out := core.Loaded{Token: l.Token}
	size := 0
	for _, at := range places {
		if l.MaxRows > 0 && len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && l.MaxBytes > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		size += leafRowBytes + len(at.Key)
		out.Rows = append(out.Rows, core.Row{Bucket: at.Bucket, Key: at.Key, Version: r.leaves[recordKey{at.Bucket, string(at.Key)}].version})
		out.Last = at
	}
	return out
}

// leafRowBytes is about what a leaf row takes beside its key.
const leafRowBytes = 23

func (r *rows) loadObjects(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	size := 0
	for i := range l.Keys {
		if l.MaxRows > 0 && len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && l.MaxBytes > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		row := core.Row{Bucket: l.Keys[i].Bucket, Key: l.Keys[i].Key}
		if k := (recordKey{row.Bucket, string(row.Key)}); r.corrupt[k] {
			row.Damaged = true
		} else if row.Object = r.records[k]; l.Brief {
			row.Object = brief(row.Object)
		}
		size += len(row.Key) + row.Object.Size()
		out.Rows = append(out.Rows, row)
	}
	return out
}

func brief(o *version.Object) *version.Object {
	if o == nil {
		return nil
	}
	out := &version.Object{Context: o.Context, Siblings: slices.Clone(o.Siblings)}
	for i := range out.Siblings {
		out.Siblings[i].Value = nil
	}
	return out
}

// purgeWalk is how many records a slice of what is purgeable walks over: few, so that
// slices end without a row.
const purgeWalk = 16

func (r *rows) loadPurgeable(l *core.Load) core.Loaded {
	keys := r.keys()
	at, found := slices.BinarySearchFunc(keys, recordKey{l.LeafAfter.Bucket, string(l.LeafAfter.Key)}, recordKey.compare)
	if found {
		at++
	}
	keys = keys[at:]
	out := core.Loaded{Token: l.Token}
	size := 0
	for i, k := range keys {
		if i >= purgeWalk || l.MaxRows > 0 && len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && l.MaxBytes > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		out.Last = antientropy.Pos{Bucket: k.bucket, Key: []byte(k.key)}
		o := r.records[k]
		if r.corrupt[k] || !concernsPurge(o, l.AtMS) {
			continue
		}
		size += len(k.key) + o.Size()
		if l.Brief {
			o = brief(o)
		}
		out.Rows = append(out.Rows, core.Row{Bucket: k.bucket, Key: []byte(k.key), Object: o})
	}
	return out
}

// keys are those of the records, in order.
func (r *rows) keys() []recordKey {
	if r.sorted == nil {
		r.sorted = make([]recordKey, 0, len(r.records))
		for k := range r.records { // order-free: they are sorted
			r.sorted = append(r.sorted, k)
		}
		slices.SortFunc(r.sorted, recordKey.compare)
	}
	return r.sorted
}

// concernsPurge: only tombstones, or something that had expired at atMS; 0: nothing had.
func concernsPurge(o *version.Object, atMS int64) bool {
	for i := range o.Siblings {
		if s := &o.Siblings[i]; atMS != 0 && !s.Tombstone && s.ExpiryMS != 0 && s.ExpiryMS <= atMS {
			return true
		}
	}
	return isTombstone(o)
}
