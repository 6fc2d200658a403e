//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package demo

import (
	"os"

	"golang.org/x/sys/unix"
)

// SingleKeys makes the keys of a terminal arrive one by one, unseen; Ctrl-C stays a
// signal. undo restores the terminal.
func SingleKeys(f *os.File) (undo func(), err error) {
	old, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	if err != nil {
		return nil, err
	}
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), setTermios, &raw); err != nil {
		return nil, err
	}
	return func() {
		_ = unix.IoctlSetTermios(int(f.Fd()), setTermios, old) // nothing can be done about a terminal that is gone
	}, nil
}
