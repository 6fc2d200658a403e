package store

import (
	"bytes"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// loadStrong reads a slice of a generation's values or completion records. The cursor is
// what stands in a row's key behind the generation.
func (s *Store) loadStrong(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	kind := KindValue
	if l.Part == strong.PartCompletions {
		kind = KindDone
	}
	prefix := appendGeneration(nil, l.Partition, kind, l.Generation)
	r := util.Range{Start: prefix, Limit: upper(prefix)}
	if len(l.After) > 0 {
		r.Start = append(append(bytes.Clone(prefix), l.After...), 0)
	}
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	size := 0
	for it.Next() {
		if len(out.Strong) >= l.MaxRows || len(out.Strong) > 0 && size >= l.MaxBytes {
			out.More = true
			return out
		}
		row, err := strongRow(it.Key(), it.Value())
		if err != nil {
			out.Err = err
			return out
		}
		size += len(it.Key()) + len(it.Value())
		out.Strong = append(out.Strong, row)
		out.Next = append(out.Next[:0], it.Key()[len(prefix):]...)
	}
	out.Err = readError(it.Error())
	return out
}

func strongRow(key, value []byte) (strong.Row, error) {
	k, err := DecodeKey(key)
	if err != nil {
		return strong.Row{}, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
	}
	if k.Kind == KindDone {
		c, err := wire.DecodeCompletion(value)
		if err == nil && c.ID != k.ID {
			err = fmt.Errorf("%w: a completion record under the id of another", core.ErrCorrupt)
		}
		return strong.Row{Done: c}, err
	}
	v, err := wire.DecodeStrongValue(bytes.Clone(value))
	return strong.Row{Bucket: k.Bucket, Key: bytes.Clone(k.Key), Value: v}, err
}

// loadStrongLive reads a slice of the live values of one bucket. Tombstones are passed
// over: they go with the log, so there are no more of them than it has entries.
func (s *Store) loadStrongLive(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	r := liveRange(l)
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	size := 0
	for it.Next() {
		k, err := DecodeKey(it.Key())
		if err != nil {
			out.Err = fmt.Errorf("%w: %w", core.ErrCorrupt, err)
			return out
		}
		v, err := wire.DecodeStrongValue(own(it.Value(), l.Brief))
		if err != nil {
			out.Err = err
			return out
		}
		if !v.Live() {
			continue
		}
		if len(out.Rows) >= l.MaxRows || len(out.Rows) > 0 && size >= l.MaxBytes {
			out.More = true
			return out
		}
		if l.Brief {
			v.Data = nil
		}
		size += len(k.Key) + v.Size()
		out.Rows = append(out.Rows, core.Row{Bucket: k.Bucket, Key: bytes.Clone(k.Key), Strong: v})
	}
	out.Err = readError(it.Error())
	return out
}

// liveRange is the keys with the prefix from Start on, or behind After.
func liveRange(l *core.Load) util.Range {
	at := func(key []byte) []byte { return appendValueKey(nil, l.Partition, l.Generation, l.Bucket, key) }
	prefix := at(l.Prefix)
	start := prefix
	if from := at(l.Start); bytes.Compare(from, start) > 0 {
		start = from
	}
	if l.After != nil {
		if from := append(at(l.After), 0); bytes.Compare(from, start) > 0 {
			start = from
		}
	}
	return util.Range{Start: start, Limit: upper(prefix)}
}
