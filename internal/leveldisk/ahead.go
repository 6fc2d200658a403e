package leveldisk

import (
	"errors"
	"io"
	"syscall"
)

// aheadBytes is how far a journal is filled with zeros before its records. A sync
// of bytes that lie within the file's size leaves the file system's own journal
// alone, which halves its time and takes a third off its processor time; with 256
// KiB one sync in some sixty still pays for the size.
const aheadBytes = 256 << 10

// aheadPiece is one write of zeros: a page. One write of all of them would make the
// page cache keep them as one large page, which counts as written whole whenever a
// record changes a part of it.
const aheadPiece = 4 << 10

var zeros [blockSize]byte

// aheadFile is a journal that can be filled ahead: what the scan reads as the clean
// end of a journal (scanJournal) is zeros.
type aheadFile interface {
	io.WriterAt
	Truncate(size int64) error
	// Datasync makes the bytes durable, and the size when it has changed.
	Datasync() error
}

// ahead is where a journal's records and its zeros end.
type ahead struct {
	file     aheadFile // nil: not filled ahead
	end, pos int64
}

// wrote counts n bytes of records, and fills the file when they have reached its end.
// A disk too full for zeros may still have room for records.
func (a *ahead) wrote(n int) error {
	a.pos += int64(n)
	if a.file == nil || a.pos < a.end {
		return nil
	}
	for a.end = a.pos; a.end < a.pos+aheadBytes; {
		n := aheadPiece - a.end%aheadPiece
		if _, err := a.file.WriteAt(zeros[:n], a.end); errors.Is(err, syscall.ENOSPC) {
			a.end = a.pos + aheadBytes
			return nil
		} else if err != nil {
			return err
		}
		a.end += n
	}
	return nil
}

// trim gives back what was not needed. It needs no sync: zeros that come back after
// a crash are no records.
func (a *ahead) trim() error {
	if a.file == nil || a.pos >= a.end {
		return nil
	}
	return a.file.Truncate(a.pos)
}
