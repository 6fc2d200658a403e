//go:build linux || darwin

package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime tells whether there is a clock that runs while the machine is suspended, as
// leases need it (S11). The monotonic clock that Go reads does not.
func BootTime() bool { return bootTime() > 0 }

// bootTime reads it; 0: it cannot be read.
func bootTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(bootClock, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
