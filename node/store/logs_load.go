package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
)

// found is an entry that was found on disk.
type found struct {
	index uint64
	place
}

// loadLogs finds out at a start what the packs hold. Damage is no error of the start: it
// is that of every log.
func (s *Store) loadLogs() error {
	l := &s.logs
	l.parts, l.begins, l.next, l.slack = map[uint32]*partLog{}, map[uint32]uint64{}, 1, packSlack
	err := s.loadBegins()
	var all map[uint32][]found
	if err == nil {
		all, err = s.loadPacks()
	}
	if errors.Is(err, core.ErrCorrupt) {
		s.met(err)
		l.broken = fmt.Errorf("the packs of log entries: %w", err)
		return nil
	}
	if err != nil {
		return s.explain("read the logs", err)
	}
	for p, entries := range all {
		lg, err := s.readLog(p, entries)
		if err != nil && !errors.Is(err, core.ErrCorrupt) {
			return s.explain("read the logs", err)
		}
		lg.packed, lg.err = true, err
		l.parts[p] = lg
	}
	for _, lg := range l.parts {
		for _, at := range lg.places {
			if at.pack != nil {
				l.count(at, 1)
			}
		}
	}
	return nil
}

func (s *Store) loadBegins() error {
	prefix := appendMetaKey(nil, metaLog)
	it := s.db.NewIterator(&util.Range{Start: prefix, Limit: upper(prefix)}, nil)
	defer it.Release()
	for it.Next() {
		rest := it.Key()[len(prefix):]
		if len(rest) != 4 {
			return fmt.Errorf("%w: %w", core.ErrCorrupt, ErrKey)
		}
		p := binary.BigEndian.Uint32(rest)
		n, err := decodeBegin(it.Value())
		if err != nil {
			return err
		}
		s.logs.begins[p], s.logs.next = n, max(s.logs.next, n)
	}
	return readError(it.Error())
}

// loadPacks reads all packs, oldest first, and gives the entries in them by partition.
func (s *Store) loadPacks() (map[uint32][]found, error) {
	prefix := appendHead(nil, NoPartition, KindPack)
	it := s.db.NewIterator(&util.Range{Start: prefix, Limit: upper(prefix)}, nil)
	defer it.Release()
	l, all := &s.logs, map[uint32][]found{}
	for it.Next() {
		key, err := DecodeKey(it.Key())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
		}
		row, err := openPack(it.Value(), key.Index)
		if err != nil {
			return nil, err
		}
		k := &pack{number: key.Index, size: len(row) - packHead}
		err = eachFrame(row, func(p uint32, at, size int) error {
			e, err := wire.DecodeStrongEntry(row[at : at+size])
			if err == nil && k.number >= l.begins[p] {
				all[p] = append(all[p], found{e.Index, place{k, uint32(at), uint32(size), strong.HeaderOf(e)}})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		l.link(k)
		l.next = max(l.next, k.number+1)
	}
	return all, readError(it.Error())
}

// readLog makes a partition's log of what was found of it in packs, and of its rows. With
// an error it has what was found in packs.
func (s *Store) readLog(p uint32, packed []found) (*partLog, error) {
	lg := &partLog{begin: s.logs.begins[p]}
	for i := range packed {
		lg.places = append(lg.places, packed[i].place)
	}
	hard, err := s.hard(p)
	if err != nil {
		return lg, err
	}
	if hard == nil && len(packed) > 0 {
		return lg, fmt.Errorf("%w: there is a log and no hard row", core.ErrCorrupt)
	}
	base := uint64(0)
	if hard != nil {
		base = hard.Base.Index
	}
	packed = slices.DeleteFunc(packed, func(f found) bool { return f.index <= base })
	all, err := s.entryRows(p, base, packed)
	if err != nil {
		return lg, err
	}
	// An entry is in one place: whatever moves it deletes it there in the same batch.
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.index, b.index) })
	for i := range all {
		if want := base + 1 + uint64(i); all[i].index != want {
			return lg, fmt.Errorf("%w: entry %d where %d should be", core.ErrCorrupt, all[i].index, want)
		}
	}
	lg.first, lg.places = base+1, make([]place, len(all))
	for i := range all {
		lg.places[i] = all[i].place
	}
	return lg, nil
}

// entryRows appends what stands behind base in rows of its own. It begins there and not
// at the first row, since before it may lie the traces of a million deletions.
func (s *Store) entryRows(p uint32, base uint64, all []found) ([]found, error) {
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
		if k.Index != e.Index {
			return nil, fmt.Errorf("%w: entry %d in row %d", core.ErrCorrupt, e.Index, k.Index)
		}
		all = append(all, found{e.Index, place{head: strong.HeaderOf(e)}})
	}
	return all, readError(it.Error())
}

// logOf is the log of a partition, read if it is not known. Errors: core.ErrCorrupt.
func (s *Store) logOf(p uint32) (*partLog, error) {
	l := &s.logs
	l.mu.Lock()
	lg, err := l.parts[p], l.broken
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if lg != nil {
		return lg, lg.err
	}
	if lg, err = s.readLog(p, nil); err != nil {
		s.met(err)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.parts[p]; known != nil {
		return known, known.err
	}
	l.parts[p] = lg
	return lg, nil
}
