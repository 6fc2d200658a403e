package frames

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/node/wire"
)

const (
	// silentAfter is how long requests may go unanswered, with not a byte from the
	// server, before a request that runs out of time ends the connection: it is dead
	// without a reset.
	silentAfter = 3 * time.Second
	// clientOutbox bounds the bytes that wait to be written: callers above it wait.
	clientOutbox = 16 << 20
)

var (
	// ErrNotSent is in the chain of errors of requests of which the server has
	// certainly had nothing that it could act on.
	ErrNotSent = errors.New("the request was not sent")
	// ErrGoAway ends a connection that the server asked to be closed.
	ErrGoAway = errors.New("the server asked for the connection to be closed")
	// ErrConnClosed is a connection that was closed at this end.
	ErrConnClosed = errors.New("the connection is closed")

	errSilent = errors.New("the server is silent")
)

// Conn is a client's connection to a node: any number of goroutines share it, their
// requests travel at once and are written together.
type Conn struct {
	info Info
	nc   net.Conn
	wg   sync.WaitGroup
	once sync.Once
	dead chan struct{} // closed when err is set
	wake chan struct{} // holds one: there is something to write
	room chan struct{} // holds one: somebody may look for a slot again

	mu    sync.Mutex // held for memory work only
	buf   []byte     // sealed frames
	large []large    // messages to be sent in chunks
	bytes int        // in buf and large, and not written
	slots []slot
	free  []uint32
	taken uint64 // messages the writer has taken
	put   uint64 // messages in all
	idle  bool   // the writer is about to wait, or waits
	away  bool   // the server takes no more requests
	err   error  // why the connection ended

	lastRead atomic.Int64 // unix nanoseconds
}

type large struct {
	id uint32
	b  []byte
}

// slot is the place of one request under way; its index is the request's id.
type slot struct {
	ch    chan struct{} // holds one: the reply is there, or the connection ended
	state slotState
	seq   uint64 // of the message among all
	reply wire.ClientReply
}

type slotState byte

const (
	slotFree slotState = iota
	slotWaits
	slotLeft // nobody waits any more; the id stays taken until the reply comes
	slotDone
)

func newClientConn(nc net.Conn, info Info, most int) *Conn {
	if most > 0 {
		info.MaxInFlight = min(info.MaxInFlight, most)
	}
	c := &Conn{info: info, nc: nc, dead: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	c.slots = make([]slot, info.MaxInFlight)
	c.free = make([]uint32, info.MaxInFlight)
	for i := range c.free {
		c.free[i] = uint32(len(c.free) - 1 - i) // the low ids first: their memory is warm
	}
	c.lastRead.Store(time.Now().UnixNano())
	c.wg.Go(c.read)
	c.wg.Go(c.write)
	return c
}

// Info is what the server said of itself.
func (c *Conn) Info() Info { return c.info }

// Done is closed when the connection has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.dead }

// Err is why the connection ended, nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Usable tells that the connection takes requests: it lives, and the server has not
// asked for its end.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.away
}

// InFlight counts the requests under way.
func (c *Conn) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.slots) - len(c.free)
}

// Retire takes no more requests, and closes once those under way have their replies.
func (c *Conn) Retire() { c.onGoAway() }

// Close ends the connection; requests under way fail, those that may have been sent
// without ErrNotSent.
func (c *Conn) Close() error {
	c.fail(ErrConnClosed)
	c.wg.Wait()
	return nil
}

