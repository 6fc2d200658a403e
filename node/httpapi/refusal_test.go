package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Whatever is refused, a problem says so: also what net/http refuses by itself, on the
// way of the key routes and of all others, and in the odd forms that only net/http reads.
func TestRefusalsAreProblems(t *testing.T) {
	if road != roadLoop {
		return // net/http alone has its own words; nodes never serve that way
	}
	tw := newTwins(t)
	const host = " HTTP/1.1\r\nHost: n\r\n\r\n"
	for _, s := range []struct {
		in     string
		status int
		detail string
	}{
		{"GET /keys/%zz" + host, 400, "two hexadecimal digits"},
		{"PUT /v1/kv/default/a%2 HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc", 400, "two hexadecimal digits"},
		{"GET /%zz" + host, 400, "two hexadecimal digits"},
		{"GET /v1/cluster/%g0" + host, 400, "two hexadecimal digits"},
		{"POST /v1/buckets/% HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "two hexadecimal digits"},
		{"GET /%zz HTTP/1.0\r\n\r\n", 400, "two hexadecimal digits"},
		{"GET /%zz HTTP/1.1\nHost: n\n\n", 400, "two hexadecimal digits"},
		{"GET /keys/a b" + host, 400, "malformed"},
		{"GET /keys/a HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		{"GET /keys/a HTTP/1.1\r\nHost: n m\r\n\r\n", 400, "malformed Host header"},
		{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX : y\r\n\r\n", 400, "invalid header name"},
		{"GET /keys/a HTTP/2.0\r\nHost: n\r\n\r\n", 505, "unsupported protocol version"},
		{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Transfer-Encoding other than chunked"},
		{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", 417, "Expect other than 100-continue"},
		{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "Content-Length and Transfer-Encoding together"},
		{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX: " + strings.Repeat("x", 2*MaxHeaderBytes) + "\r\n\r\n", 431, "too large"},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400, "malformed"},
	} {
		got := talk(t, tw.loop, []byte(s.in))
		if len(got) != 1 {
			t.Errorf("%.60q: %d answers", s.in, len(got))
			continue
		}
		a := got[0]
		var p problem
		err := json.Unmarshal(a.body, &p)
		if err != nil || a.StatusCode != s.status || p.Status != s.status || p.Code != "invalid_argument" || p.Retryable || p.Outcome != "not_applied" || !strings.Contains(p.Detail, s.detail) {
			t.Errorf("%.60q: %d %s, %v; want %d with %q", s.in, a.StatusCode, a.body, err, s.status, s.detail)
		}
		if id := a.Header.Get("Quorate-Request-Id"); a.Header.Get("Content-Type") != typeProblem || !a.Close || id == "" || !strings.HasSuffix(p.Instance, id) || a.ContentLength != int64(len(a.body)) {
			t.Errorf("%.60q: %v", s.in, a.Header)
		}
	}
}

// What an answered request leaves on a connection is not taken for a refusal, nor is an
// answer with an error status that the handler gave.
func TestAnswersAreNoRefusals(t *testing.T) {
	if road != roadLoop {
		return
	}
	tw := newTwins(t)
	in := "GET /nowhere HTTP/1.1\r\nHost: n\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: n\r\n\r\nGET /livez HTTP/1.1\r\nHost: n\r\n\r\n" // lent for good from the star on
	var got []string
	for _, a := range talk(t, tw.loop, []byte(in)) {
		var p problem
		if a.StatusCode >= http.StatusBadRequest {
			if err := json.Unmarshal(a.body, &p); err != nil {
				t.Errorf("%s: %v", a.body, err)
			}
		}
		_, _ = io.Copy(io.Discard, a.Body)
		got = append(got, http.StatusText(a.StatusCode)+" "+p.Code)
	}
	if text := strings.Join(got, ", "); text != "Not Found not_found, OK , OK " {
		t.Error(text)
	}
}
