package core

import "time"

// strongScrub has the strong partitions here add up their values, one after the other
// and slice by slice, all of them in about `every` (D5; quorum/strong/scrub.go says what
// comes of it).
type strongScrub struct {
	part   uint32        // at or behind this one is next
	next   time.Duration // not before
	walk   *strongPart
	rounds uint64 // complete walks of it when this one began
	slices int    // left of this one
}

// strongScrubSlices bound one walk, one slice a second: a partition whose values change
// all the time may have to read a slice again and again, and others wait.
const strongScrubSlices = 1 << 14

// strongScrubTick reads the next slice, once a second.
func (c *Core) strongScrubTick() {
	s := &c.strong.scrub
	if s.walk != nil {
		if s.slices--; s.slices < 0 || s.walk.r == nil || s.walk.r.Status().Scrubs != s.rounds {
			s.walk = nil
		}
	}
	if s.walk == nil && !c.strongScrubNext() {
		return
	}
	c.touchStrong(s.walk)
	if !s.walk.r.Scrub() {
		s.walk = nil
	}
}

// strongScrubNext begins with another partition if one is due.
func (c *Core) strongScrubNext() bool {
	s := &c.strong.scrub
	if len(c.strong.parts) == 0 || !c.confirmed || c.now.Mono < s.next {
		return false
	}
	var at *strongPart
	ids := sortedKeys(c.strong.parts)
	for _, id := range ids {
		if sp := c.strong.parts[id]; sp.r != nil && (at == nil || id >= s.part && at.id < s.part) {
			at = sp
		}
	}
	first := s.next == 0
	s.next = c.now.Mono + c.repair.scrub.every/time.Duration(len(ids))
	if at == nil || first { // not at once after a start
		return false
	}
	s.part, s.walk, s.rounds, s.slices = at.id+1, at, at.r.Status().Scrubs, strongScrubSlices
	return true
}
