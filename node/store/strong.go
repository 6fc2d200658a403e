package store

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A strong partition's rows: one hard row, its log (logs.go), and by generation its
// values and completion records. What a step changes goes into one batch, but the
// dropping of whole generations and of what has expired: that is the sweeper's, since
// nobody reads it any more.

// addStrong adds the effects of one step on strong partitions.
func (s *Store) addStrong(c *commit, writes []core.StrongWrite) error {
	s.enterLogs(c)
	for i := range writes {
		w := &writes[i]
		switch p := w.Partition; w.Kind {
		case strong.PutEntry, strong.CutTail, strong.CutHead:
			if err := s.changeLog(c, p, &w.Write); err != nil {
				return err
			}
		case strong.PutHard:
			c.key = appendHardKey(c.key[:0], p)
			c.value = wire.AppendHard(c.value[:0], &w.Hard)
			c.batch.Put(c.key, c.value)
		case strong.PutValue:
			c.key = appendValueKey(c.key[:0], p, w.Generation, w.Row.Bucket, w.Row.Key)
			c.value = wire.AppendStrongValue(c.value[:0], w.Row.Value)
			c.batch.Put(c.key, c.value)
		case strong.DropValue:
			c.key = appendValueKey(c.key[:0], p, w.Generation, w.Row.Bucket, w.Row.Key)
			c.batch.Delete(c.key)
		case strong.PutCompletion:
			c.key = appendDoneKey(c.key[:0], p, w.Generation, w.Row.Done.ID)
			c.value = wire.AppendCompletion(c.value[:0], w.Row.Done)
			c.batch.Put(c.key, c.value)
		case strong.Expire:
			c.rubbish = append(c.rubbish, expired(p, w.Generation, w.StampMS))
		case strong.DropGeneration:
			c.rubbish = append(c.rubbish, generation(p, KindValue, w.Generation), generation(p, KindDone, w.Generation))
		default:
			return fmt.Errorf("unknown kind of strong write %d", w.Kind)
		}
	}
	return nil
}

// StrongSaved is what the store has of a strong partition, as durable; the zero value
// when it has nothing. What a generation that does not count has left, as after a
// crash, is swept up from now on. Errors: core.ErrCorrupt.
func (s *Store) StrongSaved(p uint32) (strong.Saved, error) {
	if !s.inUse.enter() {
		return strong.Saved{}, ErrClosed
	}
	defer s.inUse.leave()
	saved, err := s.strongSaved(p)
	if err != nil {
		s.met(err)
		return strong.Saved{}, fmt.Errorf("strong partition %d: %w", p, err)
	}
	return saved, nil
}

func (s *Store) strongSaved(p uint32) (out strong.Saved, err error) {
	hard, err := s.hard(p)
	if err != nil {
		return out, err
	}
	if hard != nil {
		out.Hard = *hard
	}
	lg, err := s.logOf(p)
	if err != nil {
		return out, err
	}
	first := uint64(0)
	if first, out.Log = s.logs.headers(lg); out.Log != nil && first != out.Hard.Base.Index+1 {
		return out, fmt.Errorf("%w: the log begins at %d behind %d", core.ErrCorrupt, first, out.Hard.Base.Index)
	}
	var left []rubbish
	for _, k := range []Kind{KindValue, KindDone} {
		all, err := s.generations(p, k)
		if err != nil {
			return out, err
		}
		for _, g := range all {
			if g != out.Hard.Generation {
				left = append(left, generation(p, k, g))
			}
		}
		if hard == nil && len(all) > 0 {
			return out, fmt.Errorf("%w: there are values and no hard row", core.ErrCorrupt)
		}
	}
	if hard == nil && len(out.Log) > 0 {
		return out, fmt.Errorf("%w: there is a log and no hard row", core.ErrCorrupt)
	}
	s.sweepUp(left)
	return out, nil
}

// hard is a partition's hard row, nil if there is none. Errors: core.ErrCorrupt.
func (s *Store) hard(p uint32) (*strong.Hard, error) {
	row, err := s.row(appendHardKey(nil, p))
	if row == nil || err != nil {
		return nil, err
	}
	h, err := wire.DecodeHard(row)
	return &h, err
}

// generations there are rows of kind k of. Each costs one seek, and there are few.
func (s *Store) generations(p uint32, k Kind) (out []uint64, err error) {
	head := appendHead(nil, p, k)
	it := s.db.NewIterator(&util.Range{Start: head, Limit: upper(head)}, nil)
	defer it.Release()
	for ok := it.First(); ok; {
		at, err := DecodeKey(it.Key())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
		}
		out = append(out, at.Generation)
		next := upper(appendGeneration(nil, p, k, at.Generation))
		ok = next != nil && it.Seek(next)
	}
	return out, readError(it.Error())
}

// StrongValue is a key's value in a generation, nil if there is none. Errors:
// core.ErrCorrupt.
func (s *Store) StrongValue(p uint32, generation uint64, b hashring.BucketID, key []byte) (*strong.Value, error) {
	if !s.inUse.enter() {
		return nil, ErrClosed
	}
	defer s.inUse.leave()
	var room [keyRoom]byte
	at := appendValueKey(room[:0], p, generation, b, key)
	row, epoch, cached := s.rows.get(at)
	if !cached {
		var err error
		if row, err = s.row(at); row == nil || err != nil {
			return nil, err
		}
	}
	v, err := wire.DecodeStrongValue(row)
	if err != nil {
		return nil, err
	}
	if !cached {
		s.rows.fill(at, row, epoch)
	}
	return v, nil
}

// StrongCompletion is the record of a request, nil if there is none. Errors:
// core.ErrCorrupt.
func (s *Store) StrongCompletion(p uint32, generation uint64, id strong.RequestID) (*strong.Completion, error) {
	var room [keyRoom]byte
	v, err := s.get(appendDoneKey(room[:0], p, generation, id))
	if v == nil || err != nil {
		return nil, err
	}
	c, err := wire.DecodeCompletion(v)
	if err != nil {
		return nil, err
	}
	return c, nil
}
