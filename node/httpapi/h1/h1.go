// Package h1 is a lean HTTP/1.1 server loop in front of net/http's server. It owns
// the connections of a listener: it parses the heads of usual requests without a
// map and nearly without allocations, gives those that its user takes to Serve, and
// writes each answer with one system call. Every other request, and every head that
// is not in the plainest form, goes byte by byte to an http.Server, whose answer is
// the answer: the loop is a fast road, not a second opinion on HTTP.
//
// The one thing it judges by itself is framing. A request with Content-Length and
// Transfer-Encoding together is refused, and a connection is never used again after
// a request whose end this package could not tell with certainty.
//
// Time is kept by one ticker for all connections: no request sets a timer or a
// socket's deadline.
package h1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Server. Names, Takes and Serve go together.
type Config struct {
	// Names are the request headers, in canonical form, that Takes and Serve want
	// to see, at most 32 names of at most 32 bytes.
	Names []string
	// Takes tells whether Serve answers a request; only its head may be looked at.
	Takes func(*Exchange) bool
	// Serve answers a request with one call of Reply. The exchange and its strings
	// are valid until it returns.
	Serve func(*Exchange)
	// Other serves all other requests, with its own limits and timeouts.
	Other *http.Server
	// Refusal is the answer to a request that is refused without Serve or Other's
	// handler, connection header and all; reason is the rest of a status line. Nil: plain
	// text, as net/http has it.
	Refusal func(status int, reason string) []byte
	// MaxHeaderBytes bounds a head; a longer one is Other's to refuse.
	MaxHeaderBytes int
	// MaxConns bounds the connections; more wait in the system's backlog. When
	// they become many, idle ones are closed early.
	MaxConns int

	HeaderTimeout time.Duration // for a head to arrive, from its first byte
	BodyTimeout   time.Duration // for a whole body
	WriteTimeout  time.Duration // for an answer to be taken
	IdleTimeout   time.Duration // between requests

	Log *slog.Logger
}

// DefaultMaxConns: each costs two goroutine stacks at most and 4 KiB when idle, so
// all of them about 200 MiB.
const DefaultMaxConns = 16 << 10

// Server serves a listener.
type Server struct {
	cfg    Config
	names  *names
	inner  *http.Server
	lender lender
	ctx    context.Context // of all requests
	cancel context.CancelFunc
	places chan struct{} // one for each connection there may be
	now    atomic.Pointer[moment]

	mu       sync.Mutex
	conns    map[*conn]struct{}
	listener net.Listener
	closing  atomic.Bool
	began    bool
	empty    chan struct{} // closed when closing and the last connection has gone
	stop     chan struct{} // closed when closing
}

// New makes a server; it starts nothing.
func New(cfg Config) *Server {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, names: newNames(cfg.Names), conns: map[*conn]struct{}{}, places: make(chan struct{}, cfg.MaxConns),
		empty: make(chan struct{}), stop: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lender = lender{conns: make(chan *lent), stop: s.stop}
	s.inner = innerServer(cfg.Other)
	s.now.Store(newMoment(0, time.Now()))
	return s
}

// acceptAgain is how long Serve waits after an error that may pass, such as too
// few file descriptors.
const acceptAgain = 50 * time.Millisecond

// Serve accepts connections until Shutdown or Close, which make it return
// http.ErrServerClosed; it may be called once.
func (s *Server) Serve(l net.Listener) error {
	if !s.begin(l) {
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	s.lender.addr = l.Addr()
	var rest sync.WaitGroup
	defer rest.Wait()
	rest.Go(s.tick)
	rest.Go(func() { _ = s.inner.Serve(&s.lender) })
	for {
		select {
		case s.places <- struct{}{}:
		case <-s.stop:
			return http.ErrServerClosed
		}
		c, err := l.Accept()
		if err == nil {
			s.accept(c)
			continue
		}
		<-s.places
		if s.closing.Load() {
			return http.ErrServerClosed
		}
		if !passes(err) {
			_ = s.Close()
			return err
		}
		select {
		case <-time.After(acceptAgain):
		case <-s.stop:
		}
	}
}

// passes tells that accepting may work again later.
func passes(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) begin(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began || s.closing.Load() {
		return false
	}
	s.began, s.listener = true, l
	return true
}

// accept starts the goroutine of a connection.
func (s *Server) accept(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	gone := s.closing.Load()
	if !gone {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if gone {
		_ = nc.Close()
		<-s.places
		return
	}
	go func() {
		c.run()
		s.mu.Lock()
		delete(s.conns, c)
		last := len(s.conns) == 0 && s.closing.Load()
		s.mu.Unlock()
		<-s.places
		if last {
			close(s.empty)
		}
	}()
}

// startClosing: nothing new is taken, and idle connections end.
func (s *Server) startClosing() (first bool) {
	s.mu.Lock()
	if first = !s.closing.Swap(true); !first {
		s.mu.Unlock()
		return false
	}
	close(s.stop)
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if len(s.conns) == 0 {
		close(s.empty)
	}
	for c := range s.conns {
		c.endIdle()
	}
	s.mu.Unlock()
	return true
}

// Shutdown ends the server without breaking off requests: those under way are
// answered, then their connections close. When ctx ends first its error is
// returned and Close remains to be called.
func (s *Server) Shutdown(ctx context.Context) error {
	s.startClosing()
	err := s.inner.Shutdown(ctx)
	select {
	case <-s.empty:
		s.cancel()
	case <-ctx.Done():
		err = ctx.Err()
	}
	return err
}

// Close breaks off everything. It does not wait for Serve's handlers, which see
// their contexts end.
func (s *Server) Close() error {
	s.startClosing()
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
	s.mu.Unlock()
	return s.inner.Close()
}

// Conns is how many connections there are.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
