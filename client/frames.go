package client

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	// framesBackoffFirst and framesBackoffMost bound how long a node whose frames port
	// could not be reached is not dialed again; whoever wants it meanwhile is told so.
	framesBackoffFirst = 20 * time.Millisecond
	framesBackoffMost  = time.Second
	// framesStrong is the version of the messages from which on they carry what strong
	// buckets have to tell.
	framesStrong = 2
)

// framesTransport speaks frames: one connection to each node carries all requests at
// once. Nodes that take no frames, and the endpoints while the ring is not known, are
// spoken to by HTTP.
type framesTransport struct {
	cfg  *Config
	dial frames.DialConfig
	http *httpTransport

	ctx  context.Context // ends with close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	links  map[*target]*framesLink
	closed bool
}

// framesLink is the way to one node.
type framesLink struct {
	conn    *frames.Conn  // nil: none yet
	dialing chan struct{} // closed when the dial under way has ended; nil: none is
	err     error         // of the last dial
	backoff time.Duration
	notYet  time.Time // no dial before
}

// newFramesTransport: token is the secret of frames-token-file, nil where the nodes
// have none.
func newFramesTransport(cfg *Config, token []byte) (*framesTransport, error) {
	for _, e := range cfg.Endpoints {
		if t, err := parseEndpoint(e); err == nil && t.tls {
			return nil, errors.New("quorate: frames have no TLS, and the endpoints are https: use the transport HTTP")
		}
	}
	t := &framesTransport{cfg: cfg, http: newHTTPTransport(cfg), links: map[*target]*framesLink{}}
	t.dial = frames.DialConfig{Token: token, Name: "go client", Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		return cfg.Dial(ctx, "tcp", addr)
	}}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// roundTrip is transport.
func (t *framesTransport) roundTrip(ctx context.Context, to *target, q *request, p *response) error {
	if to.frames == "" {
		return t.http.roundTrip(ctx, to, q, p)
	}
	c, err := t.connect(ctx, to, false)
	if err != nil {
		return &netError{err: cause(ctx, err)}
	}
	old := c.Info().Version < framesStrong
	if old && q.op.counter() {
		return t.http.roundTrip(ctx, to, q, p)
	}
	m := framesRequest(q)
	if p.fault = tooLarge(&m); p.fault != nil {
		p.status = p.fault.Status
		return nil
	}
	var r wire.ClientReply
	if err := c.Do(ctx, &m, &r); err != nil {
		notSent := errors.Is(err, frames.ErrNotSent)
		return &netError{sent: !notSent, stale: errors.Is(err, frames.ErrGoAway), err: cause(ctx, err)}
	}
	if old && r.Status == 422 && r.Code == codeNotSupported { // a strong bucket, as it may be
		return t.http.roundTrip(ctx, to, q, p)
	}
	p.fill(q, &r)
	return nil
}

// tooLarge refuses what no node would read, as a node would.
func tooLarge(m *wire.ClientRequest) *Error {
	err := m.Check()
	switch {
	case err == nil:
		return nil
	case len(m.Key) > core.MaxKey:
		return &Error{Status: 414, Code: "key_too_long", Outcome: NotApplied, Detail: err.Error()}
	case len(m.Value) > core.MaxValue:
		return &Error{Status: 413, Code: "value_too_large", Outcome: NotApplied, Detail: err.Error()}
	}
	return &Error{Status: 400, Code: "invalid_argument", Outcome: NotApplied, Detail: err.Error()}
}

