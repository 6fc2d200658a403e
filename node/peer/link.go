package peer

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

const (
	// outboxBytes bounds the small messages that wait for one peer: some ten
	// thousand, which a live peer takes within milliseconds.
	outboxBytes = 4 << 20
	// bulkBytes bounds the large ones. A single message may be larger than that
	// (wire.MaxMessage) and passes when none is waiting.
	bulkBytes = 16 << 20
	// keepBytes is the largest buffer that is kept for the next round.
	keepBytes = 256 << 10

	backoffMin = 10 * time.Millisecond
	backoffMax = time.Second
	// steady is how long a connection must have lived to start the back-off anew.
	steady = time.Second
	// courtesy is how long the larger store id leaves the dialling to the smaller
	// one while it has nothing to say, so that one connection does for both.
	courtesy = 250 * time.Millisecond
)

// link is one of the two roads to a peer: its outbox, its connections (mostly one)
// and its writer goroutine, the only one that writes to them.
type link struct {
	p    *peer
	kind kind
	wake chan struct{} // holds one

	mu       sync.Mutex // held for memory work only
	buf      []byte     // kindMessages: sealed frames
	queue    [][]byte   // kindBulk: encoded messages
	queued   int        // bytes in queue
	messages uint64     // ever put into the outbox
	held     uint64     // of which in buf or queue
	overflow uint64     // refused because the outbox was full
	idle     bool       // the writer is about to wait, or waits
	closed   bool
	dialled  *conn
	accepted *conn
	stopDial context.CancelFunc // while the writer dials
	lived    time.Duration      // of the connection that was lost last

	// Of the writer alone.
	spare     []byte
	backoff   time.Duration
	notBefore time.Time

	// Of the janitor alone.
	lastOverflow uint64
	fullTicks    int
}

func (l *link) init(p *peer, k kind) {
	l.p, l.kind, l.wake = p, k, make(chan struct{}, 1)
	l.beCourteous()
}

// beCourteous gives the smaller store id the time to dial.
func (l *link) beCourteous() {
	if t := time.Now().Add(courtesy); l.p.isSmaller && t.After(l.notBefore) {
		l.notBefore = t
	}
}

// verdict on a message for an outbox.
type verdict byte

const (
	done    verdict = iota // taken, or dropped and counted
	tooLong                // for one frame
	gone                   // the link is closed
)

// put appends m to the outbox as a frame.
func (l *link) put(m *core.Message) verdict {
	l.mu.Lock()
	if v, ok := l.mayPut(len(l.buf) >= outboxBytes); !ok {
		l.mu.Unlock()
		return v
	}
	buf, fits := appendFrame(l.buf, m)
	l.buf = buf
	if !fits {
		l.mu.Unlock()
		return tooLong
	}
	l.messages++
	l.held++
	first := l.idle && l.held == 1 // with more the writer knows already
	if first {
		l.idle = false
	}
	l.mu.Unlock()
	if first {
		l.wakeUp()
	}
	return done
}

// mayPut is what put and putLarge ask first; l.mu is held.
func (l *link) mayPut(isFull bool) (verdict, bool) {
	if l.closed {
		return gone, false
	}
	if isFull {
		l.overflow++
	}
	return done, !isFull
}

