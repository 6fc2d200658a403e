//go:build !linux && !darwin

package node

import "time"

// BootTime tells whether there is a clock that runs while the machine is suspended, as
// leases need it (S11).
func BootTime() bool { return false }

func bootTime() time.Duration { return 0 }
