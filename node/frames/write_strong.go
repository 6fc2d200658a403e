package frames

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// isStrong tells that a reply is of a strong bucket.
func isStrong(a *answer) bool { return a.p.mode == hashring.Strong || a.reply.Strong != nil }

// strongWrite fills in what a write of a strong bucket came to.
func (x *printer) strongWrite(a *answer) {
	r, s := &x.rep, a.reply.Strong
	if api.Created(&a.p.req) {
		r.Status = 201
	}
	if a.p.op == wire.ClientIncrement {
		r.Status = 200
	}
	if s != nil {
		r.Strong.Version, r.Strong.Again = s.Version, s.Again
		r.Strong.Counted, r.Strong.Count = a.p.op == wire.ClientIncrement, s.Count
	}
}

// strongRead fills in what a reader of a strong bucket is shown. A counter comes as
// its digits, and as a number.
func (x *printer) strongRead(a *answer, ring *hashring.Ring) *api.Fault {
	v, fault := api.LookStrong(a.reply, a.p.match, a.p.noneMatch)
	if fault != nil {
		return fault
	}
	r := &x.rep
	r.Status, r.Strong.Version = uint16(v.Status), v.Version
	x.label(a.reply)
	if v.Value != nil {
		r.ContentType, r.Size = api.StrongKind(v.Value), uint64(len(v.Value.Data))
		r.Strong.Count, r.Strong.Counted = api.Counter(v.Value)
		if a.p.op != wire.ClientHead {
			r.Value = v.Value.Data
		}
	}
	x.common(a.reply, ring)
	return nil
}

// label says how a read of a strong bucket was done.
func (x *printer) label(rep *core.Reply) {
	s := rep.Strong
	if s == nil {
		return
	}
	to := &x.rep.Strong
	if to.Level = s.Level; s.Level == core.LevelDefault {
		to.Level = core.LevelLeader
	}
	if to.Stale = s.Level == core.LevelStale; to.Stale {
		to.Applied = s.Applied
	}
}
