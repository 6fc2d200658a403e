package store

import (
	"encoding/binary"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

const (
	// writeBytes ends one synced write between two batches: far below the write
	// buffer, and where goleveldb stops merging concurrent writes too.
	writeBytes = 1 << 20
	// keepBytes is the largest buffer kept for the next commit.
	keepBytes = 4 << 20
)

// commit is the buffers of one Commit.
type commit struct {
	batch      leveldb.Batch
	key, value []byte
	rubbish    []rubbish // once the batch is durable
	logs       bool      // it is its turn to change logs
}

// Staged is the batches of one shard that have gathered.
type Staged struct {
	Shard   int
	Batches []*core.Batch
}

// Commit is CommitAll for one shard.
func (s *Store) Commit(shard int, batches []*core.Batch) error {
	return s.CommitAll([]Staged{{shard, batches}})
}

// CommitAll makes the batches of each shard durable in their order, each of them
// whole or not at all. What has gathered goes in one synced write as long as it
// stays small. An error is fatal (D2): see Fatal; a *DamagedError when compaction
// has met a damaged table, which ends all writes.
func (s *Store) CommitAll(turn []Staged) (err error) {
	if !s.inUse.enter() {
		return ErrClosed
	}
	defer s.inUse.leave()
	c := s.writers.Get().(*commit)
	defer func() {
		s.leaveLogs(c, err)
		s.release(c)
	}()
	for i := range turn {
		for _, b := range turn[i].Batches {
			c.add(turn[i].Shard, b)
			if len(b.Strong) > 0 {
				if err := s.addStrong(c, b.Strong); err != nil {
					s.fail(err)
					return err
				}
			}
			if s.gathered(c) >= writeBytes {
				if err := s.write(c); err != nil {
					return err
				}
			}
		}
	}
	return s.write(c)
}

// gathered is how many bytes the next write will have.
func (s *Store) gathered(c *commit) int {
	n := len(c.batch.Dump())
	if c.logs {
		n += s.logs.freshBytes()
	}
	return n
}

func (s *Store) write(c *commit) error {
	if c.logs {
		if err := s.closePacks(c); err != nil {
			s.fail(err)
			return err
		}
	}
	if c.batch.Len() == 0 {
		s.writtenLogs(c)
		s.sweepUp(c.rubbish) // without a write it waits for none
		c.rubbish = c.rubbish[:0]
		return nil
	}
	if err := s.db.Write(&c.batch, s.sync); err != nil {
		err = s.explain(fmt.Sprintf("write %d rows", c.batch.Len()), err)
		s.fail(err)
		return err
	}
	s.writtenLogs(c)
	if err := c.batch.Replay(remember{s.rows}); err != nil {
		return err
	}
	c.batch.Reset()
	s.sweepUp(c.rubbish)
	c.rubbish = c.rubbish[:0]
	return nil
}

// remember tells the cache of the rows of a durable batch.
type remember struct{ rows *rowCache }

func (r remember) Put(key, value []byte) {
	if k := Kind(key[headSize-1]); k == KindRecord || k == KindValue {
		r.rows.set(key, value)
	}
}

func (r remember) Delete(key []byte) {
	if k := Kind(key[headSize-1]); k == KindRecord || k == KindValue {
		r.rows.drop(key)
	}
}

func (s *Store) release(c *commit) {
	if cap(c.batch.Dump()) > keepBytes || cap(c.value) > keepBytes {
		return
	}
	c.batch.Reset()
	c.rubbish = c.rubbish[:0]
	s.writers.Put(c)
}

func (c *commit) add(shard int, b *core.Batch) {
	for i := range b.Records {
		c.record(&b.Records[i])
	}
	for i := range b.Hints {
		c.hint(&b.Hints[i])
	}
	for i := range b.Counters {
		w := &b.Counters[i]
		c.value = appendCounters(c.value[:0], &w.Counters)
		c.key = appendCountersKey(c.key[:0], w.Partition)
		c.batch.Put(c.key, c.value)
	}
	if b.HLCBound != 0 {
		c.value = appendBound(c.value[:0], b.HLCBound)
		c.key = appendHLCKey(c.key[:0], shard)
		c.batch.Put(c.key, c.value)
	}
}

// record puts the record and its leaf row side by side (D5).
func (c *commit) record(w *core.RecordWrite) {
	c.key = appendRecordKey(c.key[:0], w.Partition, w.Bucket, w.Key)
	if w.Object == nil {
		c.batch.Delete(c.key)
		c.key = appendLeafKey(c.key[:0], w.Partition, w.Leaf, w.Bucket, w.Key)
		c.batch.Delete(c.key)
		return
	}
	c.value = wire.AppendRecord(c.value[:0], w.Object)
	c.batch.Put(c.key, c.value)
	c.key = appendLeafKey(c.key[:0], w.Partition, w.Leaf, w.Bucket, w.Key)
	c.value = binary.BigEndian.AppendUint64(c.value[:0], w.LeafVersion())
	c.batch.Put(c.key, c.value)
}

func (c *commit) hint(w *core.HintWrite) {
	c.key = appendHintKey(c.key[:0], w.Partition, w.Target, w.Bucket, w.Key)
	if w.Object == nil {
		c.batch.Delete(c.key)
		return
	}
	c.value = appendHint(c.value[:0], w.Gen, w.Object)
	c.batch.Put(c.key, c.value)
}
