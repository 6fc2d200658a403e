//go:build !linux

package leveldisk

import "github.com/syndtr/goleveldb/leveldb/storage"

// journalFile is filled ahead only where a sync of bytes alone is cheaper.
type journalFile struct{ storage.Writer }
