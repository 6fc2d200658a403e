package httpapi

import (
	"encoding/binary"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// data parses a request for one key. The core request is allocated for each: the
// core may keep it beyond the reply.
func (c *call) data(kind core.Op) (*core.Request, *fault) {
	vars := mux.Vars(c.r)
	req := &core.Request{Op: kind, Bucket: hashring.DefaultBucket, ID: c.id}
	if name, given := vars["bucket"]; given {
		var f *fault
		if req.Bucket, f = parseBucket(name); f != nil {
			return nil, f
		}
	}
	var f *fault
	if req.Key, f = parseKey(vars["key"], &c.q); f != nil {
		return nil, f
	}
	if f = parseRequest(c.r.Header, &c.q, req, &c.p); f != nil {
		return nil, f
	}
	c.catchUp(c.p.ring)
	b, ring, f := c.bucket(req.Bucket)
	if f != nil {
		return nil, f
	}
	c.prepare(req, &c.p, b, ring)
	return req, nil
}

// get serves GET and HEAD; net/http leaves the body of a HEAD out.
func (c *call) get() {
	req, f := c.data(core.OpGet)
	if f != nil {
		c.fail(f)
		return
	}
	rep := c.a.b.Do(c.r.Context(), req)
	c.showRead(rep)
}

func (c *call) put() {
	req, f := c.data(core.OpPut)
	if f == nil {
		f = checkRepresentation(c.r.Header)
	}
	if f == nil {
		req.ContentType, f = contentType(c.r.Header)
	}
	if f == nil {
		req.Value, f = c.body(c.a.MaxValue)
	}
	if f == nil {
		f = checkDigest(c.r.Header, req.Value)
	}
	if f != nil {
		c.fail(f)
		return
	}
	req.Sum = checksum(req.Value)
	c.bindID(req)
	c.in = len(req.Value)
	c.showWrite(c.a.b.Do(c.r.Context(), req))
}

func (c *call) del() {
	req, f := c.data(core.OpDelete)
	if f == nil && c.r.ContentLength != 0 {
		f = refuse(codeInvalidArgument, "a DELETE has no body")
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.bindID(req)
	c.showWrite(c.a.b.Do(c.r.Context(), req))
}

// bindID makes an id that came from an Idempotency-Key depend on what is written
// too: readers show the siblings of one id as one (E16), so a client that reuses a
// key for other bytes must not hide an acknowledged write by it.
func (c *call) bindID(req *core.Request) {
	if len(c.r.Header[hdrIdempotencyKey]) == 0 {
		return
	}
	tail := c.id[12:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)^req.Sum^uint32(req.Op)<<24)
	req.ID = c.id
}

func contentType(h http.Header) (string, *fault) {
	v, given, f := one(h, hdrContentType)
	switch {
	case f != nil:
		return "", f
	case !given || v == "":
		return typeOctets, nil
	case len(v) > core.MaxContentType:
		return "", refuse(codeInvalidArgument, "the Content-Type is longer than 256 bytes")
	}
	return v, nil
}

// showWrite answers a PUT or DELETE.
func (c *call) showWrite(rep *core.Reply) {
	if f := fromReply(rep); f != nil {
		c.fail(f)
		return
	}
	h := c.headers()
	h.buf = appendETag(h.buf, rep.Object.Hash())
	h.done(hdrETag)
	c.replyHeaders(h, rep)
	h.flush(c.w.Header())
	c.w.WriteHeader(http.StatusNoContent)
}
