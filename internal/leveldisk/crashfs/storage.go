package crashfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

type unlock struct{ d *Dir }

func (u unlock) Unlock() { u.d.fs.locked(func() { u.d.lock = false }) }

// Lock holds off a second database in the directory.
func (d *Dir) Lock() (storage.Locker, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.lock {
		return nil, storage.ErrLocked
	}
	d.lock = true
	return unlock{d}, nil
}

// Log drops the text.
func (d *Dir) Log(string) {}

// Close does nothing: the machine stays.
func (d *Dir) Close() error { return nil }

// SetMeta points CURRENT to fd; pending until SyncDir.
func (d *Dir) SetMeta(fd storage.FileDesc) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	now, err := d.fs.step(OpRename)
	if err == nil || now && d.fs.rng.IntN(2) == 0 {
		d.change(dirOp{class: DirAfterMeta, meta: fd})
	}
	return err
}

// GetMeta reads CURRENT.
func (d *Dir) GetMeta() (storage.FileDesc, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.fs.cut {
		return storage.FileDesc{}, ErrPowerCut
	}
	if _, ok := d.names[d.meta.String()]; d.meta.Zero() || !ok {
		return storage.FileDesc{}, fs.ErrNotExist
	}
	return d.meta, nil
}

// List names the database's files.
func (d *Dir) List(ft storage.FileType) (fds []storage.FileDesc, err error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.fs.cut {
		return nil, ErrPowerCut
	}
	for name := range d.names {
		if fd, ok := parse(name); ok && fd.Type&ft != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

func parse(name string) (fd storage.FileDesc, ok bool) {
	if num, is := strings.CutPrefix(name, "MANIFEST-"); is {
		_, err := fmt.Sscanf(num, "%d", &fd.Num)
		fd.Type = storage.TypeManifest
		return fd, err == nil
	}
	num, ext, _ := strings.Cut(name, ".")
	switch ext {
	case "log":
		fd.Type = storage.TypeJournal
	case "ldb":
		fd.Type = storage.TypeTable
	case "tmp":
		fd.Type = storage.TypeTemp
	default:
		return fd, false
	}
	_, err := fmt.Sscanf(num, "%d", &fd.Num)
	return fd, err == nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// Open reads a file as it is now; goleveldb opens no file that it still writes.
func (d *Dir) Open(fd storage.FileDesc) (storage.Reader, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.fs.cut {
		return nil, ErrPowerCut
	}
	n, ok := d.names[fd.String()]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return reader{bytes.NewReader(n.data[:len(n.data):len(n.data)])}, nil
}

var createClass = map[storage.FileType]Sync{storage.TypeJournal: DirAfterJournal, storage.TypeManifest: DirAfterManifest,
	storage.TypeTable: DirAfterTable, storage.TypeTemp: DirAfterTemp}

// Create makes an empty file; its name is pending until SyncDir.
func (d *Dir) Create(fd storage.FileDesc) (storage.Writer, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	now, err := d.fs.step(OpCreate)
	n := &inode{}
	if err == nil || now && d.fs.rng.IntN(2) == 0 {
		d.change(dirOp{class: createClass[fd.Type], to: fd.String(), file: n})
	}
	if err != nil {
		return nil, err
	}
	return &writer{d: d, n: n, fd: fd}, nil
}

// Remove takes a name away; pending until some SyncDir.
func (d *Dir) Remove(fd storage.FileDesc) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	now, err := d.fs.step(OpRemove)
	n, ok := d.names[fd.String()]
	if !ok {
		return fs.ErrNotExist
	}
	if err == nil || now {
		if fd.Type == storage.TypeJournal {
			d.fs.stale = n.data
		}
		d.change(dirOp{from: fd.String()})
	}
	return err
}

// Rename is atomic, and pending until SyncDir.
func (d *Dir) Rename(from, to storage.FileDesc) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	now, err := d.fs.step(OpRename)
	n, ok := d.names[from.String()]
	if !ok {
		return fs.ErrNotExist
	}
	if err == nil || now {
		d.change(dirOp{class: DirAfterRename, from: from.String(), to: to.String(), file: n})
	}
	return err
}

type writer struct {
	d  *Dir
	n  *inode
	fd storage.FileDesc
}

func (w *writer) Write(p []byte) (int, error) {
	f := w.d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.writing(len(p), len(w.n.data)-w.n.written)
	w.n.put(w.n.written, p[:n])
	w.n.written += n
	return n, err
}

// WriteAt fills the file with zeros, behind what is written.
func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	f := w.d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.writing(len(p), len(w.n.data)-int(off))
	w.n.put(int(off), p[:n])
	return n, err
}

// Truncate takes back zeros; pending until the next sync.
func (w *writer) Truncate(size int64) error {
	f := w.d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.step(OpWrite)
	if err == nil || now && f.rng.IntN(2) == 0 {
		w.n.data = w.n.data[:size:size]
	}
	return err
}

// Datasync is Sync.
func (w *writer) Datasync() error { return w.Sync() }

// writing is how many of want bytes are written, of which there is room for all
// that the file has already.
func (f *FS) writing(want, have int) (int, error) {
	now, err := f.step(OpWrite)
	n := want
	switch {
	case now, errIsIO(err):
		n = f.rng.IntN(want + 1)
	case err != nil:
		n = 0
	case f.room >= 0 && int64(n-max(have, 0)) > f.room:
		n, err = max(have, 0)+int(f.room), ErrFull
	}
	if f.room >= 0 {
		f.room -= int64(max(n-max(have, 0), 0))
	}
	f.wrote += int64(n)
	return n, err
}

// put writes p at off. A new array when it must grow: readers hold the old one.
func (n *inode) put(off int, p []byte) {
	over := copy(n.data[off:], p)
	n.data = append(n.data, p[over:]...)
}

func errIsIO(err error) bool { return err == ErrIO }

var syncClass = map[storage.FileType]Sync{storage.TypeJournal: SyncJournal, storage.TypeManifest: SyncManifest,
	storage.TypeTable: SyncTable, storage.TypeTemp: SyncTemp}

func (w *writer) Sync() error {
	f := w.d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.step(OpSync)
	switch {
	case errIsIO(err):
		w.n.lying = true
	case now && f.rng.IntN(2) == 0, err == nil && !w.n.lying && f.skip != syncClass[w.fd.Type]:
		w.n.synced, w.n.size = w.n.written, len(w.n.data)
	}
	return err
}

func (w *writer) Close() error { return nil }
