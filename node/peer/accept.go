package peer

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// maxPending bounds the connections that have not finished their hello. One
	// more ends the oldest: a peer needs milliseconds, so the oldest are strangers
	// who sit on the port.
	maxPending = 256
	// acceptPause is after an accept that failed (no file descriptors, mostly).
	acceptPause = 50 * time.Millisecond
)

// pendingSet holds the connections before their hello, oldest first.
type pendingSet struct {
	mu       sync.Mutex
	conns    []net.Conn
	isClosed bool
}

// add returns the connection that has to go, if any: the oldest, or c itself when
// the set is closed.
func (s *pendingSet) add(c net.Conn) (evicted net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return c
	}
	if len(s.conns) >= maxPending {
		evicted = s.conns[0]
		s.conns = slices.Delete(s.conns, 0, 1)
	}
	s.conns = append(s.conns, c)
	return evicted
}

// remove tells whether c was still there; else it has been evicted and closed.
func (s *pendingSet) remove(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.conns, c)
	if i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
	return i >= 0
}

func (s *pendingSet) closeAll() {
	s.mu.Lock()
	s.isClosed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (t *Transport) acceptLoop() {
	for {
		c, err := t.ln.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			t.log.warn("accept", "peer port does not accept", "error", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-t.ctx.Done():
				return
			}
		}
		t.count.accepted.Add(1)
		if evicted := t.pending.add(c); evicted != nil {
			t.count.evicted.Add(1)
			_ = evicted.Close()
		}
		t.wg.Go(func() { t.welcome(c) })
	}
}

// welcome reads the hello of a connection and serves it.
func (t *Transport) welcome(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	c, p, err := t.readHello(raw)
	if !t.pending.remove(raw) { // evicted, or closed by Close
		_ = c.Close()
		return
	}
	if err != nil {
		t.count.garbage.Add(1)
		t.log.info("garbage", "stray connection on the peer port", "from", raw.RemoteAddr().String(), "error", err)
		_ = c.Close()
		return
	}
	k, mine := kind(p.code), t.cfg.Self()
	no := t.judge(k, mine, p.hello)
	if no == nil && !p.target.IsZero() && p.target != mine.SID {
		no = &RefusedError{Code: RefusedTarget, Remote: p.hello, Reason: "store " + p.target.String() + " was expected, " + mine.Node + " has " + mine.SID.String()}
	}
	if no != nil {
		t.refuse(c, mine, no)
		return
	}
	switch k {
	case kindControl:
		t.serveCall(c, mine, p.hello)
	case kindRaft:
		t.serveRaft(c, mine, p.hello)
	default:
		t.servePeer(c, k, mine, p.hello)
	}
}

func (t *Transport) readHello(raw net.Conn) (net.Conn, preface, error) {
	c := raw
	if t.cfg.Wrap != nil {
		secure, err := t.cfg.Wrap(raw, false)
		if err != nil {
			return raw, preface{}, err
		}
		c = secure
	}
	p, err := readPreface(c)
	return c, p, err
}

// refuse says no to the far side, which also logs it, and closes.
func (t *Transport) refuse(c net.Conn, mine Hello, no *RefusedError) {
	t.count.refused.Add(1)
	t.log.warn("refused "+no.Remote.SID.String(), "peer refused", "store", no.Remote.SID.Short(), "other", no.Remote.Node,
		"from", c.RemoteAddr().String(), "reason", no.Reason)
	answer := preface{code: byte(no.Code), hello: mine, reason: no.Reason}
	_, _ = c.Write(answer.append(nil))
	_ = c.Close()
}

// accept says yes, and takes the handshake's deadline off.
func (t *Transport) accept(c net.Conn, mine Hello) bool {
	answer := preface{hello: mine}
	if _, err := c.Write(answer.append(nil)); err != nil {
		_ = c.Close()
		return false
	}
	_ = c.SetDeadline(time.Time{})
	return true
}

// servePeer is the reader of an accepted peer connection.
func (t *Transport) servePeer(nc net.Conn, k kind, mine, theirs Hello) {
	p := t.peer(theirs.SID)
	if p == nil {
		t.refuse(nc, mine, &RefusedError{Code: RefusedBusy, Remote: theirs, Reason: mine.Node + " knows too many peers or stops"})
		return
	}
	if !t.accept(nc, mine) {
		return
	}
	c := newConn(nc, p.link(k), theirs, false)
	if !p.add(c) {
		_ = nc.Close()
		return
	}
	c.read()
}
