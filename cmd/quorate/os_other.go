//go:build !unix

package main

import (
	"os"
	"syscall"
)

var (
	stopSignals   = []os.Signal{os.Interrupt, syscall.SIGTERM}
	reloadSignals []os.Signal
)

// filesLimit is not known here: the system has no such limit.
func filesLimit() (n uint64, known bool) { return 0, false }
