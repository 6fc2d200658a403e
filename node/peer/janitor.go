package peer

import (
	"errors"
	"time"
)

const (
	tick = 500 * time.Millisecond
	// pingTicks without a write make a ping due, seen a tick later: one a second.
	pingTicks = 1
	// silentTicks without a byte from the far side, which pings, end a connection:
	// a link that is dead without a reset is noticed in about three seconds.
	silentTicks = 6
	// stuckTicks of one write that does not return end a connection.
	stuckTicks = 6
	// fullTicks with an outbox that overflows in each end a connection.
	fullTicks = 8
	// quietTicks without address, connection and messages end a peer.
	quietTicks = 8
)

var (
	errSilent = errors.New("the peer is silent")
	errStuck  = errors.New("the peer takes nothing")
	errFull   = errors.New("the peer is too slow: its outbox stays full")
)

// watch is what the janitor remembers of a connection.
type watch struct {
	reads, writes         uint64
	silent, stuck, unused int
}

// janitor looks at every connection twice a second. Counters that it compares
// with those of its last visit stand for a timer on every read and write, which
// would cost more than they.
func (t *Transport) janitor() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, p := range *t.peers.Load() {
			for _, l := range p.links() {
				l.inspect()
			}
			if p.isUnused() {
				p.close()
				t.forget(p)
			}
		}
	}
}

func (l *link) inspect() {
	l.mu.Lock()
	conns := l.conns()
	overflow := l.overflow
	l.mu.Unlock()
	if overflow == l.lastOverflow {
		l.fullTicks = 0
	} else {
		l.fullTicks++
	}
	l.lastOverflow = overflow
	wake := false
	for _, c := range conns {
		if err := c.check(); err != nil {
			c.fail(err)
		} else if l.fullTicks >= fullTicks {
			c.fail(errFull)
		}
		wake = wake || c.pingDue.Load()
	}
	if wake {
		l.wakeUp()
	}
}

// check updates the watch; an error means that the connection is dead.
func (c *conn) check() error {
	w := &c.watch
	if r := c.reads.Load(); r != w.reads {
		w.reads, w.silent = r, 0
	} else if w.silent++; w.silent >= silentTicks {
		return errSilent
	}
	n := c.writes.Load()
	switch {
	case n != w.writes:
		w.writes, w.stuck, w.unused = n, 0, 0
	case n%2 == 1:
		if w.stuck++; w.stuck >= stuckTicks {
			return errStuck
		}
	default:
		if w.unused++; w.unused >= pingTicks {
			c.pingDue.Store(true)
		}
	}
	return nil
}

// isUnused counts the ticks in which nobody needed p.
func (p *peer) isUnused() bool {
	busy := false
	for _, l := range p.links() {
		l.mu.Lock()
		busy = busy || l.best() != nil || l.held > 0
		l.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if busy || p.addr != "" {
		p.quiet = 0
		return false
	}
	p.quiet++
	return p.quiet >= quietTicks
}
