package leveldisk

import (
	"errors"
	"io"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// cut shortens a file to its whole records: a synced copy is renamed over it, so a
// crash in between leaves the old file or the new. Once goleveldb has written its
// next journal, a torn tail left here would look like damage.
func (s *Storage) cut(c Cut) error {
	tmp := storage.FileDesc{Type: storage.TypeTemp, Num: c.File.Num}
	if err := s.copyPrefix(c.File, tmp, c.To); err != nil {
		return err
	}
	return s.Rename(tmp, c.File)
}

func (s *Storage) copyPrefix(from, to storage.FileDesc, n int64) (err error) {
	r, err := s.base.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := s.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := io.CopyN(w, r, n); err != nil {
		return err
	}
	return w.Sync()
}

// removeTemps drops what an interrupted cut left; goleveldb keeps such files for ever.
func (s *Storage) removeTemps() error {
	fds, err := s.base.List(storage.TypeTemp)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if err := s.base.Remove(fd); err != nil {
			return err
		}
	}
	return nil
}
