package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestBadRequestsReachNobody(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, c := range []struct {
		code, method, target string
		headers              []string
	}{
		{"unknown_parameter", "GET", "/keys/k?w=1", nil},
		{"unknown_parameter", "GET", "/keys/k?R=1", nil},
		{"unknown_parameter", "GET", "/keys/k?r=1&consistancy=all", nil},
		{"unknown_parameter", "PUT", "/keys/k?r=1", nil},
		{"unknown_parameter", "DELETE", "/keys/k?ttl=1s", nil},
		{"unknown_parameter", "GET", "/v1/kv/default?r=1", nil},
		{"unknown_parameter", "GET", "/v1/buckets?x", nil},
		{"unknown_parameter", "GET", "/v1/cluster?verbose", nil},
		{"unknown_parameter", "GET", "/livez?x=1", nil},
		{"unknown_parameter", "GET", "/metrics?x=1", nil},
		{"unknown_parameter", "GET", "/openapi.json?x=1", nil},
		{"unknown_parameter", "GET", "/v1/inspect/default/k?r=1", nil},
		{"unknown_parameter", "POST", "/v1/kv/default:get?w=1", nil},
		{"unknown_parameter", "POST", "/v1/kv/default:batch?r=1", nil},
		{"invalid_argument", "GET", "/keys/k?r=1&r=1", nil},
		{"invalid_argument", "GET", "/keys/k?r=0", nil},
		{"invalid_argument", "GET", "/keys/k?r=-1", nil},
		{"invalid_argument", "GET", "/keys/k?r=two", nil},
		{"invalid_argument", "GET", "/keys/k?r=", nil},
		{"invalid_argument", "GET", "/keys/k?r", nil},
		{"invalid_argument", "GET", "/keys/k?r=99999999999999999999", nil},
		{"invalid_argument", "GET", "/keys/k?r=1&consistency=one", nil},
		{"invalid_argument", "GET", "/keys/k?consistency=most", nil},
		{"invalid_argument", "GET", "/keys/k?consistency=leader", nil},
		{"invalid_argument", "GET", "/keys/k?sloppy=yes", nil},
		{"invalid_argument", "GET", "/keys/k?resolve=oldest", nil},
		{"invalid_argument", "GET", "/keys/k?r=%zz", nil},
		{"invalid_argument", "GET", "/keys/k?%zz=1", nil},
		{"invalid_argument", "GET", "/keys/k?r=1;w=2", nil},
		{"invalid_argument", "PUT", "/keys/k?w=0", nil},
		{"invalid_argument", "PUT", "/keys/k?pw=-1", nil},
		{"invalid_argument", "PUT", "/keys/k?ttl=10", nil},
		{"invalid_argument", "PUT", "/keys/k?ttl=-1s", nil},
		{"invalid_argument", "PUT", "/keys/k?ttl=0s", nil},
		{"invalid_argument", "PUT", "/keys/k?ttl=9999999h", nil},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Consistency: most"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Consistency: 0"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Consistency: -1"}},
		{"invalid_argument", "GET", "/keys/k?r=2", []string{"Quorate-Consistency: most"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Consistency: one", "Quorate-Consistency: all"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Timeout: 250"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Timeout: 0s"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Timeout: -1s"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Timeout: 61s"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Ring: new"}},
		{"invalid_argument", "GET", "/keys/k", []string{"Quorate-Route: primary"}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Idempotency-Key: abc"}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Idempotency-Key: 1760000000000"}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Idempotency-Key: 1760000000000-"}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Idempotency-Key: 17600x-abc"}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Idempotency-Key: 1-" + long}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Content-Type: " + long}},
		{"invalid_argument", "PUT", "/keys/k", []string{"Content-Range: bytes 0-1/2"}},
		{"unsupported_media", "PUT", "/keys/k", []string{"Content-Encoding: gzip"}},
		{"context_invalid", "PUT", "/keys/k", []string{"Quorate-Context: nonsense"}},
		{"context_invalid", "DELETE", "/keys/k", []string{"Quorate-Context: "}},
		{"context_invalid", "GET", "/keys/k", []string{"Quorate-Read-After: AAAA"}},
		{"conditional_needs_strong", "PUT", "/keys/k", []string{`If-Match: "1"`}},
		{"conditional_needs_strong", "PUT", "/keys/k", []string{"If-None-Match: *"}},
		{"conditional_needs_strong", "DELETE", "/keys/k", []string{`If-Match: "1"`}},
		{"conditional_needs_strong", "GET", "/keys/k", []string{`If-Match: "1"`}},
		{"invalid_argument", "GET", "/v1/kv/default?limit=0", nil},
		{"invalid_argument", "GET", "/v1/kv/default?limit=1001", nil},
		{"invalid_argument", "GET", "/v1/kv/default?limit=x", nil},
		{"invalid_argument", "GET", "/v1/kv/default?values=1", nil},
		{"invalid_argument", "GET", "/v1/kv/default?cursor=abc", nil},
		{"invalid_argument", "GET", "/v1/kv/default", []string{"Quorate-Consistency: all"}},
		{"invalid_argument", "GET", "/v1/kv/default", []string{"Quorate-Read-After: x"}},
		{"key_too_long", "GET", "/v1/kv/default?prefix=" + strings.Repeat("x", 1025), nil},
		{"invalid_argument", "GET", "/v1/cluster/locate", nil},
		{"invalid_argument", "GET", "/v1/cluster/locate?bucket=default", nil},
		{"invalid_argument", "GET", "/v1/cluster/locate?bucket=default&key=a&key64=YQ", nil},
		{"bucket_not_found", "GET", "/v1/cluster/locate?bucket=none&key=a", nil},
		{"invalid_argument", "GET", "/livez?verbose=maybe", nil},
		{"not_found", "GET", "/", nil},
		{"not_found", "GET", "/v1/kv", nil},
		{"not_found", "GET", "/v1/kv/default:list", nil},
		{"not_found", "GET", "/debug/pprof/", nil},
		{"method_not_allowed", "POST", "/keys/k", nil},
		{"method_not_allowed", "PATCH", "/v1/kv/default/k", nil},
		{"method_not_allowed", "PUT", "/v1/kv/default", nil},
		{"method_not_allowed", "GET", "/v1/kv/default:get", nil},
		{"method_not_allowed", "OPTIONS", "/keys/k", nil},
		{"permission_denied", "DELETE", "/keys/k", []string{"Sec-Fetch-Site: cross-site"}},
		{"permission_denied", "PUT", "/keys/k", []string{"Origin: https://elsewhere.example"}},
	} {
		r := newRig(t)
		row := errorTable[0]
		for _, e := range errorTable {
			if e.name == c.code {
				row = e
			}
		}
		a := r.want(row.status, c.code, c.method, c.target, "", c.headers...)
		if p := a.problem(t); row.outcome == core.NotApplied && row.status != 404 && p.Outcome != "not_applied" {
			t.Errorf("%s %s %v: outcome %q", c.method, c.target, c.headers, p.Outcome)
		}
		if n := len(r.b.requests()); n != 0 {
			t.Errorf("%s %s %v: %d requests reached the backend", c.method, c.target, c.headers, n)
		}
	}
}

