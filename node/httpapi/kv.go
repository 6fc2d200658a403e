package httpapi

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

// data parses a request for one key. The core request is allocated for each: the
// core may keep it beyond the reply.
func (c *call) data(kind core.Op) (*core.Request, *fault) {
	req := &core.Request{Op: kind, Bucket: hashring.DefaultBucket, ID: c.id}
	bucket, key, named := c.address()
	if named {
		var f *fault
		if req.Bucket, f = parseBucket(bucket); f != nil {
			return nil, f
		}
	}
	var f *fault
	if req.Key, f = parseKey(key, &c.q); f != nil {
		return nil, f
	}
	if f = parseCommon(c.h, req, &c.p); f != nil {
		return nil, f
	}
	c.catchUp(c.p.ring)
	b, ring, f := c.find(req.Bucket)
	if f == nil {
		f = c.ask(req, b, ring)
	}
	if f != nil {
		return nil, f
	}
	req.Bucket = b.Name // the request's own text need not live as long as the core's
	return req, c.queued(req)
}

// address gives bucket and key as they stand in the path, with their escapes; named
// is false on routes of the default bucket.
func (c *call) address() (bucket, key string, named bool) {
	if c.x != nil {
		bucket, key, named, _ = splitPath(c.x.Path())
		return bucket, key, named
	}
	vars := mux.Vars(c.r)
	bucket, named = vars["bucket"]
	return bucket, vars["key"], named
}

// get serves GET and HEAD; the server leaves the body of a HEAD out.
func (c *call) get() {
	req, f := c.data(core.OpGet)
	if f != nil {
		c.fail(f)
		return
	}
	rep := c.a.b.Do(c.ctx, req)
	c.showRead(rep)
}

func (c *call) put() {
	req, f := c.data(core.OpPut)
	if f == nil {
		f = checkRepresentation(c.h)
	}
	if f == nil {
		req.ContentType, f = contentType(c.h)
	}
	if f == nil {
		req.Value, f = c.body(c.a.MaxValue)
	}
	if f == nil {
		f = checkDigest(c.h, req.Value)
	}
	if f != nil {
		c.fail(f)
		return
	}
	req.Sum = checksum(req.Value)
	c.bindID(req)
	c.in = len(req.Value)
	c.showWrite(req, c.a.b.Do(c.ctx, req))
}

func (c *call) del() {
	req, f := c.data(core.OpDelete)
	if f == nil && c.length != 0 {
		f = refuse(codeInvalidArgument, "a DELETE has no body")
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.bindID(req)
	c.showWrite(req, c.a.b.Do(c.ctx, req))
}

// bindID makes an id that came from an Idempotency-Key depend on what is written too.
func (c *call) bindID(req *core.Request) {
	if key := c.h.Values(hdrIdempotencyKey); len(key) > 0 {
		rules.BindID(req, key[0])
		c.id = req.ID
	}
}

func contentType(h headers) (string, *fault) {
	v, given, f := one(h, hdrContentType)
	switch {
	case f != nil:
		return "", f
	case !given || v == "":
		return typeOctets, nil
	}
	kind, bad := rules.ContentType(v)
	return keptType(kind), asFault(bad)
}

// showWrite answers a PUT or DELETE.
func (c *call) showWrite(req *core.Request, rep *core.Reply) {
	if f := fromReply(rep); f != nil {
		c.fail(f)
		return
	}
	status := http.StatusNoContent
	h := c.headers()
	switch {
	case !c.strong():
		h.buf = appendETag(h.buf, rep.Object.Hash())
		h.done(hdrETag)
	case rules.Created(req):
		status = http.StatusCreated
		h.number(hdrContentLength, 0)
		fallthrough
	default:
		h.version(rep)
	}
	c.replyHeaders(h, rep)
	c.send(status, h, nil)
}
