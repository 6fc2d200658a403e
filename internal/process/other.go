//go:build !unix

package process

import (
	"errors"
	"os"
	"os/exec"
)

var errNoPause = errors.New("this system cannot pause a process")

// CanPause says whether Pause and Resume work here.
const CanPause = false

// Tie does nothing here: the pipe of standard input ends the child with its parent.
func Tie(*exec.Cmd) {}

// Pause always fails here.
func Pause(*os.Process) error { return errNoPause }

// Resume always fails here.
func Resume(*os.Process) error { return errNoPause }