// putLarge encodes m on the caller's goroutine, outside the lock, and queues it.
func (l *link) putLarge(m *core.Message) verdict {
	size := wire.SizeHint(m)
	l.mu.Lock()
	v, ok := l.mayPut(l.queued > 0 && l.queued+size > bulkBytes)
	l.mu.Unlock()
	if !ok {
		return v
	}
	b := wire.AppendMessage(make([]byte, 0, size), m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if v, ok := l.mayPut(len(b) > wire.MaxMessage || l.queued > 0 && l.queued+len(b) > bulkBytes); !ok {
		return v
	}
	l.queue = append(l.queue, b)
	l.queued += len(b)
	l.messages++
	l.held++
	l.wakeUp()
	return done
}

// wakeUp makes the writer look again. It never waits: when a token is there, the
// writer has not looked yet.
func (l *link) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the writer: connect when there is a reason to, write what has gathered.
func (l *link) run() {
	had := false
	for {
		c, hasWork, closed := l.look()
		if had && c == nil {
			l.beCourteous()
		}
		had = c != nil
		switch {
		case closed:
			return
		case c != nil && hasWork:
			// Let those who can run first send too: with 64 callers this takes the
			// writes per call from 0.4 to 0.06 and halves the CPU; alone it costs nothing.
			runtime.Gosched()
			l.flush(c)
		case c != nil:
			l.ping()
			l.wait(0, false)
		case hasWork || l.kind == kindMessages && l.p.address() != "":
			if d := time.Until(l.notBefore); d > 0 && !(hasWork && l.backoff == 0) {
				l.wait(d, hasWork)
			} else {
				l.connect()
			}
		default:
			l.wait(0, false)
		}
	}
}

// look is the writer's view: the connection to use, whether something waits.
func (l *link) look() (c *conn, hasWork, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = false
	return l.best(), l.held > 0, l.closed
}

// best is the connection to send on. Both ends choose alike: the one that the
// smaller store id dialled.
func (l *link) best() *conn {
	if l.dialled == nil || l.accepted != nil && l.p.isSmaller {
		return l.accepted
	}
	return l.dialled
}

// wait sleeps until wakeUp, and at most d (0: for ever). sawWork is what look said:
// a message that came since then is not slept over.
func (l *link) wait(d time.Duration, sawWork bool) {
	l.mu.Lock()
	if l.held > 0 && !sawWork {
		l.mu.Unlock()
		return
	}
	l.idle = true
	l.mu.Unlock()
	if d == 0 {
		<-l.wake
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.wake:
	case <-timer.C:
	}
}

// ping keeps quiet connections alive, the unused one of a pair too.
func (l *link) ping() {
	l.mu.Lock()
	both := [2]*conn{l.dialled, l.accepted}
	l.mu.Unlock()
	for _, c := range both {
		if c != nil && c.pingDue.Swap(false) {
			c.write(pingFrame)
		}
	}
}

// connect dials once. What waited is dropped when it fails.
func (l *link) connect() {
	ctx, cancel := context.WithTimeout(l.p.t.ctx, handshakeTimeout)
	defer cancel()
	l.mu.Lock()
	l.stopDial = cancel
	if l.lived >= steady {
		l.backoff = 0
	}
	l.lived = 0
	l.mu.Unlock()
	c, err := l.p.t.dialPeer(ctx, l)
	l.mu.Lock()
	l.stopDial = nil
	connected := l.best() != nil
	l.mu.Unlock()
	l.backoff = min(max(2*l.backoff, backoffMin), backoffMax)
	l.notBefore = time.Now().Add(l.backoff/2 + rand.N(l.backoff/2))
	switch {
	case err == nil:
		if l.p.add(c) {
			l.p.t.wg.Go(c.read)
		} else {
			_ = c.Close()
		}
	case !connected && l.p.t.ctx.Err() == nil: // the peer did not come to us meanwhile
		dropped := l.dropAll()
		l.p.t.count.dialFailures.Add(1)
		l.p.unreachable(dropped > 0)
		l.p.t.log.warn("dial "+l.p.sid.String(), "peer cannot be reached", "store", l.p.sid.Short(), "addr", l.p.address(), "error", err)
	}
}

// dropAll empties the outbox of what has no road.
func (l *link) dropAll() (dropped uint64) {
	l.mu.Lock()
	dropped = l.held
	l.buf, l.queue, l.queued, l.held = l.buf[:0], nil, 0, 0
	l.mu.Unlock()
	l.p.t.count.dropped.Add(dropped)
	return dropped
}
