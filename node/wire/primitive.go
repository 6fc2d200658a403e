package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendDuration(dst []byte, d time.Duration) []byte { return binary.AppendVarint(dst, int64(d)) }

// bitIf is bit when set is true, else 0.
func bitIf(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// decoder reads from the front of b. The first fault sticks: b is emptied, and
// every later read gives a zero value, so that callers check bad once at the end.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

// done tells that all was read and nothing was wrong.
func (d *decoder) done() bool { return !d.bad && len(d.b) == 0 }

func (d *decoder) u8() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// flags is a byte with no bits but those of known.
func (d *decoder) flags(known byte) byte {
	v := d.u8()
	if v&^known != 0 {
		d.fail()
		return 0
	}
	return v
}

// upTo is a byte of at most limit: an enumeration.
func (d *decoder) upTo(limit byte) byte {
	v := d.u8()
	if v > limit {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) u32() uint32 {
	if len(d.b) < 4 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) u64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) id16() (v [16]byte) {
	if len(d.b) < 16 {
		d.fail()
		return v
	}
	copy(v[:], d.b)
	d.b = d.b[16:]
	return v
}

func (d *decoder) sid() hashring.SID { return d.id16() }

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // nearly all are
		v := uint64(d.b[0])
		d.b = d.b[1:]
		return v
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 { // cut, too long, or not the shortest form
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// uvarintTo is a uvarint of at most limit.
func (d *decoder) uvarintTo(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail()
		return 0
	}
	return v
}

// nonZero fails on 0, where a flag has said that there is something.
func (d *decoder) nonZero(v uint64) uint64 {
	if v == 0 {
		d.fail()
	}
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

func (d *decoder) duration() time.Duration { return time.Duration(d.varint()) }

// number is a count that an int holds everywhere.
func (d *decoder) number() int {
	v := d.varint()
	if v > math.MaxInt32 || v < math.MinInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

// count is a length of a list whose elements take at least each bytes: what it
// lets through may be allocated.
func (d *decoder) count(limit, each int) int {
	n := d.uvarintTo(uint64(limit))
	if n > uint64(len(d.b)/each) {
		d.fail()
		return 0
	}
	return int(n)
}

// bytes is a byte string of at most limit bytes that aliases the input; an empty
// one is nil. Its capacity is cut, so that an append cannot reach its neighbour.
func (d *decoder) bytes(limit int) []byte {
	n := d.count(limit, 1)
	if n == 0 {
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// some is bytes that must not be empty.
func (d *decoder) some(limit int) []byte {
	v := d.bytes(limit)
	if len(v) == 0 {
		d.fail()
	}
	return v
}

func (d *decoder) text(limit int) string { return string(d.bytes(limit)) }
