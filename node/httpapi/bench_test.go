package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// discard is a ResponseWriter that costs next to nothing.
type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header { return d.h }
func (d *discard) WriteHeader(s int)   { d.status = s }
func (d *discard) Write(b []byte) (int, error) {
	if d.status == 0 {
		d.status = http.StatusOK
	}
	return len(b), nil
}

type rewound struct{ *strings.Reader }

func (rewound) Close() error { return nil }

// hotCall runs one route without mux, as mux would call it.
func hotCall(t testing.TB, method string) (run func(), d *discard) {
	h := New(newBenchBackend(t), Options{}).(*api)
	req := httptest.NewRequest(method, "/v1/kv/default/some-key-of-usual-length", nil)
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "bench")
	var match mux.RouteMatch
	if !h.mux.Match(req, &match) {
		t.Fatal("no route")
	}
	req = mux.SetURLVars(req, match.Vars)
	body := strings.NewReader(strings.Repeat("v", 80))
	if method == "PUT" {
		req.ContentLength = 80
		req.Body = rewound{body}
	}
	d = &discard{}
	return func() {
		body.Seek(0, 0)
		d.h, d.status = make(http.Header), 0
		match.Handler.ServeHTTP(d, req)
	}, d
}

// benchBackend answers at once, without a lock, and keeps nothing.
type benchBackend struct {
	*fakeBackend
	got, put *core.Reply
}

func (benchBackend) Hints(context.Context, int) []NodeHints       { return nil }
func (benchBackend) Repair(context.Context) []NodeRepair          { return nil }
func (benchBackend) StartRepair(context.Context, int) []NodeAsked { return nil }

func newBenchBackend(t testing.TB) benchBackend {
	value := strings.Repeat("v", 80)
	return benchBackend{newFake(t), okReply(object(sibling(1, 4, 1000, "text/plain", value))), okReply(object(sibling(1, 4, 1000, "text/plain", "")))}
}

func (b benchBackend) Do(_ context.Context, req *core.Request) *core.Reply {
	if req.Op == core.OpGet {
		return b.got
	}
	return b.put
}

func (b benchBackend) Admit(*core.Request) bool { return true }
func (b benchBackend) Ring() *hashring.Ring     { return b.ring }

// Allocations of our own code for a request, beside net/http and mux; the core
// request, the key and the value are among them. A rise wants a reason.
func TestHotPathAllocations(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		most   float64
	}{{"GET", 200, 12}, {"PUT", 204, 10}} {
		run, d := hotCall(t, c.method)
		run()
		if d.status != c.status {
			t.Fatalf("%s: status %d", c.method, d.status)
		}
		got := testing.AllocsPerRun(200, run)
		t.Logf("%s: %.0f allocations", c.method, got)
		if got > c.most {
			t.Errorf("%s: %.0f allocations, at most %.0f", c.method, got, c.most)
		}
	}
}

func benchmarkHot(b *testing.B, method string) {
	run, _ := hotCall(b, method)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkGetOwnCode(b *testing.B) { benchmarkHot(b, "GET") }
func BenchmarkPutOwnCode(b *testing.B) { benchmarkHot(b, "PUT") }

// With mux, without net/http.
func BenchmarkGetWithRouter(b *testing.B) {
	h := New(newBenchBackend(b), Options{})
	req := httptest.NewRequest("GET", "/v1/kv/default/some-key-of-usual-length", nil)
	d := &discard{}
	b.ReportAllocs()
	for b.Loop() {
		d.h = make(http.Header)
		h.ServeHTTP(d, req)
	}
}