func TestAllow(t *testing.T) {
	r := newRig(t)
	for target, want := range map[string]string{
		"/keys/k": "GET, HEAD, PUT, DELETE", "/v1/kv/default/a/b": "GET, HEAD, PUT, DELETE", "/v1/kv/default": "GET, HEAD",
		"/v1/kv/default:batch": "POST", "/v1/buckets": "GET, HEAD, POST", "/v1/buckets/b": "GET, HEAD, PATCH, DELETE", "/metrics": "GET, HEAD",
	} {
		a := r.want(405, "method_not_allowed", "TRACE", target, "")
		if a.Header.Get("Allow") != want {
			t.Errorf("%s: Allow %q, want %q", target, a.Header.Get("Allow"), want)
		}
	}
}

func TestSameOriginBrowserMayWrite(t *testing.T) {
	r := newRig(t)
	r.want(204, "", "PUT", "/keys/k", "v", "Sec-Fetch-Site: same-origin")
	r.want(404, "key_not_found", "GET", "/keys/k", "", "Sec-Fetch-Site: cross-site") // reading is the browser's own rule
}

// FuzzParseRequest: no path, query or header makes the parser panic or pass on
// what the contract forbids.
func FuzzParseRequest(f *testing.F) {
	token := version.Context{Bucket: 1, KeyHash: 2, Seen: version.Vector{{Actor: 3, Counter: 4}}}.Token()
	f.Add("PUT", "a//b", "w=2&pw=1&ttl=90s", "250ms", token, "all", "1760000000000-x")
	f.Add("GET", "%2e%2e/%00", "r=1&resolve=newest", "60s", token, "one", "")
	f.Add("GET", "", "key64=YWI", "1ns", "", "quorum", "")
	f.Add("DELETE", "k", "sloppy=true&consistency=one", "", "!", "", "-")
	f.Fuzz(func(t *testing.T, method, path, raw, timeout, token, consistency, idempotency string) {
		u, err := url.ParseRequestURI("/v1/kv/default/" + path)
		if err != nil {
			return
		}
		op, allowed := core.OpGet, readParams
		switch method {
		case http.MethodPut:
			op, allowed = core.OpPut, writeParams
		case http.MethodDelete:
			op, allowed = core.OpDelete, writeParams
		}
		h := http.Header{}
		for name, v := range map[string]string{hdrTimeout: timeout, hdrContext: token, hdrReadAfter: token, hdrConsistency: consistency, hdrIdempotencyKey: idempotency} {
			if v != "" {
				h[name] = []string{v}
			}
		}
		var q query
		if q.parse(raw, allowed) != nil {
			return
		}
		if _, f := requestID(h, op != core.OpGet); f != nil {
			return
		}
		key, fault := parseKey(strings.TrimPrefix(u.EscapedPath(), "/v1/kv/default/"), &q)
		if fault != nil {
			return
		}
		req, p := core.Request{Op: op, Bucket: "default", Key: key}, parsed{}
		if parseCommon(h, &req, &p) != nil || parseEventual(h, &q, &req, &p) != nil {
			return
		}
		if len(key) == 0 || len(key) > core.MaxKey || req.R < 0 || req.W < 0 || req.PW < 0 || req.TTL < 0 || req.TTL > MaxTTL ||
			req.Timeout < 0 || req.Timeout > core.MaxDeadline || req.HasContext && op == core.OpGet || req.HasAfter && op != core.OpGet {
			t.Errorf("accepted %q %q: %+v", path, raw, req)
		}
		if req.HasContext && !req.Context.Seen.Valid() || req.HasAfter && !req.After.Seen.Valid() {
			t.Error("a broken vector passed")
		}
	})
}

