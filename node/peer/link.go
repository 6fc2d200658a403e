package peer

import (
	"context"
	"math/rand/v2"
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
	wake chan struct{} // holds one; sent to when idle was set

	mu       sync.Mutex // held for memory work only
	buf      []byte     // kindMessages: sealed frames
	queue    [][]byte   // kindBulk: encoded messages
	queued   int        // bytes in queue
	messages uint64     // ever put into the outbox
	held     uint64     // of which in buf or queue
	overflow uint64     // refused because the outbox was full
	idle     bool       // the writer waits for wake
	closed   bool
	dialled  *conn
	accepted *conn
	stopDial context.CancelFunc // while the writer dials

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
	l.notBefore = time.Now().Add(p.patience())
}

// patience is the courtesy of the larger store id.
func (p *peer) patience() time.Duration {
	if self := p.t.cfg.Self().SID; self.String() > p.sid.String() {
		return courtesy
	}
	return 0
}

// put appends m to the outbox as a frame; false when it is too long for one.
func (l *link) put(m *core.Message) bool {
	l.mu.Lock()
	if l.closed || len(l.buf) >= outboxBytes {
		l.overflow++
		l.mu.Unlock()
		return true
	}
	buf, fits := appendFrame(l.buf, m)
	l.buf = buf
	if !fits {
		l.mu.Unlock()
		return false
	}
	l.messages++
	l.held++
	wasIdle := l.idle
	l.idle = false
	l.mu.Unlock()
	if wasIdle {
		l.signal()
	}
	return true
}

// putLarge encodes m on the caller's goroutine, outside the lock, and queues it.
func (l *link) putLarge(m *core.Message) {
	if l.isFull() {
		return
	}
	b := wire.AppendMessage(make([]byte, 0, wire.SizeHint(m)), m)
	l.mu.Lock()
	if l.closed || len(b) > wire.MaxMessage || l.queued > 0 && l.queued+len(b) > bulkBytes {
		l.overflow++
		l.mu.Unlock()
		return
	}
	l.queue = append(l.queue, b)
	l.queued += len(b)
	l.messages++
	l.held++
	l.mu.Unlock()
	l.wakeUp()
}

func (l *link) isFull() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queued >= bulkBytes {
		l.overflow++
		return true
	}
	return false
}

// wakeUp makes the writer look again.
func (l *link) wakeUp() {
	l.mu.Lock()
	wasIdle := l.idle
	l.idle = false
	l.mu.Unlock()
	if wasIdle {
		l.signal()
	}
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // a token is there: the writer will look
	}
}

// run is the writer: connect when there is a reason to, write what has gathered.
func (l *link) run() {
	for {
		c, hasWork, closed := l.look()
		switch {
		case closed:
			return
		case c != nil && hasWork:
			l.flush(c)
		case c != nil:
			l.ping()
			l.wait(0)
		case hasWork || l.kind == kindMessages && l.p.address() != "":
			if d := time.Until(l.notBefore); d > 0 && !(hasWork && l.backoff == 0) {
				l.wait(d)
			} else {
				l.connect()
			}
		default:
			l.wait(0)
		}
	}
}

// look is the writer's view: the connection to use, whether something waits.
func (l *link) look() (c *conn, hasWork, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.best(), l.held > 0, l.closed
}

// best is the connection to send on. Both ends choose alike: the one that the
// smaller store id dialled.
func (l *link) best() *conn {
	if l.dialled == nil || l.accepted != nil && l.p.patience() > 0 {
		return l.accepted
	}
	return l.dialled
}

// wait sleeps until wakeUp, until there is a ping to send or something to write,
// and at most d (0: for ever).
func (l *link) wait(d time.Duration) {
	l.mu.Lock()
	if l.closed || l.best() != nil && (l.held > 0 || l.pingDue()) {
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

func (l *link) pingDue() bool {
	return l.dialled != nil && l.dialled.pingDue.Load() || l.accepted != nil && l.accepted.pingDue.Load()
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

// rest tells the writer how long its last connection lived.
func (l *link) rest(lived time.Duration) {
	if lived >= steady {
		l.backoff = 0
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
