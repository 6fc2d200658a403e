package node

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// pipeBytes is what one direction of a connection holds before its writer waits.
const pipeBytes = 64 << 10

// halfPipe is one direction of a connection, under its network's mutex. Like TCP it
// keeps what is sent while the link is cut and delivers it later, the end included.
type halfPipe struct {
	from, to string // IPs
	buf      []segment
	held     int // bytes of buf
	last     time.Time
	end      error // what the reader finds behind buf
	deaf     bool  // the reader is gone
	wake     sync.Cond
}

// segment is what one write sent, and when it arrives.
type segment struct {
	at   time.Time
	data []byte
}

// arrived tells whether there is something to read now. If it is still on its way,
// those who wait are woken when it comes. Under the mutex, like all methods.
func (h *halfPipe) arrived(n *memNet) bool {
	if len(h.buf) == 0 {
		return false
	}
	wait := time.Until(h.buf[0].at)
	if wait > 0 {
		n.after(wait, h.wake.Broadcast)
	}
	return wait <= 0
}

func (h *halfPipe) take(p []byte) int {
	s := &h.buf[0]
	n := copy(p, s.data)
	if s.data = s.data[n:]; len(s.data) == 0 {
		h.buf = slices.Delete(h.buf, 0, 1)
	}
	h.held -= n
	return n
}

func (h *halfPipe) put(p []byte, delay time.Duration) {
	at := time.Now().Add(delay)
	if at.Before(h.last) { // bytes do not overtake each other
		at = h.last
	}
	h.last = at
	h.held += len(p)
	h.buf = append(h.buf, segment{at, slices.Clone(p)})
}

// memConn is one end of a connection in memory.
type memConn struct {
	net         *memNet
	in, out     *halfPipe
	near, far   net.Addr
	isClosed    bool
	read, write deadline
}

// deadline wakes those who wait when it has come.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) set(n *memNet, at time.Time, wake *sync.Cond) {
	d.stop()
	d.at, d.timer = at, nil
	if wait := time.Until(at); !at.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			wake.Broadcast()
		})
	}
	wake.Broadcast()
}

// newConnPair is called under the mutex.
func (n *memNet) newConnPair(near, far net.Addr, from, to string) (a, b *memConn) {
	there, back := &halfPipe{from: from, to: to}, &halfPipe{from: to, to: from}
	there.wake.L, back.wake.L = &n.mu, &n.mu
	a = &memConn{net: n, in: back, out: there, near: near, far: far}
	b = &memConn{net: n, in: there, out: back, near: far, far: near}
	n.conns[a], n.conns[b] = true, true
	return a, b
}

func (c *memConn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch h := c.in; {
		case c.isClosed:
			return 0, net.ErrClosed
		case c.read.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case c.net.isCut(h.from, h.to):
		case h.arrived(c.net):
			n := h.take(p)
			h.wake.Broadcast()
			return n, nil
		case h.end != nil && len(h.buf) == 0:
			return 0, h.end
		}
		c.in.wake.Wait()
	}
}

func (c *memConn) Write(p []byte) (n int, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		h := c.out
		switch {
		case c.isClosed:
			return n, net.ErrClosed
		case c.write.passed():
			return n, os.ErrDeadlineExceeded
		case h.deaf && !c.net.isCut(h.to, h.from): // its reset has come
			return n, syscall.EPIPE
		}
		if k := min(len(p)-n, pipeBytes-h.held); k > 0 {
			h.put(p[n:n+k], c.net.delay())
			h.wake.Broadcast()
			n += k
		}
		if n == len(p) {
			return n, nil
		}
		h.wake.Wait()
	}
}

func (c *memConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.isClosed {
		return net.ErrClosed
	}
	c.closeAs(io.EOF)
	return nil
}

// closeAs is called under the mutex.
func (c *memConn) closeAs(end error) {
	if c.isClosed {
		return
	}
	c.isClosed = true
	c.read.stop()
	c.write.stop()
	c.out.end, c.in.deaf, c.in.buf, c.in.held = end, true, nil, 0
	c.in.wake.Broadcast()
	c.out.wake.Broadcast()
	delete(c.net.conns, c)
}

func (c *memConn) LocalAddr() net.Addr  { return c.near }
func (c *memConn) RemoteAddr() net.Addr { return c.far }

func (c *memConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.read, t, &c.in.wake)
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.write, t, &c.out.wake)
}

func (c *memConn) setDeadline(d *deadline, t time.Time, wake *sync.Cond) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.isClosed {
		return net.ErrClosed
	}
	d.set(c.net, t, wake)
	return nil
}
