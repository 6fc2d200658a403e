package frames

import (
	"fmt"
	"math/rand/v2"
	"time"

	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

type modeName = hashring.Mode

// reader turns what a connection brings into requests. It belongs to the
// connection's reader goroutine.
type reader struct {
	c     *conn
	large assembly
	texts wire.TextCache
	in    wire.ClientRequest
	batch []*core.Request
	ring  *hashring.Ring
	now   time.Time
}

// read is the reader goroutine. It ends when the connection does.
func (c *conn) read() {
	r := reader{c: c}
	r.large = assembly{limit: wire.MaxClientRequest, reserve: c.s.hold}
	defer func() { c.s.held.Add(-int64(r.large.open())) }()
	buf := make([]byte, readBuffer)
	have := 0
	for c.mayRead() {
		n, err := c.nc.Read(buf[have:])
		c.reads.Add(1)
		c.s.count.reads.Add(1)
		c.s.count.bytesIn.Add(uint64(n))
		have += n
		used, need, bad := r.frames(buf[:have])
		if bad != nil {
			c.cut(bad)
			return
		}
		if err != nil {
			c.fail(fmt.Errorf("read: %w", err))
			return
		}
		have = copy(buf, buf[used:have])
		if need > len(buf) {
			buf = append(buf[:have], make([]byte, need-have)...)
		}
	}
}

// mayRead waits until the client has taken enough of its replies.
func (c *conn) mayRead() bool {
	for c.owed.Load() > pauseOwed {
		select {
		case <-c.drained:
		case <-c.dead:
			return false
		}
	}
	return true
}

// hold takes n bytes from the budget of large requests, if they are there.
func (s *Server) hold(n int) bool {
	if s.held.Add(int64(n)) > s.MaxBytes {
		s.held.Add(-int64(n))
		return false
	}
	return true
}

// frames takes all whole frames off the front of b and hands their requests on
// together: used bytes; need is the size of the frame that is not whole yet.
func (r *reader) frames(b []byte) (used, need int, err error) {
	var slab []byte
	r.ring, r.now = r.c.s.Backend.Ring(), time.Now()
	defer r.submit()
	for {
		f, size, err := parseFrame(b[used:])
		if err != nil || size > len(b)-used {
			return used, size, err
		}
		switch f.kind {
		case frameMessage:
			n := len(f.payload)
			if n > cap(slab)-len(slab) {
				slab = make([]byte, 0, max(n, min(slabBytes, len(b)-used-frameHead)))
			}
			slab = append(slab, f.payload...)
			r.request(f.id, slab[len(slab)-n:len(slab):len(slab)], 0)
		case frameFirst, frameNext:
			if err := r.chunk(&f); err != nil {
				return used, 0, err
			}
		case framePing:
			r.c.tell(framePong, f.id, "")
		default:
			return used, 0, fmt.Errorf("%w: type %d from a client", errFrame, f.kind)
		}
		used += size
	}
}

func (r *reader) chunk(f *frame) error {
	whole, why, err := r.large.add(f)
	if err != nil {
		return err
	}
	switch why {
	case tooLarge:
		r.refuse(f.id, api.TooLarge(-1, r.c.s.MaxValue))
	case noRoom:
		r.c.s.count.shed.Add(1)
		r.refuse(f.id, api.Refuse(api.Overloaded, "the node holds as many bytes of requests as it may"))
	}
	if whole != nil {
		r.request(f.id, whole, cap(whole))
	}
	return nil
}

func (r *reader) submit() {
	if len(r.batch) > 0 {
		r.c.s.Backend.Submit(r.ring, r.batch)
		clear(r.batch)
		r.batch = r.batch[:0]
	}
}

// open counts a request in.
func (r *reader) open(id uint32, held int) (p *pending, admitted bool) {
	c := r.c
	c.s.count.requests.Add(1)
	p = &pending{c: c, id: id, began: r.now, held: held}
	mine, all := c.inFlight.Add(1), c.s.inFlight.Add(1)
	return p, mine <= int64(c.s.MaxInFlight) && all <= int64(c.s.MaxTotal)
}

// refuse answers a request that was not even decoded.
func (r *reader) refuse(id uint32, f *api.Fault) {
	p, _ := r.open(id, 0)
	r.c.refuse(p, f)
}

// request takes one request. It owns b, of which held bytes are reserved.
func (r *reader) request(id uint32, b []byte, held int) {
	c := r.c
	p, admitted := r.open(id, held)
	if !admitted {
		c.s.count.shed.Add(1)
		c.refuse(p, api.Refuse(api.Overloaded, "the node serves as many requests at a time as it may"))
		return
	}
	if err := wire.DecodeClientRequest(b, &r.in, &r.texts); err != nil {
		c.s.count.malformed.Add(1)
		c.refuse(p, api.Refuse(api.InvalidArgument, "the request cannot be decoded"))
		return
	}
	q := &r.in
	p.op, p.newest, p.noneMatch, p.in = q.Op, q.Newest, q.IfNoneMatch, len(q.Value)
	if r.behind(q.RingVersion) { // the client has seen a newer ring
		c.s.fetch.add(p, q)
		return
	}
	if retry, f := c.s.prepare(p, q, r.ring); f == nil {
		r.batch = append(r.batch, &p.req)
	} else if retry {
		c.s.fetch.add(p, q)
	} else if f != served {
		c.refuse(p, f)
	}
}

func (r *reader) behind(seen uint64) bool {
	return seen != 0 && (r.ring == nil || r.ring.Version < seen)
}

// strongSince is the version of the messages that can carry the replies of strong
// buckets.
const strongSince = 2

// served is no fault: the request has been answered already.
var served = &api.Fault{}

// prepare makes the core's request of what the client sent. retry says that a newer
// ring might help.
func (s *Server) prepare(p *pending, q *wire.ClientRequest, ring *hashring.Ring) (retry bool, f *api.Fault) {
	if q.Op == wire.ClientRing {
		return false, s.showRing(p, q, ring)
	}
	params := Params(q)
	if f = params.Request(&p.req, randomID()); f != nil {
		return false, f
	}
	b, retry, f := api.Bucket(ring, params.Bucket)
	if b != nil {
		p.mode = b.Mode
	}
	if f != nil {
		return retry, f
	}
	if b.Mode == hashring.Strong && p.c.version < strongSince {
		return false, api.Refuse(api.NotSupported, "strong buckets need version 2 of frames; this connection has version 1")
	}
	if f = params.For(&p.req, b, ring); f != nil {
		return false, f
	}
	p.match = q.IfMatch
	switch p.req.Op {
	case core.OpPut:
		f = api.PutValue(&p.req, q.Value, q.ContentType, q.IdempotencyKey, s.MaxValue)
	case core.OpDelete:
		api.BindID(&p.req, q.IdempotencyKey)
	}
	p.req.Waiter = p
	return false, f
}

// showRing answers with the ring.
func (s *Server) showRing(p *pending, q *wire.ClientRequest, ring *hashring.Ring) *api.Fault {
	status, body, f := p.c.self.LookRing(ring, q.IfNoneMatch)
	if f != nil {
		return f
	}
	if status != 200 {
		body = nil
	}
	p.req.ID = randomID()
	p.c.complete(answer{p: p, body: body, size: int64(len(body)) + 256})
	return served
}

// Params is a client's request as the rules of node/api take it.
func Params(q *wire.ClientRequest) api.Params {
	p := api.Params{Bucket: q.Bucket, Key: q.Key, Value: q.Value, ContentType: q.ContentType, Context: q.Context, ReadAfter: q.ReadAfter,
		Consistency: q.Consistency, R: q.R, W: q.W, PW: q.PW, Sloppy: q.Sloppy, TTL: q.TTL, Timeout: q.Timeout, OwnerOnly: q.OwnerOnly,
		Newest: q.Newest, Delta: q.Delta, IfMatch: q.IfMatch, IfNoneMatch: q.IfNoneMatch, IdempotencyKey: q.IdempotencyKey, RingVersion: q.RingVersion}
	switch q.Op {
	case wire.ClientGet, wire.ClientHead:
		p.Op = core.OpGet
	case wire.ClientPut:
		p.Op = core.OpPut
	case wire.ClientDelete:
		p.Op = core.OpDelete
	case wire.ClientIncrement:
		p.Op = core.OpIncrement
	}
	return p
}

// randomID needs no secrecy, only that two never meet: 128 bits.
func randomID() (id version.RequestID) {
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	return id
}
