package frames

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

const (
	readBuffer = 32 << 10 // always holds at least one frame once it has grown to one
	// slabBytes is how much of one read shares an allocation: requests of one slab keep
	// each other's bytes alive, so that a small key that is kept for long pins at most
	// this.
	slabBytes = 4 << 10
	// pauseOwed is how many bytes of replies may wait before no further requests are
	// read: a client that does not read its replies stops itself.
	pauseOwed = 8 << 20
	// maxOwed ends the connection: what was in flight when reading stopped was that large.
	maxOwed = 64 << 20
	// maxControl bounds the pongs that wait.
	maxControl = 64 << 10
)

var (
	errSlow = errors.New("the client does not read its replies")
	errIdle = errors.New("the client was idle")
	errAway = errors.New("the client was told to go")
)

// conn is one client's connection.
type conn struct {
	s    *Server
	nc   net.Conn
	name string
	// version of the messages, as the hello chose it.
	version uint16
	self    api.Self
	once    sync.Once
	dead    chan struct{} // closed by fail

	signal  chan struct{} // holds one: there is something to write
	drained chan struct{} // holds one: what is owed went down

	mu      sync.Mutex // held for memory work only
	done    []answer
	control []byte // sealed frames
	away    bool   // the client has been told to go
	gone    bool

	inFlight atomic.Int64
	owed     atomic.Int64 // about the bytes of replies that are not written yet

	// What the janitor looks at instead of timers for every read and write.
	reads  atomic.Uint64 // grows with every read
	writes atomic.Uint64 // grows before and after every write: odd while one runs
	watch  watch
}

// answer is a reply, or a fault of this server, to a request.
type answer struct {
	p     *pending
	reply *core.Reply
	fault *api.Fault
	body  []byte // of op ring
	size  int64  // counted in owed
}

// pending is one request on its way. The core may keep it beyond the reply.
type pending struct {
	req   core.Request
	c     *conn
	id    uint32
	op    wire.ClientOp
	began time.Time
	held  int // bytes of MaxBytes
	in    int
	// Of a read.
	newest    bool
	noneMatch string
	match     string // in a strong bucket
	mode      modeName
}

// Reply is Waiter: it queues the reply for the connection's writer.
func (p *pending) Reply(r *core.Reply) {
	size := r.Object.Size()
	if r.Strong != nil && r.Strong.Value != nil {
		size += len(r.Strong.Value.Data)
	}
	p.c.complete(answer{p: p, reply: r, size: int64(size) + 256})
}

func newConn(s *Server, nc net.Conn, h *hello) *conn {
	return &conn{s: s, nc: nc, name: h.name, version: min(h.max, wire.ClientMax), self: s.Self(), dead: make(chan struct{}), signal: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// complete hands an answer to the writer.
func (c *conn) complete(a answer) {
	owed := c.owed.Add(a.size)
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		c.release(a.p)
		return
	}
	c.done = append(c.done, a)
	first := len(c.done) == 1
	c.mu.Unlock()
	if first {
		wake(c.signal)
	}
	if owed > maxOwed {
		c.cut(fmt.Errorf("%w: %d bytes wait", errSlow, owed))
	}
}

func (c *conn) refuse(p *pending, f *api.Fault) {
	if p.req.ID.IsZero() {
		p.req.ID = randomID()
	}
	c.complete(answer{p: p, fault: f, size: 256})
}

// release gives back what a request has taken from the limits.
func (c *conn) release(p *pending) {
	c.inFlight.Add(-1)
	c.s.inFlight.Add(-1)
	if p.held != 0 {
		c.s.held.Add(-int64(p.held))
		p.held = 0
	}
}

// tell queues a control frame for the writer.
func (c *conn) tell(kind byte, id uint32, text string) {
	c.mu.Lock()
	if len(c.control) < maxControl {
		c.control = appendFrame(c.control, kind, id, []byte(text))
	}
	c.mu.Unlock()
	wake(c.signal)
}

// goAway asks the client to send no more requests and to close.
func (c *conn) goAway() {
	c.mu.Lock()
	first := !c.away
	c.away = true
	c.mu.Unlock()
	if first {
		c.tell(frameGoAway, 0, "this connection is being closed; use another one, or another node")
	}
}

// cut ends the connection for what the client did.
func (c *conn) cut(err error) {
	c.s.count.cut.Add(1)
	c.fail(err)
}

// fail ends the connection; only the first reason counts.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		_ = c.nc.Close()
		c.mu.Lock()
		c.gone = true
		left := c.done
		c.done = nil
		c.mu.Unlock()
		for i := range left {
			c.release(left[i].p)
		}
		close(c.dead)
		c.s.remove(c)
		c.s.Log.Info("frames client gone", "from", c.nc.RemoteAddr().String(), "client", c.name, "reason", err)
	})
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// watch is what the janitor remembers of a connection.
type watch struct {
	reads, writes      uint64
	quiet, stuck, away int // ticks
}

const (
	tick      = 250 * time.Millisecond
	awayTicks = int(drainLinger / tick)
)

// janitor looks at every connection a few times a second: counters that it compares
// with those of its last visit stand for a timer on every read and write.
func (s *Server) janitor() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var all []*conn
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		for c := range s.conns {
			all = append(all, c)
		}
		s.mu.Unlock()
		for _, c := range all {
			c.inspect()
		}
		clear(all)
		all = all[:0]
	}
}

func (c *conn) inspect() {
	w := &c.watch
	busy := c.inFlight.Load() > 0 || c.owed.Load() > 0
	if r := c.reads.Load(); r != w.reads || busy {
		w.reads, w.quiet = r, 0
	} else {
		w.quiet++
	}
	n := c.writes.Load()
	if n != w.writes || n%2 == 0 {
		w.writes, w.stuck = n, 0
	} else if w.stuck++; w.stuck > int(c.s.Stall/tick) {
		c.cut(fmt.Errorf("%w: a write has waited for %v", errSlow, time.Duration(w.stuck)*tick))
		return
	}
	c.mu.Lock()
	away := c.away
	c.mu.Unlock()
	switch {
	case !away && w.quiet > int(c.s.Idle/tick):
		c.goAway()
	case away && !busy:
		if w.away++; w.away > awayTicks {
			c.fail(c.whyAway())
		}
	}
}

func (c *conn) whyAway() error {
	if c.s.draining.Load() {
		return errAway
	}
	return errIdle
}
