package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// mapServer is a key-value store over HTTP; lie makes it answer reads with another
// key's value, so that the verification is seen to work.
type mapServer struct {
	mu   sync.Mutex
	kv   map[string][]byte
	lie  bool
	tags map[string]int // writes of each key: its ETag; nil: it compares nothing
	busy int            // answer so many requests with 503 first
	hang chan struct{}  // when set, requests wait until it is closed
}

func (s *mapServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.hang != nil {
		<-s.hang
		return
	}
	s.mu.Lock()
	s.busy--
	busy := s.busy >= 0
	s.mu.Unlock()
	if busy {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/kv/")
	if r.Method == http.MethodPut {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.URL.RawQuery != "w=2" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tags != nil && !s.compare(w, r, key) {
			return
		}
		s.kv[key] = b
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.mu.Lock()
	b, ok := s.kv[key]
	s.mu.Unlock()
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case s.lie:
		fmt.Fprint(w, "qbench-9999999999999 is somebody else's")
	default:
		w.Write(b[:1])
		w.(http.Flusher).Flush() // the rest comes chunked
		w.Write(b[1:])
	}
}

// compare tells whether a write's condition holds, and refuses it otherwise.
func (s *mapServer) compare(w http.ResponseWriter, r *http.Request, key string) bool {
	tag := func() string { return fmt.Sprintf("\"1.1.%d\"", s.tags[key]) }
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	holds := match == "" || match == tag()
	if none == "*" && s.tags[key] > 0 {
		holds = false
	}
	if holds {
		s.tags[key]++
	}
	w.Header().Set("ETag", tag())
	if !holds {
		w.WriteHeader(http.StatusPreconditionFailed)
	}
	return holds
}

func httpDriverFor(t *testing.T, h http.Handler, retry string) Driver {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	d, err := Open("http", []string{srv.Listener.Addr().String()}, Opts{"put": "/kv/%s?w=2", "get": "/kv/%s", "sget": "/kv/%s?r=1", "retry": retry})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func runPhase(t *testing.T, d Driver, ks *Keyspace, phase string) Result {
	t.Helper()
	p, err := ParsePhase(phase)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), d, ks, p, Options{System: "test", Round: 1, Warm: 10 * time.Millisecond, Dur: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunOverHTTP(t *testing.T) {
	s := &mapServer{kv: map[string][]byte{}}
	d, ks := httpDriverFor(t, s, ""), NewKeyspace(500)
	if r := runPhase(t, d, ks, "get:2:80:uniform"); r.Missing == 0 || r.Missing != r.Ops || r.Errs != 0 {
		t.Errorf("reads of an empty store: %v", r)
	}
	if r := runPhase(t, d, ks, "load:4:80:uniform"); r.Ops != 500 || r.Errs != 0 || len(s.kv) != 500 {
		t.Errorf("load left %d keys: %v", len(s.kv), r)
	}
	for _, phase := range []string{"put:4:80:zipf", "get:4:80:zipf", "smix:4:80:uniform"} {
		r := runPhase(t, d, ks, phase)
		if r.Ops == 0 || r.Errs+r.Missing+r.Wrong != 0 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max*1.02 {
			t.Errorf("%v", r)
		}
	}
	s.lie = true
	if r := runPhase(t, d, ks, "get:2:80:zipf"); r.Wrong == 0 || r.Wrong != r.Ops || r.FirstErr == "" {
		t.Errorf("a lying server was believed: %v", r)
	}
}

// Compare-and-set: what was refused is counted apart, and the workers learn from it.
func TestSwap(t *testing.T) {
	s := &mapServer{kv: map[string][]byte{}, tags: map[string]int{}}
	d := httpDriverFor(t, s, "")
	ks := NewKeyspace(5000)
	r := runPhase(t, d, ks, "cas:8:80:uniform")
	written := 0
	for _, n := range s.tags {
		written += n
	}
	if r.Ops == 0 || r.Errs+r.Shed > 0 || r.Good == 0 || len(s.kv) > casKeys || written == 0 {
		t.Errorf("%v; %d keys, %d writes", r, len(s.kv), written)
	}
	s.mu.Lock()
	for k := range s.tags {
		s.tags[k] += 7 // by somebody else
	}
	s.mu.Unlock()
	if r := runPhase(t, d, ks, "cas:2:80:uniform"); r.Refused == 0 || r.Refused >= r.Ops || r.Errs > 0 {
		t.Errorf("%v: refused %d of %d", r, r.Refused, r.Ops)
	}
	if _, err := Run(t.Context(), blindDriver{}, ks, Phase{Mode: "cas", Workers: 1, Value: 80}, Options{}); err == nil {
		t.Error("a driver without compare-and-set was taken")
	}
}

// blindDriver cannot compare.
type blindDriver struct{}

func (blindDriver) Close()                                      {}
func (blindDriver) Worker(context.Context, int) (Worker, error) { return blindWorker{}, nil }

type blindWorker struct{}

func (blindWorker) Close()                               {}
func (blindWorker) Put(_, _ []byte) error                { return nil }
func (blindWorker) Get(_ []byte, _ bool) ([]byte, error) { return nil, nil }

func TestRetry(t *testing.T) {
	for retry, errs := range map[string]uint64{"": 2, "1": 1, "2": 0} {
		d := httpDriverFor(t, &mapServer{kv: map[string][]byte{}, busy: 2}, retry)
		if r := runPhase(t, d, NewKeyspace(3), "load:1:80:uniform"); r.Ops != 3 || r.Errs != errs {
			t.Errorf("retry=%s: want %d errors: %v", retry, errs, r)
		}
	}
}

// An open loop must not count more than it was asked for, and its latency must
// start when an operation was due.
func TestOpenLoopRate(t *testing.T) {
	d, ks := httpDriverFor(t, &mapServer{kv: map[string][]byte{}}, ""), NewKeyspace(10)
	r := runPhase(t, d, ks, "put:4:80:uniform@200")
	if r.Ops == 0 || r.Ops > 40 {
		t.Errorf("0.1 s at 200 a second did %d operations", r.Ops)
	}
	p := newPacer(Phase{Workers: 1, Rate: 1000}, rand.New(rand.NewPCG(1, 1)))
	p.due = time.Now().Add(-time.Second)
	began, ok := p.wait(nil)
	if !ok || time.Since(began) < time.Second {
		t.Errorf("a request a second late counts from %v ago", time.Since(began))
	}
}

func TestRunStops(t *testing.T) {
	s := &mapServer{hang: make(chan struct{})}
	d := httpDriverFor(t, s, "")
	t.Cleanup(func() { close(s.hang) }) // before the server's own, which waits for its requests
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	p, err := ParsePhase("put:4:80:uniform")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = Run(ctx, d, NewKeyspace(10), p, Options{Dur: time.Hour})
	if !errors.Is(err, context.Canceled) || time.Since(began) > drainMax {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// serveRedis answers SET, GET and WAIT for one connection.
func serveRedis(c net.Conn, kv *sync.Map, replicas int) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		switch args[0] {
		case "SET":
			kv.Store(args[1], args[2])
			fmt.Fprint(c, "+OK\r\n")
		case "GET":
			if v, ok := kv.Load(args[1]); ok {
				fmt.Fprintf(c, "$%d\r\n%s\r\n", len(v.(string)), v)
			} else {
				fmt.Fprint(c, "$-1\r\n")
			}
		case "WAIT":
			fmt.Fprintf(c, ":%d\r\n", replicas)
		}
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	line := func() (int, error) {
		l, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(l[1:]))
	}
	n, err := line()
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := line()
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func TestRunOverRedis(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var kv sync.Map
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serveRedis(c, &kv, 1)
		}
	}()
	ks := NewKeyspace(100)
	for wait, good := range map[string]bool{"1": true, "2": false} {
		d, err := Open("redis", []string{ln.Addr().String()}, Opts{"wait": wait})
		if err != nil {
			t.Fatal(err)
		}
		r := runPhase(t, d, ks, "load:2:80:uniform")
		if (r.Errs == 0) != good {
			t.Errorf("wait=%s with one replica: %v", wait, r)
		}
		if r = runPhase(t, d, ks, "get:2:80:zipf"); r.Ops == 0 || r.Errs+r.Missing+r.Wrong != 0 {
			t.Errorf("reads: %v", r)
		}
	}
}
