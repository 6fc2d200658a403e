package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/node/core"
)

// twins are two servers of one handler each, which answer alike: net/http's and the
// loop in front of it.
type twins struct{ net, loop string }

func newTwins(t testing.TB, change ...func(*rig)) twins {
	was := road
	defer func() { road = was }()
	var out twins
	for _, to := range []struct {
		road string
		addr *string
	}{{roadNet, &out.net}, {roadLoop, &out.loop}} {
		road = to.road
		r := newRig(t, func(o *Options) { o.MaxValue = 1000 })
		r.b.propose = ErrNotProposed // no request may change what the next one meets
		r.b.reply = func(req *core.Request) *core.Reply {
			value := fmt.Sprintf("%d %s %q %s", req.Op, req.Bucket, req.Key, req.Value)
			rep := okReply(object(sibling(1, 1, 1, req.ContentType, value)))
			rep.List = &core.ListPage{Complete: true}
			return rep
		}
		for _, f := range change {
			f(r)
		}
		*to.addr = r.serve(t)
	}
	return out
}

// talk sends everything, ends its side, and reads all answers.
func talk(t testing.TB, addr string, in []byte) []*answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(in); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(c) // a reset ends it too, after what was answered
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("%q: no end of answers: %q", in, all)
	}
	var out []*answer
	for rest := bytes.NewReader(all); ; {
		b := bufio.NewReader(rest)
		next, _ := b.Peek(1024)
		if len(next) == 0 {
			return out
		}
		a, err := parseAnswer(b, methodOfAnswer(in, next))
		rest = bytes.NewReader(all[len(all)-rest.Len()-b.Buffered():])
		if err != nil {
			t.Fatalf("%q: answers %q: %v", in, all, err)
		}
		out = append(out, a)
	}
}

// methodOfAnswer: only answers to HEAD are read in another way. Streams here have
// HEAD in all of their requests or in none. What is refused before a handler sees it
// comes with a body in any case, and without a date.
func methodOfAnswer(in, answer []byte) string {
	head, _, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if bytes.HasPrefix(in, []byte("HEAD ")) && bytes.Contains(head, []byte("\r\nDate: ")) {
		return "HEAD"
	}
	return "GET"
}

var randomPart = regexp.MustCompile(`urn:quorate:request:[0-9a-f]{32}`)

