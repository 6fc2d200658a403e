// Package crashfs is a storage for tests that can lose power. It keeps apart what
// a process has written and what is durable: bytes of a file since its last sync
// and names in a directory since its last sync may be lost, in any combination, and
// the last write may be torn. It can also fail or fill up at a chosen operation,
// flip bits, and skip one class of sync to show that the sync is needed.
//
// Everything random comes from the seed; with a concurrent writer above it the order
// of operations is the scheduler's, so a seed names a family of runs.
package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

var (
	// ErrPowerCut is every operation at and after the cut.
	ErrPowerCut = errors.New("crashfs: the power is cut")
	// ErrIO is an injected EIO.
	ErrIO = fmt.Errorf("crashfs: %w", syscall.EIO)
	// ErrFull is an injected ENOSPC.
	ErrFull = fmt.Errorf("crashfs: %w", syscall.ENOSPC)
)

// Sync is a class of syncs that a test can leave out.
type Sync uint8

const (
	NoSync           Sync = iota
	SyncJournal           // of a journal's bytes
	SyncManifest          // of a manifest's bytes
	SyncTable             // of a table's bytes
	SyncTemp              // of a temporary file's bytes, before it replaces a log
	SyncReplace           // of a plain file's bytes, before it replaces the old one
	DirAfterJournal       // of the directory after a journal was created
	DirAfterManifest      // ... a manifest
	DirAfterTable         // ... a table
	DirAfterTemp          // ... a temporary file
	DirAfterRename        // ... a rename of a log
	DirAfterMeta          // ... CURRENT was pointed elsewhere
	DirAfterReplace       // ... a plain file was replaced
	SyncClasses           // their number
)

var syncNames = [SyncClasses]string{"none", "journal", "manifest", "table", "temp", "replaced file", "directory after journal",
	"directory after manifest", "directory after table", "directory after temp", "directory after rename",
	"directory after CURRENT", "directory after replaced file"}

func (s Sync) String() string { return syncNames[s] }

// Op is a kind of operation that a test can fail.
type Op uint8

const (
	OpWrite Op = iota
	OpSync
	OpSyncDir
	OpCreate
	OpRename // and replacing, and pointing CURRENT
	OpRemove
	Ops // their number
)

// FS is all directories of one machine.
type FS struct {
	mu    sync.Mutex
	rng   *rand.Rand
	dirs  map[string]*Dir
	skip  Sync
	stale []byte // bytes of removed journals, for recycled tails

	count [Ops]int
	total int
	cutAt int // total at which the power goes; 0: never
	cut   bool
	fail  [Ops]int // count at which the operation fails; 0: never
	after [Ops]int // count of a kind after which the next operation is the last; 0: never
	room  int64    // bytes that can still be written; negative: unbounded
	wrote int64
}

// New is an empty machine.
func New(seed uint64) *FS {
	return &FS{rng: rand.New(rand.NewPCG(seed, 0xc4a5)), dirs: map[string]*Dir{}, room: -1}
}

// CutAt cuts the power at the n-th operation from now, 1 being the next.
func (f *FS) CutAt(n int) { f.locked(func() { f.cutAt = f.total + n }) }

// CutAfter cuts the power at the operation that follows the n-th one of a kind from
// now: between a rename and its sync, say.
func (f *FS) CutAfter(op Op, n int) { f.locked(func() { f.after[op] = f.count[op] + n }) }

// Skip leaves out one class of syncs from now on, silently.
func (f *FS) Skip(s Sync) { f.locked(func() { f.skip = s }) }

// Fail makes the n-th operation of a kind from now fail with EIO, once.
func (f *FS) Fail(op Op, n int) { f.locked(func() { f.fail[op] = f.count[op] + n }) }

// FullAfter makes writes fail with ENOSPC after n more bytes.
func (f *FS) FullAfter(n int64) { f.locked(func() { f.room = n }) }

// Total is the number of operations so far.
func (f *FS) Total() (n int) { f.locked(func() { n = f.total }); return n }

// Count is the number of operations of one kind so far.
func (f *FS) Count(op Op) (n int) { f.locked(func() { n = f.count[op] }); return n }

// Cut tells whether the power is gone.
func (f *FS) Cut() (yes bool) { f.locked(func() { yes = f.cut }); return yes }

// PowerCut cuts the power now.
func (f *FS) PowerCut() { f.locked(func() { f.cut = true }) }

func (f *FS) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// step counts one operation. now: this is the one during which the power goes, so
// it may happen in part.
func (f *FS) step(op Op) (now bool, err error) {
	if f.cut {
		return false, ErrPowerCut
	}
	f.total++
	f.count[op]++
	if f.total == f.cutAt {
		f.cut = true
		return true, ErrPowerCut
	}
	if f.count[op] == f.after[op] {
		f.cutAt = f.total + 1
	}
	if f.count[op] == f.fail[op] {
		return false, ErrIO
	}
	return false, nil
}

