package peer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing waits that long when it works.
const patience = 10 * time.Second

var cluster = hashring.ClusterID{1: 0xc1}

func sid(n byte) hashring.SID { return hashring.SID{0: n, 15: n} }

// station is one transport with what it was told, for tests.
type station struct {
	*Transport
	t        testing.TB
	sid      hashring.SID
	messages chan *core.Message
	ups      chan Hello
	downs    chan hashring.SID
	logs     *lines
}

func hello(n byte) Hello {
	return Hello{Cluster: cluster, SID: sid(n), Node: fmt.Sprintf("node%d", n), Boot: 1, Min: 1, Max: 1}
}

// start opens a station for store n on loopback; change may alter its config.
func start(t testing.TB, n byte, change ...func(*Config)) *station {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, n, change...)
}

func startOn(t testing.TB, ln net.Listener, n byte, change ...func(*Config)) *station {
	s := &station{t: t, sid: sid(n), messages: make(chan *core.Message, 1<<16), ups: make(chan Hello, 1<<10), downs: make(chan hashring.SID, 1<<10), logs: &lines{}}
	cfg := Config{
		Self:    func() Hello { return hello(n) },
		Deliver: func(m *core.Message) { s.messages <- m },
		Up:      func(h Hello) { s.ups <- h },
		Down:    func(d hashring.SID) { s.downs <- d },
		Log:     slog.New(slog.NewTextHandler(s.logs, nil)),
		Control: func(context.Context, Hello, string, []byte) ([]byte, error) { return nil, nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	s.Transport = New(ln, cfg)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// know makes s and o peers of each other and waits until both are connected.
func (s *station) know(o *station) {
	s.t.Helper()
	s.SetPeers(map[hashring.SID]string{o.sid: o.Addr().String()})
	o.SetPeers(map[hashring.SID]string{s.sid: s.Addr().String()})
	s.waitUp(o.sid)
	o.waitUp(s.sid)
}

func (s *station) waitUp(want hashring.SID) Hello {
	s.t.Helper()
	return await(s.t, "up", s.ups, func(h Hello) bool { return h.SID == want })
}

func (s *station) waitDown(want hashring.SID) {
	s.t.Helper()
	await(s.t, "down", s.downs, func(d hashring.SID) bool { return d == want })
}

func (s *station) waitMessage() *core.Message {
	s.t.Helper()
	return await(s.t, "message", s.messages, func(*core.Message) bool { return true })
}

func await[T any](t testing.TB, what string, c <-chan T, ok func(T) bool) (x T) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case x = <-c:
			if ok(x) {
				return x
			}
		case <-deadline:
			t.Fatalf("no %s in %s", what, patience)
		}
	}
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("not in %s: %s", patience, what)
		}
	}
}

func ping(to hashring.SID, id uint64) *core.Message {
	return &core.Message{Kind: core.MsgHintNotice, To: to, ID: id}
}

// write is a message with a value of size bytes.
func write(to hashring.SID, id uint64, size int) *core.Message {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	dot := version.Dot{Actor: 5, Counter: 1}
	return &core.Message{Kind: core.MsgWrite, To: to, ID: id, Key: []byte("key"), Bucket: 3, Object: &version.Object{
		Context: version.Vector{dot}, Siblings: []version.Sibling{{Dot: dot, Value: value}}}}
}

// lines keeps log lines.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// hold is a proxy in front of a listener whose far side can be frozen: it accepts
// and keeps connections open, and stops passing bytes when frozen is closed.
func hold(t testing.TB, to string, frozen <-chan struct{}) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	pass := func(dst, src net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			select {
			case <-frozen:
				return // keeps both ends open, and silent
			default:
			}
			if err != nil {
				_ = dst.Close()
				return
			}
			_, _ = dst.Write(buf[:n])
		}
	}
	wg.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, a, b)
			mu.Unlock()
			wg.Go(func() { pass(a, b) })
			wg.Go(func() { pass(b, a) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// isClosed waits until the far side has closed c.
func isClosed(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
		t.Fatalf("%s is still open", c.LocalAddr())
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
