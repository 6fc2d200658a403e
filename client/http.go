package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// idleTimeout is shorter than that of the nodes (3 minutes) and of the usual
	// balancers (60 s), so that a connection is closed from here, not under a request.
	idleTimeout = 50 * time.Second
	// checkAfter is how long a connection may have been idle before it is looked at
	// whether the other side has closed it.
	checkAfter = 50 * time.Millisecond
	// readBuffer holds the head of a usual answer.
	readBuffer = 4 << 10
	// inlineValue is the largest value that is copied behind its head, to go out in one
	// write; a larger one is written from where it is.
	inlineValue = 16 << 10
	// keepBuffer is the largest write buffer that stays with a connection.
	keepBuffer = 64 << 10
)

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

// httpTransport speaks HTTP/1.1 with requests and answers of the data path only. It
// is not net/http because that costs two more goroutines and some 50 allocations a
// request, and because here a value is not touched any more once a call has returned.
type httpTransport struct {
	cfg   *Config
	pools sync.Map // *target -> *pool
	web   *web     // probes

	mu     sync.Mutex
	closed bool
}

func newHTTPTransport(cfg *Config) *httpTransport { return &httpTransport{cfg: cfg, web: newWeb(cfg)} }

// pool is the connections to one node.
type pool struct {
	to    *target
	slots chan struct{} // a place for each request at a time

	mu     sync.Mutex
	idle   []*httpConn // the last one used is the first one taken
	open   map[*httpConn]struct{}
	closed bool
}

// httpConn is one connection; one request at a time owns it.
type httpConn struct {
	net.Conn
	raw  net.Conn // below TLS
	br   *bufio.Reader
	out  []byte
	line []byte // a header line longer than br
	used time.Time
	// names that answers repeat, so that they are not allocated each time
	servedBy, contentType string
}

func (t *httpTransport) pool(to *target) (*pool, error) {
	if p, ok := t.pools.Load(to); ok {
		return p.(*pool), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	p, _ := t.pools.LoadOrStore(to, &pool{to: to, slots: make(chan struct{}, t.cfg.MaxConns), open: map[*httpConn]struct{}{}})
	return p.(*pool), nil
}

// roundTrip is transport.
func (t *httpTransport) roundTrip(ctx context.Context, to *target, q *request, p *response) error {
	pool, err := t.pool(to)
	if err != nil {
		return &netError{err: err}
	}
	select {
	case pool.slots <- struct{}{}:
	case <-ctx.Done():
		return &netError{err: fmt.Errorf("all %d connections to the node are in use: %w", t.cfg.MaxConns, ctx.Err())}
	}
	defer func() { <-pool.slots }()
	conn, fresh, err := t.connect(ctx, pool)
	if err != nil {
		return &netError{err: cause(ctx, err)}
	}
	return t.exchange(ctx, pool, conn, fresh, q, p)
}

// cause is ctx's error where that is why err came.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// exchange sends q and reads the answer over conn, and keeps conn if it can be used
// again.
func (t *httpTransport) exchange(ctx context.Context, pool *pool, conn *httpConn, fresh bool, q *request, p *response) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(aLongTimeAgo) })
	wrote := conn.send(pool.to, q)
	if wrote != nil && ctx.Err() == nil {
		// The node may have answered before it had all of the request: a value that is
		// too large, for one. Whatever it said is there already.
		_ = conn.SetReadDeadline(time.Now().Add(earlyAnswer))
	}
	begun, keep, err := conn.receive(q, p)
	if !stop() || wrote != nil {
		keep = false // its deadline is spent
	}
	if err == nil {
		pool.put(conn, keep)
		return nil
	}
	pool.put(conn, false)
	if wrote != nil {
		err = wrote
	}
	return &netError{sent: true, stale: !fresh && !begun && ctx.Err() == nil, err: cause(ctx, err)}
}

// earlyAnswer is how long an answer is waited for after the request could not be
// written: it is in the socket or it does not come.
const earlyAnswer = 50 * time.Millisecond

// connect takes an idle connection or dials.
func (t *httpTransport) connect(ctx context.Context, p *pool) (conn *httpConn, fresh bool, err error) {
	for {
		conn = p.take()
		if conn == nil {
			break
		}
		if time.Since(conn.used) < checkAfter || conn.alive() {
			return conn, false, nil
		}
		p.put(conn, false)
	}
	raw, err := t.cfg.Dial(ctx, "tcp", p.to.addr)
	if err != nil {
		return nil, true, err
	}
	conn = &httpConn{Conn: raw, raw: raw}
	if p.to.tls {
		conn.Conn = tls.Client(raw, tlsConfig(t.cfg.TLS, p.to.addr))
		if err := conn.Conn.(*tls.Conn).HandshakeContext(ctx); err != nil {
			return nil, true, errors.Join(err, raw.Close())
		}
	}
	conn.br = bufio.NewReaderSize(conn.Conn, readBuffer)
	if !p.add(conn) {
		return nil, true, errors.Join(ErrClosed, conn.Close())
	}
	return conn, true, nil
}

func tlsConfig(from *tls.Config, addr string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if from != nil {
		c = from.Clone()
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	c.NextProtos = []string{"http/1.1"}
	return c
}

func (p *pool) take() *httpConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

// put gives a connection back, or closes it.
func (p *pool) put(c *httpConn, keep bool) {
	if keep {
		c.used = time.Now()
		if cap(c.out) > keepBuffer {
			c.out = nil
		}
	}
	p.mu.Lock()
	if keep && !p.closed {
		p.idle = append(p.idle, c)
		p.mu.Unlock()
		return
	}
	delete(p.open, c)
	p.mu.Unlock()
	_ = c.Close() // nothing is lost by it: the answer is read, or an error is reported
}

func (p *pool) add(c *httpConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.open[c] = struct{}{}
	}
	return !p.closed
}

// drop closes idle connections that were last used before a time; those in use are
// left, unless all is set.
func (p *pool) drop(before time.Time, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if c.used.Before(before) {
			delete(p.open, c)
			_ = c.Close()
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if all {
		p.closed = true
		for c := range p.open {
			_ = c.Close()
		}
	}
}

// reap closes connections that have been idle for long.
func (t *httpTransport) reap(now time.Time) {
	t.pools.Range(func(_, p any) bool {
		p.(*pool).drop(now.Add(-idleTimeout), false)
		return true
	})
}

// forget is transport.
func (t *httpTransport) forget(to *target) {
	if p, ok := t.pools.Load(to); ok {
		p.(*pool).drop(time.Now().Add(time.Hour), false)
	}
}

// probe is transport.
func (t *httpTransport) probe(ctx context.Context, to *target) error {
	status, _, err := t.web.do(ctx, to, &webRequest{method: http.MethodGet, path: "/readyz", most: readBuffer})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("not ready: %d", status)
	}
	return err
}

// close is transport.
func (t *httpTransport) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.pools.Range(func(_, p any) bool {
		p.(*pool).drop(time.Now().Add(time.Hour), true)
		return true
	})
	t.web.close()
}

var _ io.Closer = (*Client)(nil)
