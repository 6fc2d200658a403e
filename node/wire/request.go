package wire

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Flags of a request.
const (
	reqID byte = 1 << iota
	reqContext
	reqAfter
	reqOwnerOnly
	reqList
	reqValues // of the list
	reqReadFirst
	reqKnown = reqID | reqContext | reqAfter | reqOwnerOnly | reqList | reqValues | reqReadFirst
)

// appendRequest appends every field but Waiter. A context travels only when its
// Has flag is set, the list part only with OpList.
func appendRequest(dst []byte, r *core.Request) []byte {
	list := r.Op == core.OpList
	f := bitIf(!r.ID.IsZero(), reqID) | bitIf(r.HasContext, reqContext) | bitIf(r.HasAfter, reqAfter) |
		bitIf(r.OwnerOnly, reqOwnerOnly) | bitIf(list, reqList) | bitIf(list && r.List.Values, reqValues) | bitIf(r.ReadFirst, reqReadFirst)
	dst = append(dst, byte(r.Op), f, byte(r.R), byte(r.W), byte(r.PW), byte(r.Sloppy), r.Hops)
	dst = appendString(dst, r.Bucket)
	dst = appendBytes(dst, r.Key)
	if f&reqID != 0 {
		dst = append(dst, r.ID[:]...)
	}
	if f&reqContext != 0 {
		dst = appendContext(dst, &r.Context)
	}
	if f&reqAfter != 0 {
		dst = appendContext(dst, &r.After)
	}
	dst = appendDuration(appendDuration(dst, r.TTL), r.Timeout)
	if list {
		dst = binary.AppendUvarint(dst, uint64(r.List.Limit))
		dst = appendBytes(appendBytes(appendBytes(dst, r.List.Prefix), r.List.Start), r.List.After)
	}
	dst = appendString(dst, r.ContentType)
	dst = binary.BigEndian.AppendUint32(dst, r.Sum)
	return appendBytes(dst, r.Value)
}

func (d *decoder) request() *core.Request {
	r := &core.Request{Op: core.Op(d.upTo(byte(core.OpList)))}
	f := d.flags(reqKnown)
	isList := f&reqList != 0
	if r.Op == 0 || isList != (r.Op == core.OpList) || f&reqValues != 0 && !isList {
		d.fail()
		return nil
	}
	r.R, r.W, r.PW = d.quota(), d.quota(), d.quota()
	r.Sloppy = core.Tri(d.upTo(byte(core.Yes)))
	r.Hops = d.u8()
	r.OwnerOnly = f&reqOwnerOnly != 0
	r.Bucket = d.text(MaxBucketName)
	r.Key = d.bytes(core.MaxKey)
	if f&reqID != 0 {
		if r.ID = d.id16(); r.ID.IsZero() {
			d.fail()
		}
	}
	r.ReadFirst = f&reqReadFirst != 0
	if r.HasContext = f&reqContext != 0; r.HasContext {
		d.context(&r.Context)
	}
	if r.HasAfter = f&reqAfter != 0; r.HasAfter {
		d.context(&r.After)
	}
	r.TTL, r.Timeout = d.duration(), d.duration()
	if isList {
		r.List = core.ListRequest{Limit: int(d.uvarintTo(core.MaxListLimit)), Values: f&reqValues != 0,
			Prefix: d.bytes(core.MaxKey), Start: d.bytes(core.MaxKey), After: d.bytes(core.MaxKey)}
	}
	r.ContentType = contentType(d.bytes(core.MaxContentType))
	r.Sum = d.u32()
	r.Value = d.bytes(core.MaxValue)
	return r
}

// quota is a number of replicas: All, 0 for the default, or a count.
func (d *decoder) quota() core.Count {
	c := core.Count(d.u8())
	if c < core.All {
		d.fail()
		return 0
	}
	return c
}

func appendContext(dst []byte, c *version.Context) []byte {
	dst = binary.AppendUvarint(dst, c.Bucket)
	dst = binary.BigEndian.AppendUint64(dst, c.KeyHash)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.HLC))
	return appendVector(dst, c.Seen)
}

func (d *decoder) context(c *version.Context) {
	c.Bucket = d.uvarint()
	c.KeyHash = d.u64()
	c.HLC = version.HLC(d.u64())
	c.Seen = d.vector(MaxActors)
}

func isZero(c *version.Context) bool {
	return c.Bucket == 0 && c.KeyHash == 0 && c.HLC == 0 && len(c.Seen) == 0
}
