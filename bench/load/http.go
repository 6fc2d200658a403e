package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// httpDriver puts and gets raw bodies over HTTP/1.1; a worker keeps to one address.
//
// Options: put, get and sget are path templates with one %s for the key (default
// /keys/%s); method is the writes' method (default PUT); retry=N repeats a write that
// was answered 503 up to N times, each after retryPause, within the one operation.
type httpDriver struct {
	addrs          []string
	method         string
	retry          int
	put, get, sget template
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
	return d, nil
}

const retryPause = 100 * time.Millisecond

type template struct{ before, after string }

func (d *httpDriver) Close() {}

func (d *httpDriver) Worker(ctx context.Context, id int) (Worker, error) {
	w := &httpWorker{d: d}
	w.ctx, w.addr = ctx, d.addrs[id%len(d.addrs)]
	return w, w.open()
}

// httpWorker is a minimal HTTP/1.1 client, one write for each request: net/http's
// client would use more CPU than the servers that it shares the machine with.
type httpWorker struct {
	conn
	d *httpDriver
}

func (w *httpWorker) Put(key, val []byte) error {
	st, b, err := w.do(w.d.method, w.d.put, key, val)
	for try := 0; err == nil && st == 503 && try < w.d.retry; try++ {
		if err := sleep(w.ctx, retryPause); err != nil {
			return err
		}
		st, b, err = w.do(w.d.method, w.d.put, key, val)
	}
	if err == nil && (st < 200 || st > 299) {
		err = fmt.Errorf("status %d: %.200s", st, b)
	}
	return err
}

func (w *httpWorker) Get(key []byte, stale bool) ([]byte, error) {
	t := w.d.get
	if stale {
		t = w.d.sget
	}
	st, b, err := w.do("GET", t, key, nil)
	switch {
	case err != nil:
		return nil, err
	case st == 404:
		return nil, nil
	case st != 200:
		return nil, fmt.Errorf("status %d: %.200s", st, b)
	}
	return b, nil
}

func (w *httpWorker) do(method string, t template, key, body []byte) (int, []byte, error) {
	if err := w.open(); err != nil {
		return 0, nil, err
	}
	b := append(w.w[:0], method...)
	b = append(b, ' ')
	b = append(b, t.before...)
	b = append(b, key...)
	b = append(b, t.after...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, w.addr...)
	if body != nil {
		b = append(b, "\r\nContent-Type: application/octet-stream\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
	}
	b = append(b, "\r\n\r\n"...)
	w.w = append(b, body...)
	st, reply, err := w.roundTrip()
	if err != nil {
		w.Close()
	}
	return st, reply, err
}

func (w *httpWorker) roundTrip() (int, []byte, error) {
	if _, err := w.c.Write(w.w); err != nil {
		return 0, nil, err
	}
	st, err := w.status()
	if err != nil {
		return 0, nil, err
	}
	length, chunked, err := w.headers()
	if err != nil || st == 204 || st == 304 {
		return st, nil, err
	}
	w.b = w.b[:0]
	if chunked {
		err = w.chunks()
	} else {
		err = w.read(length)
	}
	return st, w.b, err
}

func (w *httpWorker) status() (int, error) {
	l, err := w.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(l) < 12 || string(l[:7]) != "HTTP/1." {
		return 0, fmt.Errorf("bad status line %.60q", l)
	}
	return strconv.Atoi(string(l[9:12]))
}

// headers skips all but the two that frame the body.
func (w *httpWorker) headers() (length int, chunked bool, err error) {
	for {
		l, err := w.r.ReadSlice('\n')
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
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		}
	}
}

const bodyMax = 64 << 20 // no reply of any server here comes near

func (w *httpWorker) chunks() error {
	for {
		l, err := w.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(l, "\r\n")), 16, 32)
		if err != nil || len(w.b)+int(n) > bodyMax {
			return fmt.Errorf("bad chunk size %.60q", l)
		}
		if err := w.read(int(n)); err != nil {
			return err
		}
		if _, err := w.r.Discard(len("\r\n")); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// read appends n bytes to the body.
func (w *httpWorker) read(n int) error {
	at := len(w.b)
	if cap(w.b) < at+n {
		w.b = append(make([]byte, 0, 2*(at+n)), w.b...)
	}
	w.b = w.b[:at+n]
	_, err := io.ReadFull(w.r, w.b[at:])
	return err
}
