//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// Tie keeps Ctrl-C of the terminal from the child.
func Tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
