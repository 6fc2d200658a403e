package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/quoratedb/quorate/internal/leveldisk"
)

// Disk is where a store lives: a locked directory, or in tests one that loses power.
type Disk interface {
	Path() string
	// Empty tells whether nothing but the lock was ever put here. Otherwise what is
	// one name that is there.
	Empty() (empty bool, what string, err error)
	ReadFile(name string) ([]byte, error)
	// ReplaceFile puts a synced file in the place of name, atomically; durable after SyncDir.
	ReplaceFile(name string, b []byte) error
	SyncDir() error
	// Database opens the folder of the database; create makes it.
	Database(create bool) (leveldisk.Base, error)
	DropDatabase() error
	FreeBytes() (uint64, error)
	Close() error
}

const (
	identityName = "identity"
	databaseName = "data"
	lockName     = "lock"
	raftName     = "raft" // of the node's Raft group, beside the database
)

type dirDisk struct {
	dir  string
	lock *flock.Flock
}

// openDir makes dir if it is missing and locks it.
func openDir(dir string) (*dirDisk, error) {
	if err := leveldisk.MkdirAll(dir); err != nil {
		return nil, unwritable(dir, err)
	}
	d := &dirDisk{dir, flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o640))}
	ok, err := d.lock.TryLock()
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: another quorate holds %s; stop it first, or give this node a directory of its own", ErrInUse, dir)
	}
	return d, nil
}

func unwritable(dir string, err error) error {
	return fmt.Errorf("%w: %s: %w; check its owner, mode and free space, or choose another data directory", ErrUnwritable, dir, err)
}

func (d *dirDisk) Path() string { return d.dir }

func (d *dirDisk) Empty() (bool, string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return false, "", err
	}
	for _, e := range entries {
		// lost+found: the root of a mounted file system. A hidden identity file is what
		// a crash in the very first write left. A store that was set aside is nobody's.
		if n := e.Name(); n != lockName && n != "lost+found" && !strings.HasPrefix(n, asidePrefix) && !strings.HasPrefix(n, "."+identityName) {
			return false, n, nil
		}
	}
	return true, "", nil
}

func (d *dirDisk) ReadFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, name))
}

func (d *dirDisk) ReplaceFile(name string, b []byte) error {
	if err := replaceFile(filepath.Join(d.dir, name), b); err != nil {
		return unwritable(d.dir, err)
	}
	return nil
}

func (d *dirDisk) SyncDir() error { return leveldisk.SyncDir(d.dir) }

func (d *dirDisk) Database(create bool) (leveldisk.Base, error) {
	return leveldisk.OpenDir(filepath.Join(d.dir, databaseName), create)
}

func (d *dirDisk) DropDatabase() error {
	return errors.Join(os.RemoveAll(filepath.Join(d.dir, databaseName)), d.SyncDir())
}

func (d *dirDisk) FreeBytes() (uint64, error) { return freeBytes(d.dir) }

// Close unlocks. The lock file stays: removing it would let two processes lock two files.
func (d *dirDisk) Close() error { return d.lock.Unlock() }

// otherFiles is what a node needs beside tables: journals, the Raft log, sockets of
// peers and clients.
const otherFiles = 256

func enoughFiles(limit uint64, tables int) error {
	need := uint64(tables + otherFiles)
	if limit >= need {
		return nil
	}
	return fmt.Errorf("%w: the limit is %d and quorate needs %d; raise it (ulimit -n %d, or LimitNOFILE= in the service file)",
		ErrTooFewFiles, limit, need, need)
}

// loadIdentity reads the identity, or starts formatting an empty directory.
func loadIdentity(d Disk) (Identity, error) {
	b, err := d.ReadFile(identityName)
	if err == nil {
		id, err := DecodeIdentity(b)
		var damaged *DamagedError
		switch {
		case errors.As(err, &damaged):
			damaged.Dir = d.Path()
		case err != nil:
			return id, fmt.Errorf("%s: %w", d.Path(), err)
		default:
			err = id.marked(d.Path())
		}
		return id, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Identity{}, unwritable(d.Path(), err)
	}
	empty, what, err := d.Empty()
	switch {
	case err != nil:
		return Identity{}, unwritable(d.Path(), err)
	case empty:
		id := Identity{SID: newSID(), Format: Format, formatting: true}
		return id, saveIdentity(d, id)
	case slices.Contains([]string{databaseName, raftName}, what):
		return Identity{}, fmt.Errorf("%w: %s has %q and no %q; bring back what is missing, or move the directory away to start empty, as a new store that the peers refill",
			ErrNoIdentity, d.Path(), what, identityName)
	}
	return Identity{}, fmt.Errorf("%w: %s holds %q; choose a directory of its own", ErrForeign, d.Path(), what)
}

// saveIdentity is durable when it returns.
func saveIdentity(d Disk, id Identity) error {
	b, err := EncodeIdentity(id)
	if err != nil {
		return err
	}
	if err := d.ReplaceFile(identityName, b); err != nil {
		return fmt.Errorf("write the identity file: %w", err)
	}
	if err := d.SyncDir(); err != nil {
		return fmt.Errorf("sync the directory of the identity file: %w", err)
	}
	return nil
}
