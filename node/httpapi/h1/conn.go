package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// bufferSize holds the usual head with a small body, and what may be read
	// ahead of it.
	bufferSize = 4 << 10
	// headSlack is what net/http reads beyond its limit of a head.
	headSlack = 4 << 10
	// discardMost is how much of a body nobody wanted is read to keep a connection,
	// as in net/http.
	discardMost = 256 << 10
	// lingerTime is how long a connection that closes with input unread waits for
	// the client to take the answer, as in net/http: a reset would destroy it.
	lingerTime = 500 * time.Millisecond
	// outMost is when answers to pipelined requests are written though more wait.
	outMost = 32 << 10
	// copyMost is the largest body that is copied behind its head for one write; a
	// larger one is written from where it is, by the same system call.
	copyMost = 8 << 10
	// peeked is how many bytes net/http waits for before it takes them for another
	// request on a connection; fewer are dropped without a word.
	peeked = 4
	// holdMost is how long an answer waits for the next pipelined request to begin.
	holdMost = 500 * time.Microsecond
	// lastWrite is how long the answer to a body that came too slowly may take.
	lastWrite = 5 * time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// conn is one connection; everything but state belongs to its goroutine, or to
// whom that has lent it.
type conn struct {
	s      *Server
	nc     net.Conn
	ctx    context.Context
	cancel context.CancelFunc

	small *[bufferSize]byte // nil when somebody may still use it
	buf   []byte            // small, or larger for a long head
	r, w  int               // buf[r:w] has been read from nc and not been used
	fresh bool              // no request has come yet
	post  bool              // the last one was a POST

	out   []byte // answers not written yet
	held  time.Time
	x     Exchange
	state atomic.Int64

	watched chan struct{} // closed when the watch has ended
	ahead   int           // bytes it read
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, fresh: true}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.x.c = c
	c.state.Store(word(phaseNew, s.now.Load().tick+ticks(s.cfg.HeaderTimeout)))
	return c
}

// run serves requests until the connection ends.
func (c *conn) run() {
	c.small = buffers.Get().(*[bufferSize]byte)
	c.buf = c.small[:]
	defer c.finish()
	for c.one() {
		c.fresh = false
	}
}

func (c *conn) finish() {
	if err := recover(); err != nil {
		c.s.cfg.Log.Error("panic in a request", "panic", err, "stack", string(debug.Stack()))
	}
	c.enter(phaseWrite, 0) // ends a watch, which uses the buffer
	c.cancel()
	_ = c.nc.Close()
	if c.small != nil {
		buffers.Put(c.small)
	}
}

// one serves one request; false ends the connection.
func (c *conn) one() bool {
	size, v := c.awaitHead()
	x := &c.x
	if v == plain {
		v = x.head.parse(c.buf[c.r:c.r+size], c.s.names)
	}
	switch v {
	case partial:
		return false
	case odd:
		return c.lend(0, true)
	case twofold:
		return c.refuse()
	}
	x.begin(c.buf[c.r : c.r+size])
	c.post = x.head.method == methodOther && x.text[:4] == "POST"
	if x.head.method == methodOther || !c.s.cfg.Takes(x) {
		return c.lend(int64(size)+x.head.length, x.head.chunked || x.head.expects)
	}
	c.r += size
	return c.serve(x)
}

// awaitHead reads until a head is complete; its verdict is partial when none will
// come. Before it waits it writes what has been answered. As net/http it looks at
// four bytes before it takes anything behind an answer for a request.
func (c *conn) awaitHead() (size int, v verdict) {
	started, seen := c.fresh, c.fresh
	for scan := 0; ; {
		if !seen && c.w-c.r >= peeked {
			if seen = true; c.post {
				c.skipLines()
			}
		}
		if in := c.buf[c.r:c.w]; seen && len(in) > 0 {
			if size, scan, v = c.look(in, scan); v != partial {
				return size, v
			}
		}
		if !c.flush() || !c.waiting(&started, seen) {
			return 0, partial
		}
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) && seen && c.r < c.w {
				return 0, odd // net/http knows what to say
			}
			return 0, partial
		}
	}
}

// skipLines: some clients end a POST with a line (RFC 9112, 2.2).
func (c *conn) skipLines() {
	for range peeked {
		if c.buf[c.r] != '\r' && c.buf[c.r] != '\n' {
			return
		}
		c.r++
	}
}

// waiting begins the wait for a head, or for the rest of one that has started.
func (c *conn) waiting(started *bool, seen bool) bool {
	switch {
	case c.r == c.w:
		c.rest()
		return (c.fresh || c.enter(phaseIdle, c.s.cfg.IdleTimeout)) && !c.s.closing.Load()
	case *started:
		return true
	case !seen && c.post: // line ends, as like as not
		return c.enter(phaseIdle, c.s.cfg.IdleTimeout) && !c.s.closing.Load()
	}
	*started = true
	return c.enter(phaseRead, c.s.cfg.HeaderTimeout)
}

// look judges what there is of a head.
func (c *conn) look(in []byte, scan int) (size, next int, v verdict) {
	if in[0] < 'A' || in[0] > 'Z' {
		return 0, 0, odd
	}
	most := c.s.cfg.MaxHeaderBytes + headSlack
	size, next, v = endOfHead(in, scan)
	if v == plain && size > most || v == partial && len(in) >= most {
		v = odd
	}
	return size, next, v
}

// rest gives a large buffer back when nothing is in it.
func (c *conn) rest() {
	if c.r, c.w = 0, 0; len(c.buf) > bufferSize {
		c.buf = c.small[:]
	}
}

// fill reads once, making room first.
func (c *conn) fill() error {
	if c.w == len(c.buf) {
		to := c.buf
		if c.r == 0 {
			to = make([]byte, 2*len(c.buf)) // the callers bound it
		}
		c.w = copy(to, c.buf[c.r:c.w])
		c.buf, c.r = to, 0
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// serve answers a request on the fast road.
func (c *conn) serve(x *Exchange) bool {
	if len(c.out) > 0 && (x.head.method > methodHead || time.Since(c.held) > holdMost) && !c.flush() {
		return false // an answer waits behind a quick read at most, never behind a write
	}
	if !c.enter(phaseServe, watchAfter) {
		return false
	}
	c.s.cfg.Serve(x)
	if !x.replied {
		c.s.cfg.Log.Error("a request was left without an answer")
		return false
	}
	c.enter(phaseWrite, c.s.cfg.WriteTimeout)
	if !x.keep {
		if c.flush() && (x.unread() || c.r < c.w) {
			c.linger()
		}
		return false
	}
	if x.unread() && !(c.flush() && x.discard()) {
		return false
	}
	return len(c.out) < outMost || c.flush()
}

// flush writes what has been answered.
func (c *conn) flush() bool { return len(c.out) == 0 || c.write(nil) }

// write writes what has been answered, with body behind it.
func (c *conn) write(body []byte) (ok bool) {
	if !c.enter(phaseWrite, c.s.cfg.WriteTimeout) {
		// It was ended while it read: what went wrong can still be said.
		_ = c.nc.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	var err error
	if len(body) == 0 {
		_, err = c.nc.Write(c.out)
	} else {
		both := net.Buffers{c.out, body}
		_, err = both.WriteTo(c.nc)
	}
	if c.out = c.out[:0]; cap(c.out) > outMost {
		c.out = nil
	}
	return err == nil
}

// linger reads what the client still sends, for a short time.
func (c *conn) linger() {
	if !c.enter(phaseLent, 0) {
		return
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	for {
		if _, err := c.nc.Read(c.buf); err != nil {
			return
		}
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
