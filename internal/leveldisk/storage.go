package leveldisk

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// bloom10 spends 10 bits a key: about 1 % of the lookups of absent keys read a block.
var bloom10 = filter.NewBloomFilter(10)

// ErrStopped is every write after the first failed one (D2, D4).
var ErrStopped = errors.New("the storage has stopped after a failed write or sync")

// Storage is the wrapper of rule D4 around a Base.
//
// Invariants: after the first failed write, sync, creation or rename nothing more
// reaches the base (goleveldb would reuse the failed record's sequence number, and
// a later acknowledged write would be lost). A name is durable before anything is
// written under it. A journal is whole on disk before its successor is written.
type Storage struct {
	base    Base
	onFatal func(error)
	report  Report

	failed atomic.Bool
	once   sync.Once
	first  error // set before failed

	syncs, dirSyncs, written, syncNanos atomic.Int64
}

// Stats counts what reached the disk since the start.
type Stats struct {
	Syncs        int64 // of files
	DirSyncs     int64
	BytesWritten int64
	SyncTime     time.Duration // all syncs together
}

// Stats returns the counters.
func (s *Storage) Stats() Stats {
	return Stats{s.syncs.Load(), s.dirSyncs.Load(), s.written.Load(), time.Duration(s.syncNanos.Load())}
}

// Report is what the scan before opening found.
func (s *Storage) Report() Report { return s.report }

// Err is the error that stopped the storage, nil while it works.
func (s *Storage) Err() error {
	if s.failed.Load() {
		return s.first
	}
	return nil
}

func (s *Storage) ok() error {
	if s.failed.Load() {
		return fmt.Errorf("%w: %w", ErrStopped, s.first)
	}
	return nil
}

func (s *Storage) fail(what string, fd storage.FileDesc, err error) error {
	err = fmt.Errorf("%s %v: %w", what, fd, err)
	s.once.Do(func() {
		s.first = err
		s.failed.Store(true)
		if s.onFatal != nil {
			s.onFatal(err)
		}
	})
	return err
}

// Lock, GetMeta, List and Open pass through.
func (s *Storage) Lock() (storage.Locker, error)                          { return s.base.Lock() }
func (s *Storage) GetMeta() (storage.FileDesc, error)                     { return s.base.GetMeta() }
func (s *Storage) List(ft storage.FileType) ([]storage.FileDesc, error)   { return s.base.List(ft) }
func (s *Storage) Open(fd storage.FileDesc) (r storage.Reader, err error) { return s.base.Open(fd) }
func (s *Storage) Close() error                                           { return s.base.Close() }

// Log drops goleveldb's log: it names keys.
func (s *Storage) Log(string) {}

// SetMeta points the database to another manifest, durably.
func (s *Storage) SetMeta(fd storage.FileDesc) error {
	if err := s.ok(); err != nil {
		return err
	}
	if err := s.base.SetMeta(fd); err != nil {
		return s.fail("point CURRENT to", fd, err)
	}
	return s.syncDir(fd)
}

// Create makes a file whose name is durable before its first byte.
func (s *Storage) Create(fd storage.FileDesc) (storage.Writer, error) {
	if err := s.ok(); err != nil {
		return nil, err
	}
	w, err := s.base.Create(fd)
	if err != nil {
		return nil, s.fail("create", fd, err)
	}
	if err := s.syncDir(fd); err != nil {
		_ = w.Close() // the first error is the one to report
		return nil, err
	}
	if fd.Type == storage.TypeJournal {
		// goleveldb is about to poke its flusher, which it has just waited for, and does
		// not wait for it to listen again. A missed poke leaves the full memtable to the
		// next rotation, and all writers waiting there.
		runtime.Gosched()
	}
	out := &writer{Writer: w, s: s, fd: fd}
	if fd.Type == storage.TypeJournal {
		out.ahead.file, _ = w.(aheadFile)
	}
	return out, nil
}

// Rename is durable when it returns.
func (s *Storage) Rename(from, to storage.FileDesc) error {
	if err := s.ok(); err != nil {
		return err
	}
	if err := s.base.Rename(from, to); err != nil {
		return s.fail("rename", from, err)
	}
	return s.syncDir(to)
}

// Remove needs no sync: a file that comes back after a crash is either not named by
// the manifest or older than its journal number, and is removed again. For the same
// reason a manifest that cannot be removed is left: reporting it would make
// goleveldb repeat a commit that has happened.
func (s *Storage) Remove(fd storage.FileDesc) error {
	if err := s.ok(); err != nil {
		return err
	}
	err := s.base.Remove(fd)
	if fd.Type == storage.TypeManifest {
		return nil
	}
	return err
}

func (s *Storage) syncDir(fd storage.FileDesc) error {
	s.dirSyncs.Add(1)
	if err := s.base.SyncDir(); err != nil {
		return s.fail("sync the directory after", fd, err)
	}
	return nil
}

type writer struct {
	storage.Writer
	s     *Storage
	fd    storage.FileDesc
	dirty bool // bytes since the last sync; goleveldb uses a writer from one goroutine at a time
	ahead ahead
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.s.ok(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil // goleveldb flushes nothing when it rotates a journal
	}
	w.dirty = true
	n, err := w.Writer.Write(p)
	w.s.written.Add(int64(n))
	if err == nil {
		err = w.ahead.wrote(n)
	}
	if err != nil {
		return n, w.s.fail("write", w.fd, err)
	}
	return n, nil
}

func (w *writer) Sync() error {
	if err := w.s.ok(); err != nil {
		return err
	}
	start := time.Now()
	sync := w.Writer.Sync
	if w.ahead.file != nil {
		sync = w.ahead.file.Datasync
	}
	if err := sync(); err != nil {
		return w.s.fail("sync", w.fd, err)
	}
	w.s.syncs.Add(1)
	w.s.syncNanos.Add(int64(time.Since(start)))
	w.dirty = false
	return nil
}

// Close syncs a journal that still has unsynced bytes: its successor's records must
// not survive a crash that these do not.
func (w *writer) Close() error {
	var err error
	if w.dirty && w.fd.Type == storage.TypeJournal && w.s.ok() == nil {
		err = w.Sync()
	}
	if err == nil && w.s.ok() == nil {
		err = w.ahead.trim()
	}
	return errors.Join(err, w.Writer.Close())
}
