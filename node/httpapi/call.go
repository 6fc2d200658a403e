package httpapi

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi/h1"
	"github.com/quoratedb/quorate/quorum/version"
)

// operation is one method of one route.
type operation struct {
	name   op
	params params
	run    func(*call)
	// anyQuery leaves the query alone: the answer does not depend on it.
	anyQuery bool
	// hasBody: it reads the body, and is admitted once that is there.
	hasBody bool
	// exempt: it must answer when the node is at its limit. A probe that fails under
	// load turns an overload into an outage.
	exempt bool
}

// call is one request on its way through the front end. Calls are pooled: nothing
// may keep one beyond finish.
type call struct {
	callState
	hdr headerList
}

// callState is what starts anew with each request.
type callState struct {
	a *api
	// A request comes by net/http or by the fast road; the other fields here are the
	// same for both.
	w http.ResponseWriter // nil on the fast road
	r *http.Request       // nil on the fast road
	x *h1.Exchange        // nil otherwise

	method   string
	rawQuery string
	h        headers
	length   int64 // of the body, -1: not announced
	src      io.Reader
	ctx      context.Context

	op    *operation
	q     query
	p     parsed
	id    version.RequestID
	write bool // the method may change something
	start time.Time

	// For the metrics.
	code     code
	mode     hashring.Mode
	in       int   // bytes of the value that came
	out      int   // bytes of the values that left
	held     int64 // of the budget of bodies
	admitted bool  // counted among those in flight
}

var calls = sync.Pool{New: func() any { return new(call) }}

// newCall begins a request that came by net/http.
func (a *api) newCall(w http.ResponseWriter, r *http.Request, o *operation) *call {
	c := calls.Get().(*call)
	c.callState = callState{a: a, w: w, r: r, method: r.Method, rawQuery: r.URL.RawQuery, h: netHeaders(r.Header), length: r.ContentLength, src: r.Body,
		ctx: r.Context(), op: o, start: a.Now(), write: isWrite(r.Method)}
	return c
}

func isWrite(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// serve runs the operation: request id, origin, query, then the handler.
func (c *call) serve() {
	defer c.finish()
	id, f := requestID(c.h, c.write)
	c.id = id
	if f == nil && c.write {
		f = c.checkOrigin()
	}
	if f == nil && c.rawQuery != "" && !c.op.anyQuery {
		f = c.q.parse(c.rawQuery, c.op.params)
	}
	if f == nil {
		f = c.enter()
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.op.run(c)
}

// checkOrigin refuses writes that a browser sends from a foreign page: such a page
// may reach a node on loopback that nobody else can.
func (c *call) checkOrigin() *fault {
	if c.r != nil && c.a.origin.Check(c.r) != nil { // the fast road takes no write of a browser
		return refuse(codePermissionDenied, "a browser sent this write from a page of another origin")
	}
	return nil
}

func (c *call) finish() {
	if c.held != 0 {
		c.a.bodyBytes.Add(-c.held)
	}
	if c.admitted {
		c.a.inFlight.Add(-1)
	}
	c.a.metrics.observe(c, c.a.Now().Sub(c.start))
	c.callState = callState{} // let go of the request and what it holds
	calls.Put(c)
}

// find looks a bucket up. A name that is not known here may have been created a
// moment ago through another node: then the ring is fetched once.
func (c *call) find(name string) (*hashring.Bucket, *hashring.Ring, *fault) {
	ring := c.a.b.Ring()
	if ring != nil {
		if b, ok := ring.Bucket(name); ok {
			c.mode = b.Mode
			return b, ring, nil
		}
	}
	c.a.refresh.wait(c.ctx)
	if ring = c.a.b.Ring(); ring == nil {
		return nil, nil, refuse(codeStarting, "the node does not know the ring yet")
	}
	b, ok := ring.Bucket(name)
	if !ok {
		return nil, nil, refuse(codeBucketNotFound, "there is no bucket "+name)
	}
	c.mode = b.Mode
	return b, ring, nil
}

// catchUp fetches the ring when the client has seen a newer one.
func (c *call) catchUp(seen uint64) {
	if seen == 0 {
		return
	}
	if ring := c.a.b.Ring(); ring == nil || ring.Version < seen {
		c.a.refresh.wait(c.ctx)
	}
}

// ask parses what depends on the mode of the bucket.
func (c *call) ask(req *core.Request, b *hashring.Bucket, ring *hashring.Ring) *fault {
	if b.Mode == hashring.Strong {
		return parseStrong(c.h, &c.q, req, &c.p)
	}
	if req.Op == core.OpIncrement {
		return asFault(rules.NoCounters())
	}
	f := parseEventual(c.h, &c.q, req, &c.p)
	if f == nil {
		rules.Resolve(req, c.p.consistency, b, ring)
	}
	return f
}

// strong tells that the bucket of the request is a strong one.
func (c *call) strong() bool { return c.mode == hashring.Strong }

// nodeName is the name of the node that runs a store; its id while the ring does
// not know it.
func (a *api) nodeName(ring *hashring.Ring, sid hashring.SID) string {
	self := a.asSelf()
	return self.NodeName(ring, sid)
}
