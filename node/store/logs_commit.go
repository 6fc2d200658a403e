package store

import (
	"fmt"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// enterLogs begins the part of a commit that changes logs; release ends it.
func (s *Store) enterLogs(c *commit) {
	if !c.logs {
		s.logs.turn.Lock()
		c.logs = true
	}
}

// leaveLogs ends it. After a write that failed, what is in memory is not what is on disk.
func (s *Store) leaveLogs(c *commit, err error) {
	if !c.logs {
		return
	}
	l := &s.logs
	if err != nil {
		l.mu.Lock()
		l.broken = fmt.Errorf("a write has failed: %w", err)
		l.mu.Unlock()
	}
	c.logs = false
	l.turn.Unlock()
}

// freshBytes of the packs that the batch will have.
func (l *logs) freshBytes() (n int) {
	for _, k := range l.fresh {
		n += len(k.body)
	}
	return n
}

// closePacks moves what has to be moved and puts the packs of this write into the batch.
func (s *Store) closePacks(c *commit) error {
	l := &s.logs
	for len(l.cut) > 0 {
		k := l.cut[len(l.cut)-1]
		l.cut = l.cut[:len(l.cut)-1]
		if k.live == 0 {
			continue // gone, or it will not be written
		}
		if err := s.move(c, k); err != nil {
			return s.damagedRow("a pack of log entries", err)
		}
	}
	for n := 0; n < movesMost && l.crowded(); n++ {
		if err := s.move(c, l.oldest); err != nil {
			s.Doubt(err) // it goes on without, until it is replaced
			l.stuck = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.fresh {
		if k.live == 0 {
			l.unlink(k)
			continue
		}
		k.body = endSeal(k.body, 0)
		c.key = appendPackKey(c.key[:0], k.number)
		c.batch.Put(c.key, k.body)
	}
	l.open = nil
	return nil
}

// crowded tells that too much of what the packs hold does not count. Where that is more
// than what counts, moving all packs once would free more than it copies: so no write
// waits for more than twice its bytes in the long run.
func (l *logs) crowded() bool {
	return !l.stuck && l.bytes-l.live > l.live+l.slack && l.oldest.body == nil
}

// writtenLogs takes note that the packs of the batch are durable.
func (s *Store) writtenLogs(c *commit) {
	l := &s.logs
	if !c.logs {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.fresh {
		if cap(k.body) <= 2*packBytes {
			l.spare = append(l.spare, k.body)
		}
		k.body = nil
	}
	clear(l.fresh)
	l.fresh = l.fresh[:0]
}

// move copies what counts in a pack into the present one, and deletes it.
func (s *Store) move(c *commit, k *pack) error {
	l := &s.logs
	row, err := k.body, error(nil)
	if row == nil {
		c.key = appendPackKey(c.key[:0], k.number)
		if row, err = s.row(c.key); err == nil {
			row, err = openPack(row, k.number)
		}
		if err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err = eachFrame(row, func(p uint32, at, size int) error {
		b := row[at : at+size]
		e, err := wire.DecodeStrongEntry(b)
		if err != nil {
			return err
		}
		if lg := l.parts[p]; lg != nil && lg.counts(e.Index, k, at) {
			l.count(place{pack: k, size: uint32(size)}, -1)
			to := l.add(p, lg, b, strong.HeaderOf(e))
			if lg.err == nil {
				lg.places[e.Index-lg.first] = to
			}
		}
		return nil
	})
	if err == nil && k.live != 0 {
		err = fmt.Errorf("%w: pack %d lacks %d entries", core.ErrCorrupt, k.number, k.live)
	}
	if err == nil {
		l.remove(c, k)
	}
	return err
}
