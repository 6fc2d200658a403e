package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

// Flags of a client's request.
const (
	crqOwnerOnly uint16 = 1 << iota
	crqNewest
	crqSloppy // one bit is not enough: sloppy=false is said by crqStrict
	crqStrict
	crqCounts
	crqTTL
	crqTimeout
	crqRing
	crqTexts // the texts of texts(), from here on
	_
	_
	_
	_
	_
	_
	crqDelta // of an increment; from version 2 on
)

// texts are the optional texts of a request in the order of their flags.
func (r *ClientRequest) texts() [7]*string {
	return [7]*string{&r.ContentType, &r.Context, &r.ReadAfter, &r.Consistency, &r.IfMatch, &r.IfNoneMatch, &r.IdempotencyKey}
}

// AppendClientRequest appends r, which passes Check:
//
//	op(1) flags(2) bucket length(1) key length(uvarint)
//	[r w pw (uvarint each)] [ttl ns (uvarint)] [timeout ns (uvarint)] [ring version (uvarint)] [delta (varint)]
//	[length of each text that is given (uvarint)]
//	bucket, texts, key, value to the end
func AppendClientRequest(dst []byte, r *ClientRequest) []byte {
	texts := r.texts()
	var f uint16
	set := func(is bool, bit uint16) {
		if is {
			f |= bit
		}
	}
	set(r.OwnerOnly, crqOwnerOnly)
	set(r.Newest, crqNewest)
	set(r.Sloppy == core.Yes, crqSloppy)
	set(r.Sloppy == core.No, crqStrict)
	set(r.R|r.W|r.PW != 0, crqCounts)
	set(r.TTL != 0, crqTTL)
	set(r.Timeout != 0, crqTimeout)
	set(r.RingVersion != 0, crqRing)
	set(r.Op == ClientIncrement && r.Delta != 0, crqDelta)
	for i, t := range texts {
		set(*t != "", crqTexts<<i)
	}
	dst = append(dst, byte(r.Op), byte(f>>8), byte(f), byte(len(r.Bucket)))
	dst = binary.AppendUvarint(dst, uint64(len(r.Key)))
	if f&crqCounts != 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(dst, uint64(r.R)), uint64(r.W)), uint64(r.PW))
	}
	if f&crqTTL != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.TTL))
	}
	if f&crqTimeout != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.Timeout))
	}
	if f&crqRing != 0 {
		dst = binary.AppendUvarint(dst, r.RingVersion)
	}
	if f&crqDelta != 0 {
		dst = binary.AppendVarint(dst, r.Delta)
	}
	for _, t := range texts {
		if *t != "" {
			dst = binary.AppendUvarint(dst, uint64(len(*t)))
		}
	}
	dst = append(dst, r.Bucket...)
	for _, t := range texts {
		dst = append(dst, *t...)
	}
	return append(append(dst, r.Key...), r.Value...)
}

// ClientRequestSize is at least the encoded size of r, without encoding it.
func ClientRequestSize(r *ClientRequest) int {
	n := 64 + len(r.Bucket) + len(r.Key) + len(r.Value)
	for _, t := range r.texts() {
		n += len(*t)
	}
	return n
}

// DecodeClientRequest reads one request into r. Key and Value alias b; texts are
// looked up in cache, which may be nil. Errors: ErrMalformed.
func DecodeClientRequest(b []byte, r *ClientRequest, cache *TextCache) error {
	d := decoder{b: b}
	*r = ClientRequest{}
	if d.clientRequest(r, cache); d.bad {
		return fmt.Errorf("%w: client request of %d bytes", ErrMalformed, len(b))
	}
	return nil
}

func (d *decoder) clientRequest(r *ClientRequest, cache *TextCache) {
	r.Op = ClientOp(d.upTo(byte(clientOpEnd - 1)))
	f := d.u16()
	if r.Op == 0 || f&crqDelta != 0 && r.Op != ClientIncrement || f&crqSloppy != 0 && f&crqStrict != 0 {
		d.fail()
		return
	}
	r.OwnerOnly, r.Newest = f&crqOwnerOnly != 0, f&crqNewest != 0
	if f&crqSloppy != 0 {
		r.Sloppy = core.Yes
	} else if f&crqStrict != 0 {
		r.Sloppy = core.No
	}
	bucket := int(d.u8())
	key := int(d.uvarintTo(MaxClientKey))
	if f&crqCounts != 0 {
		r.R, r.W, r.PW = d.clientCount(), d.clientCount(), d.clientCount()
		d.nonZero(uint64(r.R | r.W | r.PW))
	}
	if f&crqTTL != 0 {
		r.TTL = time.Duration(d.nonZero(d.uvarintTo(math.MaxInt64)))
	}
	if f&crqTimeout != 0 {
		r.Timeout = time.Duration(d.nonZero(d.uvarintTo(math.MaxInt64)))
	}
	if f&crqRing != 0 {
		r.RingVersion = d.nonZero(d.uvarint())
	}
	if f&crqDelta != 0 {
		r.Delta = int64(d.nonZero(uint64(d.varint())))
	}
	texts := r.texts()
	var lengths [len(texts)]int
	all := bucket
	for i := range lengths {
		if f&(crqTexts<<i) != 0 {
			lengths[i] = int(d.nonZero(d.uvarintTo(MaxClientText)))
			all += lengths[i]
		}
	}
	if len(d.b) < all+key || len(d.b)-all-key > MaxClientValue {
		d.fail()
		return
	}
	text := cache.of(d.b[:all])
	r.Bucket, text = text[:bucket], text[bucket:]
	for i, n := range lengths {
		*texts[i], text = text[:n], text[n:]
	}
	d.b = d.b[all:]
	if key > 0 {
		r.Key = d.b[:key:key]
	}
	if d.b = d.b[key:]; len(d.b) > 0 {
		r.Value = d.b[:len(d.b):len(d.b)]
	}
}

func (d *decoder) clientCount() uint32 { return uint32(d.uvarintTo(maxClientCount)) }

func (d *decoder) u16() uint16 {
	if len(d.b) < 2 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint16(d.b)
	d.b = d.b[2:]
	return v
}
