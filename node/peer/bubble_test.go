package peer

import (
	"context"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// These tests run in virtual time on an in-memory network: what takes seconds
// takes none, and waits are exact.

// memory is a network of net.Pipes.
type memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
}

type memoryListener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{listeners: map[string]*memoryListener{}} }

func (m *memory) listen(addr string) *memoryListener {
	l := &memoryListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	m.mu.Lock()
	m.listeners[addr] = l
	m.mu.Unlock()
	return l
}

func (m *memory) dial(ctx context.Context, addr string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[addr]
	m.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memoryListener) Addr() net.Addr { return l }
func (*memoryListener) Network() string  { return "memory" }
func (l *memoryListener) String() string { return l.addr }

func (m *memory) start(t testing.TB, n byte) *station {
	return startOn(t, m.listen("node"+string('0'+rune(n))), n, func(c *Config) { c.Dial = m.dial })
}

// stranger accepts one connection, says hello as store n, and hands it over.
func (m *memory) stranger(t testing.TB, addr string, n byte) <-chan net.Conn {
	out := make(chan net.Conn, 1)
	l := m.listen(addr)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = l.Close()
		if _, err := readPreface(c); err != nil {
			return
		}
		_, _ = c.Write((&preface{hello: hello(n)}).append(nil))
		out <- c
	}()
	return out
}

// inBubble runs f in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, m *memory)) {
	synctest.Test(t, func(t *testing.T) { f(t, newMemory()) })
}

func TestIdleLinkStaysUp(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a, b := m.start(t, 1), m.start(t, 2)
		a.know(b)
		time.Sleep(time.Hour)
		if len(a.downs)+len(b.downs) != 0 {
			t.Error("down")
		}
		if s := a.Stats(); s.Accepted+s.Dials != 1 || s.Writes < 3000 || s.Writes > 3700 {
			t.Errorf("a ping a second on one connection is expected: %+v", s)
		}
	})
}

// No reset comes and the far side takes all: its silence tells that it is dead.
func TestSilentLinkIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		far := m.stranger(t, "node2", 2)
		a.SetPeers(map[hashring.SID]string{sid(2): "node2"})
		a.waitUp(sid(2))
		c := <-far
		go func() {
			for buf := make([]byte, 100); ; {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		a.waitDown(sid(2))
		synctest.Wait() // for the log line
		if d := time.Since(began); d < 2*time.Second || d > 4*time.Second || !strings.Contains(a.logs.String(), errSilent.Error()) {
			t.Errorf("down after %s\n%s", d, a.logs)
		}
	})
}

// A peer that takes nothing costs a bounded buffer: what is over it is dropped and
// counted, Send does not wait, and soon the connection is given up.
func TestOverflowIsBoundedAndEndsTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		far := m.stranger(t, "node2", 2)
		a.SetPeers(map[hashring.SID]string{sid(2): "node2"})
		a.waitUp(sid(2))
		c := <-far
		began := time.Now()
		const n = 3 * outboxBytes >> 10
		for i := range uint64(n) {
			a.Send(write(sid(2), i, 1<<10))
		}
		if time.Since(began) != 0 {
			t.Error("Send has waited")
		}
		s := a.Stats()
		if s.Overflow == 0 || s.Overflow+s.Sent != n || s.Peers[0].QueuedBytes > outboxBytes+maxPayload {
			t.Errorf("%d of %d messages refused, %d bytes queued", s.Overflow, n, s.Peers[0].QueuedBytes)
		}
		for i := range uint64(20) {
			a.Send(write(sid(2), i, 4<<20-1000))
		}
		if s := a.Stats(); s.Peers[0].QueuedBytes > outboxBytes+maxPayload+bulkBytes {
			t.Errorf("%d bytes queued", s.Peers[0].QueuedBytes)
		}
		a.waitDown(sid(2))
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("down after %s", d)
		}
		_ = c.Close()
	})
}

// A peer that is alive but takes less than what is sent, for seconds, is down too.
func TestSlowPeerIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		far := m.stranger(t, "node2", 2)
		a.SetPeers(map[hashring.SID]string{sid(2): "node2"})
		a.waitUp(sid(2))
		c := <-far
		gone := make(chan struct{})
		go func() { // takes 256 KiB and pings, twice a second
			defer close(gone)
			for buf := make([]byte, pieceBytes); ; time.Sleep(tick) {
				if _, err := c.Read(buf); err != nil {
					return
				}
				_, _ = c.Write(pingFrame)
			}
		}()
		for i := uint64(0); len(a.downs) == 0; i++ {
			if i > 200 {
				t.Fatal("still up after 20 seconds")
			}
			for range 1000 {
				a.Send(write(sid(2), i, 1<<10))
			}
			time.Sleep(100 * time.Millisecond)
		}
		<-gone
		if !strings.Contains(a.logs.String(), errFull.Error()) {
			t.Errorf("%s", a.logs)
		}
	})
}

func TestForgottenPeers(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		for i := range uint64(3) { // nobody has told where the store is
			a.Send(ping(sid(3), 1))
			a.waitDown(sid(3))
			time.Sleep(tick * (quietTicks + 2))
			if s := a.Stats(); len(s.Peers) != 0 || s.Sent != i+1 || s.Dropped != i+1 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A peer that stays away is asked for about once a second, and is back at once.
func TestBackOff(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		a.SetPeers(map[hashring.SID]string{sid(2): "node2"})
		time.Sleep(time.Minute)
		if s := a.Stats(); s.Dials < 60 || s.Dials > 140 || len(a.downs) != 1 {
			t.Errorf("%d dials in a minute, %d times down without a message", s.Dials, len(a.downs))
		}
		b := m.start(t, 2)
		began := time.Now()
		a.waitUp(b.sid)
		if d := time.Since(began); d > backoffMax {
			t.Errorf("connected after %s", d)
		}
	})
}

// A hello that never ends costs its sender the connection after the deadline, an
// answer that never comes costs the dialler its try.
func TestHandshakeDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		a := m.start(t, 1)
		c, err := m.dial(t.Context(), "node1")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, b := range (&preface{code: byte(kindMessages), hello: hello(2)}).append(nil) {
			if _, err = c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond) // one byte at a time
		}
		if d := time.Since(began); err == nil || d > handshakeTimeout+tick {
			t.Errorf("open for %s, %v", d, err)
		}
		l := m.listen("mute")
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				_, _ = readPreface(c)
				_, _ = c.Read(make([]byte, 1)) // until the dialler hangs up
			}
		}()
		began = time.Now()
		if _, err := a.Raft().Dial("mute", time.Second); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
