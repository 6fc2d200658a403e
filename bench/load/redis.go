package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// redisDriver sends writes and strong reads to the first address, the primary, and
// stale reads to the others in turn. Option wait=N pipelines WAIT N after every
// write; a write that fewer replicas have is an error.
type redisDriver struct {
	addrs []string
	wait  int64
	after []byte // the pipelined WAIT
}

const waitLimit = "5000" // ms, WAIT's own

func newRedis(addrs []string, o Opts) (Driver, error) {
	d := &redisDriver{addrs: addrs}
	if s := o["wait"]; s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("option wait: %q is not a number above 0", s)
		}
		d.wait = n
		d.after = appendCommand(nil, []byte("WAIT"), []byte(s), []byte(waitLimit))
	}
	return d, nil
}

func (d *redisDriver) Close() {}

func (d *redisDriver) Worker(ctx context.Context, id int) (Worker, error) {
	w := &redisWorker{d: d, primary: respConn{conn{ctx: ctx, addr: d.addrs[0]}}}
	w.replica = w.primary
	if n := len(d.addrs); n > 1 {
		w.replica.addr = d.addrs[1+id%(n-1)]
	}
	return w, w.primary.open()
}

type redisWorker struct {
	d                *redisDriver
	primary, replica respConn
}

func (w *redisWorker) Close() {
	w.primary.Close()
	w.replica.Close()
}

func (w *redisWorker) Put(key, val []byte) (err error) {
	c := &w.primary
	defer func() { c.closeOn(err) }()
	if err := c.open(); err != nil {
		return err
	}
	c.w = appendCommand(c.w[:0], []byte("SET"), key, val)
	c.w = append(c.w, w.d.after...)
	if _, err := c.c.Write(c.w); err != nil {
		return err
	}
	if _, _, err := c.reply(); err != nil || w.d.wait == 0 {
		return err
	}
	_, n, err := c.reply()
	if err == nil && n < w.d.wait {
		err = fmt.Errorf("WAIT %d: only %d replicas", w.d.wait, n)
	}
	return err
}

func (w *redisWorker) Get(key []byte, stale bool) (val []byte, err error) {
	c := &w.primary
	if stale {
		c = &w.replica
	}
	defer func() { c.closeOn(err) }()
	if err := c.open(); err != nil {
		return nil, err
	}
	c.w = appendCommand(c.w[:0], []byte("GET"), key)
	if _, err := c.c.Write(c.w); err != nil {
		return nil, err
	}
	b, _, err := c.reply()
	return b, err
}

// respConn reads RESP2, the protocol of Redis 2 to 7.
type respConn struct{ conn }

// closeOn drops the connection after any error: a reply may still be under way.
func (c *respConn) closeOn(err error) {
	if err != nil {
		c.Close()
	}
}

func appendCommand(b []byte, args ...[]byte) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	b = append(b, "\r\n"...)
	for _, a := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(a)), 10)
		b = append(b, "\r\n"...)
		b = append(b, a...)
		b = append(b, "\r\n"...)
	}
	return b
}

// reply reads one reply: a string, an integer, or nil for a missing value.
func (c *respConn) reply() ([]byte, int64, error) {
	l, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, 0, err
	}
	if len(l) < 3 {
		return nil, 0, errors.New("short reply")
	}
	body := l[1 : len(l)-2]
	switch l[0] {
	case '+':
		return body, 0, nil
	case '-':
		return nil, 0, errors.New(string(body))
	case ':':
		n, err := strconv.ParseInt(string(body), 10, 64)
		return nil, n, err
	case '$':
		n, err := strconv.Atoi(string(body))
		if err != nil || n > bodyMax {
			return nil, 0, fmt.Errorf("bad length %.60q", body)
		}
		if n < 0 {
			return nil, 0, nil
		}
		b, err := c.bulk(n)
		return b, 0, err
	}
	return nil, 0, fmt.Errorf("unknown reply %.60q", l)
}

func (c *respConn) bulk(n int) ([]byte, error) {
	if cap(c.b) < n+2 {
		c.b = make([]byte, n+2)
	}
	c.b = c.b[:n+2]
	_, err := io.ReadFull(c.r, c.b)
	return c.b[:n], err
}
