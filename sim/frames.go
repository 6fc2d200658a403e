package sim

import (
	"bytes"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// framesClient carries what clients and nodes say to each other as the Go client does
// by frames: each request goes through the rules and the codec before a node has it,
// and of each reply it is checked that what a client reads off its bytes is what the
// node has said. What no client is told, such as tombstones, stays for the checks of
// the truth.
type framesClient struct {
	texts   wire.TextCache
	request wire.ClientRequest
	reply   wire.ClientReply
	printer frames.Printer
	self    api.Self
	buf     []byte
}

// byFrames tells whether a call goes that way: not those that frames do not carry, and
// not those of the survey at the end, which is no client.
func (l *load) byFrames(c *call) bool {
	return frameOp(c.req.Op) != 0 && c.req.PW >= 0 && c.client.id < max(1, len(l.clients))
}

// carry is the request as the node decodes it.
func (l *load) carry(w *World, c *call) *core.Request {
	f, req := &l.frames, c.req
	if !l.byFrames(c) {
		return req
	}
	q := l.asFrame(c)
	b := wire.AppendClientRequest(make([]byte, 0, wire.ClientRequestSize(&q)), &q) // the node keeps it
	if err := wire.DecodeClientRequest(b, &f.request, &f.texts); err != nil {
		w.violate(Violation{Check: "frames", Kind: "CODEC", Detail: fmt.Sprintf("a request does not decode: %v", err)})
		return req
	}
	out := &core.Request{}
	params := frames.Params(&f.request)
	fault := params.Request(out, req.ID)
	if fault == nil {
		fault = params.For(out, &hashring.Bucket{Mode: c.mode()}, nil) // "all" needs no more
	}
	if fault == nil && out.Op == core.OpPut {
		fault = api.PutValue(out, f.request.Value, f.request.ContentType, "", core.MaxValue)
	}
	if fault != nil {
		w.violate(Violation{Check: "frames", Kind: "REFUSED", Detail: fmt.Sprintf("op %d is refused: %v", req.Op, fault)})
		return req
	}
	out.Waiter = req.Waiter
	return out
}

// frameOp is the operation as frames name it, 0 if they have none.
func frameOp(op core.Op) wire.ClientOp {
	switch op {
	case core.OpGet:
		return wire.ClientGet
	case core.OpPut:
		return wire.ClientPut
	case core.OpDelete:
		return wire.ClientDelete
	case core.OpIncrement:
		return wire.ClientIncrement
	}
	return 0
}

func (c *call) mode() hashring.Mode {
	if c.strong != nil {
		return hashring.Strong
	}
	return hashring.Eventual
}

// asFrame is a request as a client writes it.
func (l *load) asFrame(c *call) wire.ClientRequest {
	req := c.req
	q := wire.ClientRequest{Op: frameOp(req.Op), Bucket: req.Bucket, Key: req.Key, Value: req.Value, ContentType: req.ContentType,
		PW: uint32(req.PW), Sloppy: req.Sloppy, TTL: req.TTL, Timeout: req.Timeout, OwnerOnly: req.OwnerOnly}
	if c.strong != nil {
		l.strongFrame(&q, req)
		return q
	}
	n, count := &q.W, req.W
	if req.Op == core.OpGet {
		n, count = &q.R, req.R
	}
	if count == core.All {
		q.Consistency = "all"
	} else {
		*n = uint32(count)
	}
	if req.HasContext {
		q.Context = req.Context.Token()
	}
	if req.HasAfter {
		q.ReadAfter = req.After.Token()
	}
	return q
}

// strongFrame fills in what a request on a strong bucket has to say.
func (l *load) strongFrame(q *wire.ClientRequest, req *core.Request) {
	if req.Level != core.LevelDefault {
		q.Consistency = api.LevelName(req.Level)
	}
	q.Delta, q.IfMatch, q.IdempotencyKey = req.Delta, api.VersionETag(req.If.IfMatch), l.keyTexts[req.StrongID]
	if req.If.IfNoneMatch {
		q.IfNoneMatch = "*"
	}
}

// carryBack checks the way of a reply.
func (l *load) carryBack(w *World, n *node, c *call, r *core.Reply) {
	if !l.byFrames(c) {
		return
	}
	f, op := &l.frames, frameOp(c.req.Op)
	wall := n.wall()
	f.self = api.Self{SID: n.sid, Node: n.name}
	f.buf = wire.AppendClientReply(f.buf[:0], f.printer.Print(op, c.mode(), r, &f.self, n.ring, time.UnixMilli(wall)))
	err := wire.DecodeClientReply(f.buf, &f.reply)
	if err == nil {
		err = sameReply(&f.reply, r, wall)
	}
	if err != nil {
		w.violate(Violation{Check: "frames", Kind: "CODEC", Detail: fmt.Sprintf("the reply to op %d, %v: %v", c.req.Op, r.Code, err)})
	}
}

// sameReply holds what a client has read against what the node has said.
func sameReply(got *wire.ClientReply, r *core.Reply, wall int64) error {
	code := r.Code.String()
	switch {
	case r.Code == core.OK && got.Code == "", got.Code == code:
	case r.Code == core.OK && got.Code == core.KeyNotFound.String(): // nothing of it is live
	default:
		return fmt.Errorf("it is shown as %q", got.Code)
	}
	if r.Outcome != core.OutcomeNone && got.Outcome != r.Outcome { // a refused read is labelled as a refused write is
		return fmt.Errorf("outcome %v is shown as %v", r.Outcome, got.Outcome)
	}
	if receiptOf(&got.Receipt) != r.Receipt || got.RingVersion != r.RingVersion && r.RingVersion != 0 { // 0: its shard has no ring yet, and the node's is shown
		return fmt.Errorf("receipt %v of ring %d is shown as %v of ring %d", r.Receipt, r.RingVersion, receiptOf(&got.Receipt), got.RingVersion)
	}
	if r.Strong != nil {
		return sameStrong(got, r)
	}
	if len(r.Context.Seen) > 0 || got.Context != "" {
		c, err := version.ParseContext(got.Context)
		if err != nil || c.Bucket != r.Context.Bucket || c.KeyHash != r.Context.KeyHash || c.HLC != r.Context.HLC || !c.Seen.Equal(r.Context.Seen) {
			return fmt.Errorf("context %v is shown as %v (%v)", r.Context, c, err)
		}
	}
	if got.Status != 200 && got.Status != 300 {
		return nil
	}
	live := r.Object.Live(wall)
	if got.Status == 200 {
		if len(live) != 1 || !bytes.Equal(got.Value, live[0].Value) {
			return fmt.Errorf("one value of %d bytes is shown of %d", len(got.Value), len(live))
		}
		return nil
	}
	if len(got.Values) != len(live) {
		return fmt.Errorf("%d values are shown of %d", len(got.Values), len(live))
	}
	for i, v := range got.Values {
		if dot := live[i].Dot; uint64(dot.Actor) != v.Actor || dot.Counter != v.Counter || !bytes.Equal(v.Value, live[i].Value) {
			return fmt.Errorf("value %d is not that of %v", i, dot)
		}
	}
	return nil
}

// sameStrong is sameReply for what a strong bucket has to tell.
func sameStrong(got *wire.ClientReply, r *core.Reply) error {
	want, value := *r.Strong, []byte(nil)
	if r.Outcome == core.OutcomeNone { // a read shows the version of what is there
		if want.Version = (strong.Version{}); want.Value.Live() {
			want.Version, value = want.Value.Version, want.Value.Data
		}
		if want.Level == core.LevelDefault {
			want.Level = core.LevelLeader
		}
		if r.Code != core.OK && r.Code != core.KeyNotFound {
			want.Version, value = strong.Version{}, nil
		}
	} else if r.Code != core.OK && r.Code != core.PreconditionFailed {
		want.Version = strong.Version{}
	}
	s := &got.Strong
	switch {
	case s.Version != want.Version:
		return fmt.Errorf("version %v is shown as %v", want.Version, s.Version)
	case !bytes.Equal(got.Value, value):
		return fmt.Errorf("a value of %d bytes is shown as one of %d", len(value), len(got.Value))
	case r.Outcome == core.OutcomeNone && (s.Level != want.Level || s.Stale && s.Applied != want.Applied || s.Stale != (want.Level == core.LevelStale)):
		return fmt.Errorf("a read of level %d at %d is shown as %d at %d", want.Level, want.Applied, s.Level, s.Applied)
	case r.Outcome == core.Applied && (s.Again != want.Again || s.Counted && s.Count != want.Count):
		return fmt.Errorf("count %d (again: %v) is shown as %d (%v)", want.Count, want.Again, s.Count, s.Again)
	}
	return nil
}

func receiptOf(c *wire.ClientReceipt) quorum.Receipt {
	return quorum.Receipt{N: int(c.N), Need: int(c.Need), Acks: int(c.Acks), Owners: int(c.Owners), Fallbacks: int(c.Fallbacks), Synced: int(c.Synced)}
}
