package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Flags of a sibling.
const (
	sibTombstone byte = 1 << iota
	sibExpiry
	sibRequest
	sibContentType
	sibKnown = sibTombstone | sibExpiry | sibRequest | sibContentType
)

const (
	minDot     = 9                      // actor, counter
	minSibling = 1 + minDot + 8 + 4 + 1 // flags, dot, HLC, sum, length of the value
)

// AppendObject appends o, which is valid and not nil: the context's dots, then the
// siblings, each list behind its length.
func AppendObject(dst []byte, o *version.Object) []byte {
	dst = appendVector(dst, o.Context)
	dst = binary.AppendUvarint(dst, uint64(len(o.Siblings)))
	for i := range o.Siblings {
		dst = appendSibling(dst, &o.Siblings[i])
	}
	return dst
}

func appendVector(dst []byte, v version.Vector) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	for _, d := range v {
		dst = appendDot(dst, d)
	}
	return dst
}

func appendDot(dst []byte, d version.Dot) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Actor))
	return binary.AppendUvarint(dst, d.Counter)
}

func appendSibling(dst []byte, s *version.Sibling) []byte {
	f := bitIf(s.Tombstone, sibTombstone) | bitIf(s.ExpiryMS != 0, sibExpiry) |
		bitIf(!s.Request.IsZero(), sibRequest) | bitIf(s.ContentType != "", sibContentType)
	dst = appendDot(append(dst, f), s.Dot)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.HLC))
	if f&sibExpiry != 0 {
		dst = binary.AppendUvarint(dst, uint64(s.ExpiryMS))
	}
	if f&sibRequest != 0 {
		dst = append(dst, s.Request[:]...)
	}
	if f&sibContentType != 0 {
		dst = appendString(dst, s.ContentType)
	}
	dst = binary.BigEndian.AppendUint32(dst, s.Sum)
	return appendBytes(dst, s.Value)
}

// DecodeObject reads exactly one object; its values alias b. Errors: ErrMalformed.
func DecodeObject(b []byte) (*version.Object, error) {
	d := decoder{b: b}
	o := d.object()
	if !d.done() {
		return nil, fmt.Errorf("%w: object of %d bytes", ErrMalformed, len(b))
	}
	return o, nil
}

// small is an object with room for what most objects hold: a few process starts
// of three owners and one sibling. One allocation instead of three.
type small struct {
	object  version.Object
	context [4]version.Dot
	sibling [1]version.Sibling
}

func (d *decoder) object() *version.Object {
	before := len(d.b)
	o := d.objectBody()
	if before-len(d.b) > MaxEncodedObject {
		d.fail()
		return nil
	}
	return o
}

func (d *decoder) objectBody() *version.Object {
	actors := d.count(MaxActors, minDot)
	room := new(small)
	o := &room.object
	if actors > len(room.context) {
		o.Context = make(version.Vector, actors)
	} else if actors > 0 {
		o.Context = room.context[:actors:actors]
	}
	for i := range o.Context {
		o.Context[i] = d.dot()
	}
	siblings := d.count(MaxSiblings, minSibling)
	if siblings > len(room.sibling) {
		o.Siblings = make([]version.Sibling, siblings)
	} else if siblings > 0 {
		o.Siblings = room.sibling[:siblings:siblings]
	}
	for i := range o.Siblings {
		d.sibling(&o.Siblings[i])
	}
	if d.bad || !o.Valid() {
		d.fail()
		return nil
	}
	return o
}

func (d *decoder) dot() version.Dot {
	return version.Dot{Actor: version.Actor(d.u64()), Counter: d.uvarint()}
}

// vector is one with at most limit actors, valid.
func (d *decoder) vector(limit int) version.Vector {
	n := d.count(limit, minDot)
	if n == 0 {
		return nil
	}
	v := make(version.Vector, n)
	for i := range v {
		v[i] = d.dot()
	}
	if d.bad || !v.Valid() {
		d.fail()
		return nil
	}
	return v
}

func (d *decoder) sibling(s *version.Sibling) {
	f := d.flags(sibKnown)
	s.Dot = d.dot()
	s.HLC = version.HLC(d.u64())
	s.Tombstone = f&sibTombstone != 0
	if f&sibExpiry != 0 {
		s.ExpiryMS = int64(d.nonZero(d.uvarintTo(math.MaxInt64)))
	}
	if f&sibRequest != 0 {
		s.Request = d.id16()
		if s.Request.IsZero() {
			d.fail()
		}
	}
	if f&sibContentType != 0 {
		s.ContentType = contentType(d.some(core.MaxContentType))
	}
	s.Sum = d.u32()
	s.Value = d.bytes(core.MaxValue)
}

// contentType is the text of b, without an allocation for the usual ones.
func contentType(b []byte) string {
	switch string(b) {
	case "application/octet-stream":
		return "application/octet-stream"
	case "application/json":
		return "application/json"
	case "text/plain":
		return "text/plain"
	case "text/plain; charset=utf-8":
		return "text/plain; charset=utf-8"
	case "application/x-www-form-urlencoded": // curl -d sends it
		return "application/x-www-form-urlencoded"
	}
	return string(b)
}
