package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

// Flags of a reply to a client. The lowest two bits are the outcome.
const (
	crpOutcome   uint16 = 3
	crpRetryable uint16 = 1 << (iota + 1)
	crpRetryAfter
	crpQuorum
	crpReceipt
	crpETag
	crpSiblings
	crpRing
	crpPlace
	crpSize
	crpValue
	crpNames         // failed and owners
	crpValues        // of a 300
	crpStrong        // from version 2 on
	crpUnused uint16 = 1 << 15
)

// Flags of what a reply has of strong buckets; the highest three bits are the level.
const (
	crsVersion byte = 1 << iota
	crsStale
	crsAgain
	crsCounted
	crsKnown      = crsVersion | crsStale | crsAgain | crsCounted
	crsLevel byte = 5 // shift
)

func appendClientStrong(dst []byte, s *ClientStrong) []byte {
	f := bitIf(!s.Version.IsZero(), crsVersion) | bitIf(s.Stale, crsStale) | bitIf(s.Again, crsAgain) | bitIf(s.Counted, crsCounted)
	dst = append(dst, f|byte(s.Level)<<crsLevel)
	if f&crsVersion != 0 {
		dst = appendVersion(dst, s.Version)
	}
	if f&crsStale != 0 {
		dst = binary.AppendUvarint(dst, s.Applied)
	}
	if f&crsCounted != 0 {
		dst = binary.AppendVarint(dst, s.Count)
	}
	return dst
}

func (d *decoder) clientStrong(s *ClientStrong) {
	f := d.flags(crsKnown | 7<<crsLevel)
	s.Level = core.Level(f >> crsLevel)
	s.Stale, s.Again, s.Counted = f&crsStale != 0, f&crsAgain != 0, f&crsCounted != 0
	if f&crsVersion != 0 {
		s.Version = d.version()
	}
	if f&crsStale != 0 {
		s.Applied = d.uvarint()
	}
	if f&crsCounted != 0 {
		s.Count = d.varint()
	}
	if s.Level > core.LevelLease || f == 0 || f&crsVersion != 0 && s.Version.IsZero() {
		d.fail()
	}
}

// texts of a reply, each with its length in front of the block.
func (r *ClientReply) texts() [5]*string {
	return [5]*string{&r.ServedBy, &r.Context, &r.ContentType, &r.Code, &r.Detail}
}

