package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

// Values other than records are sealed: a format byte, the fields, a CRC-32C of
// both. (A record's own form is node/wire's.)
const (
	sealFormat   = 1
	sealOverhead = 1 + 4
)

func beginSeal(dst []byte) []byte { return append(dst, sealFormat) }

func endSeal(dst []byte, from int) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// unseal checks and strips the seal. Errors: core.ErrCorrupt.
func unseal(b []byte) ([]byte, error) {
	body, format, err := unsealOf(b)
	if err == nil && format != sealFormat {
		return nil, fmt.Errorf("%w: format %d, known is %d", core.ErrCorrupt, format, sealFormat)
	}
	return body, err
}

// unsealOf leaves it to the caller which formats it knows.
func unsealOf(b []byte) (body []byte, format byte, err error) {
	if len(b) < sealOverhead {
		return nil, 0, fmt.Errorf("%w: %d bytes", core.ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, 0, fmt.Errorf("%w: CRC-32C %08x, stored %08x", core.ErrCorrupt, got, sum)
	}
	return body[1:], body[0], nil
}

// appendHint: generation, then the object.
func appendHint(dst []byte, gen uint64, o *version.Object) []byte {
	from := len(dst)
	dst = binary.AppendUvarint(beginSeal(dst), gen)
	return endSeal(wire.AppendObject(dst, o), from)
}

// decodeHint reads a hint; the object's values alias b. Errors: core.ErrCorrupt.
func decodeHint(b []byte) (*version.Object, uint64, error) {
	body, err := unseal(b)
	if err != nil {
		return nil, 0, err
	}
	gen, n := binary.Uvarint(body)
	if n <= 0 {
		return nil, 0, fmt.Errorf("%w: no generation", core.ErrCorrupt)
	}
	o, err := wire.DecodeObject(body[n:])
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", core.ErrCorrupt, err)
	}
	return o, gen, nil
}

func appendCounters(dst []byte, c *core.Counters) []byte {
	from := len(dst)
	dst = beginSeal(dst)
	dst[from] = countersFormat
	for _, v := range [...]uint64{c.Keys, c.Tombstones, c.Bytes, c.Expiring, uint64(len(c.Hints))} {
		dst = binary.AppendUvarint(dst, v)
	}
	for i := range c.Hints {
		l := &c.Hints[i]
		dst = append(dst, l.Target[:]...)
		for _, v := range [...]uint64{l.Hints, l.Bytes, uint64(max(l.OldestMS, 0)), l.Dirty} {
			dst = binary.AppendUvarint(dst, v)
		}
	}
	return endSeal(dst, from)
}

// Formats of the counters row. The first had neither Expiring nor the age and mark of
// a hint line.
const (
	countersFormat1 = sealFormat
	countersFormat  = 2
)

// minHintLine is the least bytes one line takes; it bounds what a length may claim.
const minHintLine = len(hashring.SID{}) + 2

func decodeCounters(b []byte) (core.Counters, error) {
	c, _, err := decodeCountersOf(b)
	return c, err
}

// decodeCountersOf gives the row's format too: what an older one did not say is 0.
func decodeCountersOf(b []byte) (c core.Counters, format byte, err error) {
	body, format, err := unsealOf(b)
	if err != nil {
		return c, 0, err
	}
	if format != countersFormat1 && format != countersFormat {
		return c, 0, fmt.Errorf("%w: counters of format %d, known are %d and %d", core.ErrCorrupt, format, countersFormat1, countersFormat)
	}
	d := fields{b: body}
	c.Keys, c.Tombstones, c.Bytes = d.uvarint(), d.uvarint(), d.uvarint()
	if format > countersFormat1 {
		c.Expiring = d.uvarint()
	}
	n := d.uvarint()
	if n > uint64(len(d.b)/minHintLine) {
		d.bad = true
	}
	if !d.bad && n > 0 {
		c.Hints = make([]antientropy.HintLine, n)
		for i := range c.Hints {
			c.Hints[i] = d.hintLine(format)
		}
	}
	if d.bad || len(d.b) != 0 {
		return core.Counters{}, 0, fmt.Errorf("%w: counters do not decode", core.ErrCorrupt)
	}
	return c, format, nil
}

func (d *fields) hintLine(format byte) antientropy.HintLine {
	l := antientropy.HintLine{Target: d.sid(), Hints: d.uvarint(), Bytes: d.uvarint()}
	if format > countersFormat1 {
		oldest := d.uvarint()
		d.bad = d.bad || oldest > math.MaxInt64
		l.OldestMS, l.Dirty = int64(oldest), d.uvarint()
	}
	return l
}

// appendOwner: sid and boot count.
func appendOwner(dst []byte, sid hashring.SID, boot uint64) []byte {
	from := len(dst)
	dst = append(beginSeal(dst), sid[:]...)
	return endSeal(binary.AppendUvarint(dst, boot), from)
}

func decodeOwner(b []byte) (sid hashring.SID, boot uint64, err error) {
	body, err := unseal(b)
	if err != nil {
		return sid, 0, err
	}
	d := fields{b: body}
	sid, boot = d.sid(), d.uvarint()
	if d.bad || len(d.b) != 0 {
		return sid, 0, fmt.Errorf("%w: owner row does not decode", core.ErrCorrupt)
	}
	return sid, boot, nil
}

func appendBound(dst []byte, h version.HLC) []byte {
	from := len(dst)
	return endSeal(binary.BigEndian.AppendUint64(beginSeal(dst), uint64(h)), from)
}

func decodeBound(b []byte) (version.HLC, error) {
	body, err := unseal(b)
	if err != nil || len(body) != 8 {
		return 0, fmt.Errorf("%w: clock bound of %d bytes", core.ErrCorrupt, len(b))
	}
	return version.HLC(binary.BigEndian.Uint64(body)), nil
}

type fields struct {
	b   []byte
	bad bool
}

func (d *fields) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *fields) sid() (s hashring.SID) {
	if len(d.b) < len(s) {
		d.bad, d.b = true, nil
		return s
	}
	d.b = d.b[copy(s[:], d.b):]
	return s
}
