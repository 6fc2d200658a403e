package store

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// scrubRows bounds the rows of one slice of a scrub: each is a read of its own beside
// the walk.
const scrubRows = 1024

// loadScrub holds records against their checksums and leaf rows, or leaf rows against
// their records, in a snapshot: a write replaces both at once, so whatever does not fit
// there is wrong.
func (s *Store) loadScrub(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	snap, err := s.db.GetSnapshot()
	if err != nil {
		out.Err = readError(err)
		return out
	}
	defer snap.Release()
	sc := scrubber{snap: snap, l: l, names: map[hashring.BucketID]string{}}
	for _, k := range l.Keys {
		sc.names[k.Bucket] = string(k.Key)
	}
	r := purgeRange(l)
	if l.Kind == core.LoadScrubLeaves {
		r = leafRange(l)
	}
	sc.walk(&out, &r)
	return out
}

type scrubber struct {
	snap  *leveldb.Snapshot
	l     *core.Load
	names map[hashring.BucketID]string
	room  []byte
}

func (s *scrubber) walk(out *core.Loaded, r *util.Range) {
	it := s.snap.NewIterator(r, nil)
	defer it.Release()
	for it.Next() {
		if out.Walked >= scrubRows || out.Walked > 0 && out.Bytes >= uint64(max(s.l.MaxBytes, 1)) {
			out.More = true
			return
		}
		k, err := DecodeKey(it.Key())
		if err != nil {
			out.Err = errors.Join(core.ErrCorrupt, err)
			return
		}
		key := bytes.Clone(k.Key)
		out.Last = antientropy.Pos{Leaf: k.Leaf, Bucket: k.Bucket, Key: key}
		out.Walked++
		out.Bytes += uint64(len(it.Key()) + len(it.Value()))
		right, read := s.right(&k, it.Value(), &out.Counted)
		out.Bytes += uint64(read)
		if !right {
			out.Rows = append(out.Rows, core.Row{Bucket: k.Bucket, Key: key, Damaged: true})
		}
	}
	out.Err = readError(it.Error())
}

// right tells whether a record and its leaf row fit, one of which is the row at hand,
// and what more was read. A record that is right is counted.
func (s *scrubber) right(k *Key, value []byte, counted *core.Counters) (right bool, read int) {
	record, leaf := value, value
	var err error
	if k.Kind == KindRecord {
		name, ok := s.names[k.Bucket]
		if !ok {
			o, err := wire.DecodeRecord(value) // of a bucket that was dropped
			if err == nil {
				counted.Count(o)
			}
			return err == nil, 0
		}
		s.room = appendLeafKey(s.room[:0], k.Partition, core.LeafOf(hashring.Hash(name, k.Key)), k.Bucket, k.Key)
		leaf, err = s.snap.Get(s.room, nil)
		read = len(leaf)
	} else {
		s.room = appendRecordKey(s.room[:0], k.Partition, k.Bucket, k.Key)
		record, err = s.snap.Get(s.room, nil)
		read = len(record)
	}
	if err != nil || len(leaf) != 8 {
		return false, read
	}
	o, err := wire.DecodeRecord(record)
	if right = err == nil && o.Hash() == binary.BigEndian.Uint64(leaf); right && k.Kind == KindRecord {
		counted.Count(o)
	}
	return right, read
}
