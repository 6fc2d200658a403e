package peer

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

const (
	readBuffer = 32 << 10 // grows to one frame at most
	// slabBytes is how much of one read shares an allocation: messages of one slab
	// keep each other's bytes alive, so that a small key that is kept for long pins
	// at most this.
	slabBytes = 4 << 10
	// pieceBytes is the most that goes into one write: a peer that takes that much
	// within the stall limit is slow, one that does not is down.
	pieceBytes = 256 << 10
)

// conn is one established connection of a link.
type conn struct {
	net.Conn
	link      *link
	hello     Hello // the far side's
	isDialled bool
	born      time.Time
	once      sync.Once

	// What the janitor looks at instead of timers for every read and write.
	reads   atomic.Uint64 // grows with every read
	writes  atomic.Uint64 // grows before and after every write: odd while one runs
	pingDue atomic.Bool
	watch   watch
}

func newConn(c net.Conn, l *link, h Hello, isDialled bool) *conn {
	return &conn{Conn: c, link: l, hello: h, isDialled: isDialled, born: time.Now()}
}

// fail ends the connection; only the first reason counts.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		_ = c.Close()
		c.link.p.lost(c)
		if t := c.link.p.t; t.ctx.Err() == nil {
			t.log.info("lost "+c.hello.SID.String(), "peer connection ended", "store", c.hello.SID.Short(), "other", c.hello.Node, "kind", c.link.kind.String(), "error", err)
		}
	})
}

// write writes b; a failure ends the connection.
func (c *conn) write(b []byte) bool {
	c.writes.Add(1)
	n, err := c.Conn.Write(b)
	c.writes.Add(1)
	return c.wrote(int64(n), err)
}

// writeAll writes the buffers, with one system call where the connection can.
func (c *conn) writeAll(bufs net.Buffers) bool {
	c.writes.Add(1)
	n, err := bufs.WriteTo(c.Conn)
	c.writes.Add(1)
	return c.wrote(n, err)
}

func (c *conn) wrote(n int64, err error) bool {
	count := &c.link.p.t.count
	count.writes.Add(1)
	count.bytesOut.Add(uint64(n))
	if err != nil {
		c.fail(fmt.Errorf("write: %w", err))
	}
	return err == nil
}

// read is the reader goroutine. It ends when the connection does.
func (c *conn) read() {
	count := &c.link.p.t.count
	buf := make([]byte, readBuffer)
	var chunks assembly
	have := 0
	for {
		n, err := c.Conn.Read(buf[have:])
		c.reads.Add(1)
		count.reads.Add(1)
		count.bytesIn.Add(uint64(n))
		have += n
		used, need, bad := c.frames(buf[:have], &chunks)
		if bad != nil {
			count.malformed.Add(1)
			c.fail(bad)
			return
		}
		if err != nil {
			c.fail(fmt.Errorf("read: %w", err))
			return
		}
		have = copy(buf, buf[used:have])
		if need > len(buf) {
			buf = append(buf[:have], make([]byte, need-have)...)
		}
	}
}

// frames takes all whole frames off the front of b: used bytes; need is the size
// of the frame that is not whole yet. Payloads are copied, many into one slab, so
// that messages own their bytes and the read buffer serves again.
func (c *conn) frames(b []byte, chunks *assembly) (used, need int, err error) {
	var slab []byte
	received := uint64(0)
	for {
		kind, payload, size, err := parseFrame(b[used:])
		if err != nil || size > len(b)-used {
			c.link.p.t.count.received.Add(received)
			return used, size, err
		}
		switch kind {
		case frameMessage:
			n := len(payload)
			if n > cap(slab)-len(slab) {
				slab = make([]byte, 0, max(n, min(slabBytes, len(b)-used-frameHead)))
			}
			slab = append(slab, payload...)
			c.deliver(slab[len(slab)-n : len(slab) : len(slab)])
			received++
		case frameFirst, frameNext:
			whole, err := chunks.add(kind, payload)
			if err != nil {
				return used, 0, err
			}
			if whole != nil {
				c.deliver(whole)
				received++
			}
		}
		used += size
	}
}

// deliver decodes and hands on one message, which owns b. A message that the codec
// refuses inside a frame whose checksum is right is the other version's mistake:
// it is dropped, and the connection goes on.
func (c *conn) deliver(b []byte) {
	t := c.link.p.t
	m := new(core.Message)
	var err error
	if *m, err = wire.DecodeMessage(b); err != nil {
		t.count.malformed.Add(1)
		t.log.warn("codec "+c.hello.SID.String(), "peer message dropped", "store", c.hello.SID.Short(), "other", c.hello.Node, "error", err)
		return
	}
	m.From, m.To = c.hello.SID, t.self
	t.cfg.Deliver(m)
}

// flush writes what has gathered in the outbox.
func (l *link) flush(c *conn) {
	if l.kind == kindBulk {
		l.flushBulk(c)
		return
	}
	l.mu.Lock()
	buf := l.buf
	l.buf, l.spare = l.spare[:0], nil
	n := l.held
	l.held = 0
	l.mu.Unlock()
	for rest := buf; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceBytes)]
		if !c.write(piece) {
			l.p.t.count.dropped.Add(n)
			break
		}
		rest = rest[len(piece):]
	}
	if cap(buf) <= keepBytes {
		l.spare = buf[:0]
	}
}

// flushBulk writes the oldest large message in chunks.
func (l *link) flushBulk(c *conn) {
	l.mu.Lock()
	m := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.queued -= len(m)
	l.held--
	l.mu.Unlock()
	kind, total := frameFirst, binary.BigEndian.AppendUint32(nil, uint32(len(m)))
	for len(m) > 0 {
		var bufs net.Buffers
		for size := 0; len(m) > 0 && size < pieceBytes; kind, total = frameNext, nil {
			part := m[:min(len(m), maxPayload-len(total))]
			m = m[len(part):]
			bufs = append(bufs, chunkHeader(kind, total, part), part)
			size += len(part)
		}
		if !c.writeAll(bufs) {
			l.p.t.count.dropped.Add(1)
			return
		}
	}
}
