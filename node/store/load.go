package store

import (
	"bytes"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

// loadRows bounds a slice whose load names no bound.
const loadRows = 1000

// Load reads one slice: at most MaxRows rows and about MaxBytes bytes, but at least
// one row, of what is durable. Each slice seeks anew, so no iterator pins old
// tables between slices. A row that cannot be trusted ends the slice with
// core.ErrCorrupt and the rows before it; a hint of which that is so is a Damaged row.
func (s *Store) Load(l core.Load) core.Loaded {
	if !s.inUse.enter() {
		return core.Loaded{Token: l.Token, Err: ErrClosed}
	}
	defer s.inUse.leave()
	out := s.load(l)
	s.met(out.Err)
	return out
}

func (s *Store) load(l core.Load) core.Loaded {
	if l.MaxRows <= 0 {
		l.MaxRows = loadRows
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = core.LoadSliceBytes
	}
	switch l.Kind {
	case core.LoadLeafRows:
		return s.loadLeafRows(&l)
	case core.LoadObjects:
		return s.loadObjects(&l)
	case core.LoadPurgeable:
		return s.loadPurgeable(&l)
	case core.LoadScrubRecords, core.LoadScrubLeaves:
		return s.loadScrub(&l)
	case core.LoadStrong:
		return s.loadStrong(&l)
	case core.LoadStrongLive:
		return s.loadStrongLive(&l)
	}
	var r util.Range
	var row func(key, value []byte, brief bool) (core.Row, error)
	switch l.Kind {
	case core.LoadRecords:
		r, row = recordRange(&l), recordRow
	case core.LoadHints:
		r, row = hintRange(&l), hintRow
	default:
		return core.Loaded{Token: l.Token, Err: fmt.Errorf("unknown kind of load %d", l.Kind)}
	}
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	out := walk(it, &l, row)
	out.Token = l.Token
	return out
}

func walk(it iterator.Iterator, l *core.Load, row func(key, value []byte, brief bool) (core.Row, error)) (out core.Loaded) {
	size := 0
	for it.Next() {
		if len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && size >= l.MaxBytes {
			out.More = true
			break
		}
		r, err := row(it.Key(), it.Value(), l.Brief)
		if err != nil {
			out.Err = err
			return out
		}
		size += len(r.Key) + r.Object.Size()
		out.Rows = append(out.Rows, r)
	}
	out.Err = readError(it.Error())
	return out
}

// recordRange is the keys with the prefix from Start on, or behind After.
func recordRange(l *core.Load) util.Range {
	prefix := appendRecordKey(nil, l.Partition, l.Bucket, l.Prefix)
	start := prefix
	if at := appendRecordKey(nil, l.Partition, l.Bucket, l.Start); bytes.Compare(at, start) > 0 {
		start = at
	}
	if l.After != nil {
		at := append(appendRecordKey(nil, l.Partition, l.Bucket, l.After), 0)
		if bytes.Compare(at, start) > 0 {
			start = at
		}
	}
	return util.Range{Start: start, Limit: upper(prefix)}
}

// hintRange is the target's hints behind the cursor, which is the tail of the last
// row's key.
func hintRange(l *core.Load) util.Range {
	prefix := append(appendHead(nil, l.Partition, KindHint), l.Target[:]...)
	start := prefix
	if len(l.After) > 0 {
		start = append(append(append([]byte(nil), prefix...), l.After...), 0)
	}
	return util.Range{Start: start, Limit: upper(prefix)}
}

func recordRow(key, value []byte, brief bool) (core.Row, error) {
	k, err := DecodeKey(key)
	if err != nil {
		return core.Row{}, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
	}
	o, err := wire.DecodeRecord(own(value, brief))
	if err != nil {
		return core.Row{}, err
	}
	return core.Row{Bucket: k.Bucket, Key: bytes.Clone(k.Key), Object: trim(o, brief)}, nil
}

func hintRow(key, value []byte, brief bool) (core.Row, error) {
	k, err := DecodeKey(key)
	if err != nil {
		return core.Row{}, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
	}
	cursor := appendBucketKey(nil, k.Bucket, k.Key)
	o, gen, err := decodeHint(own(value, brief))
	if err != nil { // it must not keep those behind it
		return core.Row{Bucket: k.Bucket, Key: cursor[8:], Target: k.Target, Cursor: cursor, Damaged: true}, nil
	}
	return core.Row{Bucket: k.Bucket, Key: cursor[8:], Object: trim(o, brief), Target: k.Target, Gen: gen, Cursor: cursor}, nil
}

// own copies what an iterator lends, unless the values will be dropped anyway.
func own(value []byte, brief bool) []byte {
	if brief {
		return value
	}
	return bytes.Clone(value)
}

// trim drops the values of a freshly decoded object.
func trim(o *version.Object, brief bool) *version.Object {
	if brief {
		for i := range o.Siblings {
			o.Siblings[i].Value = nil
		}
	}
	return o
}