// looks is what must be the same in two answers.
func looks(a *answer) string {
	var lines []string
	for name, v := range a.Header {
		switch name {
		case "Date", "Quorate-Request-Id", "Connection":
		default:
			lines = append(lines, name+": "+strings.Join(v, " | "))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d\n%s\nlength %d\n%s", a.StatusCode, strings.Join(lines, "\n"), a.ContentLength, randomPart.ReplaceAll(a.body, nil))
}

// compare sends the same bytes to both. The loop may end a connection earlier, and
// says so, where it leaves the end of a request to net/http; it refuses what has both
// a length and a coding; and what net/http refuses by itself it refuses as a problem.
func (tw twins) compare(t interface {
	testing.TB
}, in []byte) (n int) {
	want, got := talk(t, tw.net, in), talk(t, tw.loop, in)
	for i := range min(len(want), len(got)) {
		if w, g := looks(want[i]), looks(got[i]); w != g {
			if i == len(got)-1 && (refusesBoth(in, got[i]) || refusesAlike(want[i], got[i])) {
				return i + 1
			}
			t.Fatalf("%q\nanswer %d by net/http:\n%s\n\nby the loop:\n%s", in, i, w, g)
		}
	}
	if len(got) > len(want) || len(got) < len(want) && (len(got) == 0 || !got[len(got)-1].Close) {
		t.Fatalf("%q: %d answers by net/http, %d by the loop", in, len(want), len(got))
	}
	return len(got)
}

func refusesBoth(in []byte, a *answer) bool {
	text := strings.ToLower(string(in))
	return strings.Contains(text, "content-length") && strings.Contains(text, "transfer-encoding") && a.StatusCode == http.StatusBadRequest && a.Close
}

// refusesAlike: net/http refused by itself, in plain text or without any.
func refusesAlike(want, got *answer) bool {
	kind := want.Header.Get("Content-Type")
	return want.StatusCode == got.StatusCode && want.Close && got.Close && got.Header.Get("Content-Type") == typeProblem &&
		(kind == "text/plain; charset=utf-8" || want.StatusCode == http.StatusExpectationFailed && kind == "")
}

// What clients really send, and what attackers do; each must be answered as by
// net/http. The number is how many answers there are at least.
var streams = []struct {
	in      string
	answers int
}{
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"PUT /keys/0 HTTP/1.1\r\nHost:00\r\nTrAnsfer-EnCoding: chunked\r\n\r\n0\r\n", 1}, // ends in its trailer
	{"PUT /keys/0 HTTP/1.1\r\nHost:00\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", 1},
	{"POST /00000000000000000 HTTP/1.1\r\nHost:00\r\nContent-Length:014\r\n\r\n00000000000000\r\r000", 2}, // line ends behind a POST
	{"POST /0 HTTP/1.1\r\nHost:0\r\nContent-Length: 0\r\n\r\n\r\n\r\n\r\n\r\nGET /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"POST /0 HTTP/1.1\r\nHost:0\r\nContent-Length: 0\r\n\r\n\r\nGET /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"GET /v1/kv/default/a?r=1 HTTP/1.1\r\nhOsT: n:7400\r\nAccept: */*\r\n\r\nDELETE /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"HEAD /keys/a HTTP/1.1\r\nHost: n\r\n\r\nHEAD /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nContent-Type: x/y\r\n\r\nhelloGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhelloGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0;x=y\r\nT: v\r\n\r\nGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 0},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc", 0},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3, 3\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: +3\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: -3\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000) + "GET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"PUT /keys/ HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabcGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"DELETE /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabcDELETE /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabcGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"GET /livez HTTP/1.1\r\nHost: n\r\n\r\nGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\nGET /v1/cluster/ring HTTP/1.1\r\nHost: n\r\n\r\nGET /keys/c HTTP/1.1\r\nHost: n\r\n\r\n", 4},
	{"POST /v1/kv/default:get HTTP/1.1\r\nHost: n\r\nContent-Length: 14\r\n\r\n{\"keys\":[\"a\"]}\r\nGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 2},
	{"POST /v1/kv/default:get HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"keys\":[\"a\"]}\r\n0\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc\r\nGET /keys/b HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.0\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nHost: m\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n m\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost:\r\n\r\n", 1},
	{"GET /keys/a HTTP/2.0\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\nHost: n\n\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX: a\r\n b\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX : a\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\n: a\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX: a\rb\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX: a\x00b\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX\xe9: a\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nX: \xe9\r\n\r\n", 1},
	{"GET /keys/a b HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET  /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a\x7f HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/%zz HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a%2 HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a?x=%zz HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a#b HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a?consistency=all;r=1 HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET http://n/keys/a HTTP/1.1\r\nHost: m\r\n\r\n", 1},
	{"GET //keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET * HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"OPTIONS * HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"get /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nConnection: keep-alive, close\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nQuorate-Timeout: 1s\r\nQuorate-Timeout: 2s\r\n\r\n", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\nIf-None-Match: \"a\"\r\nIf-None-Match: *\r\n\r\n", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nOrigin: http://evil\r\nContent-Length: 1\r\n\r\nx", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 1\r\n\r\nx", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nOrigin: http://n\r\nContent-Length: 1\r\n\r\nx", 1},
	{"PUT /keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nabc", 1},
	{"GET /keys/a HTTP/1.1\r\nHost: n\r\n", 0},
	{"GARBAGE", 0},
	{"\r\nGET /keys/a HTTP/1.1\r\nHost: n\r\n\r\n", 1},
	{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 1},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1},
}

// The same bytes bring the same answers by both servers.
func TestSameAsNetHTTP(t *testing.T) {
	if road != roadHandler {
		return // this one takes two roads by itself
	}
	tw := newTwins(t)
	for _, s := range streams {
		if n := tw.compare(t, []byte(s.in)); n < s.answers {
			t.Errorf("%q: %d answers, want at least %d", s.in, n, s.answers)
		}
	}
}

// So do random requests, each of which has parts that are usual and parts that are not.
func TestSameAsNetHTTPForRandomRequests(t *testing.T) {
	if road != roadHandler {
		return
	}
	tw := newTwins(t)
	pick := func(r *rapid.T, what string, usual int, from ...string) string {
		if i := rapid.IntRange(0, usual+len(from)-1).Draw(r, what); i >= usual {
			return from[i-usual]
		}
		return from[0]
	}
	rapid.Check(t, func(r *rapid.T) {
		var in bytes.Buffer
		isHead := rapid.IntRange(0, 9).Draw(r, "head") == 0
		for range rapid.IntRange(1, 3).Draw(r, "requests") {
			method := "HEAD"
			if !isHead {
				method = pick(r, "method", 2, "GET", "PUT", "PUT", "DELETE", "POST", "PATCH", "FOO", "G(T")
			}
			target := pick(r, "target", 6, "/keys/k", "/v1/kv/default/k", "/v1/kv/none/k", "/v1/kv/Bad/k", "/v1/kv/default/", "/keys/", "/keys", "/v1/kv/default",
				"/v1/kv/default?key64=YQ", "/v1/kv/default/?key64=YQ", "/livez", "/nowhere", "/keys/a%20b%2Fc", "/keys/%", "/keys/\"{}|", "/keys/\xe4", "/keys/a\tb", "keys/a")
			query := pick(r, "query", 9, "", "?r=2", "?w=1", "?r=x", "?nonsense", "?", "?resolve=newest&r=1", "?r=1&r=1")
			end := pick(r, "end", 40, "\r\n", "\n", "\r", "\r\r\n")
			fmt.Fprintf(&in, "%s %s%s %s%s", method, target, query, pick(r, "version", 20, "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/11", "http/1.1"), end)
			in.WriteString(pick(r, "host", 20, "Host: n\r\n", "", "Host: a\r\nHost: b\r\n", "Host: [::1]:80\r\n", "Host: a/b\r\n"))
			for range rapid.IntRange(0, 3).Draw(r, "fields") {
				in.WriteString(pick(r, "field", 3, "Accept: */*\r\n", "content-type: text/plain\r\n", "Quorate-Timeout: 1s\r\n", "quorate-timeout:\t2s \r\n", "Quorate-Timeout: x\r\n",
					"Quorate-Consistency: one\r\n", "Quorate-Context: AA\r\n", "If-None-Match: *\r\n", "If-Match: *\r\n", "Idempotency-Key: 1-a\r\n", "Connection: close\r\n",
					"Connection: foo\r\n", "Expect: 100-continue\r\n", "X\r\n", "X:\r\n", " X: y\r\n", "X: y\n", "X: \x01\r\n", "Trailer: X\r\n", "Upgrade: h2c\r\n",
					"Content-Encoding: gzip\r\n", "Content-Range: bytes 0-1/2\r\n", "Content-Digest: sha-256=:AA==:\r\n", "Origin: http://n\r\n", "Origin: http://x\r\n"))
			}
			body := pick(r, "body", 3, "", "hello", "\r\n", "GET /keys/z HTTP/1.1\r\nHost: n\r\n\r\n")
			framing := rapid.IntRange(0, 7).Draw(r, "framing")
			if isHead { // what follows must be a HEAD too, else its answer cannot be read
				body, framing = "", 2
			}
			switch framing {
			case 0:
				fmt.Fprintf(&in, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(body), body)
				if body != "" {
					in.WriteString(pick(r, "last chunk", 9, "0\r\n\r\n", "0\r\nT: x\r\n\r\n", "0\n\n", "x\r\n\r\n", ""))
				}
			case 1:
				fmt.Fprintf(&in, "Content-Length: %d\r\n\r\n%s", len(body)+rapid.IntRange(-1, 1).Draw(r, "off by"), body)
			default:
				if body != "" || method == "PUT" {
					fmt.Fprintf(&in, "Content-Length: %d\r\n", len(body))
				}
				in.WriteString("\r\n" + body)
			}
		}
		if bytes.Contains(in.Bytes()[min(in.Len(), 5):], []byte("HEAD ")) && !isHead {
			return
		}
		tw.compare(rapidTB{t, r}, in.Bytes())
	})
}

// rapidTB reports to rapid, which then looks for the shortest request.
type rapidTB struct {
	testing.TB
	r *rapid.T
}

func (t rapidTB) Fatalf(format string, args ...any) { t.r.Fatalf(format, args...) }
func (t rapidTB) Fatal(args ...any)                 { t.r.Fatal(args...) }

// FuzzSameAsNetHTTP looks for bytes that the two servers take differently.
func FuzzSameAsNetHTTP(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.in))
	}
	tw := newTwins(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4<<10 || bytes.Contains(in, []byte("HEAD ")) {
			return
		}
		tw.compare(t, in)
	})
}
