package leveldisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// DirMode keeps other users of the machine out of the data.
const DirMode = 0o750

type dirBase struct {
	storage.Storage
	dir string
}

func (d dirBase) SyncDir() error { return SyncDir(d.dir) }

// OpenDir is a Base of files in dir. It locks the directory against a second
// process. With create a missing directory is made, durably; else it is ErrMissing.
func OpenDir(dir string, create bool) (Base, error) {
	switch info, err := os.Stat(dir); {
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	case !create:
		return nil, fmt.Errorf("%w: %s does not exist", ErrMissing, dir)
	default:
		if err := MkdirAll(dir); err != nil {
			return nil, err
		}
	}
	st, err := storage.OpenFile(dir, false)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return dirBase{st, dir}, nil
}

// MkdirAll makes dir and its missing parents; each new name is synced (D3).
func MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, DirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(parent)
}