// Do sends q and waits for the reply, which it puts into rep: an error in the
// contract's sense is a reply. q and its bytes are the caller's again when Do
// returns; rep's bytes are the caller's alone. Errors: wire.ErrTooLarge, ctx's, or
// why the connection ended; with ErrNotSent in the chain the server has certainly
// not acted on q.
func (c *Conn) Do(ctx context.Context, q *wire.ClientRequest, rep *wire.ClientReply) error {
	if err := q.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	id, err := c.begin(ctx, q)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	s := &c.slots[id]
	select {
	case <-s.ch:
	case <-ctx.Done():
		if c.leave(id) {
			return ctx.Err()
		}
		<-s.ch // it is there
	}
	c.mu.Lock()
	*rep = s.reply
	isDone, wasSent := s.state == slotDone, s.seq <= c.taken
	err = c.err
	c.give(id)
	if isDone {
		return nil
	}
	if !wasSent {
		err = fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return err
}

// begin takes a slot and puts the request into the outbox.
func (c *Conn) begin(ctx context.Context, q *wire.ClientRequest) (uint32, error) {
	for {
		c.mu.Lock()
		if c.err != nil || c.away {
			err := c.err
			if err == nil {
				err = ErrGoAway
			}
			c.mu.Unlock()
			wake(c.room) // others wait for the same
			return 0, err
		}
		if len(c.free) > 0 && c.bytes < clientOutbox {
			break
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.dead:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	id := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	more := len(c.free) > 0
	s := &c.slots[id]
	if s.ch == nil {
		s.ch = make(chan struct{}, 1)
	}
	c.put++
	s.state, s.seq = slotWaits, c.put
	size := wire.ClientRequestSize(q)
	if size > maxPayload {
		b := wire.AppendClientRequest(make([]byte, 0, size), q)
		c.large = append(c.large, large{id, b})
		c.bytes += len(b)
	} else {
		at := len(c.buf)
		c.buf = wire.AppendClientRequest(beginFrame(c.buf, id), q)
		sealFrame(c.buf, at, frameMessage)
		c.bytes += len(c.buf) - at
	}
	first := c.idle
	c.idle = false
	c.mu.Unlock()
	if first {
		wake(c.wake)
	}
	if more {
		wake(c.room) // the token may have been meant for several
	}
	return id, nil
}

// leave gives up waiting; false: the reply is there.
func (c *Conn) leave(id uint32) bool {
	c.mu.Lock()
	s := &c.slots[id]
	left := s.state == slotWaits && c.err == nil
	if left {
		s.state = slotLeft
	}
	c.mu.Unlock()
	if left && time.Now().UnixNano()-c.lastRead.Load() > int64(silentAfter) {
		c.fail(errSilent)
	}
	return left
}

// fail ends the connection; only the first reason counts.
func (c *Conn) fail(err error) {
	c.once.Do(func() {
		_ = c.nc.Close()
		c.mu.Lock()
		c.err = err
		for i := range c.slots {
			if s := &c.slots[i]; s.state == slotWaits {
				wake(s.ch)
			}
		}
		c.mu.Unlock()
		close(c.dead)
	})
}

// write is the writer goroutine.
func (c *Conn) write() {
	var spare []byte
	var chunks chunker
	for {
		c.mu.Lock()
		for _, m := range c.large {
			chunks.add(m.id, m.b)
		}
		clear(c.large)
		c.large = c.large[:0]
		if len(c.buf) == 0 && len(chunks.queue) == 0 {
			c.idle = true
			c.mu.Unlock()
			select {
			case <-c.wake:
			case <-c.dead:
				return
			}
			// Let those who can run first send too: their requests join this write.
			runtime.Gosched()
			continue
		}
		out := c.buf
		c.buf = spare[:0]
		c.taken = c.put
		c.mu.Unlock()
		written := len(out)
		before := chunks.left()
		out = chunks.appendRound(out)
		written += int(before - chunks.left())
		for rest := out; len(rest) > 0; {
			piece := rest[:min(len(rest), pieceBytes)]
			if _, err := c.nc.Write(piece); err != nil {
				c.fail(fmt.Errorf("write: %w", err))
				return
			}
			rest = rest[len(piece):]
		}
		if spare = out[:0]; cap(out) > keepBytes {
			spare = nil
		}
		c.mu.Lock()
		wasFull := c.bytes >= clientOutbox
		c.bytes -= written
		c.mu.Unlock()
		if wasFull {
			wake(c.room)
		}
	}
}

// read is the reader goroutine.
func (c *Conn) read() {
	large := assembly{limit: wire.MaxClientReply}
	buf := make([]byte, readBuffer)
	have := 0
	for {
		n, err := c.nc.Read(buf[have:])
		c.lastRead.Store(time.Now().UnixNano())
		have += n
		used, need, bad := c.frames(buf[:have], &large)
		if bad != nil {
			c.fail(bad)
			return
		}
		if err != nil {
			if c.isAway() {
				err = ErrGoAway
			}
			c.fail(fmt.Errorf("read: %w", err))
			return
		}
		have = copy(buf, buf[used:have])
		if need > len(buf) {
			buf = append(buf[:have], make([]byte, need-have)...)
		}
	}
}

func (c *Conn) isAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// frames takes all whole frames off the front of b: used bytes; need is the size of
// the frame that is not whole yet.
func (c *Conn) frames(b []byte, chunks *assembly) (used, need int, err error) {
	for {
		f, size, err := parseFrame(b[used:])
		if err != nil || size > len(b)-used {
			return used, size, err
		}
		switch f.kind {
		case frameMessage:
			err = c.deliver(f.id, f.payload, true)
		case frameFirst, frameNext:
			whole, why, bad := chunks.add(&f)
			if err = bad; err == nil && why != 0 {
				err = fmt.Errorf("%w: a reply above %d bytes", errFrame, wire.MaxClientReply)
			}
			if err == nil && whole != nil {
				err = c.deliver(f.id, whole, false)
			}
		case framePing:
			c.mu.Lock()
			c.buf = appendFrame(c.buf, framePong, f.id, nil)
			c.bytes += frameHead
			c.mu.Unlock()
			wake(c.wake)
		case framePong:
		case frameGoAway:
			c.onGoAway()
		}
		if err != nil {
			return used, 0, err
		}
		used += size
	}
}

// onGoAway takes no more requests, and closes once nothing is under way.
func (c *Conn) onGoAway() {
	c.mu.Lock()
	c.away = true
	isIdle := len(c.free) == len(c.slots)
	c.mu.Unlock()
	wake(c.room)
	if isIdle {
		c.fail(ErrGoAway)
	}
}

// deliver decodes one reply and wakes who waits for it. b is the reader's if it is
// shared; else the reply owns it.
func (c *Conn) deliver(id uint32, b []byte, shared bool) error {
	var rep wire.ClientReply
	if err := wire.DecodeClientReply(b, &rep); err != nil {
		return err
	}
	if shared {
		own(&rep)
	}
	c.mu.Lock()
	if int(id) >= len(c.slots) {
		c.mu.Unlock()
		return fmt.Errorf("%w: a reply to %d", errFrame, id)
	}
	switch s := &c.slots[id]; s.state {
	case slotWaits:
		s.reply, s.state = rep, slotDone
		wake(s.ch)
		c.mu.Unlock()
	case slotLeft:
		c.give(id)
	default:
		c.mu.Unlock()
		return fmt.Errorf("%w: a reply to %d, which was not asked", errFrame, id)
	}
	return nil
}

// give frees a slot; it unlocks c.mu, which is held.
func (c *Conn) give(id uint32) {
	s := &c.slots[id]
	s.reply, s.state = wire.ClientReply{}, slotFree
	c.free = append(c.free, id)
	isLast := c.away && len(c.free) == len(c.slots)
	c.mu.Unlock()
	wake(c.room)
	if isLast {
		c.fail(ErrGoAway)
	}
}

// own copies what aliases the reader's buffer.
func own(rep *wire.ClientReply) {
	rep.Value = bytes.Clone(rep.Value)
	for i := range rep.Values {
		rep.Values[i].Value = bytes.Clone(rep.Values[i].Value)
	}
}
