package wire

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
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
	reqStrong // level, condition, id or delta; from protocolStrong on
	reqKnown  = reqID | reqContext | reqAfter | reqOwnerOnly | reqList | reqValues | reqReadFirst
)

// Flags of what a request has of strong buckets only.
const (
	rqsMatch byte = 1 << iota
	rqsOr
	rqsPresent
	rqsNone
	rqsID
	rqsDelta
	rqsKnown = rqsMatch | rqsOr | rqsPresent | rqsNone | rqsID | rqsDelta
)

// strongRequest tells that a request has what only strong buckets know.
func strongRequest(r *core.Request) bool { return r.Op == core.OpIncrement || hasStrong(r) }

func hasStrong(r *core.Request) bool {
	c := &r.If
	return r.Level != core.LevelDefault || !c.IfMatch.IsZero() || len(c.Or) > 0 || c.IfPresent || c.IfNoneMatch || !r.StrongID.IsZero() || r.Delta != 0
}

func appendStrongRequest(dst []byte, r *core.Request) []byte {
	c := &r.If
	f := bitIf(!c.IfMatch.IsZero(), rqsMatch) | bitIf(len(c.Or) > 0, rqsOr) | bitIf(c.IfPresent, rqsPresent) | bitIf(c.IfNoneMatch, rqsNone) |
		bitIf(!r.StrongID.IsZero(), rqsID) | bitIf(r.Delta != 0, rqsDelta)
	dst = append(dst, f, byte(r.Level))
	if f&rqsMatch != 0 {
		dst = appendVersion(dst, c.IfMatch)
	}
	if f&rqsOr != 0 {
		dst = append(dst, byte(len(c.Or)))
		for _, v := range c.Or {
			dst = appendVersion(dst, v)
		}
	}
	if f&rqsID != 0 {
		dst = append(binary.AppendUvarint(dst, uint64(r.StrongID.StampMS)), r.StrongID.Nonce[:]...)
	}
	if f&rqsDelta != 0 {
		dst = binary.AppendVarint(dst, r.Delta)
	}
	return dst
}

func (d *decoder) strongRequest(r *core.Request) {
	f := d.flags(rqsKnown)
	r.Level = core.Level(d.upTo(byte(core.LevelLease)))
	c := &r.If
	c.IfPresent, c.IfNoneMatch = f&rqsPresent != 0, f&rqsNone != 0
	if f&rqsMatch != 0 {
		c.IfMatch = d.version()
	}
	if f&rqsOr != 0 {
		c.Or = d.versions()
	}
	if f&rqsID != 0 {
		r.StrongID = d.strongID()
	}
	if f&rqsDelta != 0 {
		r.Delta = d.varint()
	}
	if f&rqsMatch != 0 && c.IfMatch.IsZero() || f&rqsID != 0 && r.StrongID.IsZero() || f&rqsDelta != 0 && r.Delta == 0 || !hasStrong(r) {
		d.fail()
	}
}

// versions are further ones of a condition.
func (d *decoder) versions() []strong.Version {
	n := int(d.upTo(strong.MaxMatches))
	if n == 0 {
		d.fail()
		return nil
	}
	out := make([]strong.Version, n)
	for i := range out {
		out[i] = d.version()
	}
	return out
}

// appendRequest appends every field but Waiter. A context travels only when its
// Has flag is set, the list part only with OpList.
func appendRequest(dst []byte, r *core.Request) []byte {
	list := r.Op == core.OpList
	f := bitIf(!r.ID.IsZero(), reqID) | bitIf(r.HasContext, reqContext) | bitIf(r.HasAfter, reqAfter) |
		bitIf(r.OwnerOnly, reqOwnerOnly) | bitIf(list, reqList) | bitIf(list && r.List.Values, reqValues) | bitIf(r.ReadFirst, reqReadFirst) |
		bitIf(hasStrong(r), reqStrong)
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
	if f&reqStrong != 0 {
		dst = appendStrongRequest(dst, r)
	}
	dst = binary.BigEndian.AppendUint32(dst, r.Sum)
	return appendBytes(dst, r.Value)
}

// request reads one; strong tells whether it may be of a strong bucket.
func (d *decoder) request(strong bool) *core.Request {
	ops, known := core.OpList, reqKnown
	if strong {
		ops, known = core.OpIncrement, reqKnown|reqStrong
	}
	r := &core.Request{Op: core.Op(d.upTo(byte(ops)))}
	f := d.flags(known)
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
	if f&reqStrong != 0 {
		d.strongRequest(r)
	}
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
