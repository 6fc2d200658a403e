package client

import (
	"context"
	"time"
)

// transport carries requests for single keys to one node. It knows nothing of rings
// and retries; it is safe for any number of goroutines.
type transport interface {
	// roundTrip sends q to a node and fills p with the node's verdict, whatever it is:
	// a 404 or a 503 is a verdict, with p.fault set. An error means that there is none;
	// it is a *netError where that matters (was anything sent?), or ctx's error.
	//
	// ctx always has a deadline. roundTrip returns soon after ctx ends, and from then
	// on touches neither q nor q.value: they are the caller's again. p.value is a slice
	// that nobody else uses.
	roundTrip(ctx context.Context, to *target, q *request, p *response) error
	// probe asks whether a node may be given requests; nil says so.
	probe(ctx context.Context, to *target) error
	// forget closes what is open to a node that is not used any more.
	forget(to *target)
	// close ends everything; no roundTrip is running or will be started.
	close()
}

// target is one node as a transport sees it. Its fields never change; a node that
// gets another address is another target.
type target struct {
	name   string // node name; "" for an endpoint whose name is not known
	base   string // URL of the HTTP API without a path, "http://127.0.0.1:7400"
	tls    bool   // of base
	addr   string // host:port of base
	peer   string // host:port of the peer port as the ring has it; "" for an endpoint
	frames string // host:port of the frames port as the ring has it; "": none
}

// op is what a request asks for.
type op uint8

const (
	opGet op = iota + 1
	opHead
	opPut
	opDelete
	opIncrement // of a counter of a strong bucket
	opCount     // reads one
	// The others do not go through a transport: they are JSON over HTTP.
	opMulti // reads of many keys, lists, control reads
	opBatch // writes of many keys
	opAdmin // control writes
)

var opNames = [...]string{"", "get", "head", "put", "delete", "increment", "count", "read", "batch", "change"}

func (o op) String() string { return opNames[o] }

func (o op) write() bool {
	return o == opPut || o == opDelete || o == opIncrement || o == opBatch || o == opAdmin
}

// counter tells that the key is a counter, on the route of counters.
func (o op) counter() bool { return o == opIncrement || o == opCount }

// consistency is a level by name; 0 takes r or w, or the bucket's default.
type consistency uint8

const (
	levelOne consistency = iota + 1
	levelQuorum
	levelAll
	// Those below are of strong buckets alone; levelQuorum is of both.
	levelLeader
	levelReplica
	levelStale
	levelLease
)

var levelNames = [...]string{"", "one", "quorum", "all", "leader", "replica", "stale", "lease"}

// tri is an optional yes or no.
type tri uint8

const (
	unset tri = iota
	no
	yes
)

// request is one attempt at one key. The retry loop sets timeout, ring and
// ownerOnly anew for each attempt; the rest is the same in all of them.
type request struct {
	op     op
	bucket string
	key    string // 1 to 1,024 bytes, any bytes
	value  []byte // opPut
	// contentType of a put, "" for application/octet-stream.
	contentType string

	r, w, pw  int8        // 0: not given
	level     consistency // 0: not given
	sloppy    tri
	newest    bool          // resolve=newest
	ttl       time.Duration // 0: the bucket's default
	context   Context       // of a write: what the client saw; "": none
	after     Context       // of a read: what the answer must include; "": none
	noneMatch ETag          // of a read; of a write it is * and wants the key to hold nothing; "": none
	match     ETag          // of a write: what the key must hold; "": anything
	delta     int64         // opIncrement

	// idempotency is <unix_ms>-<random>, the same in all attempts of one write.
	idempotency string
	// timeout is the node's time for this attempt, above 0 and at most 60 s; a little
	// less than ctx's, so that the node's verdict still arrives.
	timeout time.Duration
	// ring is the ring version that the node should have before it serves; 0: any.
	ring      uint64
	ownerOnly bool // the node is to refuse (not_owner) rather than forward
}

// response is a node's verdict. A transport fills the fields the answer has.
type response struct {
	status int    // as HTTP has it: 200, 201, 204, 300, 304, or 400 and above
	fault  *Error // with status 400 and above: what the problem document says

	value       []byte    // status 200, not of opHead
	contentType string    // status 200
	size        int64     // status 200: bytes of the value, of opHead too
	siblings    []Sibling // status 300, newest first
	count       int       // siblings there are; 0 and 1 are the same

	counted int64  // status 200 of a counter
	stale   bool   // Quorate-Stale was there
	applied uint64 // with stale: the log index

	context Context // "": none was given
	etag    ETag
	receipt Receipt

	ring         uint64 // 0: the node did not say
	epoch        uint64
	partition    uint32
	hasPartition bool
	servedBy     string // node that coordinated
	requestID    string // set with faults only
}

// netError says that there is no verdict.
type netError struct {
	// sent is false when certainly nothing of the request reached a node: it may be
	// sent elsewhere, whatever it is.
	sent bool
	// stale marks a kept connection that had been closed under us before the first
	// byte of an answer: the node is not to blame.
	stale bool
	err   error
}

func (e *netError) Error() string { return e.err.Error() }
func (e *netError) Unwrap() error { return e.err }
