package store

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/quorum/strong"
)

const (
	// sweepRows and sweepBytes bound one deletion of the sweeper: a commit that comes
	// behind it waits for a millisecond.
	sweepRows  = 512
	sweepBytes = 64 << 10
)

// rubbish is rows that nobody reads any more: a generation that was dropped, or
// completion records that have expired. It is never written to again, so it may go at
// any time, slice by slice. What a crash leaves of a generation is found at the next
// start; what has expired expires again.
type rubbish struct {
	rubbishKey
	start, limit []byte // keys: from, below
}

// rubbishKey names the range that rubbish is in. There are few: two for each generation.
type rubbishKey struct {
	partition  uint32
	kind       Kind
	generation uint64
}

// generation is all rows of kind k of it.
func generation(p uint32, k Kind, g uint64) rubbish {
	prefix := appendGeneration(nil, p, k, g)
	return rubbish{rubbishKey{p, k, g}, prefix, upper(prefix)}
}

// expired is the completion records stamped before stampMS.
func expired(p uint32, g uint64, stampMS int64) rubbish {
	r := generation(p, KindDone, g)
	r.limit = appendDoneKey(nil, p, g, strong.RequestID{StampMS: max(stampMS, 0)})
	return r
}

// sweeper deletes rubbish beside the commits. Its writes are not synced: if they are
// lost, the rubbish is rubbish still.
type sweeper struct {
	mu      sync.Mutex
	waiting map[rubbishKey]*rubbish
	// swept is how far the expired records of a generation are gone, so that the next
	// time begins behind the traces of their deletion.
	swept   map[rubbishKey][]byte
	running bool
	done    sync.WaitGroup
}

// sweepUp hands rubbish to the sweeper. The store is in use.
func (s *Store) sweepUp(more []rubbish) {
	if len(more) == 0 {
		return
	}
	w := &s.sweeper
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting, w.swept = map[rubbishKey]*rubbish{}, map[rubbishKey][]byte{}
	}
	for _, r := range more {
		if at := w.swept[r.rubbishKey]; bytes.Compare(at, r.start) > 0 {
			r.start = at
		}
		if old := w.waiting[r.rubbishKey]; old != nil {
			if bytes.Compare(r.limit, old.limit) > 0 {
				old.limit = r.limit
			}
			continue
		}
		w.waiting[r.rubbishKey] = &r
	}
	if !w.running {
		w.running = true
		w.done.Go(s.sweep)
	}
}

// sweep deletes what waits, until there is nothing or the store is closed.
func (s *Store) sweep() {
	var batch leveldb.Batch
	for {
		r, ok := s.sweeper.next()
		if !ok || !s.sweepSlice(&batch, r) {
			return
		}
	}
}

// next is some of the rubbish; false ends the sweeper.
func (w *sweeper) next() (rubbish, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.waiting {
		return *r, true
	}
	w.running = false
	return rubbish{}, false
}

// moved takes note that r is gone up to at; nil: all of it.
func (w *sweeper) moved(r *rubbish, at []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.waiting[r.rubbishKey]
	switch {
	case at != nil:
		now.start = at
	case bytes.Equal(now.limit, r.limit):
		delete(w.waiting, r.rubbishKey)
		at = r.limit
	default: // there has come more meanwhile
		now.start, at = r.limit, r.limit
	}
	if bytes.Equal(at, upper(appendGeneration(nil, r.partition, r.kind, r.generation))) {
		delete(w.swept, r.rubbishKey) // the generation is no more
	} else if r.kind == KindDone {
		w.swept[r.rubbishKey] = at
	}
}

// sweepSlice deletes the first rows of r; false when the store takes no more writes.
func (s *Store) sweepSlice(batch *leveldb.Batch, r rubbish) bool {
	if !s.inUse.enter() {
		return false
	}
	defer s.inUse.leave()
	it := s.db.NewIterator(&util.Range{Start: r.start, Limit: r.limit}, nil)
	defer it.Release()
	batch.Reset()
	var at []byte
	for size := 0; it.Next(); {
		if batch.Len() >= sweepRows || size >= sweepBytes {
			at = bytes.Clone(it.Key())
			break
		}
		size += len(it.Key())
		batch.Delete(it.Key())
	}
	if err := it.Error(); err != nil {
		s.met(err) // what cannot be read stays: a damaged store is replaced (D4)
		s.sweeper.moved(&r, nil)
		return true
	}
	if batch.Len() > 0 {
		if err := s.db.Write(batch, &opt.WriteOptions{}); err != nil {
			s.fail(s.explain(fmt.Sprintf("delete %d rows of strong partition %d", batch.Len(), r.partition), err))
			return false
		}
	}
	s.sweeper.moved(&r, at)
	return true
}
