package client

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// canned is a connection that answers every request with the same text. It serves
// one request at a time, without goroutines.
type canned struct {
	net.Conn
	answer []byte
	left   []byte
	last   *lastSent // nil: nobody wants to know
}

// lastSent is the last request over any of a client's connections.
type lastSent struct {
	mu   sync.Mutex
	text []byte
}

func (l *lastSent) get() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text)
}

func (c *canned) Write(b []byte) (int, error) {
	if c.last != nil {
		c.last.mu.Lock()
		c.last.text = append(c.last.text[:0], b...)
		c.last.mu.Unlock()
	}
	c.left = c.answer
	return len(b), nil
}

func (c *canned) Read(b []byte) (int, error) {
	n := copy(b, c.left)
	c.left = c.left[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *canned) Close() error                    { return nil }
func (c *canned) SetDeadline(time.Time) error     { return nil }
func (c *canned) SetReadDeadline(time.Time) error { return nil }

const (
	cannedGet = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nEtag: \"0123456789abcdef\"\r\nContent-Length: 80\r\n" +
		"Quorate-Context: AQEAAAAAAAAAB7nJAQAAAAAAAAAAAAEBAAAAAA\r\nQuorate-Receipt: n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0\r\n" +
		"Quorate-Ring: 10\r\nQuorate-Epoch: 1\r\nQuorate-Partition: 5\r\nQuorate-Served-By: n1\r\nQuorate-Request-Id: 000102030405060708090a0b0c0d0e0f\r\n" +
		"X-Content-Type-Options: nosniff\r\nDate: Sun, 22 Nov 2026 13:00:00 GMT\r\n\r\n" +
		"01234567890123456789012345678901234567890123456789012345678901234567890123456789"
	cannedPut = "HTTP/1.1 204 No Content\r\nEtag: \"0123456789abcdef\"\r\nQuorate-Context: AQEAAAAAAAAAB7nJAQAAAAAAAAAAAAEBAAAAAA\r\n" +
		"Quorate-Receipt: n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2\r\nQuorate-Ring: 10\r\nQuorate-Epoch: 1\r\nQuorate-Partition: 5\r\n" +
		"Quorate-Served-By: n1\r\nQuorate-Request-Id: 000102030405060708090a0b0c0d0e0f\r\nDate: Sun, 22 Nov 2026 13:00:00 GMT\r\n\r\n"
)

// cannedClient has a ring of three nodes whose connections answer with text.
func cannedClient(t testing.TB, text string) (*Client, *lastSent) {
	last := new(lastSent)
	c := newClient(t, Config{Endpoints: []string{"10.0.0.1:1"}, NoOwnerRouting: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return &canned{answer: []byte(text), last: last}, nil
		}})
	c.cfg.NoOwnerRouting = false
	r := &Ring{Version: 10, Cluster: "c1"}
	for _, n := range []string{"n1", "n2", "n3"} {
		r.Nodes = append(r.Nodes, RingNode{Name: n, API: "10.0.0.1:" + n[1:], State: "up"})
	}
	for range 8 {
		r.Partitions = append(r.Partitions, RingPartition{Replicas: []string{"n1", "n2", "n3"}})
	}
	c.install(r)
	return c, last
}

// TestAllocations guards the path of one request: encoding costs nothing, a call
// what its comment says.
func TestAllocations(t *testing.T) {
	to := &target{addr: "10.0.0.1:7400"}
	q := &request{op: opPut, bucket: "carts", key: "user:1234/ü", contentType: "text/plain", context: "AQEAAAAAAAAAB7nJ", w: 2, pw: 1, sloppy: no, ttl: time.Second,
		idempotency: newIdempotencyKey(), timeout: time.Second, ring: 17, value: make([]byte, 80)}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = appendRequest(buf[:0], to, q) }); n != 0 {
		t.Errorf("encoding a request: %v allocations", n)
	}
	get, _ := cannedClient(t, cannedGet)
	put, _ := cannedClient(t, cannedPut)
	conn := &httpConn{Conn: &canned{answer: []byte(cannedGet)}}
	conn.br = bufio.NewReaderSize(conn.Conn, readBuffer)
	q2 := &request{op: opGet, bucket: "carts", key: "k", timeout: time.Second}
	var p response
	ctx := context.Background()
	gets, puts := get.Bucket("carts"), put.Bucket("carts")
	value := make([]byte, 80)
	for _, x := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"one exchange", 3, func() error { // value, ETag, context
			p = response{}
			if err := conn.send(to, q2); err != nil {
				return err
			}
			_, _, err := conn.receive(q2, &p)
			return err
		}},
		{"Get", getAllocs, func() error { return second(gets.Get(ctx, "user:1234")) }},
		{"Put", putAllocs, func() error { return second(puts.Put(ctx, "user:1234", value)) }},
		{"PutIf", putAllocs, func() error { return second(puts.PutIf(ctx, "user:1234", value, `"1.2.3"`)) }},
		{"a key's place", 0, func() error { partitionOf(get.ring.Load(), "carts", "user:1234"); return nil }},
	} {
		var err error
		n := math.Inf(1)
		for try := 0; try < 20 && n > x.most; try++ { // nodes of other tests run beside this
			n = min(n, testing.AllocsPerRun(300, func() {
				if e := x.f(); e != nil {
					err = e
				}
			}))
		}
		if err != nil || n > x.most {
			t.Errorf("%s: %v allocations, %v is the most: %v", x.name, n, x.most, err)
		}
	}
}

