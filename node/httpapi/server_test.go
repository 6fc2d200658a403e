package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoratedb/quorate/node/core"
)

func dial(t *testing.T, addr string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn), bufio.NewReader(c)
}

func readAnswer(t *testing.T, in *bufio.Reader, method string) *answer {
	t.Helper()
	a, err := parseAnswer(in, method)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A body that ends early is not a shorter value.
func TestHalfSentBodies(t *testing.T) {
	r := newRig(t)
	addr := r.serve(t)
	for _, request := range []string{
		"PUT /keys/k HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n\r\nonly this",
		"PUT /keys/k HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"PUT /keys/k HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello",
		"PUT /keys/k HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
		"POST /v1/kv/default:batch HTTP/1.1\r\nHost: n\r\nContent-Length: 500\r\n\r\n{\"operations\":[{\"op\":\"delete\",\"key\":\"a\"}]}",
	} {
		c, in := dial(t, addr)
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		a := readAnswer(t, in, "PUT")
		if a.StatusCode != 400 || a.problem(t).Code != "invalid_argument" || a.problem(t).Outcome != "not_applied" {
			t.Errorf("%q: %d %s", request, a.StatusCode, a.body)
		}
	}
	if n := len(r.b.requests()); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// An announced length beyond the limit is refused before the body is sent.
func TestTooLargeIsRefusedBeforeTheBody(t *testing.T) {
	r := newRig(t)
	addr := r.serve(t)
	c, in := dial(t, addr)
	fmt.Fprintf(c, "PUT /keys/k HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", DefaultMaxValue+1)
	a := readAnswer(t, in, "PUT")
	if a.StatusCode != 413 || a.problem(t).Code != "value_too_large" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if len(r.b.requests()) != 0 {
		t.Error("it reached the backend")
	}
	// The largest value passes, announced or chunked.
	value := strings.Repeat("x", DefaultMaxValue)
	for _, chunked := range []bool{false, true} {
		var body io.Reader = strings.NewReader(value)
		if chunked {
			body = io.MultiReader(body)
		}
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+addr+"/keys/k", body)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := r.b.last(t); res.StatusCode != 204 || len(got.Value) != DefaultMaxValue || cap(got.Value) > DefaultMaxValue+DefaultMaxValue/8 {
			t.Errorf("chunked %v: %d, %d bytes in room for %d", chunked, res.StatusCode, len(got.Value), cap(got.Value))
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// Raw paths arrive as they are: nothing is redirected, collapsed or decoded twice.
func TestRawPaths(t *testing.T) {
	r := newRig(t)
	addr := r.serve(t)
	c, in := dial(t, addr)
	for path, key := range map[string]string{"/keys/a//b": "a//b", "/keys/..": "..", "/keys/../../etc": "../../etc", "/keys/%2e%2e": "..", "/keys//": "/",
		"/keys/a%2Fb": "a/b", "/keys/%2F": "/", "/keys/a%252Fb": "a%2Fb", "/v1/kv/default/x%00y": "x\x00y", "/v1/kv/default/\"{}|": "\"{}|"} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: n\r\n\r\n", path)
		if a := readAnswer(t, in, "GET"); a.StatusCode != 404 || a.problem(t).Code != "key_not_found" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
		if got := r.b.last(t); string(got.Key) != key {
			t.Errorf("%s: key %q", path, got.Key)
		}
	}
}

func TestPipelining(t *testing.T) {
	r := newRig(t)
	r.b.reply = func(req *core.Request) *core.Reply {
		return okReply(object(sibling(1, 1, 1, "text/plain", "value of "+string(req.Key))))
	}
	c, in := dial(t, r.serve(t))
	var all strings.Builder
	for i := range 20 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&all, "PUT /keys/k%d HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc", i)
		case 1:
			fmt.Fprintf(&all, "HEAD /keys/k%d HTTP/1.1\r\nHost: n\r\n\r\n", i)
		case 2:
			fmt.Fprintf(&all, "PATCH /keys/k%d HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\n{}", i)
		default:
			fmt.Fprintf(&all, "GET /keys/k%d HTTP/1.1\r\nHost: n\r\n\r\n", i)
		}
	}
	if _, err := io.WriteString(c, all.String()); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		a := readAnswer(t, in, []string{"PUT", "HEAD", "PATCH", "GET"}[i%4])
		want := fmt.Sprintf("value of k%d", i)
		switch i % 4 {
		case 0:
			if a.StatusCode != 204 || len(a.body) != 0 {
				t.Errorf("%d: %d %q", i, a.StatusCode, a.body)
			}
		case 1:
			if a.StatusCode != 200 || a.ContentLength != int64(len(want)) || len(a.body) != 0 {
				t.Errorf("%d: %d, length %d, body %q", i, a.StatusCode, a.ContentLength, a.body)
			}
		case 2:
			if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD, PUT, DELETE" {
				t.Errorf("%d: %d %v", i, a.StatusCode, a.Header)
			}
		default:
			if a.StatusCode != 200 || string(a.body) != want {
				t.Errorf("%d: %d %q", i, a.StatusCode, a.body)
			}
		}
	}
}

