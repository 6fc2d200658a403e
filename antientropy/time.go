package antientropy

import "time"

// Duration is a time as an argument: monotonic, since some fixed point.
type Duration = time.Duration
