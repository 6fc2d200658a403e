package core

import (
	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// purgeClock is what deletion rounds have settled in a partition, nil before the first
// one. It is converted once for each commit: states share what is unchanged.
func (c *Core) purgeClock(p uint32) version.Vector {
	is := c.ring.Partitions[p].Purge
	if is == nil || len(is.Clock) == 0 {
		return nil
	}
	part := c.part(p)
	if part.purge != is {
		part.purge, part.clock = is, vectorOf(is.Clock)
	}
	return part.clock
}

// vectorOf is a clock of the ring state as quorum/version has it. Both are sorted.
func vectorOf(clock hashring.Clock) version.Vector {
	out := make(version.Vector, len(clock))
	for i, d := range clock {
		out[i] = version.Dot{Actor: version.Actor(d.Actor), Counter: d.Counter}
	}
	return out
}

// guard is E6: what an incoming object may still bring here; nil: nothing, and that is
// as good as done.
//
// A full owner strips what was purged. A store that is being built cannot: that it does
// not hold a sibling says nothing, and the object without it would still bring a context
// that covers it, so that its source's copy of a value that lives would be dropped as
// replaced, here first and by the next exchange everywhere. So it refuses the whole
// object: the coordinator keeps a hint, which waits until this store is full and can
// tell. Nothing is missed by that, since its acks count for nothing (E6b).
func (c *Core) guard(p uint32, in, local *version.Object) (*version.Object, quorum.Reason) {
	clock := c.purgeClock(p)
	if len(clock) == 0 || plant.Is(plant.NoGuard) {
		return in, quorum.ReasonNone
	}
	out := antientropy.Strip(in, local, clock)
	if out == in {
		return in, quorum.ReasonNone
	}
	c.stats.Guarded++
	if _, building := c.ring.Building(p, c.cfg.Self); building && !plant.Is(plant.BuilderStrips) {
		return nil, quorum.ReasonBuilding
	}
	return out, quorum.ReasonNone
}
