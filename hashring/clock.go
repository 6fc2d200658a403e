package hashring

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
)

// Dot is one event of one actor, as quorum/version has it: this package, being
// below, keeps the numbers only.
type Dot struct {
	Actor   uint64
	Counter uint64
}

// Clock is a version vector in the ring state: for each actor the highest counter,
// sorted by actor, no actor twice, no counter 0. Treat it as immutable.
//
// As text it is base64url of eight bytes of actor, big-endian, and a uvarint of the
// counter for each: 15 characters an actor where JSON's numbers would take 50.
type Clock []Dot

// Covers tells whether the dot is at or below the clock. It allocates nothing.
func (c Clock) Covers(d Dot) bool { return d.Counter <= c.Counter(d.Actor) }

// Counter is the highest counter of the actor, 0 when it has none.
func (c Clock) Counter(actor uint64) uint64 {
	i, ok := slices.BinarySearchFunc(c, actor, func(d Dot, a uint64) int { return cmp.Compare(d.Actor, a) })
	if !ok {
		return 0
	}
	return c[i].Counter
}

// Join is the least clock that covers what either covers. It writes to neither.
func (c Clock) Join(o Clock) Clock {
	out := make(Clock, 0, len(c)+len(o))
	for len(c) > 0 && len(o) > 0 {
		switch {
		case c[0].Actor < o[0].Actor:
			out, c = append(out, c[0]), c[1:]
		case c[0].Actor > o[0].Actor:
			out, o = append(out, o[0]), o[1:]
		default:
			out = append(out, Dot{c[0].Actor, max(c[0].Counter, o[0].Counter)})
			c, o = c[1:], o[1:]
		}
	}
	return append(append(out, c...), o...)
}

func (c Clock) check() error {
	for i, d := range c {
		if d.Counter == 0 || i > 0 && c[i-1].Actor >= d.Actor {
			return refuse(ErrInvalid, "entry %d of a clock: actor %016x, counter %d", i, d.Actor, d.Counter)
		}
	}
	return nil
}

// Bytes is the size of the clock as MaxClockBytes counts it.
func (c Clock) Bytes() (n int) {
	for _, d := range c {
		n += 9
		for v := d.Counter >> 7; v > 0; v >>= 7 {
			n++
		}
	}
	return n
}

// MarshalText and UnmarshalText are the form described at the type.
func (c Clock) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 12*len(c))
	for _, d := range c {
		b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, d.Actor), d.Counter)
	}
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

func (c *Clock) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	out := make(Clock, 0, len(b)/9) // no entry is shorter, so this is bounded by the input
	for len(b) > 0 {
		if len(b) < 9 {
			return fmt.Errorf("clock: %d bytes left for an entry", len(b))
		}
		actor := binary.BigEndian.Uint64(b)
		counter, n := binary.Uvarint(b[8:])
		if n <= 0 {
			return fmt.Errorf("clock: counter of actor %016x", actor)
		}
		out, b = append(out, Dot{actor, counter}), b[8+n:]
	}
	*c = out
	return nil
}

// clockShare is how many bytes of clock a partition of so many may have.
func clockShare(partitions int) int { return min(MaxClockBytes, MaxPurgeBytes/max(1, partitions)) }
