package leveldisk

import (
	"os"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Create gives journals the methods of an aheadFile.
func (d dirBase) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := d.Storage.Create(fd)
	if f, ok := w.(osFile); ok && err == nil && fd.Type == storage.TypeJournal {
		return journalFile{w, f}, nil
	}
	return w, err
}

// osFile is what goleveldb's writer has of its *os.File.
type osFile interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	SyscallConn() (syscall.RawConn, error)
}

var _ osFile = (*os.File)(nil)

type journalFile struct {
	storage.Writer
	file osFile
}

func (f journalFile) WriteAt(p []byte, off int64) (int, error) { return f.file.WriteAt(p, off) }
func (f journalFile) Truncate(size int64) error                { return f.file.Truncate(size) }

func (f journalFile) Datasync() error {
	raw, err := f.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for failed = syscall.EINTR; failed == syscall.EINTR; {
			failed = syscall.Fdatasync(int(fd))
		}
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("fdatasync", failed)
	}
	return err
}
