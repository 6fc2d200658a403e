package process

import (
	"os/exec"
	"syscall"
)

// Tie keeps Ctrl-C of the terminal from the child, and ends it with its parent
// even while it stands still.
func Tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