// AppendClientReply appends r:
//
//	status(2) flags(2) request id(16)
//	[retry after ms] [receipt: six numbers] [etag(8)] [siblings] [ring version] [epoch, partition] [size] [strong] [counts of failed and owners]
//	length of served by, context, content type, code, detail; of each failed node and reason, of each owner
//	all texts in that order
//	values: count, each actor(8) counter hlc(8) content type length, value length, content type, value
//	value to the end
//
// where every number without a width is a uvarint.
func AppendClientReply(dst []byte, r *ClientReply) []byte {
	f := uint16(r.Outcome)
	set := func(is bool, bit uint16) {
		if is {
			f |= bit
		}
	}
	context := len(r.Context)
	if r.Token != nil {
		context = len(r.Token)
	}
	set(r.Retryable, crpRetryable)
	set(r.RetryAfter >= time.Millisecond, crpRetryAfter)
	set(r.Quorum, crpQuorum)
	set(r.Receipt != ClientReceipt{}, crpReceipt)
	set(r.HasETag, crpETag)
	set(r.Siblings != 0, crpSiblings)
	set(r.RingVersion != 0, crpRing)
	set(r.HasPlace, crpPlace)
	set(r.Size != 0, crpSize)
	set(len(r.Value) != 0, crpValue)
	set(len(r.Failed)+len(r.Owners) != 0, crpNames)
	set(len(r.Values) != 0, crpValues)
	set(r.Strong != ClientStrong{}, crpStrong)
	dst = append(dst, byte(r.Status>>8), byte(r.Status), byte(f>>8), byte(f))
	dst = append(dst, r.RequestID[:]...)
	if f&crpRetryAfter != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.RetryAfter/time.Millisecond))
	}
	if f&crpReceipt != 0 {
		dst = appendReceipt(dst, &r.Receipt)
	}
	if f&crpETag != 0 {
		dst = binary.BigEndian.AppendUint64(dst, r.ETag)
	}
	if f&crpSiblings != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.Siblings))
	}
	if f&crpRing != 0 {
		dst = binary.AppendUvarint(dst, r.RingVersion)
	}
	if f&crpPlace != 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, r.Epoch), uint64(r.Partition))
	}
	if f&crpSize != 0 {
		dst = binary.AppendUvarint(dst, r.Size)
	}
	if f&crpStrong != 0 {
		dst = appendClientStrong(dst, &r.Strong)
	}
	if f&crpNames != 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(len(r.Failed))), uint64(len(r.Owners)))
	}
	detail := clip(r.Detail)
	for _, n := range [...]int{len(r.ServedBy), context, len(r.ContentType), len(r.Code), len(detail)} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	if f&crpNames != 0 {
		dst = appendNameLengths(dst, r)
	}
	dst = append(dst, r.ServedBy...)
	if r.Token != nil {
		dst = append(dst, r.Token...)
	} else {
		dst = append(dst, r.Context...)
	}
	dst = append(append(append(dst, r.ContentType...), r.Code...), detail...)
	for i := range r.Failed {
		dst = append(append(dst, r.Failed[i].Node...), r.Failed[i].Reason...)
	}
	for _, s := range r.Owners {
		dst = append(dst, s...)
	}
	if f&crpValues != 0 {
		dst = appendClientValues(dst, r.Values)
	}
	return append(dst, r.Value...)
}

func appendReceipt(dst []byte, c *ClientReceipt) []byte {
	for _, v := range [...]uint32{c.N, c.Need, c.Acks, c.Owners, c.Fallbacks, c.Synced} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return dst
}

func appendNameLengths(dst []byte, r *ClientReply) []byte {
	for i := range r.Failed {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(len(r.Failed[i].Node))), uint64(len(r.Failed[i].Reason)))
	}
	for _, s := range r.Owners {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	return dst
}

func appendClientValues(dst []byte, values []ClientSibling) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for i := range values {
		s := &values[i]
		dst = binary.BigEndian.AppendUint64(dst, s.Actor)
		dst = binary.AppendUvarint(dst, s.Counter)
		dst = binary.BigEndian.AppendUint64(dst, s.HLC)
		dst = appendString(dst, s.ContentType)
		dst = appendBytes(dst, s.Value)
	}
	return dst
}

// minClientValue is the least a sibling takes: actor, counter, stamp, two lengths.
const minClientValue = 8 + 1 + 8 + 1 + 1

// ClientReplySize is at least the encoded size of r, without encoding it.
func ClientReplySize(r *ClientReply) int {
	n := 192 + len(r.Value) + len(r.Token)
	for _, t := range r.texts() {
		n += len(*t)
	}
	for i := range r.Failed {
		n += 4 + len(r.Failed[i].Node) + len(r.Failed[i].Reason)
	}
	for _, s := range r.Owners {
		n += 2 + len(s)
	}
	for i := range r.Values {
		n += 40 + len(r.Values[i].ContentType) + len(r.Values[i].Value)
	}
	return n
}

// DecodeClientReply reads one reply into r. Value and Values alias b. Errors:
// ErrMalformed.
func DecodeClientReply(b []byte, r *ClientReply) error {
	d := decoder{b: b}
	*r = ClientReply{}
	if d.clientReply(r); d.bad || len(b) > MaxClientReply {
		*r = ClientReply{}
		return fmt.Errorf("%w: client reply of %d bytes", ErrMalformed, len(b))
	}
	return nil
}

