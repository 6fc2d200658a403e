// Package peer is the transport between nodes: one port that carries peer
// messages, control calls and raw Raft streams, told apart by the first bytes of
// a connection.
//
// Connections. Two stores share one connection for small messages and, once
// something large was sent, a second one for chunks, so that a 4 MiB value never
// stands before an ack. Both carry frames both ways: an ack of TCP rides on the
// answer, where one connection for each direction would send it by itself. Either
// side dials when it has none. If both dialled at once, both keep the two
// connections and send on the one that the smaller store id dialled.
//
// Sending. Send encodes at once into the peer's outbox, a bounded byte buffer. The
// peer's writer goroutine swaps the buffer for an empty one and writes all that
// has gathered with one system call. There is no timer: while a write runs, the
// next one gathers. Messages of one connection arrive in order; a message may be
// lost when its connection is, and it is never sent twice.
//
// Goroutines, all joined by Close: one accept loop; one janitor; one notifier that
// makes the Up and Down calls in order; two writers for each known peer, which
// also dial; one reader for each connection; one for each control call served.
package peer

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

const (
	// maxPeers bounds the table of stores that anybody may claim to be.
	maxPeers = 1024
	// handshakeTimeout is from connecting, or being connected to, to the end of the hello.
	handshakeTimeout = 2 * time.Second
)

// Config is what a transport needs from its node. Self is required.
type Config struct {
	Self func() Hello
	// Check refuses a hello with an error, whose text reaches the other side. The
	// transport itself has compared versions, cluster and store ids before.
	Check func(Hello) error
	// Deliver takes a message on its connection's goroutine and must not block. The
	// message and its bytes belong to the receiver.
	Deliver func(*core.Message)
	// Control serves a call; ctx ends with the caller's deadline or connection.
	// An error reaches the caller as a *RemoteError: itself if it is one.
	Control func(ctx context.Context, from Hello, method string, payload []byte) ([]byte, error)
	// Down says that the connection to a store was lost or could not be made: once
	// an incident, and again after each failed redial that had something to send.
	// Up says that a store's hello was accepted both ways. Both come in order from
	// one goroutine.
	Down func(hashring.SID)
	Up   func(Hello)
	// Dial connects; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Wrap, when set, makes a new connection secure (TLS) before its first byte. It
	// runs under the handshake's deadline.
	Wrap func(c net.Conn, dialled bool) (net.Conn, error)
	Log  *slog.Logger // nil: the default logger
}

// Transport sends and receives for one node.
type Transport struct {
	cfg   Config
	ln    net.Listener
	log   *limitedLog
	raft  *Layer
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	wg    sync.WaitGroup
	notes notifier
	count counters
	self  hashring.SID // a store's id never changes

	callID atomic.Uint64

	pending  pendingSet
	control  chan struct{} // slots of served calls
	mu       sync.Mutex
	peers    atomic.Pointer[map[hashring.SID]*peer] // replaced under mu, never changed
	isClosed bool
}

// New serves ln, which it closes at the end, and starts sending.
func New(ln net.Listener, cfg Config) *Transport {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	t := &Transport{cfg: cfg, ln: ln, log: newLimitedLog(cfg.Log), control: make(chan struct{}, maxCalls), self: cfg.Self().SID}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.peers.Store(&map[hashring.SID]*peer{})
	t.raft = newLayer(t)
	t.notes.init()
	t.wg.Go(t.acceptLoop)
	t.wg.Go(t.janitor)
	t.wg.Go(t.notifyLoop)
	return t
}

// Addr is where the transport listens.
func (t *Transport) Addr() net.Addr { return t.ln.Addr() }

// Raft is the layer for raw streams.
func (t *Transport) Raft() *Layer { return t.raft }

// SetPeers replaces the addresses of the stores to stay connected with. A store
// that is gone from the map is no longer dialled; connections it made stay.
func (t *Transport) SetPeers(addrs map[hashring.SID]string) {
	for sid, addr := range addrs {
		if sid == t.self {
			continue
		}
		if p := t.peer(sid); p != nil {
			p.setAddr(addr)
		}
	}
	for sid, p := range *t.peers.Load() {
		if _, ok := addrs[sid]; !ok {
			p.setAddr("")
		}
	}
}

// Send encodes m into the outbox of the store m.To and returns. It never blocks on
// the network. What does not fit, or cannot be delivered, is dropped and counted:
// the asker's own deadline, or Down, deals with it.
func (t *Transport) Send(m *core.Message) {
	if p := (*t.peers.Load())[m.To]; p != nil && p.send(m) {
		return
	}
	if p := t.peer(m.To); p == nil || !p.send(m) {
		t.count.dropped.Add(1)
	}
}

// peer is the entry of a store, made when there is none; nil when the table is
// full, the transport closed, or the store its own.
func (t *Transport) peer(sid hashring.SID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.peers.Load()
	if p := old[sid]; p != nil && !p.isGone() {
		return p
	}
	if t.isClosed || sid == t.self || len(old) >= maxPeers {
		return nil
	}
	next := maps.Clone(old)
	p := newPeer(t, sid)
	if prev := old[sid]; prev != nil { // gone, and not forgotten yet
		prev.retire()
	}
	next[sid] = p
	t.peers.Store(&next)
	t.wg.Go(p.small.run)
	t.wg.Go(p.bulk.run)
	return p
}

// forget takes a peer that is gone out of the table.
func (t *Transport) forget(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.peers.Load()
	if old[p.sid] != p {
		return
	}
	p.retire()
	next := maps.Clone(old)
	delete(next, p.sid)
	t.peers.Store(&next)
}

// Close ends every connection and waits for every goroutine. What is still in an
// outbox is lost.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.isClosed = true
	t.mu.Unlock()
	t.stop()
	err := t.ln.Close()
	_ = t.raft.Close()
	t.pending.closeAll()
	for _, p := range *t.peers.Load() {
		p.close()
	}
	t.notes.close()
	t.wg.Wait()
	return err
}
