package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// httpDriver puts and gets raw bodies over HTTP/1.1.
//
// Options: put, get and sget are path templates with one %s for the key (default
// /keys/%s); method is the writes' method (default PUT); retry=N repeats a write that
// was answered 503 up to N times, each after retryPause, within the one operation;
// route says which server a request goes to, see routes; bucket is what route=owner
// places keys by.
type httpDriver struct {
	addrs          []string
	method         string
	retry          int
	put, get, sget template
	route          route
	seen           seen[string] // ETags
}

func newHTTP(addrs []string, o Opts) (Driver, error) {
	d := &httpDriver{addrs: addrs, method: o.or("method", "PUT")}
	if s := o["retry"]; s != "" {
		var err error
		if d.retry, err = strconv.Atoi(s); err != nil || d.retry < 0 {
			return nil, fmt.Errorf("option retry: %q is not a number from 0", s)
		}
	}
	for name, t := range map[string]*template{"put": &d.put, "get": &d.get, "sget": &d.sget} {
		s := o.or(name, "/keys/%s")
		if !strings.HasPrefix(s, "/") || strings.Count(s, "%s") != 1 {
			return nil, fmt.Errorf("option %s: path %q must start with / and hold one %%s", name, s)
		}
		t.before, t.after, _ = strings.Cut(s, "%s")
	}
	var err error
	d.route, err = newRoute(addrs, o)
	return d, err
}

const retryPause = 100 * time.Millisecond

type template struct{ before, after string }

func (d *httpDriver) Close() {}

func (d *httpDriver) Worker(ctx context.Context, id int) (Worker, error) {
	w := &httpWorker{d: d, ctx: ctx, conns: make([]httpConn, len(d.addrs)), rng: rand.New(rand.NewPCG(uint64(id), routeSeed))}
	w.home = id % len(d.addrs)
	for i, a := range d.addrs {
		w.conns[i].ctx, w.conns[i].addr = ctx, a
	}
	return w, w.conns[w.home].open()
}

// httpWorker is one client: a connection to each server that its route leads to.
type httpWorker struct {
	d     *httpDriver
	ctx   context.Context
	conns []httpConn
	home  int // of a fixed route
	rng   *rand.Rand
}

func (w *httpWorker) Close() {
	for i := range w.conns {
		w.conns[i].Close()
	}
}

func (w *httpWorker) Put(key, val []byte) error {
	c := &w.conns[w.d.route.pick(w, key)]
	st, b, err := c.do(w.d.method, w.d.put, key, val, "")
	for try := 0; err == nil && st == 503 && try < w.d.retry; try++ {
		if err := sleep(w.ctx, retryPause); err != nil {
			return err
		}
		st, b, err = c.do(w.d.method, w.d.put, key, val, "")
	}
	if err == nil && (st < 200 || st > 299) {
		err = refused(st, b)
	}
	return err
}

func (w *httpWorker) Get(key []byte, stale bool) ([]byte, error) {
	t := w.d.get
	if stale {
		t = w.d.sget
	}
	st, b, err := w.conns[w.d.route.pick(w, key)].do("GET", t, key, nil, "")
	switch {
	case err != nil:
		return nil, err
	case st == 404:
		return nil, nil
	case st != 200:
		return nil, refused(st, b)
	}
	return b, nil
}

// Swap writes if the key still has the ETag seen last; a refusal tells the present one.
func (w *httpWorker) Swap(key, val []byte) (bool, error) {
	c := &w.conns[w.d.route.pick(w, key)]
	c.tags = true
	condition := "If-None-Match: *\r\n"
	if tag := w.d.seen.get(string(key)); tag != "" {
		condition = "If-Match: " + tag + "\r\n"
	}
	st, b, err := c.do(w.d.method, w.d.put, key, val, condition)
	switch {
	case err != nil:
		return false, err
	case st == 412 || st >= 200 && st <= 299:
		w.d.seen.set(string(key), c.etag)
		return st == 412, nil
	}
	return false, refused(st, b)
}

// refused tells a request shed before any work from every other failure. It quotes
// no more than quoteMax bytes of the reply.
func refused(status int, body []byte) error {
	if status == 503 && bytes.Contains(body, []byte(`"overloaded"`)) {
		return ErrShed
	}
	return fmt.Errorf("status %d: %.*s", status, quoteMax, body)
}

const quoteMax = 200

// httpConn is a minimal HTTP/1.1 client, one write for each request: net/http's
// client would use more CPU than the servers that it shares the machine with.
type httpConn struct {
	conn
	tags bool   // ETags are wanted
	etag string // of the last reply
}

// do sends one request; more are header lines.
func (c *httpConn) do(method string, t template, key, body []byte, more string) (int, []byte, error) {
	if err := c.open(); err != nil {
		return 0, nil, err
	}
	b := append(c.w[:0], method...)
	b = append(b, ' ')
	b = append(b, t.before...)
	b = append(b, key...)
	b = append(b, t.after...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, c.addr...)
	b = append(b, "\r\n"...)
	b = append(b, more...)
	if body != nil {
		b = append(b, "Content-Type: application/octet-stream\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	c.w = append(b, body...)
	st, reply, err := c.roundTrip()
	if err != nil {
		c.Close()
	}
	return st, reply, err
}

func (c *httpConn) roundTrip() (int, []byte, error) {
	if _, err := c.c.Write(c.w); err != nil {
		return 0, nil, err
	}
	st, err := c.status()
	if err != nil {
		return 0, nil, err
	}
	length, chunked, err := c.headers()
	if err != nil || st == 204 || st == 304 {
		return st, nil, err
	}
	c.b = c.b[:0]
	if chunked {
		err = c.chunks()
	} else {
		err = c.read(length)
	}
	return st, c.b, err
}

func (c *httpConn) status() (int, error) {
	l, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(l) < 12 || string(l[:7]) != "HTTP/1." {
		return 0, fmt.Errorf("bad status line %.60q", l)
	}
	return strconv.Atoi(string(l[9:12]))
}

// headers skips all but the two that frame the body, and the ETag.
func (c *httpConn) headers() (length int, chunked bool, err error) {
	c.etag = ""
	for {
		l, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		name, value, ok := bytes.Cut(bytes.TrimRight(l, "\r\n"), []byte{':'})
		switch {
		case !ok && len(name) == 0:
			return length, chunked, nil
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 || length > bodyMax {
				return 0, false, fmt.Errorf("bad content length %.60q", value)
			}
		case c.tags && bytes.EqualFold(name, []byte("etag")):
			c.etag = string(bytes.TrimSpace(value))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		}
	}
}

const bodyMax = 64 << 20 // no reply of any server here comes near

func (c *httpConn) chunks() error {
	for {
		l, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(l, "\r\n")), 16, 32)
		if err != nil || len(c.b)+int(n) > bodyMax {
			return fmt.Errorf("bad chunk size %.60q", l)
		}
		if err := c.read(int(n)); err != nil {
			return err
		}
		if _, err := c.r.Discard(len("\r\n")); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// read appends n bytes to the body.
func (c *httpConn) read(n int) error {
	at := len(c.b)
	if cap(c.b) < at+n {
		c.b = append(make([]byte, 0, 2*(at+n)), c.b...)
	}
	c.b = c.b[:at+n]
	_, err := io.ReadFull(c.r, c.b[at:])
	return err
}
