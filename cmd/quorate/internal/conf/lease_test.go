package conf

import (
	"testing"
	"time"
)

// A lease is off, or within its bounds on a system that has the clock for it.
func TestLeaseIsChecked(t *testing.T) {
	for _, c := range []struct {
		d     time.Duration
		clock bool
		ok    bool
	}{
		{0, false, true}, {0, true, true}, {time.Second, true, true}, {500 * time.Millisecond, true, true}, {2 * time.Second, true, true},
		{time.Second, false, false}, {499 * time.Millisecond, true, false}, {2001 * time.Millisecond, true, false}, {-time.Second, true, false},
	} {
		if err := checkLease(c.d, c.clock); (err == nil) != c.ok {
			t.Errorf("%v, clock %v: %v", c.d, c.clock, err)
		}
	}
}
