package frames

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

const (
	// helloTimeout is from being connected to, to the end of the hello.
	helloTimeout = 3 * time.Second
	// maxPending bounds the connections before the end of their hello; one more ends
	// the oldest, which is no client of ours: those need milliseconds.
	maxPending = 64
	// DefaultMaxConns bounds the connections of clients, each with two goroutines and
	// buffers of some 100 KiB.
	DefaultMaxConns = 1024
	// DefaultMaxInFlight bounds the requests of one connection; each is a few hundred
	// bytes and its value.
	DefaultMaxInFlight = 1024
	// DefaultMaxBytes bounds the bytes of large requests being read at a time, all
	// connections together.
	DefaultMaxBytes = 256 << 20
	// DefaultIdle is how long a connection may be silent with nothing in flight.
	DefaultIdle = 5 * time.Minute
	// DefaultStall is how long a write to a client may take before it is cut off.
	DefaultStall = 10 * time.Second
	// acceptPause is after an accept that failed (no file descriptors, mostly).
	acceptPause = 50 * time.Millisecond
)

// Backend is the node as the server sees it. All methods are safe for any number
// of goroutines.
type Backend interface {
	// Submit hands requests to their shards and returns at once. The Waiter of each
	// is a Waiter, and gets exactly one reply, from any goroutine, maybe before
	// Submit returns; none after the shards have been stopped.
	Submit(ring *hashring.Ring, reqs []*core.Request)
	// Ring is the newest ring known here, nil until there is one.
	Ring() *hashring.Ring
	// RefreshRing fetches the newest ring state there is; bounded in time.
	RefreshRing(ctx context.Context)
}

// Waiter takes the reply to one request. It does not block.
type Waiter interface{ Reply(*core.Reply) }

// Served is one answered request, for metrics.
type Served struct {
	Op   wire.ClientOp
	Code api.Code
	Mode hashring.Mode // "" where it did not get that far
	Took time.Duration // from its last byte to its encoded reply
	In   int           // bytes of the value that came
	Out  int           // bytes of the values that left
}

// Config of a server. Backend and Self are required; the zero value of the rest
// means its default.
type Config struct {
	Backend Backend
	// Self names this node; the cluster's id may come later than the server.
	Self func() api.Self
	// Token that clients have to know; nil: anybody, on loopback only.
	Token Token
	// Wrap, when set, makes a new connection secure (TLS) before its first byte. It
	// runs under the hello's deadline.
	Wrap func(c net.Conn, dialled bool) (net.Conn, error)
	// Observe is called for every answered request, from many goroutines.
	Observe func(*Served)

	MaxValue    int   // bytes of one value, at most core.MaxValue; 1 MiB
	MaxConns    int   // DefaultMaxConns
	MaxInFlight int   // of one connection; DefaultMaxInFlight
	MaxTotal    int   // requests of all connections; 4 * DefaultMaxInFlight
	MaxBytes    int64 // DefaultMaxBytes
	Idle        time.Duration
	Stall       time.Duration // longest write to a client; DefaultStall
	Log         *slog.Logger
}

