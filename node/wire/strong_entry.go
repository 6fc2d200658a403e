package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Flags of an entry; the lowest two bits are its kind.
const (
	entryKind byte = 3
	entryDone byte = 4
	entryOld  byte = 8 // effects
)

// Flags of a value.
const (
	valTombstone byte = 1 << iota // and nothing else
	valCounter
	valContentType
	valKnown = valTombstone | valCounter | valContentType
)

// appendEntry appends e without its index. The versions of an effect and of its
// completion record are the entry's place, so only the incarnation is said. Of a
// barrier there is only epoch and time, of a refusal its answer with them.
func appendEntry(dst []byte, e *strong.Entry) []byte {
	f := byte(e.Kind) | bitIf(e.Done != nil, entryDone) | bitIf(e.Kind == strong.Effect && e.Old != 0, entryOld)
	dst = append(dst, f)
	dst = binary.AppendVarint(binary.AppendUvarint(dst, e.Epoch), e.TimeMS)
	if e.Kind == strong.Effect {
		dst = appendBytes(binary.AppendUvarint(dst, uint64(e.Bucket)), e.Key)
		if f&entryOld != 0 {
			dst = binary.BigEndian.AppendUint64(dst, e.Old)
		}
		dst = binary.AppendUvarint(dst, e.Value.Version.Incarnation)
		dst = appendValueBody(dst, e.Value)
	}
	if e.Done != nil {
		dst = appendCompletion(dst, e.Done, e.Kind != strong.Effect)
	}
	return dst
}

// effect is an entry with its value: nearly every entry has one.
type effect struct {
	entry strong.Entry
	value strong.Value
}

// entry reads the one at index into room; nil if it is malformed.
func (d *decoder) entry(index uint64, room *effect) *strong.Entry {
	f := d.flags(entryKind | entryDone | entryOld)
	e := &room.entry
	kind := strong.Kind(f & entryKind)
	if kind == strong.Effect {
		e.Value = &room.value
	}
	e.Kind, e.Index = kind, index
	e.Epoch, e.TimeMS = d.uvarint(), d.varint()
	if kind == strong.Effect {
		e.Bucket, e.Key = hashring.BucketID(d.uvarint()), d.some(core.MaxKey)
		if f&entryOld != 0 {
			e.Old = d.nonZero(d.u64())
		}
		e.Value.Version = strong.Version{Incarnation: d.uvarint(), Epoch: e.Epoch, Index: index}
		d.valueBody(e.Value)
	}
	if f&entryDone != 0 {
		e.Done = d.completion(kind != strong.Effect)
		if kind == strong.Effect {
			e.Done.Version = e.Value.Version
		}
	}
	if kind == 0 || f&entryOld != 0 && kind != strong.Effect || (kind == strong.Refusal) != (e.Done != nil) && kind != strong.Effect {
		d.fail() // a refusal is an answer, a barrier is none
	}
	if d.bad {
		return nil
	}
	return e
}

func appendVersion(dst []byte, v strong.Version) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(dst, v.Incarnation), v.Epoch), v.Index)
}

func (d *decoder) version() strong.Version {
	return strong.Version{Incarnation: d.uvarint(), Epoch: d.uvarint(), Index: d.uvarint()}
}

func appendStrongValue(dst []byte, v *strong.Value) []byte {
	return appendValueBody(appendVersion(dst, v.Version), v)
}

func (d *decoder) strongValue() *strong.Value {
	v := &strong.Value{Version: d.version()}
	d.valueBody(v)
	return v
}

func appendValueBody(dst []byte, v *strong.Value) []byte {
	if v.Tombstone {
		return append(dst, valTombstone)
	}
	f := bitIf(v.Counter, valCounter) | bitIf(v.ContentType != "", valContentType)
	dst = append(dst, f)
	if f&valContentType != 0 {
		dst = appendString(dst, v.ContentType)
	}
	return appendBytes(binary.BigEndian.AppendUint32(dst, v.Sum), v.Data)
}

func (d *decoder) valueBody(v *strong.Value) {
	f := d.flags(valKnown)
	if v.Tombstone = f&valTombstone != 0; v.Tombstone {
		if f != valTombstone {
			d.fail()
		}
		return
	}
	v.Counter = f&valCounter != 0
	if f&valContentType != 0 {
		v.ContentType = contentType(d.some(core.MaxContentType))
	}
	v.Sum = d.u32()
	v.Data = d.bytes(core.MaxValue)
}

// appendCompletion appends c, with its version if nothing else says it.
func appendCompletion(dst []byte, c *strong.Completion, version bool) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(c.ID.StampMS)), c.ID.Nonce[:]...)
	dst = append(binary.BigEndian.AppendUint64(dst, c.Digest), byte(c.Code))
	dst = binary.AppendVarint(dst, c.Count)
	if version {
		dst = appendVersion(dst, c.Version)
	}
	return dst
}

