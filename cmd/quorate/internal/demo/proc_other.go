//go:build !unix

package demo

import (
	"errors"
	"os"
	"os/exec"
)

var errNoPause = errors.New("this system cannot pause a process")

func isolate(*exec.Cmd)               {}
func pauseProcess(*os.Process) error  { return errNoPause }
func resumeProcess(*os.Process) error { return errNoPause }
