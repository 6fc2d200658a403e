package httpapi

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// road is how a rig's requests reach the handler. Every test of this package runs
// on each road: one contract, however a request comes.
var road = roadHandler

const (
	roadHandler = "handler" // called as a function
	roadNet     = "net"     // behind net/http's server
	roadLoop    = "loop"    // behind NewServer
)

// allRoads runs the tests on each road; benchmarks and fuzzing have one.
type allRoads struct{ *testing.M }

func (m allRoads) Run() (code int) {
	roads := []string{roadHandler, roadNet, roadLoop}
	for _, name := range []string{"test.bench", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			roads = roads[:1]
		}
	}
	for _, road = range roads {
		code = max(code, m.M.Run())
	}
	return code
}

// net/http lingers half a second on a connection that it closes with input unread.
func TestMain(m *testing.M) {
	flag.Parse()
	if addr := os.Getenv(benchServerEnv); addr != "" {
		benchServer(addr)
		return
	}
	goleak.VerifyTestMain(allRoads{m}, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// listening is a server of either kind.
type listening interface {
	Serve(net.Listener) error
	Close() error
}

// serve runs the rig's handler behind a real server with all limits, and gives its
// address.
func (r *rig) serve(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s listening = NewServer(r.h)
	if road == roadNet {
		s = netServer(r.h)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String()
}

// wire sends a rig's requests over connections that are used again.
type wire struct {
	mu   sync.Mutex
	addr string
	idle []*wireConn
}

type wireConn struct {
	net.Conn
	in *bufio.Reader
}

func (w *wire) take(r *rig) *wireConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.addr == "" {
		w.addr = r.serve(r.t)
	}
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return c
	}
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &wireConn{c, bufio.NewReader(c)}
}

// send is rig.raw over a connection.
func (w *wire) send(r *rig, method, target, body string, headers []string) *answer {
	c := w.take(r)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, requestText(method, target, body, headers)); err != nil {
		r.t.Fatal(err)
	}
	a, err := parseAnswer(c.in, method)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, target, err)
	}
	if !a.Close {
		w.mu.Lock()
		w.idle = append(w.idle, c)
		w.mu.Unlock()
	}
	return a
}

func requestText(method, target, body string, headers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: example.com\r\n", method, target)
	kind := false
	for _, h := range headers {
		b.WriteString(h + "\r\n")
		kind = kind || strings.HasPrefix(h, "Content-Type: ")
	}
	if (method == "POST" || method == "PATCH") && !kind {
		b.WriteString("Content-Type: application/json\r\n")
	}
	if body != "" || method == "PUT" || method == "POST" {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	return b.String() + "\r\n" + body
}

func parseAnswer(in *bufio.Reader, method string) (*answer, error) {
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	return &answer{res, body}, err
}
