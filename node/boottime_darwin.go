package node

import "golang.org/x/sys/unix"

const bootClock = unix.CLOCK_MONOTONIC // here it runs on while the machine sleeps
