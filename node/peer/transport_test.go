package peer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

func TestMessagesArriveInOrderBothWays(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	const n = 2000
	for i := range uint64(n) {
		a.Send(write(b.sid, i, int(i)))
		b.Send(ping(a.sid, i))
	}
	for i := range uint64(n) {
		m := b.waitMessage()
		want := write(b.sid, i, int(i))
		if m.ID != i || m.From != a.sid || m.To != b.sid || !bytes.Equal(m.Object.Siblings[0].Value, want.Object.Siblings[0].Value) {
			t.Fatalf("message %d: %+v", i, m)
		}
		if m := a.waitMessage(); m.ID != i || m.From != b.sid || m.Kind != core.MsgHintNotice {
			t.Fatalf("message %d back: %+v", i, m)
		}
	}
	if s := a.Stats(); s.Sent != n || s.Received != n || s.Overflow+s.Dropped+s.Malformed != 0 || len(s.Peers) != 1 || !s.Peers[0].Connected {
		t.Errorf("%+v", s)
	}
}

// One connection does for both directions, however many messages there are.
func TestOneConnectionForAPair(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	for i := range uint64(100) {
		a.Send(ping(b.sid, i))
		b.Send(ping(a.sid, i))
		a.waitMessage()
		b.waitMessage()
	}
	if n := a.Stats().Accepted + b.Stats().Accepted; n > 2 {
		t.Errorf("%d connections", n)
	}
}

// countingConn counts the writes after the hello.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
	block  chan struct{} // writes wait for it when it is set
}

func (c *countingConn) Write(b []byte) (int, error) {
	if c.writes.Add(1) > 1 {
		<-c.block
	}
	return c.Conn.Write(b)
}

// While one write runs, everything that is sent gathers and leaves with the next.
func TestSendsCoalesce(t *testing.T) {
	var writes atomic.Int64
	block := make(chan struct{})
	b := start(t, 2)
	a := start(t, 1, func(c *Config) {
		c.Dial = func(_ context.Context, addr string) (net.Conn, error) {
			nc, err := net.Dial("tcp", addr)
			return &countingConn{nc, &writes, block}, err
		}
	})
	a.SetPeers(map[hashring.SID]string{b.sid: b.Addr().String()})
	a.waitUp(b.sid)
	a.Send(ping(b.sid, 0))
	eventually(t, "the first write has begun", func() bool { return writes.Load() == 2 })
	const n = 1000
	for i := range uint64(n) {
		a.Send(ping(b.sid, i+1))
	}
	close(block)
	for range n + 1 {
		b.waitMessage()
	}
	if w := writes.Load(); w > 4 { // hello, first message, all others, perhaps a ping
		t.Errorf("%d writes for %d messages", w, n+1)
	}
}

func TestKilledPeerIsDownAtOnceAndComesBack(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	addr := b.Addr().String()
	began := time.Now()
	_ = b.Close()
	a.waitDown(b.sid)
	if d := time.Since(began); d > time.Second {
		t.Errorf("down after %s", d)
	}
	a.Send(ping(b.sid, 1)) // refused: down again
	a.waitDown(b.sid)

	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b2 := startOn(t, ln, 2, func(c *Config) {
		c.Self = func() Hello { h := hello(2); h.Boot = 2; return h }
	})
	if h := a.waitUp(b.sid); h.Boot != 2 {
		t.Errorf("hello of boot %d", h.Boot)
	}
	a.Send(ping(b.sid, 2))
	for m := b2.waitMessage(); m.ID != 2; m = b2.waitMessage() {
		if m.ID != 1 {
			t.Fatalf("message %d", m.ID)
		}
	}
}