// What a Get and a Put may cost, transport included: half of it is the context of the
// attempt with its timer, the rest what the caller is given, and the hedge's timer.
const (
	getAllocs = 22
	putAllocs = 16
)

// What is sent is what net/http reads, for every choice there is.
func TestRequestsAsAServerReadsThem(t *testing.T) {
	c, conn := cannedClient(t, cannedPut)
	cg, conng := cannedClient(t, cannedGet)
	ctx := context.Background()
	for name, x := range map[string]struct {
		do     func() error
		conn   *lastSent
		method string
		path   string
		query  string
		header map[string]string
	}{
		"plain get": {func() error { return second(cg.Bucket("b").Get(ctx, "k")) }, conng, "GET", "/v1/kv/b/k", "", map[string]string{"Idempotency-Key": "", "Content-Type": ""}},
		"get": {func() error {
			return second(cg.Bucket("b").Get(ctx, "a/b?c", R(2), Strict(), Newest(), ReadAfter("tok"), IfNoneMatch(`"x"`)))
		}, conng, "GET", "/v1/kv/b/a%2Fb%3Fc", "r=2&sloppy=false&resolve=newest", map[string]string{"Quorate-Read-After": "tok", "If-None-Match": `"x"`}},
		"level":  {func() error { return second(cg.Bucket("b").Get(ctx, "..", All(), Sloppy())) }, conng, "GET", "/v1/kv/b", "key64=Li4&consistency=all&sloppy=true", nil},
		"put":    {func() error { return second(c.Bucket("b").Put(ctx, "k", []byte("v"), Majority(), PW(1))) }, conn, "PUT", "/v1/kv/b/k", "pw=1&consistency=quorum", map[string]string{"Content-Length": "1"}},
		"delete": {func() error { return second(c.Bucket("B\r\n").Delete(ctx, "k", With("seen"), W(3))) }, conn, "DELETE", "/v1/kv/B%0D%0A/k", "w=3", map[string]string{"Quorate-Context": "seen"}},
	} {
		if err := x.do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(x.conn.get())))
		if err != nil {
			t.Fatalf("%s: %v: %q", name, err, x.conn.get())
		}
		if r.Method != x.method || r.URL.EscapedPath() != x.path || r.URL.RawQuery != x.query || !strings.HasPrefix(r.Host, "10.0.0.1:") {
			t.Errorf("%s: %s %s ? %s, host %s", name, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Host)
		}
		if d, err := time.ParseDuration(r.Header.Get("Quorate-Timeout")); err != nil || d < enough*9/10 || d > enough {
			t.Errorf("%s: timeout %q", name, r.Header.Get("Quorate-Timeout"))
		}
		for h, v := range x.header {
			if h == "Content-Length" {
				if r.ContentLength != 1 {
					t.Errorf("%s: length %d", name, r.ContentLength)
				}
			} else if r.Header.Get(h) != v {
				t.Errorf("%s: %s is %q", name, h, r.Header.Get(h))
			}
		}
	}
	for _, bad := range []PutOption{With("a\r\nb"), ContentType("a\nb"), IdempotencyKey("1-\x00")} {
		if _, err := c.Bucket("b").Put(ctx, "k", nil, bad); err == nil {
			t.Errorf("%v went out", bad)
		}
	}
}

