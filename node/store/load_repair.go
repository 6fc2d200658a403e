package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

// The loads of repair: leaf rows, objects by name, and what a purge round concerns.

const (
	// purgeWalkRows and purgeWalkBytes bound what one slice of LoadPurgeable walks over,
	// found or not: some milliseconds.
	purgeWalkRows  = 4096
	purgeWalkBytes = 1 << 20
	// leapRows is how many rows of a leaf nobody asked for are walked over before the
	// next leaf is sought: a seek costs about as much.
	leapRows = 16
)

// loadLeafRows walks the leaf rows of Leaves, or of all leaves, in one pass.
func (s *Store) loadLeafRows(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	r := leafRange(l)
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	left, skipped, size := l.Leaves, 0, 0
	for ok := it.Next(); ok; {
		k, version, err := leafRow(it)
		if err != nil {
			out.Err = err
			return out
		}
		for len(left) > 0 && left[0] < k.Leaf {
			left, skipped = left[1:], 0
		}
		if l.Leaves != nil && len(left) == 0 {
			break
		}
		if l.Leaves != nil && left[0] > k.Leaf {
			if skipped++; skipped > leapRows {
				ok, skipped = it.Seek(appendLeafKey(nil, l.Partition, left[0], 0, nil)), 0
			} else {
				ok = it.Next()
			}
			continue
		}
		if len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && size >= l.MaxBytes {
			out.More = true
			return out
		}
		row := core.Row{Bucket: k.Bucket, Key: bytes.Clone(k.Key), Version: version}
		size += headSize + 2 + 8 + 8 + len(row.Key)
		out.Rows = append(out.Rows, row)
		out.Last = antientropy.Pos{Leaf: k.Leaf, Bucket: k.Bucket, Key: row.Key}
		ok = it.Next()
	}
	out.Err = readError(it.Error())
	return out
}

func leafRow(it iterator.Iterator) (Key, uint64, error) {
	k, err := DecodeKey(it.Key())
	if err != nil || len(it.Value()) != 8 || k.Leaf >= core.Leaves {
		return k, 0, fmt.Errorf("%w: a leaf row of %d and %d bytes", core.ErrCorrupt, len(it.Key()), len(it.Value()))
	}
	return k, binary.BigEndian.Uint64(it.Value()), nil
}

// leafRange is from behind LeafAfter, or from the first of Leaves if that is later, to LeafUpto.
func leafRange(l *core.Load) util.Range {
	head := appendHead(nil, l.Partition, KindLeaf)
	r := util.Range{Start: head, Limit: upper(head)}
	if a := l.LeafAfter; a.Compare(antientropy.Pos{}) > 0 {
		r.Start = append(appendLeafKey(nil, l.Partition, a.Leaf, a.Bucket, a.Key), 0)
	}
	if len(l.Leaves) > 0 {
		if first := appendLeafKey(nil, l.Partition, l.Leaves[0], 0, nil); bytes.Compare(first, r.Start) > 0 {
			r.Start = first
		}
	}
	if u := l.LeafUpto; u.Compare(antientropy.Pos{}) > 0 && u.Leaf < core.Leaves {
		r.Limit = append(appendLeafKey(nil, l.Partition, u.Leaf, u.Bucket, u.Key), 0)
	}
	return r
}

// loadObjects reads the records of the keys that are named. A damaged one takes no
// other with it.
func (s *Store) loadObjects(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	size := 0
	for i := range l.Keys {
		if len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		row := core.Row{Bucket: l.Keys[i].Bucket, Key: l.Keys[i].Key}
		o, err := s.Record(l.Partition, row.Bucket, row.Key)
		switch {
		case errors.Is(err, core.ErrCorrupt):
			row.Damaged = true
		case err != nil:
			out.Err = err
			return out
		default:
			row.Object = trimmed(o, l.Brief)
		}
		size += len(row.Key) + row.Object.Size()
		out.Rows = append(out.Rows, row)
	}
	return out
}

func trimmed(o *version.Object, brief bool) *version.Object {
	if o == nil {
		return nil
	}
	return trim(o, brief)
}

// loadPurgeable walks the partition's records for those that are only tombstones or
// expire by AtMS. A record that cannot be trusted is passed over: it stays as it is
// until it is mended. Damage in the table ends the slice.
func (s *Store) loadPurgeable(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	r := purgeRange(l)
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	walked, read, size := 0, 0, 0
	for it.Next() {
		if walked >= purgeWalkRows || read >= purgeWalkBytes || len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && size >= l.MaxBytes {
			out.More = true
			return out
		}
		k, err := DecodeKey(it.Key())
		if err != nil {
			out.Err = fmt.Errorf("%w: %w", core.ErrCorrupt, err)
			return out
		}
		walked, read = walked+1, read+len(it.Key())+len(it.Value())
		key := bytes.Clone(k.Key)
		out.Last = antientropy.Pos{Bucket: k.Bucket, Key: key}
		o, err := wire.DecodeRecord(it.Value())
		if err != nil || !concernsPurge(o, l.AtMS) {
			continue
		}
		if o, err = wire.DecodeRecord(own(it.Value(), l.Brief)); err != nil {
			continue
		}
		size += len(key) + o.Size()
		out.Rows = append(out.Rows, core.Row{Bucket: k.Bucket, Key: key, Object: trim(o, l.Brief)})
	}
	out.Err = readError(it.Error())
	return out
}

func purgeRange(l *core.Load) util.Range {
	head := appendHead(nil, l.Partition, KindRecord)
	r := util.Range{Start: head, Limit: upper(head)}
	if a := l.LeafAfter; a.Bucket != 0 || len(a.Key) > 0 {
		r.Start = append(appendRecordKey(nil, l.Partition, a.Bucket, a.Key), 0)
	}
	return r
}

func concernsPurge(o *version.Object, atMS int64) bool {
	if atMS == 0 {
		atMS = math.MinInt64 // nothing had expired then
	}
	live := false
	for i := range o.Siblings {
		x := &o.Siblings[i]
		if !x.Tombstone && x.ExpiryMS != 0 && x.ExpiryMS <= atMS {
			return true
		}
		live = live || !x.Tombstone
	}
	return !live
}
