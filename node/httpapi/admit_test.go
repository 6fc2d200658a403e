package httpapi

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A shard that does not keep up sheds before the body is read: nothing has happened.
func TestLateShardSheds(t *testing.T) {
	r := newRig(t)
	r.b.late = true
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := r.want(503, "overloaded", method, "/keys/k", map[string]string{"PUT": "value"}[method])
		if p := a.problem(t); p.Outcome != "not_applied" || !p.Retryable || p.RetryAfterMS != 100 || a.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %+v %v", method, p, a.Header)
		}
	}
	r.want(200, "", "GET", "/livez", "")
	if n := len(r.b.requests()); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
	if text := string(r.want(200, "", "GET", "/metrics", "").body); !strings.Contains(text, "quorate_http_shed_total 3\n") {
		t.Errorf("not counted:\n%s", text)
	}
	r.b.mu.Lock()
	r.b.late = false
	r.b.mu.Unlock()
	r.want(204, "", "PUT", "/keys/k", "value")
}

// A client that sends its body slowly takes no place from others, and what it has
// announced takes no memory before it comes.
func TestSlowBodiesHoldNoPlace(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxInFlight, o.MaxBodyBytes = 1, 4*bodyPart })
	addr := r.serve(t)
	for range 3 { // announced: 3 MiB, above the budget
		c, _ := dial(t, addr)
		fmt.Fprintf(c, "PUT /keys/slow HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\nonly this", DefaultMaxValue)
	}
	a := r.h.(*api)
	again, late := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer again.Stop()
	for a.bodyBytes.Load() != 3*bodyPart {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%d bytes of bodies are held", a.bodyBytes.Load())
		}
	}
	if n := a.inFlight.Load(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
	c, in := dial(t, addr)
	_, _ = io.WriteString(c, "PUT /keys/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nx")
	if got := readAnswer(t, in, "PUT"); got.StatusCode != 204 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// A large value arrives whole, however it was cut on its way.
func TestLargeValuesInParts(t *testing.T) {
	r := newRig(t)
	addr := r.serve(t)
	value := strings.Repeat("0123456789abcdef", DefaultMaxValue/16)
	c, in := dial(t, addr)
	go func() {
		fmt.Fprintf(c, "PUT /keys/k HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n", len(value))
		for rest := value; len(rest) > 0; rest = rest[min(len(rest), 77777):] {
			_, _ = io.WriteString(c, rest[:min(len(rest), 77777)])
		}
	}()
	if a := readAnswer(t, in, "PUT"); a.StatusCode != 204 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if got := r.b.last(t); string(got.Value) != value || got.Sum != checksum([]byte(value)) {
		t.Errorf("%d bytes, sum %x", len(got.Value), got.Sum)
	}
}