func TestEscaping(t *testing.T) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	text := string(appendEscaped(nil, string(all)))
	back, err := url.PathUnescape(text)
	if err != nil || back != string(all) {
		t.Errorf("%q %v", back, err)
	}
	for _, c := range text {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%", c) {
			t.Errorf("%q is not escaped", c)
		}
	}
}

func TestReceipt(t *testing.T) {
	want := Receipt{3, 2, 2, 1, 1, 2}
	if got := parseReceipt([]byte(want.String())); got != want {
		t.Errorf("%+v", got)
	}
	if got := parseReceipt([]byte("n=3,new=7, acks=x, , =, synced=99999999999999999999999,owners=2")); got != (Receipt{N: 3, Owners: 2}) {
		t.Errorf("%+v", got)
	}
}

// FuzzReceive: no answer, however broken, makes the client panic, hang or take more
// than its bounds; what net/http reads too, it reads as the same status and body.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{cannedGet, cannedPut, "HTTP/1.1 300 X\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nx", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n"} {
		f.Add([]byte(seed), uint8(opGet))
	}
	f.Fuzz(func(t *testing.T, text []byte, o uint8) {
		q := &request{op: op(o%4) + opGet}
		conn := &httpConn{Conn: &canned{left: text}}
		conn.br = bufio.NewReaderSize(conn.Conn, readBuffer)
		var p response
		_, keep, err := conn.receive(q, &p)
		if err != nil {
			if keep {
				t.Fatal("a connection is kept after an error")
			}
			return
		}
		if p.status >= 400 && p.fault == nil || p.status < 400 && p.fault != nil || p.status == 300 && q.op != opHead && len(p.siblings) < 2 {
			t.Fatalf("%+v", p)
		}
		method := map[op]string{opGet: "GET", opHead: "HEAD", opPut: "PUT", opDelete: "DELETE"}[q.op]
		if !bytes.HasPrefix(text, []byte("HTTP/1.1 ")) || text[9] == '1' {
			return // prefaces, and codings that HTTP/1.0 does not have
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), &http.Request{Method: method})
		if err != nil {
			return // stricter than needed here
		}
		body, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != p.status || p.status == 200 && q.op == opGet && !bytes.Equal(body, p.value)) {
			t.Fatalf("net/http reads %d %q, this client %d %q", res.StatusCode, body, p.status, p.value)
		}
	})
}

// FuzzProblem: any body of an error gives an error.
func FuzzProblem(f *testing.F) {
	f.Add(503, []byte(`{"code":"overloaded","outcome":"not_applied","retryable":true,"retry_after_ms":5,"quorum":{"n":3,"failed":[{"node":"n1","reason":"timeout"}]}}`))
	f.Add(404, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if e := parseProblem(status, body); e == nil || e.Code == "" || e.RetryAfter < 0 || len(e.Detail) > detailMax {
			t.Fatalf("%+v", e)
		}
		var p response
		if err := p.parseSiblings(body); err == nil && len(p.siblings) < 2 {
			t.Fatal("siblings of nothing")
		}
	})
}

func TestSiblingsNewestFirst(t *testing.T) {
	var p response
	err := p.parseSiblings([]byte(`{"siblings":[{"etag":"\"a-1\"","content_type":"a","value":"YQ==","hlc":"65536"},{"etag":"\"b-1\"","content_type":"b","value":"","hlc":"131072"}],"context":"tok"}`))
	want := []Sibling{{Data: []byte{}, ContentType: "b", ETag: `"b-1"`, Stamp: 131072}, {Data: []byte("a"), ContentType: "a", ETag: `"a-1"`, Stamp: 65536}}
	if err != nil || !reflect.DeepEqual(p.siblings, want) || p.context != "tok" || p.siblings[0].Time().UnixMilli() != 2 {
		t.Errorf("%+v %v", p.siblings, err)
	}
}

func BenchmarkGet(b *testing.B) {
	c, _ := cannedClient(b, cannedGet)
	bucket, ctx := c.Bucket("carts"), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.Get(ctx, "user:1234"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	c, _ := cannedClient(b, cannedPut)
	bucket, ctx, value := c.Bucket("carts"), context.Background(), make([]byte, 80)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.Put(ctx, "user:1234", value); err != nil {
			b.Fatal(err)
		}
	}
}