// Beyond its limit the node sheds at once; probes and metrics still answer.
func TestAdmission(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxInFlight = 2 })
	in, gate := make(chan struct{}, 2), make(chan struct{})
	r.b.reply = func(*core.Request) *core.Reply {
		in <- struct{}{}
		<-gate
		return okReply(nil)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { r.raw("GET", "/keys/k", "") })
		<-in
	}
	a := r.want(503, "overloaded", "PUT", "/keys/k", "never read")
	if p := a.problem(t); a.Header.Get("Retry-After") != "1" || p.RetryAfterMS != 100 || p.Outcome != "not_applied" || !p.Retryable {
		t.Errorf("%+v %v", p, a.Header)
	}
	for _, target := range []string{"/livez", "/readyz", "/metrics"} {
		r.want(200, "", "GET", target, "")
	}
	text := string(r.want(200, "", "GET", "/metrics", "").body)
	for _, want := range []string{"quorate_http_in_flight 2\n", "quorate_http_shed_total 1\n", `quorate_http_requests_total{code="overloaded",mode="none",op="put"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing from\n%s", want, text)
		}
	}
	close(gate)
	wg.Wait()
	r.want(404, "key_not_found", "GET", "/keys/k", "")
}

func TestBodyBudget(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxBodyBytes = 10 })
	r.want(503, "overloaded", "PUT", "/keys/k", "0123456789a")
	r.want(204, "", "PUT", "/keys/k", "0123456789") // the refused one gave its share back
	if n := len(r.b.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.b.answer(okReply(object(sibling(1, 1, 1, "", "0123456789"))))
	r.do("PUT", "/keys/k", "abc")
	r.do("GET", "/keys/k", "")
	r.do("HEAD", "/keys/k", "")
	r.do("GET", "/keys/k?x", "")
	text := string(r.want(200, "", "GET", "/metrics", "").body)
	for _, want := range []string{
		`quorate_http_requests_total{code="ok",mode="eventual",op="put"} 1`, `quorate_http_requests_total{code="ok",mode="eventual",op="get"} 1`,
		`quorate_http_requests_total{code="ok",mode="eventual",op="head"} 1`, `quorate_http_requests_total{code="unknown_parameter",mode="none",op="get"} 1`,
		`quorate_http_request_seconds_count{op="put"} 1`, `quorate_http_value_in_bytes_sum 3`, `quorate_http_value_out_bytes_sum 10`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestProfilesOnlyOnRequest(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Profile = true })
	if a := r.raw("GET", "/debug/pprof/goroutine?debug=1", ""); a.StatusCode != 200 || !strings.Contains(string(a.body), "goroutine profile") {
		t.Errorf("%d", a.StatusCode)
	}
}

// However many ask, one fetch runs at a time, and each is served by one that began
// after it asked.
func TestRefresherShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := newRefresher(func(context.Context) { <-gate })
		var wg sync.WaitGroup
		wg.Go(func() { f.wait(context.Background()) })
		synctest.Wait() // the first fetch runs
		for range 50 {
			wg.Go(func() { f.wait(context.Background()) })
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		f.wait(ended)   // a client that left does not hang
		synctest.Wait() // all 50 asked while the first fetch ran
		close(gate)
		wg.Wait()
		if n := f.started.Load(); n != 2 {
			t.Errorf("%d fetches for 51 requests, want one more than the running one", n)
		}
		f.wait(context.Background())
		if f.started.Load() != 3 {
			t.Error("a later request was not served by a fetch of its own")
		}
	})
}

func TestServerHasLimits(t *testing.T) {
	s := netServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes != 64<<10 {
		t.Errorf("%+v", s)
	}
	r := newRig(t)
	c, in := dial(t, r.serve(t))
	fmt.Fprintf(c, "GET /keys/k HTTP/1.1\r\nHost: n\r\nX: %s\r\n\r\n", strings.Repeat("x", 70<<10))
	if a := readAnswer(t, in, "GET"); a.StatusCode != 431 {
		t.Errorf("%d", a.StatusCode)
	}
}
