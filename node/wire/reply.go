package wire

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// Flags of a reply.
const (
	repObject byte = 1 << iota
	repContext
	repNothingWritten
	repServedBy
	repList
	repComplete // of the list
	repStrong   // from protocolStrong on, as are strong values in the list and versions in the inspection
	repKnown    = repObject | repContext | repNothingWritten | repServedBy | repList | repComplete
)

// Flags of a row of an inspection.
const (
	insFallback byte = 1 << iota
	insInSync
	insVersion // of a strong bucket
	insKnown   = insFallback | insInSync
)

// Flags of a row of a list.
const (
	lisObject byte = 1 << iota
	lisStrong
)

// Flags of what a reply has of strong buckets only.
const (
	rpsVersion byte = 1 << iota
	rpsValue
	rpsCount
	rpsApplied
	rpsAgain
	rpsKnown = rpsVersion | rpsValue | rpsCount | rpsApplied | rpsAgain
)

// strongReply tells that a reply has what only strong buckets know.
func strongReply(r *core.Reply) bool {
	return r.Code > core.ClockSkew || r.Strong != nil ||
		slices.ContainsFunc(r.Inspect, func(x core.InspectRow) bool { return !x.Version.IsZero() }) ||
		r.List != nil && slices.ContainsFunc(r.List.Rows, func(x core.ListRow) bool { return x.Strong != nil })
}

func appendStrongReply(dst []byte, s *core.StrongReply) []byte {
	f := bitIf(!s.Version.IsZero(), rpsVersion) | bitIf(s.Value != nil, rpsValue) | bitIf(s.Count != 0, rpsCount) |
		bitIf(s.Applied != 0, rpsApplied) | bitIf(s.Again, rpsAgain)
	dst = append(dst, f, byte(s.Level))
	if f&rpsVersion != 0 {
		dst = appendVersion(dst, s.Version)
	}
	if f&rpsCount != 0 {
		dst = binary.AppendVarint(dst, s.Count)
	}
	if f&rpsApplied != 0 {
		dst = binary.AppendUvarint(dst, s.Applied)
	}
	if f&rpsValue != 0 {
		dst = appendStrongValue(dst, s.Value)
	}
	return dst
}

func (d *decoder) strongReply() *core.StrongReply {
	f := d.flags(rpsKnown)
	s := &core.StrongReply{Level: core.Level(d.upTo(byte(core.LevelLease))), Again: f&rpsAgain != 0}
	if f&rpsVersion != 0 {
		if s.Version = d.version(); s.Version.IsZero() {
			d.fail()
		}
	}
	if f&rpsCount != 0 {
		s.Count = int64(d.nonZero(uint64(d.varint())))
	}
	if f&rpsApplied != 0 {
		s.Applied = d.nonZero(d.uvarint())
	}
	if f&rpsValue != 0 {
		s.Value = d.strongValue()
	}
	return s
}

const (
	minFailure = 16 + 1
	minInspect = 16 + 1 + 1 + 8 + 8 + 1 + 1 // store, flags, state, hash, HLC, dots, size
	minListRow = 2 + 1                      // key of one byte, flag
)

func appendReply(dst []byte, r *core.Reply) []byte {
	f := bitIf(r.Object != nil, repObject) | bitIf(!isZero(&r.Context), repContext) | bitIf(r.NothingWritten, repNothingWritten) |
		bitIf(!r.ServedBy.IsZero(), repServedBy) | bitIf(r.List != nil, repList) | bitIf(r.List != nil && r.List.Complete, repComplete) |
		bitIf(r.Strong != nil, repStrong)
	dst = append(dst, byte(r.Code), byte(r.Outcome), f)
	dst = appendString(dst, clip(r.Detail))
	dst = binary.AppendUvarint(dst, r.RingVersion)
	dst = binary.AppendUvarint(dst, r.Epoch)
	dst = binary.AppendUvarint(dst, uint64(r.Partition))
	dst = appendDuration(dst, r.RetryAfter)
	c := &r.Receipt
	for _, v := range [...]int{c.N, c.Need, c.Acks, c.Owners, c.Fallbacks, c.Synced} {
		dst = binary.AppendVarint(dst, int64(v))
	}
	if f&repServedBy != 0 {
		dst = append(dst, r.ServedBy[:]...)
	}
	if f&repContext != 0 {
		dst = appendContext(dst, &r.Context)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Failed)))
	for _, x := range r.Failed {
		dst = append(append(dst, x.Store[:]...), byte(x.Reason))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Owners)))
	for i := range r.Owners {
		dst = append(dst, r.Owners[i][:]...)
	}
	dst = appendInspect(dst, r.Inspect)
	if r.List != nil {
		dst = appendList(dst, r.List)
	}
	if r.Object != nil {
		dst = AppendObject(dst, r.Object)
	}
	if r.Strong != nil {
		dst = appendStrongReply(dst, r.Strong)
	}
	return dst
}

// clip cuts a sentence that a receiver would refuse, at a character's border.
func clip(s string) string {
	if len(s) <= MaxDetail {
		return s
	}
	return strings.ToValidUTF8(s[:MaxDetail], "")
}

