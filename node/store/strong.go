package store

import (
	"fmt"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A strong partition's rows: one hard row, its log by index, and by generation its
// values and completion records. What a step changes goes into one batch, but the
// dropping of whole generations and of what has expired: that is the sweeper's, since
// nobody reads it any more.

// span is the log entries of a partition that have a row; none if last < first.
type span struct{ first, last uint64 }

// logs are the spans of the partitions that were read or written since the start. A
// partition's span belongs to whoever commits for its shard.
type logs struct {
	mu    sync.Mutex
	spans map[uint32]*span
}

func (l *logs) get(p uint32) *span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spans[p]
}

// learn takes note of a span that was read, unless it has moved on since.
func (l *logs) learn(p uint32, read span) *span {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sp := l.spans[p]; sp != nil {
		return sp
	}
	if l.spans == nil {
		l.spans = map[uint32]*span{}
	}
	l.spans[p] = &read
	return &read
}

// span of a partition's log, read if it is not known.
func (s *Store) span(p uint32) (*span, error) {
	if sp := s.logs.get(p); sp != nil {
		return sp, nil
	}
	head := appendHead(nil, p, KindEntry)
	it := s.db.NewIterator(&util.Range{Start: head, Limit: upper(head)}, nil)
	defer it.Release()
	read := span{first: 1}
	if it.First() {
		first, err := DecodeKey(it.Key())
		if err == nil && it.Last() {
			var last Key
			last, err = DecodeKey(it.Key())
			read = span{first.Index, last.Index}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
		}
	}
	if err := readError(it.Error()); err != nil {
		s.met(err)
		return nil, err
	}
	return s.logs.learn(p, read), nil
}

// addStrong adds the effects of one step on strong partitions.
func (s *Store) addStrong(c *commit, writes []core.StrongWrite) error {
	for i := range writes {
		w := &writes[i]
		switch p := w.Partition; w.Kind {
		case strong.PutEntry, strong.CutTail, strong.CutHead:
			sp, err := s.span(p)
			if err != nil {
				return err
			}
			c.log(p, sp, &w.Write)
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

// log changes a partition's log. goleveldb has no deletion of ranges, so each entry
// that is cut off is named; they are as many as the log holds at most.
func (c *commit) log(p uint32, sp *span, w *strong.Write) {
	drop := func(from, to uint64) {
		for i := from; i <= to; i++ {
			c.key = appendEntryKey(c.key[:0], p, i)
			c.batch.Delete(c.key)
		}
	}
	switch w.Kind {
	case strong.PutEntry:
		at := w.Entry.Index
		c.key = appendEntryKey(c.key[:0], p, at)
		c.value = wire.AppendStrongEntry(c.value[:0], w.Entry)
		c.batch.Put(c.key, c.value)
		if sp.last < sp.first {
			sp.first = at
		}
		sp.first, sp.last = min(sp.first, at), max(sp.last, at)
	case strong.CutTail:
		from := max(w.Index, sp.first)
		drop(from, sp.last)
		sp.last = min(sp.last, from-1)
	case strong.CutHead:
		to := min(w.Index, sp.last)
		drop(sp.first, to)
		sp.first = max(sp.first, to+1)
	}
	if sp.last < sp.first {
		*sp = span{first: 1}
	}
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
	hard, err := s.row(appendHardKey(nil, p))
	if err != nil {
		return out, err
	}
	if hard != nil {
		if out.Hard, err = wire.DecodeHard(hard); err != nil {
			return out, err
		}
	}
	if out.Log, err = s.logHeaders(p, out.Hard.Base.Index); err != nil {
		return out, err
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
	s.logs.learn(p, span{first: out.Hard.Base.Index + 1, last: out.Hard.Base.Index + uint64(len(out.Log))})
	s.sweepUp(left)
	return out, nil
}

// logHeaders reads the log behind base: every entry is there, and whole. It begins
// there and not at the first row, since before it may lie the traces of a million
// deletions.
func (s *Store) logHeaders(p uint32, base uint64) (out []strong.Header, err error) {
	r := util.Range{Start: appendEntryKey(nil, p, base+1), Limit: upper(appendHead(nil, p, KindEntry))}
	it := s.db.NewIterator(&r, nil)
	defer it.Release()
	for it.Next() {
		k, err := DecodeKey(it.Key())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
		}
		e, err := wire.DecodeStrongEntry(it.Value())
		if err != nil {
			return nil, err
		}
		if want := base + uint64(len(out)) + 1; k.Index != want || e.Index != want {
			return nil, fmt.Errorf("%w: entry %d in row %d, where %d should be", core.ErrCorrupt, e.Index, k.Index, want)
		}
		out = append(out, strong.HeaderOf(e))
	}
	return out, readError(it.Error())
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

// StrongEntry is a log entry, nil if there is none. Errors: core.ErrCorrupt.
func (s *Store) StrongEntry(p uint32, index uint64) (*strong.Entry, error) {
	var room [keyRoom]byte
	v, err := s.get(appendEntryKey(room[:0], p, index))
	if v == nil || err != nil {
		return nil, err
	}
	e, err := wire.DecodeStrongEntry(v)
	if err == nil && e.Index != index {
		err = fmt.Errorf("%w: entry %d in row %d", core.ErrCorrupt, e.Index, index)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
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
