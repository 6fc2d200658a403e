// Package leveldisk opens goleveldb so that rule D4 holds: it stops at the first
// failed write or sync, syncs the directory after every new name, and looks at the
// journals and the manifest before goleveldb does, because goleveldb alone either
// drops damaged records silently or refuses to open after an ordinary crash.
//
// The rules of use: every write is synced (WriteOptions.Sync), no transactions, one
// process per directory. The scan relies on the first: at most the newest journal
// record may then be unsynced when the power goes.
package leveldisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
)

// Base is the storage below the wrapper: files in a directory, or in tests a
// storage that can lose power.
type Base interface {
	storage.Storage
	// SyncDir makes the directory's names durable: creations and renames.
	SyncDir() error
}

// Options of Open.
type Options struct {
	// Format creates the database. The directory must be missing, empty, or hold
	// only what an interrupted format left; else ErrExists. Without Format a missing
	// database is ErrMissing: a vanished directory must not open as an empty store.
	Format bool
	// DB is goleveldb's options; nil takes Defaults(). Strict, ErrorIfMissing,
	// ErrorIfExist, NoSync and DisableLargeBatchTransaction are set by Open.
	DB *opt.Options
	// OnFatal is called once, with the first failed write, sync or creation. It runs
	// on the goroutine that failed and must not block.
	OnFatal func(error)
}

var (
	// ErrMissing: there is no database, or one whose format was interrupted, and
	// Format was not asked for.
	ErrMissing = errors.New("there is no database")
	// ErrExists: Format was asked for, but something has been written here before.
	ErrExists = errors.New("there is a database already")
)

// ErrDamaged is damage that no crash can explain (D4): the store is suspect.
type ErrDamaged struct {
	File   string // base name, or path when opened by path
	Offset int64  // of the first byte that cannot be trusted; 0 for a file as a whole
	Reason string
}

func (e *ErrDamaged) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s", e.File, e.Offset, e.Reason)
}

// Defaults are the options measured for the data store: index and filter blocks are
// pinned per open table, data blocks are left to the page cache. A memtable of 4 MiB
// stays in the processor's caches, where one of 16 MiB makes each of its inserts wait
// for memory: a committed record takes 15-20 % less processor time. As many bytes as
// before gather in level 0 until they are compacted.
func Defaults() *opt.Options {
	return &opt.Options{
		WriteBuffer:            4 * opt.MiB,
		CompactionL0Trigger:    12,
		WriteL0SlowdownTrigger: 24,
		WriteL0PauseTrigger:    36,
		CompactionTableSize:    8 * opt.MiB,
		CompactionTotalSize:    64 * opt.MiB,
		OpenFilesCacheCapacity: DefaultOpenFiles,
		DisableBlockCache:      true,
		DisableSeeksCompaction: true,
		Filter:                 bloom10,
	}
}

// DefaultOpenFiles tables may be open at once; more are opened and closed as needed.
const DefaultOpenFiles = 256

// Open opens or formats the database in dir. The caller closes the DB, then the Storage.
func Open(dir string, o Options) (*leveldb.DB, *Storage, error) {
	base, err := OpenDir(dir, o.Format)
	if err != nil {
		return nil, nil, err
	}
	db, st, err := OpenOn(base, o)
	if err != nil {
		var damaged *ErrDamaged
		if errors.As(err, &damaged) {
			damaged.File = filepath.Join(dir, damaged.File)
		}
		return nil, nil, errors.Join(err, base.Close())
	}
	return db, st, nil
}

// OpenOn is Open on a given base, which stays the caller's to close if it fails.
func OpenOn(base Base, o Options) (*leveldb.DB, *Storage, error) {
	st := &Storage{base: base, onFatal: o.OnFatal}
	if o.Format {
		if err := clearFormat(st); err != nil {
			return nil, nil, err
		}
	} else if err := st.recover(); err != nil {
		return nil, nil, err
	}
	db, err := leveldb.Open(st, enforced(o))
	if damaged, is := AsDamaged(err); is {
		err = damaged
	}
	if err != nil {
		return nil, nil, err
	}
	return db, st, nil
}

func enforced(o Options) *opt.Options {
	if o.DB == nil {
		o.DB = Defaults()
	}
	do := *o.DB
	do.Strict = opt.DefaultStrict
	do.ErrorIfMissing, do.ErrorIfExist = !o.Format, o.Format
	do.NoSync = false
	do.DisableLargeBatchTransaction = true // transactions bypass the journal and its scan
	return &do
}

func (s *Storage) recover() error {
	plan, err := Scan(s.base)
	if err != nil {
		return err
	}
	s.report = plan
	for _, c := range plan.Cuts {
		if err := s.cut(c); err != nil {
			return fmt.Errorf("cut the torn tail of %v: %w", c.File, err)
		}
	}
	return s.removeTemps()
}

// clearFormat removes what an interrupted format left behind, and refuses more.
func clearFormat(s *Storage) error {
	fds, err := s.base.List(storage.TypeAll)
	if err != nil {
		return err
	}
	if fd, used, err := everUsed(s.base, fds); err != nil {
		return err
	} else if used {
		return fmt.Errorf("%w: it holds %v", ErrExists, fd)
	}
	for _, fd := range fds {
		if err := s.base.Remove(fd); err != nil {
			return err
		}
	}
	return s.base.SyncDir()
}

// everUsed finds a sign that something was written since the format: a journal with
// bytes in it, or a table.
func everUsed(base Base, fds []storage.FileDesc) (storage.FileDesc, bool, error) {
	for _, fd := range fds {
		switch fd.Type {
		case storage.TypeTable:
			return fd, true, nil
		case storage.TypeJournal:
			if n, err := fileSize(base, fd); err != nil || n > 0 {
				return fd, true, err
			}
		}
	}
	return storage.FileDesc{}, false, nil
}

// AsDamaged translates goleveldb's own finding into the file and place it names.
// ok is false when err is not about damage.
func AsDamaged(err error) (d *ErrDamaged, ok bool) {
	if errors.As(err, &d) {
		return d, true
	}
	if !lverrors.IsCorrupted(err) {
		return nil, false
	}
	d = &ErrDamaged{File: "database", Reason: err.Error()}
	var corrupted *lverrors.ErrCorrupted
	if errors.As(err, &corrupted) && !corrupted.Fd.Zero() {
		d.File = corrupted.Fd.String()
		if in, is := corrupted.Err.(*table.ErrCorrupted); is {
			d.Offset, d.Reason = in.Pos, in.Kind+": "+in.Reason
		}
	}
	return d, true
}

func fileSize(base Base, fd storage.FileDesc) (int64, error) {
	r, err := base.Open(fd)
	if err != nil {
		return 0, err
	}
	n, err := r.Seek(0, 2)
	return n, errors.Join(err, r.Close())
}

func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrNotExist)
}
