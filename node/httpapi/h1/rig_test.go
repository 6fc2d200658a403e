package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a listener in memory, so that tests of time run in a bubble.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// rig is a server whose fast road answers with the request's path, query, headers
// and body, and whose other road says that it is the other.
type rig struct {
	t     *testing.T
	s     *Server
	l     *pipes
	done  chan error
	serve func(*Exchange) // what the fast road does before it answers
	other http.HandlerFunc
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	r := &rig{t: t, l: newPipes(), done: make(chan error, 1)}
	cfg := Config{
		Names:          []string{"X-One", "X-Two"},
		Takes:          func(x *Exchange) bool { return strings.HasPrefix(x.Path(), "/fast") },
		Serve:          r.answer,
		MaxHeaderBytes: 16 << 10,
		HeaderTimeout:  10 * time.Second, BodyTimeout: 60 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 180 * time.Second,
	}
	cfg.Other = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.other != nil {
			r.other(w, req)
			return
		}
		b, err := io.ReadAll(req.Body)
		fmt.Fprintf(w, "other %s %q %v", req.URL, b, err)
	})}
	for _, f := range change {
		f(&cfg)
	}
	r.s = New(cfg)
	go func() { r.done <- r.s.Serve(r.l) }()
	return r
}

func (r *rig) answer(x *Exchange) {
	if r.serve != nil {
		r.serve(x)
	}
	b, err := io.ReadAll(x)
	text := fmt.Sprintf("%s %s?%s %v %v %q", x.Method(), x.Path(), x.Query(), x.Values("X-One"), x.Values("X-Two"), b)
	status := 200
	if err != nil {
		status, text = 400, err.Error()
	}
	out := x.Begin(status)
	out = append(out, "Content-Length: "+strconv.Itoa(len(text))+"\r\n"...)
	x.End(out, []byte(text))
}

// close ends the server and sees that nothing is left of it.
func (r *rig) close() {
	_ = r.s.Close()
	if err := <-r.done; !errors.Is(err, http.ErrServerClosed) {
		r.t.Errorf("Serve gave %v", err)
	}
}

type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (r *rig) dial() *client {
	near, far := net.Pipe()
	r.l.conns <- far
	return &client{r.t, near, bufio.NewReader(near)}
}

// send does not wait for the server to read.
func (c *client) send(text string) { go func() { _, _ = io.WriteString(c, text) }() }

func (c *client) get() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(body)
}

func (c *client) want(body string) *http.Response {
	c.t.Helper()
	res, got := c.get()
	if got != body {
		c.t.Fatalf("body %q, want %q", got, body)
	}
	return res
}

// ended waits for the server's end of the connection.
func (c *client) ended() time.Duration {
	c.t.Helper()
	began := time.Now()
	if b, err := io.ReadAll(c.in); err != nil || len(b) > 0 {
		c.t.Fatalf("%q, %v", b, err)
	}
	return time.Since(began)
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

const fastGet = "GET /fast HTTP/1.1\r\nHost: n\r\n\r\n"

const fastAnswer = `GET /fast? [] [] ""`

func TestBothRoadsOnOneConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		c := r.dial()
		for range 3 {
			c.send("PUT /fast/a?b=c HTTP/1.1\r\nhost: n\r\nx-TWO: \t2 \r\nContent-Length: 5\r\n\r\nhelloPOST /slow HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc" +
				fastGet + "PUT /fast HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n002\r\nde\r\n0\r\nA: b\r\n\r\nGET /slow HTTP/1.1\r\nHost: n\r\n\r\n")
			c.want(`PUT /fast/a?b=c [] [2] "hello"`)
			c.want(`other /slow "abc" <nil>`)
			c.want(fastAnswer)
			c.want(`PUT /fast? [] [] "abcde"`)
			if res := c.want(`other /slow "" <nil>`); res.Close {
				t.Error("the connection ends after the other server")
			}
		}
	})
}

