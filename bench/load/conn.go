package load

import (
	"bufio"
	"context"
	"net"
	"time"
)

const dialTimeout = 5 * time.Second

// conn is one worker's connection, made when it is first needed and again after it
// broke. It is closed when its context ends, which ends a request under way.
type conn struct {
	ctx  context.Context
	addr string
	c    net.Conn
	r    *bufio.Reader
	w    []byte // the request being built
	b    []byte // the last reply's body
	stop func() bool
}

// open makes the connection when there is none.
func (c *conn) open() error {
	if c.c != nil {
		return nil
	}
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(c.ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	c.c, c.r = nc, bufio.NewReaderSize(nc, 16<<10)
	c.stop = context.AfterFunc(c.ctx, func() { nc.Close() })
	return nil
}

// Close drops the connection; the next request opens another.
func (c *conn) Close() {
	if c.c != nil {
		c.stop()
		c.c.Close()
		c.c = nil
	}
}
