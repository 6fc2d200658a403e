//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package demo

import (
	"errors"
	"os"
)

// SingleKeys is not to be had here: keys count at the line end.
func SingleKeys(*os.File) (undo func(), err error) {
	return nil, errors.New("keys count at the line end")
}