func (d *decoder) clientReply(r *ClientReply) {
	r.Status = d.u16()
	f := d.u16()
	if f&crpUnused != 0 {
		d.fail()
		return
	}
	r.Outcome = core.Outcome(f & crpOutcome)
	r.RequestID = d.id16()
	r.Retryable, r.Quorum, r.HasETag, r.HasPlace = f&crpRetryable != 0, f&crpQuorum != 0, f&crpETag != 0, f&crpPlace != 0
	if f&crpRetryAfter != 0 {
		r.RetryAfter = time.Duration(d.nonZero(d.uvarintTo(uint64(math.MaxInt64/time.Millisecond)))) * time.Millisecond
	}
	if f&crpReceipt != 0 {
		c := &r.Receipt
		for _, v := range [...]*uint32{&c.N, &c.Need, &c.Acks, &c.Owners, &c.Fallbacks, &c.Synced} {
			*v = uint32(d.uvarintTo(math.MaxUint32))
		}
		if (*c == ClientReceipt{}) {
			d.fail()
		}
	}
	if r.HasETag {
		r.ETag = d.u64()
	}
	if f&crpSiblings != 0 {
		r.Siblings = uint32(d.nonZero(d.uvarintTo(math.MaxUint32)))
	}
	if f&crpRing != 0 {
		r.RingVersion = d.nonZero(d.uvarint())
	}
	if r.HasPlace {
		r.Epoch = d.uvarint()
		r.Partition = uint32(d.uvarintTo(math.MaxUint32))
	}
	if f&crpSize != 0 {
		r.Size = d.nonZero(d.uvarint())
	}
	if f&crpStrong != 0 {
		d.clientStrong(&r.Strong)
	}
	failed, owners := 0, 0
	if f&crpNames != 0 {
		failed, owners = d.count(maxClientNames, 2), d.count(maxClientNames, 1)
		d.nonZero(uint64(failed + owners))
	}
	d.clientTexts(r, failed, owners)
	if f&crpValues != 0 {
		d.clientValues(r)
	}
	if f&crpValue != 0 {
		if r.Value = d.b[:len(d.b):len(d.b)]; len(d.b) == 0 {
			d.fail()
		}
	} else if len(d.b) != 0 {
		d.fail()
	}
}

// clientTexts reads the lengths, then makes one string of all texts.
func (d *decoder) clientTexts(r *ClientReply, failed, owners int) {
	texts := r.texts()
	var lengths [len(texts)]int
	all := 0
	for i, limit := range [len(texts)]uint64{maxClientName, MaxClientReply, MaxClientText, maxClientName, MaxDetail} {
		lengths[i] = int(d.uvarintTo(limit))
		all += lengths[i]
	}
	var room [16]int // enough for the usual ones
	names := room[:min(len(room), 2*failed+owners)]
	if n := 2*failed + owners; n > len(room) {
		names = make([]int, n)
	}
	for i := range names {
		names[i] = int(d.uvarintTo(maxClientName))
		all += names[i]
	}
	if d.bad || len(d.b) < all {
		d.fail()
		return
	}
	text := string(d.b[:all])
	d.b = d.b[all:]
	cut := func(n int) (s string) {
		s, text = text[:n], text[n:]
		return s
	}
	for i, n := range lengths {
		*texts[i] = cut(n)
	}
	if failed > 0 {
		r.Failed = make([]ClientFailure, failed)
	}
	for i := range r.Failed {
		r.Failed[i] = ClientFailure{cut(names[0]), cut(names[1])}
		names = names[2:]
	}
	if owners > 0 {
		r.Owners = make([]string, owners)
	}
	for i := range r.Owners {
		r.Owners[i], names = cut(names[0]), names[1:]
	}
}

func (d *decoder) clientValues(r *ClientReply) {
	n := d.count(MaxSiblings, minClientValue)
	if d.nonZero(uint64(n)); d.bad {
		return
	}
	r.Values = make([]ClientSibling, n)
	for i := range r.Values {
		s := &r.Values[i]
		s.Actor, s.Counter, s.HLC = d.u64(), d.uvarint(), d.u64()
		s.ContentType = contentType(d.bytes(MaxClientText))
		s.Value = d.bytes(core.MaxValue)
	}
}
