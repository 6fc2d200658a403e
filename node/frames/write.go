package frames

import (
	"fmt"
	"runtime"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum"
)

const (
	// pieceBytes is about the most that goes into one write.
	pieceBytes = 256 << 10
	// keepBytes is the largest buffer that is kept for the next round.
	keepBytes = 512 << 10
)

// writer encodes and writes what is ready. It belongs to the connection's writer
// goroutine.
type writer struct {
	c     *conn
	out   []byte
	large chunker
	ring  *hashring.Ring
	now   time.Time
	p     printer
}

// write is the writer goroutine. It ends when the connection does.
func (c *conn) write() {
	w := writer{c: c, p: printer{self: &c.self}}
	var todo []answer
	for {
		if len(w.large.queue) == 0 {
			select {
			case <-c.signal:
			case <-c.dead:
				return
			}
		}
		// Let those who can run first be done too: their replies join this write.
		runtime.Gosched()
		var control []byte
		c.mu.Lock()
		todo, c.done = c.done, todo[:0]
		control, c.control = c.control, nil
		c.mu.Unlock()
		if !w.round(todo, control) {
			return
		}
		clear(todo)
	}
}

// round writes a round's answers, and a part of what is large.
func (w *writer) round(todo []answer, control []byte) bool {
	c := w.c
	w.ring, w.now = c.s.Backend.Ring(), time.Now()
	w.out = append(w.out[:0], control...)
	before := w.large.left()
	taken := int64(0)
	for i := range todo {
		a := &todo[i]
		taken += a.size
		w.add(a)
		c.release(a.p)
		if len(w.out) >= pieceBytes && !w.flush() {
			for j := i + 1; j < len(todo); j++ {
				c.release(todo[j].p)
			}
			return false
		}
	}
	w.out = w.large.appendRound(w.out)
	ok := w.flush()
	if owed := c.owed.Add(w.large.left() - before - taken); owed <= pauseOwed {
		wake(c.drained)
	}
	if cap(w.out) > keepBytes {
		w.out = nil
	}
	return ok
}

// left is the bytes of large messages still to be sent.
func (c *chunker) left() (n int64) {
	for _, m := range c.queue {
		n += int64(len(m.rest))
	}
	return n
}

func (w *writer) flush() bool {
	c := w.c
	for rest := w.out; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceBytes)]
		c.writes.Add(1)
		n, err := c.nc.Write(piece)
		c.writes.Add(1)
		c.s.count.writes.Add(1)
		c.s.count.bytesOut.Add(uint64(n))
		if err != nil {
			c.fail(fmt.Errorf("write: %w", err))
			return false
		}
		rest = rest[len(piece):]
	}
	w.out = w.out[:0]
	return true
}

// add encodes one answer.
func (w *writer) add(a *answer) {
	p := a.p
	rep, code := w.p.print(a, w.ring)
	if w.c.version < strongSince {
		rep.Strong = wire.ClientStrong{}
	}
	if code == api.Internal && a.fault == nil && a.reply.Code == core.OK {
		w.c.s.Log.Error("value fails its checksum at the way out", "request", p.req.ID, "partition", a.reply.Partition)
	}
	if size := wire.ClientReplySize(rep); size > maxPayload {
		w.large.add(p.id, wire.AppendClientReply(make([]byte, 0, size), rep))
	} else {
		at := len(w.out)
		w.out = wire.AppendClientReply(beginFrame(w.out, p.id), rep)
		sealFrame(w.out, at, frameMessage)
	}
	w.c.s.Observe(&Served{Op: p.op, Code: code, Mode: p.mode, Took: w.now.Sub(p.began), In: p.in, Out: len(rep.Value)})
}

// printer makes a client's reply of the core's. What it returns is good until the
// next one.
type printer struct {
	self   *api.Self
	rep    wire.ClientReply
	token  []byte
	room   api.Room
	values []wire.ClientSibling
	failed []wire.ClientFailure
}

func (x *printer) print(a *answer, ring *hashring.Ring) (*wire.ClientReply, api.Code) {
	p := a.p
	x.rep = wire.ClientReply{RequestID: p.req.ID}
	fault := a.fault
	switch {
	case fault != nil:
	case a.reply == nil:
		x.ring(a, ring)
		return &x.rep, api.OK
	case p.op.Write():
		if fault = api.FromReply(a.reply); fault == nil {
			x.rep.Status, x.rep.Outcome = 204, a.reply.Outcome
			if isStrong(a) {
				x.strongWrite(a)
			} else {
				x.rep.HasETag, x.rep.ETag = true, a.reply.Object.Hash()
			}
			x.common(a.reply, ring)
		}
	case isStrong(a):
		fault = x.strongRead(a, ring)
	default:
		fault = x.read(a, ring)
	}
	if fault == nil {
		return &x.rep, api.OK
	}
	x.fault(fault, p, ring)
	return &x.rep, fault.Code
}