// A request whose end only net/http can tell is the last of its connection, and the
// answer says so.
func TestLastRequestOfAConnection(t *testing.T) {
	for _, in := range []string{
		"POST /slow HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST /slow HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"POST /slow HTTP/1.1\nHost: n\nContent-Length: 3\n\nabc",
	} {
		bubble(t, func(t *testing.T) {
			r := newRig(t)
			defer r.close()
			c := r.dial()
			c.send(in)
			if res := c.want(`other /slow "abc" <nil>`); !res.Close {
				t.Error("it is not said that the connection ends")
			}
			c.ended()
		})
	}
}

func TestLengthAndCodingAreRefused(t *testing.T) {
	for _, target := range []string{"/fast", "/slow"} {
		bubble(t, func(t *testing.T) {
			r := newRig(t)
			defer r.close()
			c := r.dial()
			c.send("POST " + target + " HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + fastGet)
			if res, _ := c.get(); res.StatusCode != 400 || !res.Close {
				t.Errorf("%v", res)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		c := r.dial()
		c.send("PUT /fast HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
		if res, err := http.ReadResponse(c.in, nil); err != nil || res.StatusCode != 100 {
			t.Fatalf("%v %v", res, err)
		}
		c.send("abc")
		c.want(`PUT /fast? [] [] "abc"`)
		c.send("POST /slow HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
		if res, err := http.ReadResponse(c.in, nil); err != nil || res.StatusCode != 100 {
			t.Fatalf("%v %v", res, err)
		}
		c.send("abc")
		c.want(`other /slow "abc" <nil>`)
	})
}

// An answer that does not wait for the body keeps the connection if little is left
// of it, and closes it else.
func TestUnreadBodies(t *testing.T) {
	for _, c := range []struct {
		size  int
		close bool
		extra string
	}{{1000, false, ""}, {discardMost, false, ""}, {discardMost + 1, true, ""}, {10, true, "Expect: 100-continue\r\n"}} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) {
				cfg.Serve = func(x *Exchange) { x.End(append(x.Begin(413), "Content-Length: 2\r\n"...), []byte("no")) }
			})
			defer r.close()
			conn := r.dial()
			conn.send(fmt.Sprintf("PUT /fast HTTP/1.1\r\nHost: n\r\n%sContent-Length: %d\r\n\r\n%s", c.extra, c.size, strings.Repeat("x", c.size)+fastGet))
			if res := conn.want("no"); res.Close != c.close {
				t.Errorf("%d bytes: close %v", c.size, res.Close)
			}
			if !c.close {
				conn.want("no")
			}
			_ = conn.Close()
		})
	}
}

// Answers to pipelined reads leave together, in their order.
func TestPipelinedAnswersAreCoalesced(t *testing.T) {
	var writes atomic.Int64
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		near, far := net.Pipe()
		r.l.conns <- &counted{far, &writes}
		c := &client{t, near, bufio.NewReader(near)}
		var all strings.Builder
		for i := range 50 {
			fmt.Fprintf(&all, "GET /fast/%d HTTP/1.1\r\nHost: n\r\n\r\n", i)
		}
		c.send(all.String())
		for i := range 50 {
			c.want(fmt.Sprintf(`GET /fast/%d? [] [] ""`, i))
		}
	})
	if n := writes.Load(); n > 2 {
		t.Errorf("%d writes for 50 answers", n)
	}
}

type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// A write is not begun while an answer waits to be sent.
func TestAnswersDoNotWaitForWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := newRig(t)
		defer r.close()
		r.serve = func(x *Exchange) {
			if x.Method() == "PUT" {
				<-gate
			}
		}
		c := r.dial()
		c.send(fastGet + "PUT /fast HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nx")
		c.want(fastAnswer)
		close(gate)
		c.want(`PUT /fast? [] [] "x"`)
	})
}

func ctxOf(parent context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(parent, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// eof is a connection with nothing to read.
type eof struct{ net.Conn }

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
