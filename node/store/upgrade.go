package store

import (
	"errors"
	"fmt"
	"math"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// upgradeCounters rewrites counters rows of the first format, which did not count the
// records that expire: those are counted once, by a walk over the partition. A row
// that is damaged stays, its reader says so; so does a record, which counts for nothing.
func (s *Store) upgradeCounters() error {
	var batch leveldb.Batch
	it := s.db.NewIterator(nil, nil)
	defer it.Release()
	for p := uint64(0); p < math.MaxUint32; p++ {
		if !it.Seek(appendHead(nil, uint32(p), 0)) {
			break
		}
		k, err := DecodeKey(it.Key())
		if err != nil || k.Partition == NoPartition {
			break // rows of no partition come last
		}
		if p = uint64(k.Partition); !it.Seek(appendCountersKey(nil, k.Partition)) {
			break
		}
		if at, err := DecodeKey(it.Key()); err != nil || at.Kind != KindCounters || at.Partition != k.Partition {
			continue
		}
		c, format, err := decodeCountersOf(it.Value())
		if err != nil || format != countersFormat1 {
			continue
		}
		if c.Expiring, err = s.countExpiring(k.Partition); err != nil {
			return err
		}
		batch.Put(appendCountersKey(nil, k.Partition), appendCounters(nil, &c))
	}
	if err := it.Error(); err != nil {
		return s.damagedRow("the counters", readError(err))
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := s.db.Write(&batch, s.sync); err != nil {
		return s.explain(fmt.Sprintf("upgrade %d counters rows", batch.Len()), err)
	}
	return nil
}

func (s *Store) countExpiring(p uint32) (n uint64, err error) {
	prefix := appendHead(nil, p, KindRecord)
	it := s.db.NewIterator(&util.Range{Start: prefix, Limit: upper(prefix)}, nil)
	defer it.Release()
	for it.Next() {
		o, err := wire.DecodeRecord(it.Value())
		if errors.Is(err, core.ErrCorrupt) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for i := range o.Siblings {
			if s := &o.Siblings[i]; !s.Tombstone && s.ExpiryMS != 0 {
				n++
				break
			}
		}
	}
	if err := readError(it.Error()); err != nil && !errors.Is(err, core.ErrCorrupt) {
		return 0, s.explain("count what expires", err)
	}
	return n, nil
}