func (c *Config) fill() {
	if c.MaxValue <= 0 {
		c.MaxValue = 1 << 20
	}
	c.MaxValue = min(c.MaxValue, core.MaxValue)
	for _, d := range []struct {
		v         *int
		byDefault int
	}{{&c.MaxConns, DefaultMaxConns}, {&c.MaxInFlight, DefaultMaxInFlight}, {&c.MaxTotal, 4 * DefaultMaxInFlight}} {
		if *d.v <= 0 {
			*d.v = d.byDefault
		}
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Idle <= 0 {
		c.Idle = DefaultIdle
	}
	if c.Stall <= 0 {
		c.Stall = DefaultStall
	}
	if c.Observe == nil {
		c.Observe = func(*Served) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Server lets clients in.
type Server struct {
	Config
	ln    net.Listener
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	wg    sync.WaitGroup
	count counters
	fetch *fetcher

	inFlight atomic.Int64 // requests of all connections
	held     atomic.Int64 // bytes of large requests
	draining atomic.Bool

	mu      sync.Mutex
	pending []net.Conn // before the end of their hello, oldest first
	conns   map[*conn]struct{}
	closed  bool
	empty   chan struct{} // closed when the last connection of a drain has gone
}

// Serve lets clients in at ln, which it closes at the end. Errors: ErrNeedsToken.
func Serve(ln net.Listener, cfg Config) (*Server, error) {
	if err := CheckListen(ln.Addr(), cfg.Token); err != nil {
		return nil, err
	}
	cfg.fill()
	s := &Server{Config: cfg, ln: ln, conns: map[*conn]struct{}{}, empty: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.fetch = newFetcher(s)
	s.wg.Go(s.accept)
	s.wg.Go(s.janitor)
	s.wg.Go(s.fetch.run)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

func (s *Server) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.Log.Warn("frames port does not accept", "error", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		s.count.accepted.Add(1)
		if old := s.addPending(nc); old != nil {
			_ = old.Close()
		}
		s.wg.Go(func() { s.welcome(nc) })
	}
}

// addPending returns the connection that has to go, if any: the oldest, or nc
// itself when the server is closed.
func (s *Server) addPending(nc net.Conn) (old net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nc
	}
	if len(s.pending) >= maxPending {
		old = s.pending[0]
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	s.pending = append(s.pending, nc)
	return old
}

// removePending tells whether nc was still there; else it has been closed.
func (s *Server) removePending(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.pending, nc)
	if i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	return i >= 0
}

// welcome exchanges the hello and serves the connection.
func (s *Server) welcome(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(helloTimeout))
	nc, h, err := s.greet(raw)
	if !s.removePending(raw) {
		_ = nc.Close()
		return
	}
	if err != nil {
		s.refused(raw, err)
		_ = nc.Close()
		return
	}
	_ = nc.SetDeadline(time.Time{})
	c := newConn(s, nc, &h)
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	s.Log.Debug("frames client connected", "from", raw.RemoteAddr().String(), "client", h.name)
	s.wg.Go(c.write)
	c.read()
}

func (s *Server) refused(raw net.Conn, err error) {
	var no *RefusedError
	if errors.As(err, &no) {
		s.count.refused.Add(1)
	} else {
		s.count.garbage.Add(1)
	}
	s.Log.Info("frames client not let in", "from", raw.RemoteAddr().String(), "error", err)
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	if s.draining.Load() {
		c.goAway()
	}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.draining.Load() && len(s.conns) == 0 {
		s.closeEmpty()
	}
}

func (s *Server) closeEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// greet is the server's side of the hello. What it returns is to be closed.
func (s *Server) greet(raw net.Conn) (net.Conn, hello, error) {
	nc := raw
	if s.Wrap != nil {
		secure, err := s.Wrap(raw, false)
		if err != nil {
			return raw, hello{}, err
		}
		nc = secure
	}
	code, body, said, err := readPreface(nc)
	if err != nil {
		return nc, hello{}, err
	}
	h, err := parseHello(code, body)
	if err != nil {
		return nc, h, err
	}
	mine, no := s.judge(&h)
	if _, err := rand.Read(mine.nonce[:]); err != nil {
		return nc, h, err
	}
	answer := mine.append(nil)
	if _, err := nc.Write(answer); err != nil || no != nil {
		if no != nil {
			return nc, h, no
		}
		return nc, h, err
	}
	if mine.needsProof {
		err = s.demand(nc, said, answer)
	}
	return nc, h, err
}

// judge decides on a hello, proof aside.
func (s *Server) judge(h *hello) (challenge, *RefusedError) {
	self := s.Self()
	c := challenge{needsProof: len(s.Token) > 0, cluster: self.Cluster, sid: self.SID, node: self.Node,
		maxInFlight: uint32(s.MaxInFlight), maxValue: uint32(s.MaxValue), version: min(h.max, wire.ClientMax)}
	no := func(code Refusal, format string, args ...any) (challenge, *RefusedError) {
		c.code, c.reason = code, fmt.Sprintf(format, args...)
		return c, &RefusedError{Code: code, Reason: c.reason, Node: self.Node}
	}
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	switch {
	case h.min > wire.ClientMax || h.max < wire.ClientMin || h.min > h.max:
		return no(RefusedVersion, "no common version: %s speaks %d to %d, the client %d to %d", self.Node, wire.ClientMin, wire.ClientMax, h.min, h.max)
	case !h.cluster.IsZero() && h.cluster != self.Cluster:
		return no(RefusedCluster, "%s is in cluster %s, the client means %s", self.Node, self.Cluster, h.cluster)
	case conns >= s.MaxConns:
		return no(RefusedBusy, "%s has %d connections of clients, as many as it may", self.Node, conns)
	case s.draining.Load():
		return no(RefusedDrain, "%s is being stopped", self.Node)
	}
	return c, nil
}

// demand takes the client's proof first and gives the server's own only to who has
// shown one: a stranger gets nothing to guess the token from.
func (s *Server) demand(nc net.Conn, said, answer []byte) error {
	code, body, whole, err := readPreface(nc)
	if err != nil {
		return err
	}
	p, err := parseProof(code, body)
	if err != nil {
		return err
	}
	if p.code != codeProof || !s.Token.holds(p.mac, "client", said, answer) {
		no := &RefusedError{Code: RefusedToken, Reason: "the token is not the one of " + s.Self().Node}
		verdict := proof{code: byte(RefusedToken), reason: no.Reason}
		_, _ = nc.Write(verdict.append(nil))
		return no
	}
	verdict := proof{mac: s.Token.prove("server", said, answer, whole)}
	_, err = nc.Write(verdict.append(nil))
	return err
}

// drainLinger is how long a connection that has nothing in flight is left to its
// client to close, after it was told to go away.
const drainLinger = 500 * time.Millisecond

// Shutdown lets nobody in any more, tells the clients to go, and waits for their
// requests and replies; then, or when ctx ends, it closes everything. Errors: ctx's.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	if len(s.conns) == 0 {
		s.closeEmpty()
	}
	for c := range s.conns {
		c.goAway()
	}
	s.mu.Unlock()
	_ = s.ln.Close() // Close reports it
	select {
	case <-s.empty:
		s.Close()
		return nil
	case <-ctx.Done():
		s.Close()
		return fmt.Errorf("frames: clients were still connected: %w", ctx.Err())
	}
}

// Close ends every connection and waits for every goroutine.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	pending := s.pending
	s.pending = nil
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.stop()
	_ = s.ln.Close()
	for _, nc := range pending {
		_ = nc.Close()
	}
	for _, c := range conns {
		c.fail(errClosed)
	}
	s.wg.Wait()
}

var errClosed = errors.New("the node closes")