func (d *decoder) completion(version bool) *strong.Completion {
	c := &strong.Completion{ID: d.strongID(), Digest: d.u64(), Code: strong.Code(d.upTo(byte(strong.CodeCount - 1))), Count: d.varint()}
	if version {
		c.Version = d.version()
	}
	return c
}

func (d *decoder) strongID() strong.RequestID {
	return strong.RequestID{StampMS: int64(d.uvarintTo(math.MaxInt64)), Nonce: d.id16()}
}

// What lies on disk of a strong partition is a format byte, the body, and the CRC-32C
// of both. Decoders give ErrCorrupt when the checksum or the shape is wrong (D4), and
// a *VersionError when the row is whole but of a newer format.

// StrongFormat is the first byte of every such row.
const StrongFormat = 1

func sealRow(dst []byte, from int) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// openRow is the body of a row.
func openRow(what string, b []byte) (decoder, error) {
	if len(b) < recordOverhead {
		return decoder{}, fmt.Errorf("%w: %s of %d bytes", ErrCorrupt, what, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return decoder{}, fmt.Errorf("%w: %s of %d bytes, CRC-32C %08x, stored %08x", ErrCorrupt, what, len(b), got, sum)
	}
	if body[0] != StrongFormat {
		return decoder{}, &VersionError{What: what, Got: uint16(body[0]), Min: StrongFormat, Max: StrongFormat}
	}
	return decoder{b: body[1:]}, nil
}

// closeRow is the fault of a row that was read through.
func (d *decoder) closeRow(what string, size int) error {
	if !d.done() {
		return fmt.Errorf("%w: %s of %d bytes", ErrCorrupt, what, size)
	}
	return nil
}

// AppendStrongEntry appends the stored form of an entry.
func AppendStrongEntry(dst []byte, e *strong.Entry) []byte {
	from := len(dst)
	return sealRow(appendEntry(binary.AppendUvarint(append(dst, StrongFormat), e.Index), e), from)
}

// DecodeStrongEntry reads it; key and data alias b.
func DecodeStrongEntry(b []byte) (*strong.Entry, error) {
	const what = "log entry"
	d, err := openRow(what, b)
	if err != nil {
		return nil, err
	}
	e := d.entry(d.uvarint(), new(effect))
	return e, d.closeRow(what, len(b))
}

// AppendStrongValue appends the stored form of a value.
func AppendStrongValue(dst []byte, v *strong.Value) []byte {
	from := len(dst)
	return sealRow(appendStrongValue(append(dst, StrongFormat), v), from)
}

// DecodeStrongValue reads it; the data alias b.
func DecodeStrongValue(b []byte) (*strong.Value, error) {
	const what = "strong value"
	d, err := openRow(what, b)
	if err != nil {
		return nil, err
	}
	v := d.strongValue()
	return v, d.closeRow(what, len(b))
}

// AppendCompletion appends the stored form of a completion record.
func AppendCompletion(dst []byte, c *strong.Completion) []byte {
	from := len(dst)
	return sealRow(appendCompletion(append(dst, StrongFormat), c, true), from)
}

// DecodeCompletion reads it.
func DecodeCompletion(b []byte) (*strong.Completion, error) {
	const what = "completion record"
	d, err := openRow(what, b)
	if err != nil {
		return nil, err
	}
	c := d.completion(true)
	return c, d.closeRow(what, len(b))
}

// Flags of a hard row.
const (
	hardDiverged byte = 1 << iota
	hardLease         // a bound on what is lent follows, in nanoseconds
)

// AppendHard appends the stored form of a partition's hard row.
func AppendHard(dst []byte, h *strong.Hard) []byte {
	from := len(dst)
	dst = append(dst, StrongFormat, bitIf(h.Diverged, hardDiverged)|bitIf(h.Lease != 0, hardLease))
	for _, v := range [...]uint64{h.Promised, h.Base.Epoch, h.Base.Index, h.Commit, h.Applied, h.Generation} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = binary.BigEndian.AppendUint64(binary.AppendVarint(dst, h.LogTimeMS), h.Sum)
	if h.Lease != 0 {
		dst = binary.AppendUvarint(dst, uint64(h.Lease))
	}
	return sealRow(dst, from)
}

// DecodeHard reads it.
func DecodeHard(b []byte) (strong.Hard, error) {
	const what = "hard row"
	d, err := openRow(what, b)
	if err != nil {
		return strong.Hard{}, err
	}
	f := d.flags(hardDiverged | hardLease)
	h := strong.Hard{Diverged: f&hardDiverged != 0, Promised: d.uvarint(), Base: strong.Position{Epoch: d.uvarint(), Index: d.uvarint()},
		Commit: d.uvarint(), Applied: d.uvarint(), Generation: d.uvarint(), LogTimeMS: d.varint(), Sum: d.u64()}
	if f&hardLease != 0 {
		h.Lease = d.lasting()
	}
	return h, d.closeRow(what, len(b))
}
