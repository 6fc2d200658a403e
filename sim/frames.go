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
	return c.strong == nil && frameOp(c.req.Op) != 0 && c.req.PW >= 0 && c.client.id < max(1, len(l.clients))
}

// carry is the request as the node decodes it.
func (l *load) carry(w *World, c *call) *core.Request {
	f, req := &l.frames, c.req
	if !l.byFrames(c) {
		return req
	}
	q := asFrame(req)
	b := wire.AppendClientRequest(make([]byte, 0, wire.ClientRequestSize(&q)), &q) // the node keeps it
	if err := wire.DecodeClientRequest(b, &f.request, &f.texts); err != nil {
		w.violate(Violation{Check: "frames", Kind: "CODEC", Detail: fmt.Sprintf("a request does not decode: %v", err)})
		return req
	}
	out := &core.Request{}
	params := frames.Params(&f.request)
	fault := params.Request(out, req.ID)
	if fault == nil {
		fault = params.For(out, &hashring.Bucket{Mode: hashring.Eventual}, nil) // "all" needs no more
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
	}
	return 0
}

// asFrame is a request as a client writes it.
func asFrame(req *core.Request) wire.ClientRequest {
	q := wire.ClientRequest{Op: frameOp(req.Op), Bucket: req.Bucket, Key: req.Key, Value: req.Value, ContentType: req.ContentType,
		PW: uint32(req.PW), Sloppy: req.Sloppy, TTL: req.TTL, Timeout: req.Timeout, OwnerOnly: req.OwnerOnly}
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

// carryBack checks the way of a reply.
func (l *load) carryBack(w *World, n *node, c *call, r *core.Reply) {
	if !l.byFrames(c) {
		return
	}
	f, op := &l.frames, frameOp(c.req.Op)
	wall := n.wall()
	f.self = api.Self{SID: n.sid, Node: n.name}
	f.buf = wire.AppendClientReply(f.buf[:0], f.printer.Print(op, r, &f.self, n.ring, time.UnixMilli(wall)))
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

func receiptOf(c *wire.ClientReceipt) quorum.Receipt {
	return quorum.Receipt{N: int(c.N), Need: int(c.Need), Acks: int(c.Acks), Owners: int(c.Owners), Fallbacks: int(c.Fallbacks), Synced: int(c.Synced)}
}