// connect gives the connection to a node. However many want it, one dial runs at a
// time, which no caller's end stops. anew dials in spite of the back-off.
func (t *framesTransport) connect(ctx context.Context, to *target, anew bool) (*frames.Conn, error) {
	for {
		t.mu.Lock()
		if t.closed {
			t.mu.Unlock()
			return nil, ErrClosed
		}
		l := t.links[to]
		if l == nil {
			l = &framesLink{}
			t.links[to] = l
		}
		if l.conn != nil && l.conn.Usable() {
			c := l.conn
			t.mu.Unlock()
			return c, nil
		}
		if l.dialing == nil {
			if !anew && l.err != nil && time.Now().Before(l.notYet) {
				err := l.err
				t.mu.Unlock()
				return nil, err
			}
			l.dialing = make(chan struct{})
			t.wg.Go(func() { t.redial(to, l) })
		}
		done := l.dialing
		t.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		t.mu.Lock()
		c, err := l.conn, l.err
		t.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if c != nil && c.Usable() {
			return c, nil
		}
		anew = false // it ended at once: the next dial heeds the back-off
	}
}

// redial makes one attempt to connect.
func (t *framesTransport) redial(to *target, l *framesLink) {
	ctx, cancel := context.WithTimeout(t.ctx, dialTimeout)
	c, err := frames.Dial(ctx, to.frames, t.dial)
	cancel()
	t.mu.Lock()
	closed := t.closed || t.links[to] != l
	if err == nil && closed {
		err = ErrClosed
	}
	old := l.conn
	l.conn, l.err = c, err
	if err == nil {
		l.backoff = 0
	} else {
		l.conn = nil
		l.backoff = min(max(2*l.backoff, framesBackoffFirst), framesBackoffMost)
		l.notYet = time.Now().Add(jitter(l.backoff))
	}
	close(l.dialing)
	l.dialing = nil
	t.mu.Unlock()
	if c != nil && closed {
		_ = c.Close()
	}
	if old != nil {
		old.Retire()
	}
}

// probe is transport: the node takes frames and knows the ring.
func (t *framesTransport) probe(ctx context.Context, to *target) error {
	if to.frames == "" {
		return t.http.probe(ctx, to)
	}
	c, err := t.connect(ctx, to, true)
	if err != nil {
		return err
	}
	var r wire.ClientReply
	if err := c.Do(ctx, &wire.ClientRequest{Op: wire.ClientRing, IfNoneMatch: "*"}, &r); err != nil {
		return err
	}
	if r.Status >= 400 {
		return fmt.Errorf("not ready: %s", r.Code)
	}
	return nil
}

// forget is transport.
func (t *framesTransport) forget(to *target) {
	t.http.forget(to)
	t.mu.Lock()
	l := t.links[to]
	delete(t.links, to)
	var c *frames.Conn
	if l != nil {
		c = l.conn
	}
	t.mu.Unlock()
	if c != nil {
		c.Retire()
	}
}

// reap closes HTTP connections that have been idle for long; frames are one a node.
func (t *framesTransport) reap(now time.Time) { t.http.reap(now) }

// close is transport.
func (t *framesTransport) close() {
	t.mu.Lock()
	t.closed = true
	var open []*frames.Conn
	for _, l := range t.links {
		if l.conn != nil {
			open = append(open, l.conn)
		}
	}
	t.mu.Unlock()
	t.stop()
	for _, c := range open {
		_ = c.Close()
	}
	t.wg.Wait()
	t.http.close()
}

// framesRequest is a request as frames carry it.
func framesRequest(q *request) wire.ClientRequest {
	m := wire.ClientRequest{IfMatch: string(q.match), IfNoneMatch: string(q.noneMatch), Bucket: q.bucket, Key: []byte(q.key), Consistency: levelNames[q.level], R: uint32(q.r), W: uint32(q.w), PW: uint32(q.pw),
		Sloppy: core.Tri(q.sloppy), TTL: q.ttl, Timeout: q.timeout, OwnerOnly: q.ownerOnly, Newest: q.newest, RingVersion: q.ring}
	switch q.op {
	case opPut:
		m.Op, m.Value, m.ContentType, m.Context, m.IdempotencyKey = wire.ClientPut, q.value, q.contentType, string(q.context), q.idempotency
	case opIncrement:
		m.Op, m.Delta, m.IdempotencyKey = wire.ClientIncrement, q.delta, q.idempotency
	case opDelete:
		m.Op, m.Context, m.IdempotencyKey = wire.ClientDelete, string(q.context), q.idempotency
	case opHead:
		m.Op, m.ReadAfter = wire.ClientHead, string(q.after)
	default:
		m.Op, m.ReadAfter = wire.ClientGet, string(q.after)
	}
	return m
}

