package ringraft

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Layer gives raw streams on the peer port; node/peer's Layer is one.
type Layer interface {
	Accept() (net.Conn, error)
	Close() error
	Addr() net.Addr
	Dial(addr string, timeout time.Duration) (net.Conn, error)
}

// errPaused is what Raft's streams say while Config.Paused is true.
var errPaused = errors.New("raft traffic is paused")

// streams is raft.StreamLayer over a Layer. It keeps every stream, so that Close
// ends calls that wait for an answer instead of sitting them out.
type streams struct {
	Layer
	paused func() bool

	mu     sync.Mutex
	conns  map[*stream]struct{}
	closed bool
}

type stream struct {
	net.Conn
	of *streams
}

func newStreams(l Layer, paused func() bool) *streams {
	if paused == nil {
		paused = func() bool { return false }
	}
	return &streams{Layer: l, paused: paused, conns: map[*stream]struct{}{}}
}

func (s *streams) keep(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	k := &stream{Conn: c, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	s.conns[k] = struct{}{}
	return k, nil
}

func (s *streams) Accept() (net.Conn, error) { return s.keep(s.Layer.Accept()) }

func (s *streams) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.paused() {
		return nil, errPaused
	}
	return s.keep(s.Layer.Dial(string(addr), timeout))
}

func (s *streams) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = map[*stream]struct{}{}
	s.mu.Unlock()
	errs := []error{s.Layer.Close()}
	for c := range conns {
		if err := c.Conn.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *stream) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

func (c *stream) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.of.paused() {
		return 0, errPaused
	}
	return n, err
}

func (c *stream) Write(p []byte) (int, error) {
	if c.of.paused() {
		return 0, errPaused
	}
	return c.Conn.Write(p)
}

// transport is raft's network transport that also remembers how far each follower
// has come: raft keeps that to itself, and a newcomer must not vote before it has
// the log.
type transport struct {
	*raft.NetworkTransport

	mu      sync.Mutex
	term    uint64
	matched map[raft.ServerID]uint64
}

// AppendEntries is raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil && resp.Success {
		t.mu.Lock()
		if args.Term > t.term {
			t.term = args.Term
			clear(t.matched)
		}
		if at := args.PrevLogEntry + uint64(len(args.Entries)); args.Term == t.term && at > t.matched[id] {
			t.matched[id] = at
		}
		t.mu.Unlock()
	}
	return err
}

// match is the highest index that id is known to hold in this term.
func (t *transport) match(id raft.ServerID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.matched[id]
}

// addresses is raft.ServerAddressProvider: a store may have moved since the Raft
// configuration was written.
type addresses struct{ of func(raft.ServerID) string }

func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr := a.of(id); addr != "" {
		return raft.ServerAddress(addr), nil
	}
	return "", errors.New("address not known")
}
