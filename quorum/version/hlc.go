package version

// HLC is a hybrid logical clock stamp: 48 bits of unix milliseconds, then 16 bits
// of counter (Kulkarni et al. 2014). It orders siblings for people and for
// last-write-wins buckets; safety never rests on it (E9).
type HLC uint64

// HLCFromMS is the least stamp of a wall-clock millisecond.
func HLCFromMS(ms int64) HLC { return HLC(ms) << 16 }

// MS is the stamp's wall-clock part in unix milliseconds.
func (h HLC) MS() int64 { return int64(h >> 16) }

// Clock issues stamps that never go back, not even over a restart with an older
// wall clock: every stamp stays below Bound, which the caller makes durable
// before it lets out a stamp above the previous one.
type Clock struct {
	last  HLC
	bound HLC
}

// ReserveMS is how far ahead of the stamps the durable bound is moved: large
// enough that a busy store writes it a few times a second, small enough that a
// restart stays well within the skew that last-write-wins buckets allow (500 ms).
const ReserveMS = 250

// NewClock continues behind the durable bound of the last run.
func NewClock(bound HLC) Clock { return Clock{last: bound, bound: bound} }

// Next is a stamp above everything issued here and above seen (the stamps of what
// the write replaces). reserve is true when Bound has grown and must go into the
// batch that carries the stamp.
func (c *Clock) Next(wallMS int64, seen HLC) (h HLC, reserve bool) {
	c.last = max(c.last+1, seen+1, HLCFromMS(wallMS))
	if c.last >= c.bound {
		c.bound = c.last + HLCFromMS(ReserveMS)
		reserve = true
	}
	return c.last, reserve
}

// Bound is what must be durable.
func (c *Clock) Bound() HLC { return c.bound }
