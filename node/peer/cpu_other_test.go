//go:build !unix

package peer

import "time"

func processCPU() time.Duration { return 0 }