func appendInspect(dst []byte, rows []core.InspectRow) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		dst = append(dst, r.Store[:]...)
		dst = append(dst, bitIf(r.Fallback, insFallback)|bitIf(r.InSync, insInSync)|bitIf(!r.Version.IsZero(), insVersion), byte(r.State))
		dst = binary.BigEndian.AppendUint64(dst, r.Hash)
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.HLC))
		dst = binary.AppendVarint(dst, int64(r.Size))
		dst = appendVector(dst, r.Dots)
		if !r.Version.IsZero() {
			dst = appendVersion(dst, r.Version)
		}
	}
	return dst
}

func appendList(dst []byte, l *core.ListPage) []byte {
	dst = appendBytes(dst, l.Next)
	dst = binary.AppendUvarint(dst, uint64(len(l.Rows)))
	for i := range l.Rows {
		r := &l.Rows[i]
		dst = append(appendBytes(dst, r.Key), bitIf(r.Object != nil, lisObject)|bitIf(r.Strong != nil, lisStrong))
		if r.Object != nil {
			dst = AppendObject(dst, r.Object)
		}
		if r.Strong != nil {
			dst = appendStrongValue(dst, r.Strong)
		}
	}
	return dst
}

// reply reads one; strong tells whether it may be of a strong bucket.
func (d *decoder) reply(strong bool) *core.Reply {
	codes, known := core.ClockSkew, repKnown
	if strong {
		codes, known = core.CodeCount-1, repKnown|repStrong
	}
	r := &core.Reply{Code: core.Code(d.upTo(byte(codes))), Outcome: core.Outcome(d.upTo(byte(core.Unknown)))}
	f := d.flags(known)
	if f&repComplete != 0 && f&repList == 0 {
		d.fail()
	}
	r.NothingWritten = f&repNothingWritten != 0
	r.Detail = d.text(MaxDetail)
	r.RingVersion = d.uvarint()
	r.Epoch = d.uvarint()
	r.Partition = uint32(d.uvarintTo(1<<32 - 1))
	r.RetryAfter = d.duration()
	r.Receipt = quorum.Receipt{N: d.number(), Need: d.number(), Acks: d.number(),
		Owners: d.number(), Fallbacks: d.number(), Synced: d.number()}
	if f&repServedBy != 0 {
		if r.ServedBy = d.sid(); r.ServedBy.IsZero() {
			d.fail()
		}
	}
	if f&repContext != 0 {
		if d.context(&r.Context); isZero(&r.Context) {
			d.fail()
		}
	}
	r.Failed = d.failures()
	r.Owners = d.sids()
	r.Inspect = d.inspect(insKnown | bitIf(strong, insVersion))
	if f&repList != 0 {
		r.List = d.list(lisObject | bitIf(strong, lisStrong))
		r.List.Complete = f&repComplete != 0
	}
	if f&repObject != 0 {
		r.Object = d.object()
	}
	if f&repStrong != 0 {
		r.Strong = d.strongReply()
	}
	return r
}

func (d *decoder) failures() []quorum.Failure {
	n := d.count(MaxStores, minFailure)
	if n == 0 {
		return nil
	}
	out := make([]quorum.Failure, n)
	for i := range out {
		out[i] = quorum.Failure{Store: d.sid(), Reason: d.reason()}
	}
	return out
}

func (d *decoder) sids() []hashring.SID {
	n := d.count(MaxStores, 16)
	if n == 0 {
		return nil
	}
	out := make([]hashring.SID, n)
	for i := range out {
		out[i] = d.sid()
	}
	return out
}

func (d *decoder) inspect(known byte) []core.InspectRow {
	n := d.count(MaxStores, minInspect)
	if n == 0 {
		return nil
	}
	out := make([]core.InspectRow, n)
	for i := range out {
		r := &out[i]
		r.Store = d.sid()
		f := d.flags(known)
		r.Fallback, r.InSync = f&insFallback != 0, f&insInSync != 0
		r.State = core.ReplicaState(d.upTo(byte(core.ReplicaStates - 1)))
		r.Hash = d.u64()
		r.HLC = version.HLC(d.u64())
		r.Size = d.number()
		r.Dots = d.dots()
		if f&insVersion != 0 {
			if r.Version = d.version(); r.Version.IsZero() {
				d.fail()
			}
		}
	}
	return out
}

// dots are those of siblings: any order, and an actor may be there twice.
func (d *decoder) dots() []version.Dot {
	n := d.count(MaxSiblings, minDot)
	if n == 0 {
		return nil
	}
	out := make([]version.Dot, n)
	for i := range out {
		out[i] = d.dot()
	}
	return out
}

func (d *decoder) list(known byte) *core.ListPage {
	l := &core.ListPage{Next: d.bytes(core.MaxKey)}
	n := d.count(core.MaxListLimit, minListRow)
	if n == 0 {
		return l
	}
	l.Rows = make([]core.ListRow, n)
	for i := 0; i < n && !d.bad; i++ {
		r := &l.Rows[i]
		r.Key = d.some(core.MaxKey)
		f := d.flags(known)
		if f&lisObject != 0 {
			r.Object = d.object()
		}
		if f&lisStrong != 0 {
			r.Strong = d.strongValue()
		}
	}
	return l
}
