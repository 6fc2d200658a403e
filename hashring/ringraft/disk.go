package ringraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// disk is Raft's log, votes and snapshots in one small goleveldb. Every change is
// one synced batch, so a crash leaves the state before it or the state after it:
// no gap in the log, no snapshot without its data, no truncation before the
// snapshot that allows it. It is raft.LogStore and raft.StableStore; snapshots are
// in snapshots.go.
//
//	'l' index        -> log entry (version, type, term, time, data length, data, extensions, CRC-32C)
//	'v' name         -> stable value: term and vote
//	's' index term   -> snapshot
type disk struct {
	db    *leveldb.DB
	fatal func(error)
	bound time.Duration // of one write

	// over is set when raft has ended and its streams are closed. A heartbeat may still
	// be in hand, whose new term raft insists on writing or panics; nobody can be told of
	// it any more, so it may be forgotten.
	over atomic.Bool

	mu          sync.RWMutex
	first, last uint64 // of the log; zero when it is empty
}

const (
	keyLog      = 'l'
	keyStable   = 'v'
	keySnapshot = 's'

	entryVersion = 1
	entryHeader  = 1 + 1 + 8 + 8 + 4
	// entryMax bounds what a decoder believes: a ring command is a few KiB.
	entryMax = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is an entry or snapshot on disk that cannot be trusted.
var ErrCorrupt = errors.New("raft store: corrupt")

// errNotFound has the text that raft compares with for stable values.
var errNotFound = errors.New("not found")

func openDisk(db *leveldb.DB, bound time.Duration, fatal func(error)) (*disk, error) {
	d := &disk{db: db, fatal: fatal, bound: bound}
	it := db.NewIterator(util.BytesPrefix([]byte{keyLog}), nil)
	defer it.Release()
	for it.Next() {
		k := it.Key()
		if len(k) != 9 {
			return nil, fmt.Errorf("%w: log key of %d bytes", ErrCorrupt, len(k))
		}
		i := binary.BigEndian.Uint64(k[1:])
		var e raft.Log
		if err := decodeEntry(i, it.Value(), &e); err != nil {
			return nil, err
		}
		if d.first == 0 {
			d.first = i
		} else if i != d.last+1 {
			return nil, fmt.Errorf("%w: log entries %d and %d follow each other", ErrCorrupt, d.last, i)
		}
		d.last = i
	}
	return d, it.Error()
}

// write commits one synced batch. A failed or hanging write ends the process: the
// heartbeats, which need no disk, would keep a leader in office that commits nothing.
func (d *disk) write(b *leveldb.Batch) error {
	t := time.AfterFunc(d.bound, func() {
		d.fatal(fmt.Errorf("raft store: a synced write has not returned after %s", d.bound))
	})
	defer t.Stop()
	if err := d.db.Write(b, &opt.WriteOptions{Sync: true}); err != nil {
		if d.over.Load() && errors.Is(err, leveldb.ErrClosed) {
			return nil
		}
		err = fmt.Errorf("raft store: write: %w", err)
		d.fatal(err)
		return err
	}
	return nil
}

func logKey(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyLog}, i) }

func appendEntry(b []byte, l *raft.Log) []byte {
	start := len(b)
	b = append(b, entryVersion, byte(l.Type))
	b = binary.BigEndian.AppendUint64(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Data)))
	b = append(b, l.Data...)
	b = append(b, l.Extensions...)
	return binary.BigEndian.AppendUint32(b, entryCRC(l.Index, b[start:]))
}

// entryCRC covers the index too, so that no entry can stand at another's place.
func entryCRC(index uint64, b []byte) uint32 {
	var i [8]byte
	binary.BigEndian.PutUint64(i[:], index)
	return crc32.Update(crc32.Checksum(i[:], castagnoli), castagnoli, b)
}

