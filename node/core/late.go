package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Why a forwarded write is never minted late.
//
// A forward can lie in a stalled connection while its write is sent to another owner
// (E16), acked, read and overwritten. Minted then it would undo the newer write: a
// PUT without a context replaces what its coordinator holds. So:
//
//  1. an owner mints a forwarded write only while it can tell that the forward is
//     young: it echoes a moment of the owner's own monotonic clock, and forwardFor has
//     not passed since, nor two thirds of what the request had left;
//  2. a forwarder sends a write elsewhere, stands in itself, or answers its client
//     only when every copy is answered, declined, or older than forwardOver.
//
// An echo is older than the forward that carries it, so what (1) lets through is
// minted before (2) gives it up, as long as the two clocks run at the same speed
// within 20 %: no offset matters. An owner that has not been heard lately declines,
// which costs a round trip, and the next try carries the echo of that answer.
// Clocks of all nodes were the other way (a stamp in the forward, siblings newer
// than it stay): every skew between two machines would have made siblings of plain
// sequential writes.
const (
	forwardFor  = 200 * time.Millisecond
	forwardOver = 300 * time.Millisecond
)

// Echo is a moment of a process's monotonic clock, given back to it. Boot tells the
// process from the one before, whose clock began elsewhere.
type Echo struct {
	Boot uint64
	At   time.Duration
}

func (c *Core) echo() Echo { return Echo{Boot: c.cfg.Boot, At: c.now.Mono} }

// late tells that the forward m may have been given up by the node that sent it.
func (c *Core) late(m *Message) bool {
	age := c.now.Mono - m.Echo.At
	return (m.Echo.Boot != c.cfg.Boot || age < 0 || age > forwardFor || age > m.Timeout*2/3) && !plant.Is(plant.LateForward)
}

// forwardCopy is one copy of a forwarded write, sent to one owner.
type forwardCopy struct {
	to    hashring.SID
	sent  time.Duration
	echo  Echo // that it carried
	done  bool // answered or declined
	again bool // declined as late once before
}

// before tells that an answer with echo e was given before the copy was sent: it
// answers the try before, and has come twice.
func (f *forwardCopy) before(e Echo) bool { return e.Boot == f.echo.Boot && e.At <= f.echo.At }

// over tells that the copy cannot be minted any more.
func (f *forwardCopy) over(now time.Duration) bool { return f.done || now >= f.sent+forwardOver }