func (x *printer) read(a *answer, ring *hashring.Ring) *api.Fault {
	p := a.p
	v, fault := api.Look(a.reply, p.began.UnixMilli(), p.noneMatch, p.newest, &x.room)
	if fault != nil {
		return fault
	}
	r := &x.rep
	r.Status, r.HasETag, r.ETag = uint16(v.Status), true, v.Hash
	if v.Siblings > 1 {
		r.Siblings = uint32(v.Siblings)
	}
	switch v.Status {
	case 200:
		s := v.Values[0]
		r.ContentType, r.Size = api.KindOf(s), uint64(len(s.Value))
		if p.op != wire.ClientHead {
			r.Value = s.Value
		}
	case 300:
		if p.op == wire.ClientHead {
			break
		}
		x.values = x.values[:0]
		for _, s := range v.Values {
			x.values = append(x.values, wire.ClientSibling{Actor: uint64(s.Dot.Actor), Counter: s.Dot.Counter, HLC: uint64(s.HLC),
				ContentType: s.ContentType, Value: s.Value})
		}
		r.Values = x.values
	}
	x.common(a.reply, ring)
	return nil
}

func (x *printer) ring(a *answer, ring *hashring.Ring) {
	r := &x.rep
	r.Status = 304
	if a.body != nil {
		r.Status, r.ContentType, r.Size, r.Value = 200, "application/json", uint64(len(a.body)), a.body
	}
	x.local(ring)
}

// fault fills in what a problem document has.
func (x *printer) fault(f *api.Fault, p *pending, ring *hashring.Ring) {
	row := &api.Table[f.Code]
	r := &x.rep
	*r = wire.ClientReply{RequestID: p.req.ID, Status: uint16(row.Status), Outcome: f.Outcome(p.op.Write()), Retryable: row.Retryable,
		Code: row.Name, Detail: f.Detail, RetryAfter: f.RetryAfter(), Quorum: f.HasQuorum()}
	if f.Reply == nil {
		x.local(ring)
		return
	}
	x.failed = x.failed[:0]
	for _, fail := range f.Reply.Failed {
		x.failed = append(x.failed, wire.ClientFailure{Node: x.self.NodeName(ring, fail.Store), Reason: fail.Reason.String()})
	}
	r.Failed = x.failed
	if f.ETag != "" {
		r.Strong.Version, _ = api.ParseVersionETag(f.ETag)
	}
	if !p.op.Write() {
		x.label(f.Reply)
	}
	if len(f.Reply.Owners) > 0 {
		r.Owners = x.self.Names(ring, f.Reply.Owners)
	}
	x.common(f.Reply, ring)
}

// common fills in what every reply of the core carries.
func (x *printer) common(rep *core.Reply, ring *hashring.Ring) {
	r := &x.rep
	if len(rep.Context.Seen) > 0 || rep.NothingWritten {
		x.token = rep.Context.AppendToken(x.token[:0])
		r.Token = x.token
	}
	r.Receipt = receipt(&rep.Receipt)
	if rep.RingVersion == 0 {
		x.local(ring)
		return
	}
	r.RingVersion, r.HasPlace, r.Epoch, r.Partition = rep.RingVersion, true, rep.Epoch, rep.Partition
	r.ServedBy = x.self.NodeName(ring, rep.ServedBy)
}

func receipt(c *quorum.Receipt) wire.ClientReceipt {
	return wire.ClientReceipt{N: uint32(c.N), Need: uint32(c.Need), Acks: uint32(c.Acks), Owners: uint32(c.Owners),
		Fallbacks: uint32(c.Fallbacks), Synced: uint32(c.Synced)}
}

// local fills in what an answer of this node alone carries.
func (x *printer) local(ring *hashring.Ring) {
	if ring != nil {
		x.rep.RingVersion = ring.Version
	}
	x.rep.ServedBy = x.self.Node
}

// Printer makes a client's reply of a node's for who has no connection, such as the
// simulator.
type Printer struct {
	x printer
	p pending
}

// Print is the reply that a client of self gets to a request of operation op on a bucket
// of a mode that was taken at wall time now. It is good until the next call.
func (p *Printer) Print(op wire.ClientOp, mode hashring.Mode, rep *core.Reply, self *api.Self, ring *hashring.Ring, now time.Time) *wire.ClientReply {
	p.x.self, p.p.op, p.p.mode, p.p.began = self, op, mode, now
	out, _ := p.x.print(&answer{p: &p.p, reply: rep}, ring)
	return out
}
