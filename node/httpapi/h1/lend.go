package h1

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lender is the listener of the other server: its connections are lent ones.
type lender struct {
	conns chan *lent
	stop  chan struct{}
	addr  net.Addr
}

func (l *lender) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.stop:
		return nil, net.ErrClosed
	}
}

func (l *lender) Close() error   { return nil }
func (l *lender) Addr() net.Addr { return l.addr }

// lent is a connection while the other server has it: for one request whose bytes
// are counted, after which it comes back, or for the last request of the
// connection, whose end only the other server can tell.
type lent struct {
	net.Conn
	c    *conn
	left int64 // bytes of the request not read yet
	last bool

	handled bool // the other server's handler was called
	refused bool // the other server refused the request, in other words than it thinks

	idle atomic.Bool // the request is answered, and the connection may be used again
	once sync.Once
	back chan struct{}

	mu     sync.Mutex
	wake   sync.Cond
	isPast bool // the read deadline has passed
}

// lend gives the connection to the other server, for n bytes or for good, and
// waits until it comes back; false when it is not to be used again.
func (c *conn) lend(n int64, last bool) bool {
	if !c.flush() || !c.enter(phaseLent, 0) {
		return false
	}
	l := &lent{Conn: c.nc, c: c, left: n, last: last, back: make(chan struct{})}
	l.wake.L = &l.mu
	select {
	case c.s.lender.conns <- l:
	case <-c.s.stop:
		return false
	}
	<-l.back
	if !l.reusable() {
		c.small = nil
		return false
	}
	return c.nc.SetDeadline(time.Time{}) == nil
}

func (l *lent) reusable() bool { return l.idle.Load() && !l.last && l.left == 0 }

// Read gives what belongs to the request. Behind it, it only waits: for the end of
// the connection, which the other server wants to see, for its being told to stop
// waiting, or for further requests, which stay in the buffer.
func (l *lent) Read(p []byte) (n int, err error) {
	c := l.c
	switch {
	case l.idle.Load():
		return 0, io.EOF // the next request is not for the other server
	case l.left == 0 && !l.last:
		return 0, l.wait()
	case !l.last:
		p = p[:min(int64(len(p)), l.left)]
	}
	if c.r < c.w {
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	} else {
		n, err = l.Conn.Read(p)
	}
	l.left -= int64(n)
	return n, err
}

func (l *lent) wait() error {
	c := l.c
	if c.r == c.w {
		c.r, c.w = 0, 0
		n, err := l.Conn.Read(c.buf)
		if c.w = n; n == 0 {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.isPast {
		l.wake.Wait()
	}
	return os.ErrDeadlineExceeded
}

// SetReadDeadline also ends a wait that no socket knows of.
func (l *lent) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	l.isPast = !t.IsZero() && !t.After(time.Now())
	l.mu.Unlock()
	l.wake.Broadcast()
	return l.Conn.SetReadDeadline(t)
}

func (l *lent) SetDeadline(t time.Time) error {
	return firstError(l.SetReadDeadline(t), l.SetWriteDeadline(t))
}

// CloseWrite is asked for by net/http before it lingers.
func (l *lent) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close gives the connection back, and closes it unless it can be used again.
func (l *lent) Close() (err error) {
	l.once.Do(func() {
		if !l.reusable() {
			err = l.Conn.Close()
		}
		l.mu.Lock()
		l.isPast = true
		l.mu.Unlock()
		l.wake.Broadcast()
		close(l.back)
	})
	return err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

type lentKey struct{}

// innerServer is the other server with hooks: it says when a request is answered,
// and does not offer a connection for more that is lent for the last time.
func innerServer(o *http.Server) *http.Server {
	h, state, ctx := o.Handler, o.ConnState, o.ConnContext
	o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l, ok := r.Context().Value(lentKey{}).(*lent); ok {
			if l.handled = true; l.last {
				w.Header()["Connection"] = []string{"close"}
			}
		}
		h.ServeHTTP(w, r)
	})
	o.ConnContext = func(parent context.Context, c net.Conn) context.Context {
		if ctx != nil {
			parent = ctx(parent, c)
		}
		return context.WithValue(parent, lentKey{}, c)
	}
	o.ConnState = func(c net.Conn, s http.ConnState) {
		if l, ok := c.(*lent); ok && s == http.StateIdle {
			l.idle.Store(true)
		}
		if state != nil {
			state(c, s)
		}
	}
	return o
}
