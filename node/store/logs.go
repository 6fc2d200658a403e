package store

import (
	"fmt"
	"slices"
	"sync"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// logs is where the log entries of all strong partitions are: in which pack, or in a row
// of their own. What counts in the packs a start has to find out from the rows alone:
//   - What lies at or below Hard.Base counts for nothing. The hard row that says so is in
//     the batch of the CutHead, so that needs no trace.
//   - What is cut off at the tail would count again. So the entries that count are moved
//     out of the packs that it was in, and these are deleted, in the same batch.
//   - A log that is cut off whole begins anew, maybe at a lower index: a row says from
//     which pack on its entries count (metaLog).
type logs struct {
	// turn is held by a commit that changes logs from its first change until it is
	// durable. What is not guarded by mu below is its own.
	turn sync.Mutex

	mu             sync.Mutex // for work in memory only
	parts          map[uint32]*partLog
	begins         map[uint32]uint64 // of partitions whose log was cut off whole
	oldest, newest *pack
	next           uint64 // the number of the next pack: above all that are in packs and in begins
	bytes, live    int    // of all packs, and what of them counts
	broken         error  // a pack cannot be read: no log can be trusted
	fresh          []*pack
	open           *pack // the one of fresh that takes entries; nil: a new one
	cut            []*pack

	spare [][]byte // room for bodies
	slack int      // packSlack
	stuck bool     // a pack cannot be moved: what does not count stays
}

// partLog is the log of one partition.
type partLog struct {
	first  uint64  // index of the first place
	places []place // by index
	begin  uint64  // entries in packs below do not count
	packed bool    // packs from begin on hold, or held, entries of it
	err    error   // it does not hold together: all its entries in packs are kept
}

// place of an entry.
type place struct {
	pack     *pack // nil: a row of its own
	at, size uint32
	head     strong.Header
}

func (l *partLog) index(i uint64) (place, bool) {
	if i < l.first || i-l.first >= uint64(len(l.places)) {
		return place{}, false
	}
	return l.places[i-l.first], true
}

// counts tells whether the entry that stands there in a pack is one of the log.
func (l *partLog) counts(index uint64, k *pack, at int) bool {
	if l.err != nil {
		return k.number >= l.begin
	}
	is, ok := l.index(index)
	return ok && is.pack == k && int(is.at) == at
}

// changeLog adds what one write changes of a log.
func (s *Store) changeLog(c *commit, p uint32, w *strong.Write) error {
	lg, err := s.logOf(p)
	if err != nil {
		return err
	}
	l := &s.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	switch w.Kind {
	case strong.PutEntry:
		return l.put(c, p, lg, w.Entry)
	case strong.CutTail:
		l.cutTail(c, p, lg, w.Index)
	case strong.CutHead:
		l.cutHead(c, p, lg, w.Index)
	}
	return nil
}

func (l *logs) put(c *commit, p uint32, lg *partLog, e *strong.Entry) error {
	if len(lg.places) == 0 {
		lg.first = e.Index
	}
	switch at := e.Index - lg.first; {
	case at > uint64(len(lg.places)):
		return fmt.Errorf("strong partition %d: entry %d beside a log of %d entries from %d on", p, e.Index, len(lg.places), lg.first)
	case at == uint64(len(lg.places)):
		lg.places = append(lg.places, l.store(c, p, lg, e))
	default:
		l.drop(c, p, e.Index, &lg.places[at], true)
		lg.places[at] = l.store(c, p, lg, e)
	}
	return nil
}

// store puts an entry into the present pack, or into a row of its own.
func (l *logs) store(c *commit, p uint32, lg *partLog, e *strong.Entry) place {
	c.value = wire.AppendStrongEntry(c.value[:0], e)
	if e.Size() <= packedMost {
		return l.add(p, lg, c.value, strong.HeaderOf(e))
	}
	c.key = appendEntryKey(c.key[:0], p, e.Index)
	c.batch.Put(c.key, c.value)
	return place{head: strong.HeaderOf(e)}
}

// add puts an encoded entry into the present pack.
func (l *logs) add(p uint32, lg *partLog, b []byte, head strong.Header) place {
	if l.open == nil {
		l.openNext()
	}
	k := l.open
	k.body = append(appendFrame(k.body, p, len(b)), b...)
	at := place{k, uint32(len(k.body) - len(b)), uint32(len(b)), head}
	k.size += frameSize + len(b)
	l.bytes += frameSize + len(b)
	l.count(at, 1)
	lg.packed = true
	if len(k.body) >= packBytes {
		l.open = nil
	}
	return at
}

// count adds an entry to what counts in its pack, or takes it away.
func (l *logs) count(at place, n int) {
	bytes := n * (frameSize + int(at.size))
	at.pack.live += n
	at.pack.liveBytes += bytes
	l.live += bytes
}

func (l *logs) openNext() {
	var room []byte
	if n := len(l.spare); n > 0 {
		room, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	l.open = &pack{number: l.next, body: beginPack(room, l.next)}
	l.next++
	l.link(l.open)
	l.fresh = append(l.fresh, l.open)
}

func (l *logs) link(k *pack) {
	if k.older = l.newest; k.older != nil {
		k.older.newer = k
	} else {
		l.oldest = k
	}
	l.newest = k
	l.bytes += k.size
}

func (l *logs) unlink(k *pack) {
	if k.older != nil {
		k.older.newer = k.newer
	} else {
		l.oldest = k.newer
	}
	if k.newer != nil {
		k.newer.older = k.older
	} else {
		l.newest = k.older
	}
	l.bytes -= k.size
}

// drop takes an entry off its log. What is cut off at the tail of what stays of a log must
// not be found again.
func (l *logs) drop(c *commit, p uint32, index uint64, at *place, tail bool) {
	k := at.pack
	if k == nil {
		c.key = appendEntryKey(c.key[:0], p, index)
		c.batch.Delete(c.key)
		return
	}
	l.count(*at, -1)
	if tail && k == l.open {
		l.open = nil // it is written as it is, or not at all
	}
	switch {
	case k.live == 0:
		l.remove(c, k)
	case tail && !k.cut:
		k.cut = true
		l.cut = append(l.cut, k)
	}
}

// remove deletes a pack in which nothing counts. A fresh one is not written, unless it
// gets more entries before.
func (l *logs) remove(c *commit, k *pack) {
	if k.body == nil {
		l.unlink(k)
		c.key = appendPackKey(c.key[:0], k.number)
		c.batch.Delete(c.key)
	}
}

// cutTail drops the entries from there on. goleveldb has no deletion of ranges, so each
// row is named; they are as many as the log holds at most.
func (l *logs) cutTail(c *commit, p uint32, lg *partLog, from uint64) {
	keep := uint64(0)
	if from > lg.first {
		keep = min(from-lg.first, uint64(len(lg.places)))
	}
	for i := keep; i < uint64(len(lg.places)); i++ {
		l.drop(c, p, lg.first+i, &lg.places[i], keep > 0)
	}
	clear(lg.places[keep:])
	lg.places = lg.places[:keep]
	if keep == 0 && lg.packed {
		l.open = nil // its number is below
		lg.begin, lg.packed = l.next, false
		c.key = appendMetaLogKey(c.key[:0], p)
		c.value = appendBegin(c.value[:0], lg.begin)
		c.batch.Put(c.key, c.value)
	}
}

// cutHead drops the entries up to there.
func (l *logs) cutHead(c *commit, p uint32, lg *partLog, to uint64) {
	if to < lg.first {
		return
	}
	n := min(to-lg.first+1, uint64(len(lg.places)))
	for i := range n {
		l.drop(c, p, lg.first+i, &lg.places[i], false)
	}
	lg.places = slices.Delete(lg.places, 0, int(n))
	lg.first += n
}

// headers of a log, and the index of the first.
func (l *logs) headers(lg *partLog) (first uint64, out []strong.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(lg.places) == 0 {
		return 0, nil
	}
	out = make([]strong.Header, len(lg.places))
	for i := range lg.places {
		out[i] = lg.places[i].head
	}
	return lg.first, out
}

// find is where an entry is; b is a copy of it if it is not durable there yet.
func (l *logs) find(lg *partLog, index uint64) (at place, b []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok = lg.index(index)
	if ok && at.pack != nil && at.pack.body != nil {
		b = append([]byte(nil), at.pack.body[at.at:at.at+at.size]...)
	}
	return at, b, ok
}

// StrongEntry is a log entry, nil if there is none. Errors: core.ErrCorrupt.
func (s *Store) StrongEntry(p uint32, index uint64) (*strong.Entry, error) {
	if !s.inUse.enter() {
		return nil, ErrClosed
	}
	defer s.inUse.leave()
	b, err := s.entry(p, index)
	if b == nil || err != nil {
		return nil, err
	}
	e, err := wire.DecodeStrongEntry(b)
	if err == nil && e.Index != index {
		err = fmt.Errorf("%w: entry %d in the place of %d", core.ErrCorrupt, e.Index, index)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// entry reads an encoded entry, nil if there is none.
func (s *Store) entry(p uint32, index uint64) ([]byte, error) {
	lg, err := s.logOf(p)
	if err != nil {
		return nil, err
	}
	at, b, ok := s.logs.find(lg, index)
	if !ok || b != nil {
		return b, nil
	}
	return s.entryFrom(lg, p, index, at)
}

// entryFrom reads it from where it was. Its pack may have gone meanwhile: then it has been
// moved, and is looked for again.
func (s *Store) entryFrom(lg *partLog, p uint32, index uint64, at place) ([]byte, error) {
	for {
		b, err := s.entryAt(p, index, at)
		if b != nil || err != nil {
			return b, err
		}
		now, b, ok := s.logs.find(lg, index)
		if !ok || b != nil {
			return b, nil
		}
		if now == at {
			return nil, fmt.Errorf("%w: entry %d of strong partition %d is gone", core.ErrCorrupt, index, p)
		}
		at = now
	}
}

// entryAt reads an encoded entry at its place; nil: there is no such row.
func (s *Store) entryAt(p uint32, index uint64, at place) ([]byte, error) {
	var room [keyRoom]byte
	if at.pack == nil {
		return s.row(appendEntryKey(room[:0], p, index))
	}
	row, err := s.row(appendPackKey(room[:0], at.pack.number))
	if row == nil || err != nil {
		return nil, err
	}
	if row, err = openPack(row, at.pack.number); err != nil {
		return nil, err
	}
	if uint64(at.at)+uint64(at.size) > uint64(len(row)) {
		return nil, fmt.Errorf("%w: pack %d has only %d bytes", core.ErrCorrupt, at.pack.number, len(row))
	}
	return slices.Clone(row[at.at : at.at+at.size]), nil
}
