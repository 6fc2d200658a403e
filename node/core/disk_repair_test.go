package core

import (
	"cmp"
	"slices"

	"github.com/quoratedb/quorate/antientropy"
)

// leafRow is what the leaf index has of a record.
type leafRow struct {
	leaf    uint16
	version uint64
}

// loadRepair is the loads of repair.
func (d *disk) loadRepair(l Load) Loaded {
	switch l.Kind {
	case LoadLeafRows:
		return d.loadLeafRows(l)
	case LoadObjects:
		return d.loadObjects(l)
	case LoadScrubLeaves:
		l.Leaves, l.LeafUpto, l.MaxRows, l.MaxBytes = nil, antientropy.End, 100, 1<<20
		out := d.loadLeafRows(l)
		out.Walked, out.Rows = uint64(len(out.Rows)), slices.DeleteFunc(out.Rows, func(r Row) bool { return !d.wrong(l.Partition, r) })
		return out
	}
	return d.loadWalk(l)
}

func (d *disk) loadLeafRows(l Load) (out Loaded) {
	out.Token = l.Token
	var places []antientropy.Pos
	for k, r := range d.leaves {
		at := antientropy.Pos{Leaf: r.leaf, Bucket: k.bucket, Key: []byte(k.key)}
		upto := l.LeafUpto.Compare(antientropy.Pos{}) == 0 || at.Compare(l.LeafUpto) <= 0
		if k.partition == l.Partition && at.Compare(l.LeafAfter) > 0 && upto && (l.Leaves == nil || slices.Contains(l.Leaves, r.leaf)) {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, antientropy.Pos.Compare)
	size := 0
	for _, at := range places {
		if len(out.Rows) >= l.MaxRows || size > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		size += 23 + len(at.Key)
		out.Last = at
		out.Rows = append(out.Rows, Row{Bucket: at.Bucket, Key: at.Key, Version: d.leaves[rowKey{partition: l.Partition, bucket: at.Bucket, key: string(at.Key)}].version})
	}
	return out
}

func (d *disk) loadObjects(l Load) (out Loaded) {
	out.Token = l.Token
	size := 0
	for _, k := range l.Keys {
		if len(out.Rows) >= l.MaxRows || size > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		o, err := d.Record(l.Partition, k.Bucket, k.Key)
		size += o.Size()
		out.Rows = append(out.Rows, Row{Bucket: k.Bucket, Key: k.Key, Object: o, Damaged: err != nil})
	}
	return out
}

// wrong tells whether a record is corrupt or not what its leaf row says.
func (d *disk) wrong(p uint32, r Row) bool {
	k := rowKey{partition: p, bucket: r.Bucket, key: string(r.Key)}
	return d.corrupt[k] || d.records[k].Hash() != d.leaves[k].version
}

// loadWalk is the walks over all records: what a purge round concerns, and the scrub.
func (d *disk) loadWalk(l Load) (out Loaded) {
	out.Token = l.Token
	var rows []Row
	for k, o := range d.records {
		r := Row{Bucket: k.bucket, Key: []byte(k.key), Object: o}
		if k.partition == l.Partition && (antientropy.Pos{Bucket: r.Bucket, Key: r.Key}).Compare(l.LeafAfter) > 0 {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), slices.Compare(a.Key, b.Key))
	})
	for _, r := range rows {
		if out.Walked == 100 {
			out.More = true
			break
		}
		out.Walked++
		out.Last = antientropy.Pos{Bucket: r.Bucket, Key: r.Key}
		wrong := d.wrong(l.Partition, r)
		if l.Kind == LoadScrubRecords {
			if !wrong {
				out.Counted.Count(r.Object)
			}
			r.Object, r.Damaged = nil, wrong
		} else {
			gone := antientropy.Expire(r.Object, l.AtMS)
			wrong = !d.corrupt[rowKey{partition: l.Partition, bucket: r.Bucket, key: string(r.Key)}] && (gone != r.Object || onlyTombstones(gone))
		}
		if wrong {
			out.Rows = append(out.Rows, r)
		}
	}
	return out
}