// The smaller id finds nobody, the larger one dials: its connection serves both.
func TestAnAcceptedConnectionIsUsedForSending(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	b.SetPeers(map[hashring.SID]string{a.sid: a.Addr().String()})
	a.waitUp(b.sid)
	a.Send(ping(b.sid, 7))
	if m := b.waitMessage(); m.ID != 7 {
		t.Errorf("message %d", m.ID)
	}
	a.Send(write(b.sid, 8, 200<<10)) // b dialled no bulk connection, and a knows no address
	eventually(t, "the large one is dropped", func() bool { return a.Stats().Dropped == 1 })
	select {
	case <-a.downs:
		t.Error("a store whose messages pass is called down")
	default:
	}
}

func TestUnreachableDropsAndReports(t *testing.T) {
	a := start(t, 1)
	gone := start(t, 2)
	addr := gone.Addr().String()
	_ = gone.Close()
	a.SetPeers(map[hashring.SID]string{sid(2): addr})
	a.waitDown(sid(2)) // once without a message
	for range 3 {
		a.Send(ping(sid(2), 1))
		a.waitDown(sid(2)) // and for each redial with one
	}
	a.Send(ping(sid(9), 1)) // nobody has told where that is
	a.waitDown(sid(9))
	if s := a.Stats(); s.Dropped != 4 {
		t.Errorf("%d dropped", s.Dropped)
	}
}

func TestLargeValueGoesInChunksBesideSmallOnes(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	big := write(b.sid, 1, core.MaxValue)
	a.Send(big)
	for i := range uint64(50) {
		a.Send(ping(b.sid, 100+i))
	}
	seen := uint64(100)
	for range 51 {
		switch m := b.waitMessage(); m.ID {
		case 1:
			if !bytes.Equal(m.Object.Siblings[0].Value, big.Object.Siblings[0].Value) {
				t.Error("the value has changed")
			}
		case seen:
			seen++
		default:
			t.Fatalf("message %d", m.ID)
		}
	}
	b.Send(write(a.sid, 2, 70<<10)) // back on the same bulk connection
	if m := a.waitMessage(); m.ID != 2 {
		t.Errorf("message %d", m.ID)
	}
	if n := a.Stats().Accepted + b.Stats().Accepted; n > 3 {
		t.Errorf("%d connections for a pair", n)
	}
}

func TestSendNeverWaitsAndNeverFailsAfterClose(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	_ = a.Close()
	a.Send(ping(b.sid, 1))
	a.Send(write(b.sid, 1, 100<<10))
	if s := a.Stats(); s.Dropped != 2 {
		t.Errorf("%d dropped", s.Dropped)
	}
	b.waitDown(a.sid)
}

// A process that starts anew says so with its boot count: what the old one had is lost.
func TestLaterBootReplacesConnections(t *testing.T) {
	frozen := make(chan struct{})
	a, old := start(t, 1), start(t, 2)
	old.SetPeers(map[hashring.SID]string{a.sid: hold(t, a.Addr().String(), frozen)})
	a.waitUp(old.sid)
	close(frozen) // the old process lost its power: no reset comes
	anew := start(t, 2, func(c *Config) {
		c.Self = func() Hello { h := hello(2); h.Boot = 5; return h }
	})
	anew.SetPeers(map[hashring.SID]string{a.sid: a.Addr().String()})
	a.waitDown(old.sid)
	if h := a.waitUp(old.sid); h.Boot != 5 {
		t.Errorf("boot %d", h.Boot)
	}
	a.Send(ping(old.sid, 3))
	if m := anew.waitMessage(); m.ID != 3 {
		t.Errorf("message %d", m.ID)
	}
}

func TestCallOfNobody(t *testing.T) {
	a := start(t, 1)
	_ = a.Close()
	var op *net.OpError
	if _, err := start(t, 2).Call(t.Context(), a.Addr().String(), "x", nil); !errors.As(err, &op) || op.Op != "dial" {
		t.Error(err)
	}
	if _, err := start(t, 2).Raft().Dial(a.Addr().String(), time.Second); !errors.As(err, &op) {
		t.Error(err)
	}
}
