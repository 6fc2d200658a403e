package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseAddrs(t *testing.T) {
	got, err := ParseAddrs([]string{"127.0.0.1:1", " http://h:2/ ", "https://h:3", ""})
	if err != nil || strings.Join(got, " ") != "http://127.0.0.1:1 http://h:2 https://h:3" {
		t.Fatalf("%v %v", got, err)
	}
	for _, bad := range [][]string{nil, {""}, {"ftp://h:1"}, {"http://h:1/path"}, {"http://"}, {"http://%zz"}} {
		if _, err := ParseAddrs(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzKeyPathComesBack(f *testing.F) {
	for _, k := range []string{"a", "a/b", "..", "%2F", "\x00\xff", "ä b?#"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		u, err := url.Parse("http://h" + KeyPath("/v1/kv/", "b", key))
		if err != nil || u.Path != "/v1/kv/b/"+key || strings.Count(u.EscapedPath(), "/") != 4 {
			t.Fatalf("%q: %v %v", key, u, err)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	now := time.UnixMilli(1234)
	a, b := NewIdempotencyKey(now), NewIdempotencyKey(now)
	if a == b || !regexp.MustCompile(`^1234-[0-9a-f]{24}$`).MatchString(a) {
		t.Fatalf("%s %s", a, b)
	}
}

func FuzzDecodeProblem(f *testing.F) {
	f.Add(503, `{"code":"draining","outcome":"not_applied","quorum":{"failed":[{"node":"n2","reason":"timeout"}]}}`)
	f.Add(502, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		p := DecodeProblem(status, http.Header{}, []byte(body), "addr")
		if p.Code == "" || p.Status != status || p.Error() == "" {
			t.Fatalf("%+v", p)
		}
	})
}

// answer is one node's behaviour: a status with code and outcome, or a cut.
func answer(status int, code, outcome string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if status == 0 {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				c.Close()
			}
			return
		}
		w.WriteHeader(status)
		if status >= 400 {
			fmt.Fprintf(w, `{"code":%q,"outcome":%q,"retryable":%v}`, code, outcome, status >= 500)
		}
	}
}

// What the client goes on from, and which error tells the fate of the write.
func TestNextNodeAndFate(t *testing.T) {
	ok := answer(204, "", "")
	refusal := answer(503, "quorum_unavailable", NotApplied)
	unknown := answer(504, "write_quorum_timeout", Unknown)
	cut := answer(0, "", "")
	invalid := answer(400, "invalid_argument", NotApplied)
	for _, c := range []struct {
		name   string
		nodes  []http.HandlerFunc
		repeat bool
		asked  int
		want   string // what the error says; "" for success
	}{
		{"refused, then taken", []http.HandlerFunc{refusal, ok}, false, 2, ""},
		{"lost, may be repeated", []http.HandlerFunc{cut, ok}, true, 2, ""},
		{"lost, may not", []http.HandlerFunc{cut, ok}, false, 1, "may or may not"},
		{"unknown, may not", []http.HandlerFunc{unknown, ok}, false, 1, "unknown"},
		{"a refusal does not settle an unknown", []http.HandlerFunc{unknown, refusal}, true, 2, "write_quorum_timeout"},
		{"all refuse", []http.HandlerFunc{refusal, refusal}, true, 2, "quorum_unavailable"},
		{"no retry helps", []http.HandlerFunc{invalid, ok}, true, 1, "invalid_argument"},
	} {
		var asked atomic.Int32
		cl := Client{HTTP: NewHTTP(1), Timeout: 5 * time.Second}
		for _, h := range c.nodes {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); h(w, r) }))
			defer s.Close()
			cl.Addrs = append(cl.Addrs, s.URL)
		}
		_, err := cl.Do(t.Context(), Request{Method: http.MethodPost, Path: "/x", Write: true, Repeat: c.repeat})
		if int(asked.Load()) != c.asked || (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: asked %d, want %d; %v", c.name, asked.Load(), c.asked, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	cl := Client{Addrs: []string{s.URL, s.URL}, HTTP: NewHTTP(1), Timeout: time.Second}
	_, err := cl.Do(t.Context(), Request{Method: http.MethodPut, Path: "/x", Write: true})
	var away *Unreachable
	if !errors.As(err, &away) {
		t.Fatalf("got %v", err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusMovedPermanently))
	defer s.Close()
	cl := Client{Addrs: []string{s.URL}, HTTP: NewHTTP(1), Timeout: time.Second}
	_, err := cl.Do(t.Context(), Request{Method: http.MethodPut, Path: "/x", Write: true})
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusMovedPermanently {
		t.Fatalf("got %v", err)
	}
}
