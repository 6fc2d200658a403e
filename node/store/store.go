// Package store keeps one node's data in one goleveldb behind core.Engine: the key
// layout, one synced write per commit, the identity of the data directory, and the
// checks that a directory must pass before its store may serve (PROTOCOLS.md 0).
//
// A directory holds `identity` (store id, cluster, boot count), `lock`, and `data`,
// the goleveldb that internal/leveldisk guards.
package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Options of Open; the zero value is what a node runs with.
type Options struct {
	// WriteBuffer is the size of a memtable and its journal in bytes, 0: 4 MiB. Two
	// are in memory while one is written to a table.
	WriteBuffer int
	// TableSize is the size of a table in bytes, 0: 8 MiB.
	TableSize int
	// OpenFiles is how many tables are kept open, 0: leveldisk.DefaultOpenFiles.
	OpenFiles int
	// CacheBytes bounds the rows kept in memory, 0: 32 MiB.
	CacheBytes int
}

func (o Options) database() *opt.Options {
	do := leveldisk.Defaults()
	if o.WriteBuffer > 0 {
		do.WriteBuffer = o.WriteBuffer
	}
	if o.TableSize > 0 {
		do.CompactionTableSize, do.CompactionTotalSize = o.TableSize, 8*o.TableSize
	}
	do.OpenFilesCacheCapacity = o.openFiles()
	return do
}

func (o Options) openFiles() int {
	if o.OpenFiles > 0 {
		return o.OpenFiles
	}
	return leveldisk.DefaultOpenFiles
}

// Store is an open data directory. Its methods may be called from any goroutine;
// Commit of one shard from one goroutine at a time. Objects it returns are fresh.
type Store struct {
	disk Disk
	db   *leveldb.DB
	base leveldisk.Base
	disc *leveldisk.Storage
	sync *opt.WriteOptions

	identity atomic.Pointer[Identity]
	writing  chan struct{} // one token: who holds it may replace the identity file
	hlcBound version.HLC   // greatest durable bound at open

	inUse   gate
	fatal   chan error
	fatally sync.Once
	ill     chan *DamagedError
	illOnce sync.Once
	writers sync.Pool // *commit
	rows    *rowCache
	logs    logs
	sweeper sweeper
}

var (
	_ core.Engine       = (*Store)(nil)
	_ core.StrongEngine = (*Store)(nil)
)

// Open opens the data directory dir; a missing or empty one is formatted under a
// new random sid. The boot count is one higher, durably, when it returns. Errors:
// ErrInUse, ErrNewerFormat, ErrNoDatabase, ErrNoIdentity, ErrMismatch, ErrForeign,
// ErrUnwritable, ErrTooFewFiles, *DamagedError, *QuarantinedError.
func Open(dir string, o Options) (*Store, error) {
	limit, err := fileLimit()
	if err != nil {
		return nil, fmt.Errorf("read the limit of open files: %w", err)
	}
	if err := enoughFiles(limit, o.openFiles()); err != nil {
		return nil, err
	}
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	s, err := OpenOn(d, o)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return s, nil
}

// OpenOn is Open on a given, locked disk. It stays the caller's to close if it fails.
func OpenOn(d Disk, o Options) (*Store, error) {
	id, err := loadIdentity(d)
	if err != nil {
		return nil, err
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = cacheBytes
	}
	s := &Store{disk: d, rows: newRowCache(o.CacheBytes), sync: &opt.WriteOptions{Sync: true}, fatal: make(chan error, 1), ill: make(chan *DamagedError, 1), writing: make(chan struct{}, 1)}
	s.inUse.idle = make(chan struct{}, 1)
	s.writers.New = func() any { return &commit{} }
	if err := s.openDatabase(id, o); err != nil {
		return nil, err
	}
	if err := s.boot(id); err != nil {
		return nil, errors.Join(err, s.closeDatabase())
	}
	return s, nil
}

func (s *Store) openDatabase(id Identity, o Options) (err error) {
	if id.formatting {
		// Nothing was ever promised from here: start again.
		if err := s.disk.DropDatabase(); err != nil {
			return fmt.Errorf("clear an interrupted format: %w", err)
		}
	}
	if s.base, err = s.disk.Database(id.formatting); err == nil {
		s.db, s.disc, err = leveldisk.OpenOn(s.base, leveldisk.Options{
			Format: id.formatting, DB: o.database(), OnFatal: s.fail})
		if err != nil {
			err = errors.Join(err, s.base.Close())
		}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, leveldisk.ErrMissing) {
		return fmt.Errorf("%w: %s has the identity of store %v and no database; bring back what is missing, or move the directory away to start empty, as a new store that the peers refill",
			ErrNoDatabase, s.disk.Path(), id.SID)
	}
	return s.explain("open the database in "+s.disk.Path(), err)
}

