package httpapi

import (
	"net/http"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// operation is one method of one route.
type operation struct {
	name   op
	params params
	run    func(*call)
	// anyQuery leaves the query alone: the answer does not depend on it.
	anyQuery bool
}

// call is one request on its way through the front end. Calls are pooled: nothing
// may keep one beyond finish.
type call struct {
	callState
	hdr headerList
}

// callState is what starts anew with each request.
type callState struct {
	a     *api
	w     http.ResponseWriter
	r     *http.Request
	op    *operation
	q     query
	p     parsed
	id    version.RequestID
	write bool // the method may change something
	start time.Time

	// For the metrics.
	code code
	mode hashring.Mode
	in   int   // bytes of the value that came
	out  int   // bytes of the values that left
	held int64 // of the budget of bodies
}

var calls = sync.Pool{New: func() any { return new(call) }}

func (a *api) newCall(w http.ResponseWriter, r *http.Request, o *operation) *call {
	c := calls.Get().(*call)
	c.callState = callState{a: a, w: w, r: r, op: o, start: a.Now(), write: isWrite(r.Method)}
	return c
}

func isWrite(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// serve runs the operation: request id, origin, query, then the handler.
func (c *call) serve() {
	defer c.finish()
	id, f := requestID(c.r.Header, c.write)
	c.id = id
	if f == nil && c.write {
		f = c.checkOrigin()
	}
	if f == nil && c.r.URL.RawQuery != "" && !c.op.anyQuery {
		f = c.q.parse(c.r.URL.RawQuery, c.op.params)
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
	if c.a.origin.Check(c.r) != nil {
		return refuse(codePermissionDenied, "a browser sent this write from a page of another origin")
	}
	return nil
}

func (c *call) finish() {
	if c.held != 0 {
		c.a.bodyBytes.Add(-c.held)
	}
	c.a.metrics.observe(c, c.a.Now().Sub(c.start))
	c.callState = callState{} // let go of the request and what it holds
	calls.Put(c)
}

// hold takes n bytes from the budget of request bodies until the call ends.
func (c *call) hold(n int64) *fault {
	c.held += n
	if c.a.bodyBytes.Add(n) > c.a.MaxBodyBytes {
		return refuse(codeOverloaded, "the node holds as many bytes of request bodies as it may")
	}
	return nil
}

// body reads the request's body into memory, at most limit bytes.
func (c *call) body(limit int) ([]byte, *fault) {
	n := c.r.ContentLength
	if n > int64(limit) {
		return nil, tooLarge(n, limit)
	}
	if n < 0 {
		n = int64(limit)
	}
	if f := c.hold(n); f != nil {
		return nil, f
	}
	return readBody(c.r, limit)
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
	c.a.refresh.wait(c.r.Context())
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

// bucket is find for requests on keys: only modes that are served here.
func (c *call) bucket(name string) (*hashring.Bucket, *hashring.Ring, *fault) {
	b, ring, f := c.find(name)
	if f == nil && b.Mode != hashring.Eventual {
		return nil, nil, refuse(codeNotSupported, "keys of buckets in "+string(b.Mode)+" mode are not served yet")
	}
	return b, ring, f
}

// catchUp fetches the ring when the client has seen a newer one.
func (c *call) catchUp(seen uint64) {
	if seen == 0 {
		return
	}
	if ring := c.a.b.Ring(); ring == nil || ring.Version < seen {
		c.a.refresh.wait(c.r.Context())
	}
}

// prepare resolves what the core takes as plain numbers.
func (c *call) prepare(req *core.Request, p *parsed, b *hashring.Bucket, ring *hashring.Ring) {
	if p.consistency == "" {
		return
	}
	count, byDefault := &req.R, b.R
	if c.write {
		count, byDefault = &req.W, b.W
	}
	switch p.consistency {
	case "one":
		*count = 1
	case "all":
		*count = core.All
	case "quorum":
		// A bucket without a default of its own means a majority already, and the
		// core counts it in the ring that it plans with.
		if *count = 0; byDefault != 0 {
			part := ring.PartitionOf(hashring.Hash(req.Bucket, req.Key))
			*count = core.Count(hashring.Majority(ring.N(b, part)))
		}
	}
}

// nodeName is the name of the node that runs a store; its id while the ring does
// not know it.
func (a *api) nodeName(ring *hashring.Ring, sid hashring.SID) string {
	if sid.IsZero() || sid == a.self.SID {
		return a.self.Node
	}
	if ring != nil {
		if s, ok := ring.Store(sid); ok {
			return s.Node
		}
	}
	return sid.String()
}