// fill takes a verdict over.
func (p *response) fill(q *request, r *wire.ClientReply) {
	p.status, p.context, p.contentType, p.servedBy = int(r.Status), Context(r.Context), r.ContentType, r.ServedBy
	p.ring, p.epoch, p.partition, p.hasPartition = r.RingVersion, r.Epoch, r.Partition, r.HasPlace
	p.receipt = framesReceipt(&r.Receipt)
	p.count, p.size = int(r.Siblings), int64(r.Size)
	if r.HasETag {
		p.etag = ETag(api.ETag(r.ETag))
	}
	if s := &r.Strong; !s.Version.IsZero() {
		p.etag = strongETag(s.Version)
	}
	p.stale, p.applied = r.Strong.Stale, r.Strong.Applied
	if q.op.counter() {
		p.counted = r.Strong.Count
	}
	switch {
	case r.Status >= 400:
		p.requestID = hex.EncodeToString(r.RequestID[:])
		p.fault = framesFault(r, p)
	case r.Status == 200 && q.op == opCount && !r.Strong.Counted: // by frames it is a GET
		p.status = 409
		p.fault = &Error{Status: 409, Code: codeConflict, Detail: "the key holds a value that is not a counter", Ring: p.ring, Epoch: p.epoch, Partition: p.partition}
	case r.Status == 200 && q.op != opHead && !q.op.counter():
		if p.value = r.Value; p.value == nil {
			p.value = []byte{}
		}
	case r.Status == 300:
		p.siblings = framesSiblings(r.Values)
	}
}

// strongETag is a version as HTTP has it.
func strongETag(v strong.Version) ETag {
	var room [64]byte
	b := append(room[:0], '"')
	for i, n := range [...]uint64{v.Incarnation, v.Epoch, v.Index} {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return ETag(append(b, '"'))
}

func framesReceipt(r *wire.ClientReceipt) Receipt {
	return Receipt{N: int(r.N), Need: int(r.Need), Acks: int(r.Acks), Owners: int(r.Owners), Fallbacks: int(r.Fallbacks), Synced: int(r.Synced)}
}

func framesFault(r *wire.ClientReply, p *response) *Error {
	f := &Error{Status: int(r.Status), Code: r.Code, Outcome: Outcome(r.Outcome), Retryable: r.Retryable, RetryAfter: r.RetryAfter, Detail: r.Detail,
		Ring: r.RingVersion, Epoch: r.Epoch, Partition: r.Partition, Owners: r.Owners, ETag: p.etag, RequestID: p.requestID}
	if len(f.Detail) > detailMax {
		f.Detail = f.Detail[:detailMax]
	}
	if r.Quorum {
		f.Quorum = &QuorumReport{N: p.receipt.N, Need: p.receipt.Need, Acks: p.receipt.Acks, Owners: p.receipt.Owners, Fallbacks: p.receipt.Fallbacks}
		for _, x := range r.Failed {
			f.Quorum.Failed = append(f.Quorum.Failed, Failure{x.Node, x.Reason})
		}
	}
	return f
}

func framesSiblings(from []wire.ClientSibling) []Sibling {
	out := make([]Sibling, len(from))
	for i := range from {
		s := &from[i]
		out[i] = Sibling{Data: s.Value, ContentType: s.ContentType, ETag: ETag(api.SiblingETag(version.Dot{Actor: version.Actor(s.Actor), Counter: s.Counter})), Stamp: s.HLC}
		if out[i].Data == nil {
			out[i].Data = []byte{}
		}
	}
	slices.SortStableFunc(out, func(a, b Sibling) int { return cmp.Compare(b.Stamp, a.Stamp) })
	return out
}
