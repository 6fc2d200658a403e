package peer

import (
	"bytes"
	"errors"
	"sync"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

var (
	errReplaced = errors.New("the peer has made a new connection")
	errRemoved  = errors.New("the store is no longer a peer")
	errClosed   = errors.New("the transport is closed")
)

// peer is one other store: its address and its two links.
type peer struct {
	t     *Transport
	sid   hashring.SID
	small link
	bulk  link
	// isSmaller: the peer's store id is below this store's.
	isSmaller bool

	mu    sync.Mutex // before link.mu; never held over a call that may wait
	addr  string     // empty: not dialled
	boot  uint64     // of the newest hello
	down  bool       // the present incident has been reported
	gone  bool       // reaped or closed; use no more
	quiet int        // janitor ticks without a use
}

func newPeer(t *Transport, sid hashring.SID) *peer {
	p := &peer{t: t, sid: sid, isSmaller: bytes.Compare(sid[:], t.self[:]) < 0}
	p.small.init(p, kindMessages)
	p.bulk.init(p, kindBulk)
	return p
}

func (p *peer) links() [2]*link { return [2]*link{&p.small, &p.bulk} }

func (p *peer) link(k kind) *link {
	if k == kindBulk {
		return &p.bulk
	}
	return &p.small
}

// send puts m into the outbox of the road it belongs on; false when the peer is
// gone and a new one has to be made.
func (p *peer) send(m *core.Message) bool {
	if wire.SizeHint(m) <= maxPayload {
		if v := p.small.put(m); v != tooLong {
			return v == done
		}
	}
	return p.bulk.putLarge(m) == done
}

func (p *peer) isGone() bool {
	p.small.mu.Lock()
	defer p.small.mu.Unlock()
	return p.small.closed
}

func (p *peer) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

func (p *peer) setAddr(addr string) {
	p.mu.Lock()
	same := p.addr == addr
	p.addr = addr
	p.mu.Unlock()
	if same {
		return
	}
	for _, l := range p.links() {
		if addr == "" {
			l.closeDialled()
		}
		l.wakeUp()
	}
}

// add makes c one of the peer's connections; false when the peer is gone. A hello
// of a later boot ends what the earlier process had: its requests died with it.
func (p *peer) add(c *conn) bool {
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return false
	}
	var old []*conn
	if c.hello.Boot > p.boot {
		for _, l := range p.links() {
			old = append(old, l.takeAll()...)
		}
		if len(old) > 0 && !p.down {
			p.t.notes.push(note{sid: p.sid})
		}
		p.boot = c.hello.Boot
	}
	if prev := c.link.set(c); prev != nil {
		old = append(old, prev)
	}
	if c.link.kind == kindMessages {
		p.down = false
		p.t.notes.push(note{sid: p.sid, up: true, hello: c.hello})
	}
	p.mu.Unlock()
	for _, o := range old {
		o.fail(errReplaced)
	}
	c.link.wakeUp()
	return true
}

// lost is called once for every connection that ended.
func (p *peer) lost(c *conn) {
	p.mu.Lock()
	had := c.link.unset(c)
	if had && c.link.kind == kindMessages && !p.gone && !p.small.connected() {
		p.down = true
		p.t.notes.push(note{sid: p.sid})
	}
	p.mu.Unlock()
	c.link.wakeUp()
}

// unreachable reports a dial that failed. A bulk connection that cannot be made
// says nothing about a store whose small messages pass.
func (p *peer) unreachable(hadSomething bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && !p.small.connected() && (hadSomething || !p.down) {
		p.down = true
		p.t.notes.push(note{sid: p.sid})
	}
}

// close ends the peer for good.
func (p *peer) close() {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	for _, l := range p.links() {
		for _, c := range l.close() {
			c.fail(errClosed)
		}
	}
}