// inode is a file's bytes. A file is written from its beginning to its end; a journal
// may have been filled with zeros behind what is written.
type inode struct {
	data    []byte
	written int // the rest is zeros
	synced  int // of written
	size    int // durable length: zeros, where what is written is not durable
	// lying: a sync has failed. Like Linux after it has dropped the dirty pages, later
	// syncs report success and make nothing durable.
	lying bool
}

// dirOp is a change of a directory that is not durable yet.
type dirOp struct {
	class    Sync
	from, to string // from is removed, to is set; either may be empty
	file     *inode
	meta     storage.FileDesc
}

func (o dirOp) apply(names map[string]*inode, meta *storage.FileDesc) {
	if o.from != "" {
		delete(names, o.from)
	}
	if o.to != "" {
		names[o.to] = o.file
	}
	if o.class == DirAfterMeta {
		*meta = o.meta
	}
}

// Dir is one directory: a storage.Storage with SyncDir, and plain files beside it.
type Dir struct {
	fs      *FS
	lock    bool
	names   map[string]*inode
	meta    storage.FileDesc
	durable struct {
		names map[string]*inode
		meta  storage.FileDesc
	}
	pending []dirOp
}

// Dir is the directory of that name, made when it is new. Making it is durable.
func (f *FS) Dir(name string) *Dir {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[name]
	if d == nil {
		d = &Dir{fs: f, names: map[string]*inode{}}
		d.durable.names = map[string]*inode{}
		f.dirs[name] = d
	}
	return d
}

// change does o for the running processes and leaves it pending for the disk.
func (d *Dir) change(o dirOp) {
	o.apply(d.names, &d.meta)
	d.pending = append(d.pending, o)
}

// SyncDir makes all changes of the directory durable.
func (d *Dir) SyncDir() error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	now, err := d.fs.step(OpSyncDir)
	if now && d.fs.rng.IntN(2) == 0 || err == nil && !d.skipped() {
		d.flush()
	}
	return err
}

// skipped tells whether the newest change is of the class whose sync is left out.
func (d *Dir) skipped() bool {
	for i := len(d.pending) - 1; i >= 0; i-- {
		if c := d.pending[i].class; c != NoSync {
			return c == d.fs.skip
		}
	}
	return false
}

func (d *Dir) flush() {
	for _, o := range d.pending {
		o.apply(d.durable.names, &d.durable.meta)
	}
	d.pending = nil
}

// ReadFile reads a plain file.
func (d *Dir) ReadFile(name string) ([]byte, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.fs.cut {
		return nil, ErrPowerCut
	}
	n, ok := d.names[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return append([]byte(nil), n.data...), nil
}

// ReplaceFile writes a synced file and renames it to name, as renameio does; the
// rename is durable only after SyncDir.
func (d *Dir) ReplaceFile(name string, b []byte) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if now, err := d.fs.step(OpRename); err != nil {
		if now && d.fs.rng.IntN(2) == 0 {
			d.change(dirOp{class: DirAfterReplace, to: name, file: &inode{data: b, written: len(b), synced: len(b)}})
		}
		return err
	}
	n := &inode{data: append([]byte(nil), b...), written: len(b)}
	if d.fs.skip != SyncReplace {
		n.synced = len(b)
	}
	d.change(dirOp{class: DirAfterReplace, to: name, file: n})
	return nil
}

// Names are the files a process sees.
func (d *Dir) Names() []string {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	var out []string
	for name := range d.names {
		out = append(out, name)
	}
	return out
}

// Clear drops everything in the directory, durably.
func (d *Dir) Clear() {
	d.fs.locked(func() {
		clear(d.names)
		clear(d.durable.names)
		d.pending, d.meta, d.durable.meta = nil, storage.FileDesc{}, storage.FileDesc{}
	})
}

// Size is the length of a file, -1 if there is none.
func (d *Dir) Size(name string) (n int) {
	d.fs.locked(func() {
		n = -1
		if f := d.names[name]; f != nil {
			n = len(f.data)
		}
	})
	return n
}

// Written is how much of a file was written; the rest is zeros.
func (d *Dir) Written(name string) (n int) {
	d.fs.locked(func() { n = d.names[name].written })
	return n
}

// Flip flips one bit, in the durable bytes too.
func (d *Dir) Flip(name string, off int, bit uint) {
	d.fs.locked(func() { d.names[name].data[off] ^= 1 << (bit % 8) })
}

// Truncate shortens a file, durably.
func (d *Dir) Truncate(name string, n int) {
	d.fs.locked(func() {
		f := d.names[name]
		f.data = f.data[:n:n]
		f.written, f.synced, f.size = min(f.written, n), min(f.synced, n), n
	})
}

// Append puts bytes at the end of a file, durably.
func (d *Dir) Append(name string, b []byte) {
	d.fs.locked(func() {
		f := d.names[name]
		f.data = append(f.data, b...)
		f.written, f.synced, f.size = len(f.data), len(f.data), len(f.data)
	})
}

// Delete removes a file, durably.
func (d *Dir) Delete(name string) {
	d.fs.locked(func() {
		delete(d.names, name)
		delete(d.durable.names, name)
	})
}
