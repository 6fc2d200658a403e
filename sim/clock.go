package sim

import (
	"math"
	"time"
)

// epochMS is the wall clock at virtual time 0, in unix milliseconds.
const epochMS = 1_700_000_000_000

// clock is a machine's idea of time. The monotonic clock runs at rate and stands
// still while the machine is suspended; the wall clock follows it, off by a step that
// faults change.
type clock struct {
	rate    float64
	true0   time.Duration // virtual time of the last change
	mono0   time.Duration // monotonic time then
	boot    time.Duration // monotonic time at virtual time 0
	offMS   int64         // of the wall clock
	aheadMS int64         // the most that the wall clock was ahead when it was read
	halted  bool
	stood   time.Duration // virtual time at which it was last halted
	slept   time.Duration // in all suspensions, as bootTime counts
}

// newClock is right, on a machine that was started long ago.
func newClock(ago time.Duration) clock { return clock{rate: 1, mono0: ago, boot: ago} }

func (c *clock) mono(now time.Duration) time.Duration {
	switch {
	case c.halted:
		return c.mono0
	case c.rate == 1:
		return c.mono0 + now - c.true0
	}
	return c.mono0 + time.Duration(float64(now-c.true0)*c.rate)
}

// bootTime runs while the machine is suspended too.
func (c *clock) bootTime(now time.Duration) time.Duration {
	at := c.mono(now) + c.slept
	if c.halted {
		at += time.Duration(float64(now-c.true0) * c.rate)
	}
	return at
}

func (c *clock) wallMS(now time.Duration) int64 {
	wall := epochMS + (c.mono(now) - c.boot).Milliseconds() + c.offMS
	c.aheadMS = max(c.aheadMS, wall-epochMS-now.Milliseconds())
	return wall
}

// when is the virtual time at which the monotonic clock reaches mono.
func (c *clock) when(mono time.Duration) time.Duration {
	if c.rate == 1 {
		return c.true0 + mono - c.mono0
	}
	return c.true0 + time.Duration(math.Ceil(float64(mono-c.mono0)/c.rate)) + 1
}

func (c *clock) setRate(now time.Duration, rate float64) {
	c.slept = c.bootTime(now) - c.mono(now)
	c.mono0, c.true0, c.rate = c.mono(now), now, rate
}

// setHalted stops the clocks, as the suspension of a machine does, or lets them go on.
func (c *clock) setHalted(now time.Duration, halted bool) {
	if c.halted {
		c.stood = now
	}
	c.slept = c.bootTime(now) - c.mono(now)
	c.mono0, c.true0, c.halted = c.mono(now), now, halted
}

// legalRate is the rate of a clock that drifts. Where promises are lent two clocks drift
// apart by less than a tenth: each by a twentieth.
func (w *World) legalRate(rate float64) float64 {
	if w.draw.Strong.Lease > 0 {
		return 1 + (rate-1)/2
	}
	return rate
}
