package demo

import (
	"os/exec"
	"syscall"
)

// isolate keeps Ctrl-C of the terminal from the child, and ends it with its parent
// even while it stands still.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
