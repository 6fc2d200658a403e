//go:build unix

package process

import (
	"os"
	"syscall"
)

// CanPause says whether Pause and Resume work here.
const CanPause = true

// Pause stops a process where it stands; its sockets stay open.
func Pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