// decodeEntry is the inverse; what it gives does not alias b.
func decodeEntry(index uint64, b []byte, l *raft.Log) error {
	if len(b) < entryHeader+4 || len(b) > entryMax {
		return fmt.Errorf("%w: log entry %d has %d bytes", ErrCorrupt, index, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if entryCRC(index, body) != sum {
		return fmt.Errorf("%w: log entry %d fails its checksum", ErrCorrupt, index)
	}
	if body[0] != entryVersion {
		return fmt.Errorf("%w: log entry %d has version %d, this program reads %d", ErrCorrupt, index, body[0], entryVersion)
	}
	n := int(binary.BigEndian.Uint32(body[18:]))
	rest := body[entryHeader:]
	if n > len(rest) {
		return fmt.Errorf("%w: log entry %d is cut", ErrCorrupt, index)
	}
	*l = raft.Log{Index: index, Type: raft.LogType(body[1]), Term: binary.BigEndian.Uint64(body[2:])}
	if at := int64(binary.BigEndian.Uint64(body[10:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	l.Data = append([]byte(nil), rest[:n]...)
	if n < len(rest) {
		l.Extensions = append([]byte(nil), rest[n:]...)
	}
	return nil
}

// FirstIndex is 0 for an empty log.
func (d *disk) FirstIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.first, nil
}

// LastIndex is 0 for an empty log.
func (d *disk) LastIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.last, nil
}

// GetLog reads one entry; raft.ErrLogNotFound when there is none.
func (d *disk) GetLog(index uint64, l *raft.Log) error {
	b, err := d.db.Get(logKey(index), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err == nil {
		err = decodeEntry(index, b, l)
	}
	if err != nil {
		d.fatal(fmt.Errorf("raft store: read of log entry %d: %w", index, err))
	}
	return err
}

// StoreLog appends one entry.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, as one synced batch.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	var b leveldb.Batch
	for _, l := range logs {
		b.Put(logKey(l.Index), appendEntry(nil, l))
	}
	if err := d.write(&b); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == 0 {
		d.first = logs[0].Index
	}
	d.last = max(d.last, logs[len(logs)-1].Index)
	return nil
}

// DeleteRange drops entries from..to, both included: a prefix after a snapshot, or
// a suffix that another leader overruled. One batch, so that no hole can stay; its
// size is bounded by snapshotEvery and trailingLogs.
func (d *disk) DeleteRange(from, to uint64) error {
	d.mu.RLock()
	from, to = max(from, d.first), min(to, d.last)
	d.mu.RUnlock()
	if from > to || from == 0 {
		return nil
	}
	var b leveldb.Batch
	for i := from; i <= to; i++ {
		b.Delete(logKey(i))
	}
	if err := d.write(&b); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case from == d.first && to == d.last:
		d.first, d.last = 0, 0
	case from == d.first:
		d.first = to + 1
	default:
		d.last = from - 1
	}
	return nil
}

func stableKey(k []byte) []byte { return append([]byte{keyStable}, k...) }

// Set makes a stable value durable.
func (d *disk) Set(k, v []byte) error {
	var b leveldb.Batch
	b.Put(stableKey(k), v)
	return d.write(&b)
}

// Get reads a stable value.
func (d *disk) Get(k []byte) ([]byte, error) {
	v, err := d.db.Get(stableKey(k), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, errNotFound
	}
	return v, err
}

// SetUint64 makes a stable number durable.
func (d *disk) SetUint64(k []byte, v uint64) error {
	return d.Set(k, binary.BigEndian.AppendUint64(nil, v))
}

// GetUint64 reads a stable number; 0 when there is none.
func (d *disk) GetUint64(k []byte) (uint64, error) {
	v, err := d.Get(k)
	if errors.Is(err, errNotFound) {
		return 0, nil
	}
	if err == nil && len(v) != 8 {
		err = fmt.Errorf("%w: stable number %q has %d bytes", ErrCorrupt, k, len(v))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}
