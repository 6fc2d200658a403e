package wire

import (
	"encoding/binary"
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
	repKnown    = repObject | repContext | repNothingWritten | repServedBy | repList | repComplete
)

// Flags of a row of an inspection.
const (
	insFallback byte = 1 << iota
	insInSync
	insKnown = insFallback | insInSync
)

const (
	minFailure = 16 + 1
	minInspect = 16 + 1 + 1 + 8 + 8 + 1 + 1 // store, flags, state, hash, HLC, dots, size
	minListRow = 2 + 1                      // key of one byte, flag
)

func appendReply(dst []byte, r *core.Reply) []byte {
	f := bitIf(r.Object != nil, repObject) | bitIf(!isZero(&r.Context), repContext) | bitIf(r.NothingWritten, repNothingWritten) |
		bitIf(!r.ServedBy.IsZero(), repServedBy) | bitIf(r.List != nil, repList) | bitIf(r.List != nil && r.List.Complete, repComplete)
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
		dst = append(dst, bitIf(r.Fallback, insFallback)|bitIf(r.InSync, insInSync), byte(r.State))
		dst = binary.BigEndian.AppendUint64(dst, r.Hash)
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.HLC))
		dst = binary.AppendVarint(dst, int64(r.Size))
		dst = appendVector(dst, r.Dots)
	}
	return dst
}

func appendList(dst []byte, l *core.ListPage) []byte {
	dst = appendBytes(dst, l.Next)
	dst = binary.AppendUvarint(dst, uint64(len(l.Rows)))
	for i := range l.Rows {
		r := &l.Rows[i]
		dst = append(appendBytes(dst, r.Key), bitIf(r.Object != nil, 1))
		if r.Object != nil {
			dst = AppendObject(dst, r.Object)
		}
	}
	return dst
}

func (d *decoder) reply() *core.Reply {
	r := &core.Reply{Code: core.Code(d.upTo(byte(core.CodeCount - 1))), Outcome: core.Outcome(d.upTo(byte(core.Unknown)))}
	f := d.flags(repKnown)
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
	r.Inspect = d.inspect()
	if f&repList != 0 {
		r.List = d.list()
		r.List.Complete = f&repComplete != 0
	}
	if f&repObject != 0 {
		r.Object = d.object()
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

func (d *decoder) inspect() []core.InspectRow {
	n := d.count(MaxStores, minInspect)
	if n == 0 {
		return nil
	}
	out := make([]core.InspectRow, n)
	for i := range out {
		r := &out[i]
		r.Store = d.sid()
		f := d.flags(insKnown)
		r.Fallback, r.InSync = f&insFallback != 0, f&insInSync != 0
		r.State = core.ReplicaState(d.upTo(byte(core.ReplicaStates - 1)))
		r.Hash = d.u64()
		r.HLC = version.HLC(d.u64())
		r.Size = d.number()
		r.Dots = d.dots()
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

func (d *decoder) list() *core.ListPage {
	l := &core.ListPage{Next: d.bytes(core.MaxKey)}
	n := d.count(core.MaxListLimit, minListRow)
	if n == 0 {
		return l
	}
	l.Rows = make([]core.ListRow, n)
	for i := 0; i < n && !d.bad; i++ {
		r := &l.Rows[i]
		r.Key = d.some(core.MaxKey)
		if d.flags(1) != 0 {
			r.Object = d.object()
		}
	}
	return l
}
