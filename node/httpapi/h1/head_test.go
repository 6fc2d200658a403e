package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

var testNames = newNames([]string{"X-One", "X-Two", "Content-Type"})

func parseText(text string) (h head, v verdict) {
	size, _, v := endOfHead([]byte(text), 0)
	if v == plain {
		v = h.parse([]byte(text[:size]), testNames)
	}
	return h, v
}

func TestParseHead(t *testing.T) {
	const host = "Host: n\r\n"
	for _, c := range []struct {
		in   string
		want verdict
	}{
		{"GET / HTTP/1.1\r\n" + host + "\r\n", plain},
		{"BREW /pot?x HTTP/1.1\r\n" + host + "\r\n", plain},
		{"GET / HTTP/1.1\r\n" + host, partial},
		{"GET / HTTP/1.1\r\nHost: n\r", partial},
		{"GET / HTTP/1.1\r\n\r\n", odd},                                                                         // no host
		{"GET / HTTP/1.0\r\n" + host + "\r\n", odd},                                                             // version
		{"GET / HTTP/1.1\n" + host + "\n", odd},                                                                 // bare LF
		{"GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", odd},                                               // folded
		{"GET / HTTP/1.1\r\n" + host + "X : a\r\n\r\n", odd},                                                    // space before the colon
		{"GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", odd},                                                  // bare CR
		{"GET / HTTP/1.1\r\n" + host + "X: \x00\r\n\r\n", odd},                                                  // control character
		{"GET / HTTP/1.1\r\n" + host + host + "\r\n", odd},                                                      // two hosts
		{"GET / HTTP/1.1\r\n" + host + "X-One: 1\r\nx-one: 1\r\n\r\n", odd},                                     // twice
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", odd},                   // twice
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 0x1\r\n\r\n", odd},                                      // no number
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n", odd},                     // too large
		{"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", odd}, // twice
		{"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", odd},
		{"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", twofold},
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: identity\r\n\r\n", twofold},
		{"GET / HTTP/1.1\r\nContent-Length: 1, 1\r\nTransfer-Encoding: x\r\n\r\n", twofold}, // whatever else is wrong
		{"GET / HTTP/1.1\r\n" + host + "Upgrade: h2c\r\n\r\n", odd},
		{"GET / HTTP/1.1\r\n" + host + "Expect: soon\r\n\r\n", odd},
		{"GET / HTTP/1.1\r\n" + host + "Connection: X-One\r\n\r\n", odd},
		{"GET /%g0 HTTP/1.1\r\n" + host + "\r\n", odd},
		{"GET /%0 HTTP/1.1\r\n" + host + "\r\n", odd},
		{"GET /?%g0 HTTP/1.1\r\n" + host + "\r\n", plain},
		{"GET http://n/ HTTP/1.1\r\n" + host + "\r\n", odd},
		{"GET * HTTP/1.1\r\n" + host + "\r\n", odd},
		{"\r\n\r\n", odd},
	} {
		if _, v := parseText(c.in); v != c.want {
			t.Errorf("%q: verdict %d, want %d", c.in, v, c.want)
		}
	}
}

func TestChunkLength(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "a": 10, "FF": 255, "0010;x=\"y\"": 16, "": -1, " 1": -1, "1 ": -1, "+1": -1, "0x1": -1, "123456789": -1, ";": -1} {
		n, ok := chunkLength([]byte(in))
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d, want %d", in, n, want)
		}
	}
}

// FuzzHead: what the parser takes net/http takes too, with the same meaning.
func FuzzHead(f *testing.F) {
	f.Add([]byte("PUT /a%20b?c=d HTTP/1.1\r\nHost: n\r\nx-one:  1 \r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		size, _, v := endOfHead(in, 0)
		if v != plain {
			return
		}
		var h head
		if h.parse(in[:size], testNames) != plain {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			t.Fatalf("%q: net/http does not take it: %v", in, err)
		}
		path, query := string(in[h.path.from:h.path.to]), string(in[h.query.from:h.query.to])
		if req.RequestURI != path && req.RequestURI != path+"?"+query || req.URL.RawQuery != query {
			t.Errorf("%q: path %q, query %q", in, path, query)
		}
		if h.method != methodOther && req.Method != methodNames[h.method] {
			t.Errorf("%q: method %d", in, h.method)
		}
		length := h.length
		if h.chunked {
			length = -1
		}
		if req.ContentLength != length || req.Close != h.close || (req.Header.Get("Expect") != "") != h.expects {
			t.Errorf("%q: %+v", in, h)
		}
		for i, name := range testNames.wanted {
			got := req.Header[name]
			if given := h.seen&(1<<i) != 0; given != (len(got) == 1) || given && got[0] != string(in[h.known[i].from:h.known[i].to]) {
				t.Errorf("%q: %s is %q", in, name, got)
			}
		}
	})
}

// FuzzChunked: what the decoder takes net/http's takes too, with the same bytes.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("003;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: v\r\n\r\nGET"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const start = "PUT / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
		c := &conn{s: New(Config{Other: &http.Server{Handler: http.NotFoundHandler()}}), buf: bytes.Clone(in), w: len(in)}
		defer c.s.cancel()
		c.nc = eof{}
		c.x.c = c
		c.x.head.parse([]byte(start), c.s.names)
		c.x.begin([]byte(start))
		got, err := io.ReadAll(&c.x)
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(start), bytes.NewReader(in))))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := io.ReadAll(req.Body); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %q, by net/http %q, %v", in, got, want, err)
		}
	})
}