// FuzzServe sends whole requests: any answer must be one of ours, with a request
// id, and the handler must not panic.
func FuzzServe(f *testing.F) {
	f.Add("POST", "/v1/kv/default:batch", `{"operations":[{"op":"put","key":"a","value":"AA=="}]}`)
	f.Add("POST", "/v1/kv/default:get", `{"keys":["a"],"keys64":["YQ"]}`)
	f.Add("PATCH", "/v1/buckets/default", `{"r":1}`)
	f.Add("GET", "/v1/kv/default?cursor="+cursorText(10, []byte("k")), "")
	f.Add("POST", "/v1/kv/s:batch", `{"operations":[{"op":"put","key":"a","value":"AA==","if_match":"\"1.2.3\"","idempotency_key":"1-a"}]}`)
	f.Add("POST", "/v1/counter/s/k", `{"delta":-1}`)
	f.Add("GET", "/v1/kv/s/k?consistency=stale", "")
	b := newFake(f)
	b.ring = hashring.NewRing(strongState(f))
	b.propose = ErrNotProposed // no input may change what the next one meets
	empty := make(chan struct{}, 1)
	b.reply = func(req *core.Request) *core.Reply {
		if len(req.Key) == 0 && req.Op != core.OpList {
			select {
			case empty <- struct{}{}:
			default:
			}
		}
		rep := okReply(nil)
		rep.List, rep.Strong = &core.ListPage{Complete: true}, &core.StrongReply{Version: strongVersion(1)}
		return rep
	}
	h := New(forgetful{b}, Options{})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		req, err := http.NewRequest(method, "http://node"+target, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Header().Get("Quorate-Request-Id") == "" {
			t.Errorf("%s %s: %d without a request id", method, target, rec.Code)
		}
		select {
		case <-empty:
			t.Errorf("%s %s: an empty key reached the backend", method, target)
		default:
		}
	})
}

// FuzzParseCursor: only what cursorText made is taken.
func FuzzParseCursor(f *testing.F) {
	f.Add(cursorText(7, []byte("k")))
	f.Add("AQdrAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		last, fault := parseCursor(text, 7)
		if fault != nil {
			return
		}
		if again, f := parseCursor(cursorText(7, last), 7); f != nil || string(again) != string(last) {
			t.Errorf("%q does not come back", last)
		}
		if _, f := parseCursor(text, 8); f == nil {
			t.Error("taken for another bucket")
		}
	})
}

// forgetful keeps no request.
type forgetful struct{ *fakeBackend }

func (b forgetful) Do(_ context.Context, req *core.Request) *core.Reply { return b.reply(req) }
