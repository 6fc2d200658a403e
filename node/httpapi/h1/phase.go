package h1

import "time"

// phase is what a connection is doing. A phase and the tick at which it has lasted
// too long share one word, which the connection's goroutine and the ticker change
// by compare-and-swap: a connection that has just moved on is never ended for what
// it did before.
type phase int64

const (
	phaseNew     phase = iota // waits for its first request
	phaseIdle                 // waits for the next one
	phaseRead                 // reads a head or a body
	phaseWrite                // writes an answer
	phaseServe                // Serve is at work, which has deadlines of its own
	phaseWatched              // as before, and a goroutine reads ahead to see the client leave
	phaseLent                 // the other server has the connection
	phaseEnded                // took too long, or the server closes

	phaseBits = 3
	phaseMask = 1<<phaseBits - 1
)

// watchAfter is how long a request may take before its client is watched: for
// short ones it is not worth a goroutine.
const watchAfter = time.Second

func word(p phase, due int64) int64 { return due<<phaseBits | int64(p) }

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// enter goes over to p, which may last d. False: the connection has been ended.
func (c *conn) enter(p phase, d time.Duration) bool {
	next := word(p, c.s.now.Load().tick+ticks(d))
	for {
		was := c.state.Load()
		switch phase(was & phaseMask) {
		case phaseEnded:
			return false
		case phaseWatched:
			c.unwatch()
		}
		if c.state.CompareAndSwap(was, next) {
			return true
		}
	}
}

// check is the ticker's: it ends what has lasted too long. spare is how many ticks
// earlier than usual an idle connection ends.
func (c *conn) check(tick, spare int64) {
	was := c.state.Load()
	p, due := phase(was&phaseMask), was>>phaseBits
	if p == phaseIdle {
		due -= spare
	}
	if tick >= due {
		c.end(was)
	}
}

// endIdle is for a server that closes.
func (c *conn) endIdle() {
	was := c.state.Load()
	if p := phase(was & phaseMask); p == phaseNew || p == phaseIdle {
		c.end(was)
	}
}

// end ends what a connection is doing, unless it does something else by now.
func (c *conn) end(was int64) {
	switch phase(was & phaseMask) {
	case phaseNew, phaseIdle, phaseRead:
		if c.state.CompareAndSwap(was, word(phaseEnded, 0)) {
			_ = c.nc.SetReadDeadline(longAgo)
		}
	case phaseWrite:
		if c.state.CompareAndSwap(was, word(phaseEnded, 0)) {
			_ = c.nc.SetDeadline(longAgo)
		}
	case phaseServe:
		done := make(chan struct{})
		c.watched = done // read only after the swap
		if c.state.CompareAndSwap(was, word(phaseWatched, was>>phaseBits)) {
			go c.watch(done)
		}
	}
}

// watch reads ahead beside a request that takes long: when its client leaves, the
// request's context ends and what it holds comes free. What is read stays in the
// buffer for later.
func (c *conn) watch(done chan struct{}) {
	defer close(done)
	if c.w == len(c.buf) {
		return // the client has sent more: it is there
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.ahead = n
	if n == 0 && !isTimeout(err) {
		c.cancel()
	}
}

// unwatch ends a watch and takes over what it read.
func (c *conn) unwatch() {
	_ = c.nc.SetReadDeadline(longAgo)
	<-c.watched
	_ = c.nc.SetReadDeadline(time.Time{})
	c.w += c.ahead
	c.ahead = 0
}
