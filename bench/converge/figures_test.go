package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/bench/load"
)

// A difference of three percent is seen through noise of ten, and the interval holds it
// about as often as it says.
func TestDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const tries = 400
	held, off := 0, 0.0
	for range tries {
		var base, with []float64
		for range 30 {
			weather := 1 + rng.Float64() // of the machine, the same for both
			base = append(base, weather*(1+0.05*rng.NormFloat64()))
			with = append(with, weather*1.03*(1+0.05*rng.NormFloat64()))
		}
		mid, low, high := difference(base, with)
		if low <= 3 && 3 <= high {
			held++
		}
		off += math.Abs(mid-3) / tries
	}
	if held < tries*90/100 || held == tries || off > 2 {
		t.Errorf("held in %d of %d, off by %.1f on average", held, tries, off)
	}
}

// The time of a drain is held against the time before and after it; a burst of one second
// changes nothing, a figure that is missed is an error.
func TestDownIsJudgedByMedians(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_700_000_000+int64(s), 0) }
	tm := times{calm: at(0), gone: at(20), back: at(80), ready: at(81), drained: at(90), again: at(95), end: at(115)}
	judged := func(slow time.Duration) error {
		var c load.Curve
		for s := range 115 {
			took := time.Millisecond
			switch {
			case s == 5 || s == 85:
				took = time.Second
			case s >= 20 && s < 80: // while it is away: no part of either
				took = time.Minute
			case s >= 80 && s < 90:
				took = slow
			}
			for i := range 100 {
				c = append(c, load.Point{Due: at(s).Add(time.Duration(i) * 10 * time.Millisecond), Took: took})
			}
		}
		b := &bench{o: options{p99Most: 1.5}, rep: &report{}}
		b.judge(&tm, c)
		return b.rep.missed()
	}
	if err := judged(1400 * time.Microsecond); err != nil {
		t.Error(err)
	}
	if judged(1600*time.Microsecond) == nil {
		t.Error("1.6 is above 1.5")
	}
}
