package sim

import (
	"math/rand/v2"
	"time"
)

// Every concern draws from a stream of its own, so that leaving out one fault changes
// as little as may be of the rest of a run.
const (
	forDraw = iota + 1
	forFaults
	forNetwork
	forDisks
	forClients
	forCores
	forControl
)

func stream(seed uint64, concern uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15*concern))
}

// between is a duration drawn evenly from [lo, hi).
func between(r *rand.Rand, lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}

// around is mostly near d, and now and then a few times as much.
func around(r *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + time.Duration(r.Int64N(int64(d)))
}