// boot counts this start, durably in the identity file first: a count that was used
// is never used again.
func (s *Store) boot(id Identity) error {
	if !id.formatting {
		if err := s.checkOwner(id); err != nil {
			return err
		}
	}
	bound, err := s.readBounds()
	if err != nil {
		return err
	}
	if err := s.upgradeCounters(); err != nil {
		return err
	}
	s.hlcBound = bound
	if err := s.loadLogs(); err != nil {
		return err
	}
	if err := s.nextStart(&id); err != nil {
		return err
	}
	id.formatting, id.Format = false, Format
	// A database without owner row behind a ready identity would be refused, so the
	// row is written first when formatting; later boots may find it one behind.
	if id.Boot == 1 {
		err = s.putOwner(id)
	}
	if err == nil {
		err = saveIdentity(s.disk, id)
	}
	if err == nil && id.Boot > 1 {
		err = s.putOwner(id)
	}
	if err != nil {
		return s.explain("count this start", err)
	}
	s.identity.Store(&id)
	return nil
}

// Fatal delivers the first failed write or sync; the process must end (D2).
func (s *Store) Fatal() <-chan error { return s.fatal }

func (s *Store) fail(err error) {
	s.fatally.Do(func() { s.fatal <- err })
}

// Damaged delivers the first damage that a read has met in a table, or that Doubt tells
// of. What it hides is
// core.ErrCorrupt to whoever asks for it, and no walk gets past it: such a store is to
// be replaced as soon as it can be spared (D4). It may go on until then.
func (s *Store) Damaged() <-chan *DamagedError { return s.ill }

// met looks at an error of a read.
func (s *Store) met(err error) {
	var table *lverrors.ErrCorrupted
	var file *storage.ErrCorrupted
	switch {
	case errors.As(err, &table):
		err = table
	case errors.As(err, &file):
		err = file
	default:
		return
	}
	var d *DamagedError
	if errors.As(s.explain("read", err), &d) {
		s.illOnce.Do(func() { s.ill <- d })
	}
}

// Doubt takes the word of the shards that rows of the store cannot be trusted though its
// tables are whole: the store is damaged like one with a bad table (D4).
func (s *Store) Doubt(why error) {
	s.met(why)
	s.illOnce.Do(func() { s.ill <- &DamagedError{Dir: s.disk.Path(), File: databaseName, Reason: why.Error()} })
}

// Recovered is what the scan before opening found: replayed records, cut tails.
func (s *Store) Recovered() leveldisk.Report { return s.disc.Report() }

// FreeBytes is the free space of the file system for this process.
func (s *Store) FreeBytes() (uint64, error) { return s.disk.FreeBytes() }

// Close waits for the calls in progress and closes the store. Later calls get
// ErrClosed; a second Close does nothing.
func (s *Store) Close() error {
	if !s.inUse.close() {
		return nil
	}
	s.sweeper.done.Wait()
	return errors.Join(s.closeDatabase(), s.disk.Close())
}

func (s *Store) closeDatabase() error {
	return errors.Join(s.db.Close(), s.disc.Close())
}

// gate lets calls in until it is closed, and closing waits for those inside:
// goleveldb must not be closed under an iterator.
type gate struct {
	inside atomic.Int64
	closed atomic.Bool
	idle   chan struct{}
}

func (g *gate) enter() bool {
	g.inside.Add(1)
	if g.closed.Load() {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.inside.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

func (g *gate) close() (first bool) {
	if g.closed.Swap(true) {
		return false
	}
	for g.inside.Load() != 0 {
		<-g.idle
	}
	return true
}

// Identity of the open store.
func (s *Store) Identity() Identity { return *s.identity.Load() }

// SetCluster makes the store a member of a cluster, durably and for ever.
func (s *Store) SetCluster(id hashring.ClusterID) error {
	return s.changeIdentity(func(i *Identity) error {
		if !i.Cluster.IsZero() && i.Cluster != id {
			return fmt.Errorf("%w: the store belongs to cluster %v, not %v", ErrMismatch, i.Cluster, id)
		}
		i.Cluster = id
		return nil
	})
}

// SetPromise makes the promise to join one bootstrap set durable.
func (s *Store) SetPromise(p Promise) error {
	return s.changeIdentity(func(i *Identity) error {
		if len(p.Members) > maxPromised {
			return fmt.Errorf("a bootstrap set has at most %d members, not %d", maxPromised, len(p.Members))
		}
		p.Members = append([]hashring.SID(nil), p.Members...)
		i.Promise = &p
		return nil
	})
}

func (s *Store) changeIdentity(change func(*Identity) error) error {
	if !s.inUse.enter() {
		return ErrClosed
	}
	defer s.inUse.leave()
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	id := s.Identity()
	if err := change(&id); err != nil {
		return err
	}
	if err := saveIdentity(s.disk, id); err != nil {
		s.fail(err)
		return err
	}
	s.identity.Store(&id)
	return nil
}
