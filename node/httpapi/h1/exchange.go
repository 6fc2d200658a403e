package h1

import (
	"context"
	"errors"
	"io"
	"math/bits"
	"strconv"
	"time"
)

// Exchange is one request that the loop parsed, and its answer. It is used by one
// goroutine.
type Exchange struct {
	c    *conn
	head head
	text string // the head

	names  []string // of the fields that were given and are asked for
	values []string

	left      int64 // bytes of the body, or of its current chunk, not read yet
	chunk     chunkState
	excess    int64 // see chunked
	continued bool
	broken    error // why the body cannot be read
	keep      bool
	replied   bool
}

// begin takes over a parsed head. Its strings are cut from one copy.
func (x *Exchange) begin(b []byte) {
	x.text = string(b)
	x.names, x.values = x.names[:0], x.values[:0]
	for seen := x.head.seen; seen != 0; seen &= seen - 1 {
		i := bits.TrailingZeros32(seen)
		x.names = append(x.names, x.c.s.names.wanted[i])
		x.values = append(x.values, x.cut(x.head.known[i]))
	}
	x.left, x.chunk, x.excess = x.head.length, chunkNone, 0
	if x.head.chunked {
		x.left, x.chunk = 0, chunkSize
	}
	x.continued, x.broken, x.keep, x.replied = !x.head.expects, nil, true, false
}

func (x *Exchange) cut(s span) string { return x.text[s.from:s.to] }

// Method is GET, HEAD, PUT or DELETE.
func (x *Exchange) Method() string { return methodNames[x.head.method] }

// Path is the path as it came, with its escapes, each of which is well formed.
func (x *Exchange) Path() string { return x.cut(x.head.path) }

// Query is what stands behind the question mark, as it came.
func (x *Exchange) Query() string { return x.cut(x.head.query) }

// Values are the values of a header, at most one; name is one of Config.Names.
func (x *Exchange) Values(name string) []string {
	for i, n := range x.names {
		if n == name {
			return x.values[i : i+1 : i+1]
		}
	}
	return nil
}

// Length is the length of the body, -1 when it is chunked.
func (x *Exchange) Length() int64 {
	if x.head.chunked {
		return -1
	}
	return x.head.length
}

// Context ends when the client has left during a long request, or the server is
// closed.
func (x *Exchange) Context() context.Context { return x.c.ctx }

// Begin starts the answer: the status line and what every answer has. The caller
// appends its header lines, each with its line end, and hands all to End. A body
// needs its Content-Length among them.
func (x *Exchange) Begin(status int) []byte {
	x.replied = true
	c := x.c
	x.keep = !x.head.close && x.broken == nil && !c.s.closing.Load() && (!x.unread() || x.continued && x.chunk == chunkNone && x.left <= discardMost)
	b := append(c.out, "HTTP/1.1 "...)
	b = append(strconv.AppendUint(b, uint64(status), 10), ' ')
	b = append(append(b, statusText(status)...), "\r\n"...)
	b = append(b, c.s.now.Load().date...)
	if !x.keep {
		b = append(b, "Connection: close\r\n"...)
	}
	return b
}

// End completes the answer. The body of one to HEAD is left out.
func (x *Exchange) End(b, body []byte) {
	c := x.c
	if len(c.out) == 0 && c.w > c.r {
		c.held = time.Now()
	}
	b = append(b, "\r\n"...)
	switch {
	case x.head.method == methodHead:
		c.out = b
	case len(body) <= copyMost:
		c.out = append(b, body...)
	default:
		if c.out = b; !c.write(body) {
			x.keep = false
		}
	}
}

// unread tells that the body has not been read to its end.
func (x *Exchange) unread() bool { return x.left > 0 || x.chunk != chunkNone && x.chunk != chunkDone }

// discard reads the rest of a body that nobody wanted.
func (x *Exchange) discard() bool {
	_, err := io.Copy(io.Discard, x)
	return err == nil
}

// errSlow: a body did not come within its time.
var errSlow = errors.New("the body came too slowly")

// Read reads from the body.
func (x *Exchange) Read(p []byte) (int, error) {
	switch {
	case x.broken != nil:
		return 0, x.broken
	case !x.unread():
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if !x.continued {
		x.continued = true
		x.c.out = append(x.c.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
		if !x.c.flush() {
			return 0, x.breaks(io.ErrClosedPipe)
		}
	}
	n, err := x.readSome(p)
	if err == nil && !x.unread() && !x.c.enter(phaseServe, watchAfter) {
		err = errSlow
	}
	if err != nil {
		return n, x.breaks(err)
	}
	return n, nil
}

// breaks makes a failure final: the connection's input is of no more use.
func (x *Exchange) breaks(err error) error {
	x.broken = err
	return err
}

// readSome reads at least one byte, or brings a chunked body to its end.
func (x *Exchange) readSome(p []byte) (n int, err error) {
	for x.chunk != chunkNone && x.left == 0 {
		if err := x.nextChunk(); err != nil || x.chunk == chunkDone {
			return 0, err
		}
	}
	c := x.c
	p = p[:min(int64(len(p)), x.left)]
	if c.r == c.w {
		if err := x.reading(); err != nil { // may bring what a watch has read
			return 0, err
		}
	}
	if c.r < c.w {
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	} else {
		n, err = c.nc.Read(p)
	}
	if x.left -= int64(n); n > 0 {
		return n, nil
	}
	return 0, unexpected(err)
}

// unexpected is how the end of input looks inside a body.
func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Bodies must come at this rate, after some time to begin.
const (
	bodyBegin = 10 * time.Second
	bodyRate  = 100 << 10 // bytes in a second
)

// reading begins to wait for the body; its time does not start anew with each part.
func (x *Exchange) reading() error {
	c := x.c
	if phase(c.state.Load()&phaseMask) == phaseRead {
		return nil
	}
	d := c.s.cfg.BodyTimeout
	if x.chunk == chunkNone {
		d = min(d, bodyBegin+time.Duration(x.left/bodyRate)*time.Second)
	}
	if !c.enter(phaseRead, d) {
		return errSlow
	}
	return nil
}
