package store

import (
	"errors"
	"fmt"
)

// Why a data directory is refused; each error's text names the directory and what to do.
var (
	ErrInUse       = errors.New("the data directory is in use")
	ErrNewerFormat = errors.New("this data directory was written by a newer quorate")
	ErrNoDatabase  = errors.New("the database is gone")
	ErrNoIdentity  = errors.New("the identity file is gone")
	ErrMismatch    = errors.New("these do not belong together")
	ErrForeign     = errors.New("the directory is not empty and not a data directory")
	ErrUnwritable  = errors.New("the data directory cannot be written")
	ErrTooFewFiles = errors.New("too few file descriptors")
	ErrClosed      = errors.New("the store is closed")
)

// DamagedError is damage that no crash explains (D4). Nothing was changed.
type DamagedError struct {
	Dir    string
	File   string // in Dir
	Offset int64  // of the first byte that cannot be trusted
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the store in %s is damaged: %s at offset %d: %s; nothing was changed. Where its peers hold all that it held, the node sets "+
		"the directory aside and starts empty, as a new store that is refilled by them; to do that by hand, move the directory away. "+
		"A restored backup helps only where this was the only copy: a cluster tells it from the store it knows and refuses it",
		e.Dir, e.File, e.Offset, e.Reason)
}
