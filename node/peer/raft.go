package peer

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// maxStreams bounds raw streams that wait for Accept: a Raft group has at most
// five voters, each with a few streams.
const maxStreams = 32

// Layer gives raw streams on the transport's port, for Raft. It has the methods of
// a net.Listener. What goes over a stream after the hello is not looked at.
type Layer struct {
	t        *Transport
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once
}

func newLayer(t *Transport) *Layer {
	return &Layer{t: t, incoming: make(chan net.Conn, maxStreams), done: make(chan struct{})}
}

// Accept is the next stream that a peer of this cluster opened; net.ErrClosed at
// the end.
func (l *Layer) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and the streams nobody has accepted; the transport goes on.
func (l *Layer) Close() error {
	l.once.Do(func() { close(l.done) })
	for {
		select {
		case c := <-l.incoming:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr is the transport's address.
func (l *Layer) Addr() net.Addr { return l.t.Addr() }

// Dial opens a stream to the node at addr; timeout (0: two seconds) is for
// connecting and the hello. Both must be in the same cluster. Errors:
// *RefusedError, or the network's.
func (l *Layer) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = handshakeTimeout
	}
	ctx, cancel := context.WithTimeout(l.t.ctx, timeout)
	defer cancel()
	c, _, err := l.t.dial(ctx, addr, kindRaft, hashring.SID{})
	return c, err
}

// serveRaft hands an accepted stream over.
func (t *Transport) serveRaft(c net.Conn, mine, from Hello) {
	select {
	case <-t.raft.done:
		t.refuse(c, mine, &RefusedError{Code: RefusedBusy, Remote: from, Reason: mine.Node + " takes no Raft streams now"})
		return
	default:
	}
	if !t.accept(c, mine) {
		return
	}
	select {
	case t.raft.incoming <- c:
		select {
		case <-t.raft.done: // closed meanwhile: nobody will accept it
			_ = t.raft.Close()
		default:
		}
	default:
		t.log.warn("streams", "Raft stream dropped", "other", from.Node, "waiting", maxStreams)
		_ = c.Close()
	}
}
