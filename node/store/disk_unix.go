//go:build linux || darwin

package store

import (
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// replaceFile writes beside path: left to itself renameio takes $TMPDIR where that is on the
// same file system, and what a crash leaves would lie there for ever.
func replaceFile(path string, b []byte) error {
	return renameio.WriteFile(path, b, 0o640, renameio.WithTempDir(filepath.Dir(path)))
}

// fileLimit is the limit of open files; Go has raised it to the hard limit at start.
func fileLimit() (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err
}

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
