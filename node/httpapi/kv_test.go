package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func TestGetOneValue(t *testing.T) {
	r := newRig(t)
	o := object(sibling(1, 4, 1000, "text/html; charset=utf-8", "<b>hi</b>"))
	r.b.answer(okReply(o))
	a := r.want(200, "", "GET", "/v1/kv/default/k", "")
	if string(a.body) != "<b>hi</b>" {
		t.Errorf("body %q", a.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Length": "9", "Etag": etag(o.Hash()),
		"Quorate-Receipt": "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2", "Quorate-Context": okReply(o).Context.Token(),
		"Quorate-Ring": "60", "Quorate-Epoch": "1", "Quorate-Partition": "5", "Quorate-Served-By": "n2", "Quorate-Siblings": "",
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	got := r.b.last(t)
	if got.Op != core.OpGet || got.Bucket != "default" || string(got.Key) != "k" || got.ID.String() != a.Header.Get("Quorate-Request-Id") {
		t.Errorf("request %+v", got)
	}
	if got.R != 0 || got.Sloppy != core.Unset || got.Timeout != 0 || got.OwnerOnly || got.HasAfter {
		t.Errorf("a plain GET carries options: %+v", got)
	}
}

func TestGetAbsentAndDeleted(t *testing.T) {
	r := newRig(t)
	a := r.want(404, "key_not_found", "GET", "/v1/kv/default/k", "")
	if a.Header.Get("Quorate-Context") != "" {
		t.Error("a context where nothing was ever written")
	}
	grave := sibling(1, 4, 1000, "", "")
	grave.Tombstone = true
	rep := okReply(object(grave))
	rep.Code = core.KeyNotFound
	r.b.answer(rep)
	a = r.want(404, "key_not_found", "GET", "/v1/kv/default/k", "")
	if a.Header.Get("Quorate-Context") != rep.Context.Token() || a.Header.Get("Quorate-Receipt") == "" {
		t.Errorf("headers %v", a.Header)
	}
	if p := a.problem(t); p.Outcome != "" || p.Retryable || p.Quorum == nil || p.Quorum.Acks != 2 {
		t.Errorf("problem %+v", p)
	}
}

func TestExpiredSiblingIsNotShown(t *testing.T) {
	r := newRig(t, fixedNow(5000))
	old, fresh := sibling(1, 4, 1000, "", "old"), sibling(2, 1, 900, "", "fresh")
	old.ExpiryMS = 5000
	r.b.answer(okReply(object(old, fresh)))
	a := r.want(200, "", "GET", "/keys/k", "")
	if string(a.body) != "fresh" {
		t.Errorf("body %q", a.body)
	}
	// The version is the one a client may have seen with two values: no 304.
	r.want(200, "", "GET", "/keys/k", "", "If-None-Match: "+a.Header.Get("ETag"))
}

func TestSiblings(t *testing.T) {
	r := newRig(t)
	rep := okReply(object(sibling(1, 4, 1000, "text/plain", "one"), sibling(2, 1, 3000, "image/png", "two\x00")))
	r.b.answer(rep)
	a := r.want(300, "", "GET", "/v1/kv/default/k", "")
	got := decodeInto[siblingsJSON](t, a)
	if len(got.Siblings) != 2 || string(got.Siblings[0].Value) != "two\x00" || got.Siblings[0].ContentType != "image/png" ||
		got.Siblings[0].HLC != "196608000" || got.Siblings[1].ETag != `"0000000000000001-4"` {
		t.Errorf("siblings %+v", got)
	}
	if got.Context != rep.Context.Token() || a.Header.Get("Quorate-Context") != got.Context || a.Header.Get("Quorate-Siblings") != "2" {
		t.Errorf("context %v, headers %v", got.Context, a.Header)
	}
	a = r.want(200, "", "GET", "/v1/kv/default/k?resolve=newest", "")
	if string(a.body) != "two\x00" || a.Header.Get("Quorate-Siblings") != "2" || a.Header.Get("Quorate-Context") != got.Context || a.Header.Get("Content-Type") != "image/png" {
		t.Errorf("newest: %q %v", a.body, a.Header)
	}
}

func TestResentWriteShowsAsOne(t *testing.T) {
	r := newRig(t)
	x, y := sibling(1, 4, 1000, "", "same"), sibling(2, 1, 3000, "", "same")
	x.Request, y.Request = version.RequestID{7}, version.RequestID{7}
	r.b.answer(okReply(object(x, y)))
	a := r.want(200, "", "GET", "/v1/kv/default/k", "")
	if a.Header.Get("Quorate-Siblings") != "" {
		t.Error("one request counted as two siblings")
	}
}

func TestDamagedValueIsNotShown(t *testing.T) {
	r := newRig(t)
	bad := sibling(1, 4, 1000, "", "value")
	bad.Sum ^= 1
	for _, o := range []*version.Object{object(bad), object(bad, sibling(2, 1, 1, "", "good"))} {
		r.b.answer(okReply(o))
		a := r.want(500, "internal", "GET", "/v1/kv/default/k", "")
		if bytes.Contains(a.body, []byte("value\"")) || bytes.Contains(a.body, []byte("dmFsdWU")) {
			t.Errorf("bad bytes were shown: %s", a.body)
		}
	}
	a := r.want(200, "", "POST", "/v1/kv/default:get", `{"keys":["k"]}`)
	if res := decodeInto[batchReply](t, a).Results[0]; res.Status != 500 || res.Value != nil || res.Problem.Code != "internal" {
		t.Errorf("%+v", res)
	}
	r.b.answer(&core.Reply{List: &core.ListPage{Rows: []core.ListRow{{Key: []byte("k"), Object: object(bad)}}, Complete: true}})
	r.want(500, "internal", "GET", "/v1/kv/default?values=true", "")
}

func TestHeadEqualsGet(t *testing.T) {
	r := newRig(t)
	for _, o := range []*version.Object{nil, object(sibling(1, 4, 1000, "text/plain", "hello")), object(sibling(1, 4, 1000, "", "a"), sibling(2, 4, 1000, "", "b"))} {
		r.b.answer(okReply(o))
		get, head := r.do("GET", "/v1/kv/default/k", ""), r.do("HEAD", "/v1/kv/default/k", "")
		if get.StatusCode != head.StatusCode {
			t.Errorf("GET %d, HEAD %d", get.StatusCode, head.StatusCode)
		}
		for name := range get.Header {
			if name != "Quorate-Request-Id" && get.Header.Get(name) != head.Header.Get(name) {
				t.Errorf("%s: GET %q, HEAD %q", name, get.Header.Get(name), head.Header.Get(name))
			}
		}
	}
}

func TestIfNoneMatchOnRead(t *testing.T) {
	r := newRig(t)
	o := object(sibling(1, 4, 1000, "text/plain", "hello"))
	r.b.answer(okReply(o))
	tag := etag(o.Hash())
	for list, want := range map[string]int{tag: 304, `"x", ` + tag: 304, "W/" + tag: 304, "*": 304, `"0000000000000001"`: 200} {
		a := r.want(want, "", "GET", "/v1/kv/default/k", "", "If-None-Match: "+list)
		if a.Header.Get("ETag") != tag || want == 304 && (len(a.body) != 0 || a.Header.Get("Quorate-Context") == "") {
			t.Errorf("%s: %v %q", list, a.Header, a.body)
		}
	}
	r.b.answer(okReply(nil))
	r.want(404, "key_not_found", "GET", "/v1/kv/default/k", "", "If-None-Match: *")
}

func TestPut(t *testing.T) {
	r := newRig(t)
	brief := object(sibling(1, 4, 1000, "text/plain", "")) // the core leaves the values out
	rep := okReply(brief)
	rep.Outcome = core.Applied
	r.b.answer(rep)
	a := r.want(204, "", "PUT", "/v1/kv/default/k", "hello", "Content-Type: text/x")
	if a.Header.Get("ETag") != etag(brief.Hash()) || a.Header.Get("Quorate-Context") == "" || a.Header.Get("Quorate-Served-By") != "n2" {
		t.Errorf("headers %v", a.Header)
	}
	got := r.b.last(t)
	if got.Op != core.OpPut || string(got.Value) != "hello" || got.ContentType != "text/x" || got.Sum != checksum([]byte("hello")) || got.HasContext {
		t.Errorf("request %+v", got)
	}
	token := rep.Context.Token()
	r.want(204, "", "PUT", "/v1/kv/default/k?w=3&pw=1&ttl=90s&sloppy=false", "", "Quorate-Context: "+token, "Quorate-Timeout: 250ms", "Quorate-Route: owner")
	got = r.b.last(t)
	if got.W != 3 || got.PW != 1 || got.TTL != 90*time.Second || got.Sloppy != core.No || !got.HasContext || got.Context.Token() != token ||
		got.Timeout != 250*time.Millisecond || !got.OwnerOnly || got.ContentType != "application/octet-stream" || got.Value == nil {
		t.Errorf("request %+v", got)
	}
}

func TestDelete(t *testing.T) {
	r := newRig(t)
	rep := okReply(nil)
	rep.NothingWritten, rep.Outcome, rep.Context = true, core.Applied, version.Context{Bucket: 7, KeyHash: 9}
	r.b.answer(rep)
	a := r.want(204, "", "DELETE", "/v1/kv/default/k?w=2&sloppy=true", "")
	if a.Header.Get("ETag") != `"0000000000000000"` {
		t.Errorf("headers %v", a.Header)
	}
	if got := a.Header.Get("Quorate-Context"); got != rep.Context.Token() {
		t.Errorf("context %q: not that of a client that has seen nothing", got)
	}
	if got := r.b.last(t); got.Op != core.OpDelete || got.W != 2 || got.Sloppy != core.Yes || len(got.Value) != 0 {
		t.Errorf("request %+v", got)
	}
	r.want(400, "invalid_argument", "DELETE", "/v1/kv/default/k", "body")
}

// The key is what stands after the bucket, unescaped once; nothing is cleaned.
func TestKeys(t *testing.T) {
	r := newRig(t)
	for path, key := range map[string]string{
		"a//b": "a//b", "..": "..", "../..": "../..", ".": ".", "/": "/", "a%2Fb": "a/b", "%252F": "%2F", "%00%ff": "\x00\xff",
		"a+b": "a+b", "a%20b": "a b", "k?": "k", "%3F": "?", "a;b=c": "a;b=c", "%0A": "\n", "a:get": "a:get", strings.Repeat("%61", 1024): strings.Repeat("a", 1024),
	} {
		r.do("GET", "/v1/kv/default/"+path, "")
		if got := r.b.last(t); string(got.Key) != key || got.Bucket != "default" {
			t.Errorf("%s: key %q", path, got.Key)
		}
		r.do("GET", "/keys/"+path, "")
		if got := r.b.last(t); string(got.Key) != key || got.Bucket != "default" {
			t.Errorf("alias %s: key %q", path, got.Key)
		}
		k64 := base64.RawURLEncoding.EncodeToString([]byte(key))
		for _, target := range []string{"/v1/kv/fixed/?key64=" + k64, "/v1/kv/fixed?key64=" + k64} {
			r.do("GET", target, "")
			if got := r.b.last(t); string(got.Key) != key || got.Bucket != "fixed" {
				t.Errorf("%s: key %q", target, got.Key)
			}
		}
		for _, target := range []string{"/keys/?key64=" + k64, "/keys?key64=" + k64} {
			r.do("GET", target, "")
			if got := r.b.last(t); string(got.Key) != key || got.Bucket != "default" {
				t.Errorf("%s: key %q", target, got.Key)
			}
		}
	}
	n := len(r.b.requests())
	r.want(400, "invalid_argument", "GET", "/v1/kv/default/", "")
	r.want(400, "invalid_argument", "PUT", "/keys/", "v")
	r.want(400, "invalid_argument", "GET", "/keys", "")
	r.want(400, "invalid_argument", "GET", "/v1/kv/default/a?key64=YQ", "")
	r.want(400, "invalid_argument", "GET", "/v1/kv/default/?key64=@@", "")
	r.want(400, "invalid_argument", "GET", "/v1/kv/default/?key64=", "")
	r.want(414, "key_too_long", "GET", "/v1/kv/default/"+strings.Repeat("a", 1025), "")
	r.want(414, "key_too_long", "GET", "/v1/kv/default?key64="+strings.Repeat("YWFh", 342), "")
	r.want(414, "key_too_long", "GET", "/v1/kv/default?key64="+strings.Repeat("YWFh", 3000), "")
	if len(r.b.requests()) != n {
		t.Error("a refused key reached the backend")
	}
	// 1,025 bytes of escape sequences are a short key.
	r.do("GET", "/v1/kv/default/"+url.PathEscape(strings.Repeat("ä", 512)), "")
	if got := r.b.last(t); len(got.Key) != 1024 {
		t.Errorf("%d bytes", len(got.Key))
	}
}

func TestBuckets404And400(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"Default", "-a", "a%2Fb", "a%20", "", strings.Repeat("a", 64), "%zz"} {
		if name == "%zz" {
			continue // net/http refuses it before any handler
		}
		r.want(400, "invalid_argument", "GET", "/v1/kv/"+name+"/k", "")
	}
	r.want(404, "bucket_not_found", "GET", "/v1/kv/none/k", "")
	r.want(404, "bucket_not_found", "PUT", "/v1/kv/none/k", "v")
	if len(r.b.requests()) != 0 {
		t.Error("something reached the backend")
	}
	if r.b.refreshed != 2 {
		t.Errorf("%d ring fetches, want one for each unknown bucket", r.b.refreshed)
	}
}

// A bucket that another node has just created is found by fetching the ring.
func TestNewBucketIsFound(t *testing.T) {
	r := newRig(t)
	next, err := r.b.ring.State.Apply(r.b.ring.Version+1, hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "fresh"}})
	if err != nil {
		t.Fatal(err)
	}
	r.b.newer = hashring.NewRing(next)
	r.want(404, "key_not_found", "GET", "/v1/kv/fresh/k", "")
	if r.b.last(t).Bucket != "fresh" {
		t.Error("not asked")
	}
}

func TestClientWithNewerRing(t *testing.T) {
	r := newRig(t)
	r.do("GET", "/keys/k", "", fmt.Sprintf("Quorate-Ring: %d", r.b.ring.Version))
	if r.b.refreshed != 0 {
		t.Error("fetched for a version that is known")
	}
	r.do("GET", "/keys/k", "", fmt.Sprintf("Quorate-Ring: %d", r.b.ring.Version+1))
	if r.b.refreshed != 1 {
		t.Error("not fetched for a newer version")
	}
}

func TestConsistency(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, target, header string
		r, w                   core.Count
	}{
		{"GET", "/v1/kv/default/k", "", 0, 0},
		{"GET", "/v1/kv/default/k?r=2", "one", 2, 0}, // query beats header
		{"GET", "/v1/kv/default/k?consistency=all", "one", core.All, 0},
		{"GET", "/v1/kv/default/k", "one", 1, 0},
		{"GET", "/v1/kv/default/k", "all", core.All, 0},
		{"GET", "/v1/kv/default/k", "quorum", 0, 0}, // the bucket's default is a majority
		{"GET", "/v1/kv/fixed/k", "quorum", 2, 0},   // its default is r=1
		{"GET", "/v1/kv/default/k?r=100000", "", 127, 0},
		{"PUT", "/v1/kv/default/k", "all", 0, core.All},
		{"PUT", "/v1/kv/fixed/k", "quorum", 0, 2},
		{"PUT", "/v1/kv/default/k?consistency=one", "", 0, 1},
		{"PUT", "/v1/kv/fixed/k?consistency=2", "", 0, 2},
		{"GET", "/v1/kv/default/k", "3", 3, 0},
		{"DELETE", "/v1/kv/default/k?w=1", "all", 0, 1},
	} {
		var headers []string
		if c.header != "" {
			headers = append(headers, "Quorate-Consistency: "+c.header)
		}
		r.do(c.method, c.target, "", headers...)
		if got := r.b.last(t); got.R != c.r || got.W != c.w {
			t.Errorf("%s %s with %q: r=%d w=%d, want %d and %d", c.method, c.target, c.header, got.R, got.W, c.r, c.w)
		}
	}
}

func TestReadAfter(t *testing.T) {
	r := newRig(t)
	token := version.Context{Bucket: 10, KeyHash: 7, Seen: version.Vector{{Actor: 1, Counter: 2}}}.Token()
	r.do("GET", "/keys/k", "", "Quorate-Read-After: "+token)
	if got := r.b.last(t); !got.HasAfter || got.After.Token() != token || got.HasContext {
		t.Errorf("%+v", got)
	}
}

func TestIdempotencyKey(t *testing.T) {
	r := newRig(t)
	key := "Idempotency-Key: 1760000000000-abc"
	first := r.do("PUT", "/keys/k", "v", key).Header.Get("Quorate-Request-Id")
	if again := r.do("PUT", "/keys/k", "v", key).Header.Get("Quorate-Request-Id"); again != first {
		t.Error("a retry has another id")
	}
	if got := r.b.last(t).ID.String(); got != first {
		t.Errorf("the core got %s, the client %s", got, first)
	}
	// The same key for other bytes is another write: readers must see both.
	if other := r.do("PUT", "/keys/k", "w", key).Header.Get("Quorate-Request-Id"); other == first {
		t.Error("two values share an id")
	}
	random := r.do("PUT", "/keys/k", "v").Header.Get("Quorate-Request-Id")
	if r.do("PUT", "/keys/k", "v").Header.Get("Quorate-Request-Id") == random {
		t.Error("random ids meet")
	}
}

func TestContentDigest(t *testing.T) {
	r := newRig(t)
	sum := sha256.Sum256([]byte("hello"))
	good := base64.StdEncoding.EncodeToString(sum[:])
	r.want(204, "", "PUT", "/keys/k", "hello", "Content-Digest: sha-256=:"+good+":")
	r.want(204, "", "PUT", "/keys/k", "hello", "Content-Digest: md5=:AAAA:, sha-256=:"+good+":")
	n := len(r.b.requests())
	r.want(400, "digest_mismatch", "PUT", "/keys/k", "hellO", "Content-Digest: sha-256=:"+good+":")
	r.want(400, "invalid_argument", "PUT", "/keys/k", "hello", "Content-Digest: sha-256="+good)
	r.want(400, "invalid_argument", "PUT", "/keys/k", "hello", "Content-Digest: md5=:AAAA:")
	if len(r.b.requests()) != n {
		t.Error("a refused body reached the backend")
	}
}

func TestValueLimits(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxValue = 10 })
	r.want(204, "", "PUT", "/keys/k", "0123456789")
	n := len(r.b.requests())
	a := r.want(413, "value_too_large", "PUT", "/keys/k", "0123456789a")
	if p := a.problem(t); p.Outcome != "not_applied" || !strings.Contains(p.Detail, "11") || !strings.Contains(p.Detail, "10") {
		t.Errorf("%+v", p)
	}
	req := r.request("PUT", "/keys/k", "0123456789a", nil)
	req.ContentLength = -1 // chunked
	rec := &discard{h: http.Header{}}
	r.h.ServeHTTP(rec, req)
	if rec.status != 413 || len(r.b.requests()) != n {
		t.Errorf("status %d", rec.status)
	}
	req = r.request("PUT", "/keys/k", "0123456789", nil)
	req.ContentLength = -1
	r.h.ServeHTTP(rec, req)
	if got := r.b.last(t); string(got.Value) != "0123456789" {
		t.Errorf("%q", got.Value)
	}
}

// A request before there is a ring is told that the node is starting.
func TestNoRingYet(t *testing.T) {
	r := newRig(t)
	r.b.ring = nil
	for _, target := range []string{"/keys/k", "/v1/kv/default", "/v1/buckets", "/v1/cluster/ring", "/v1/cluster/locate?bucket=default&key=a"} {
		a := r.want(503, "starting", "GET", target, "")
		if a.Header.Get("Retry-After") != "1" || a.Header.Get("Quorate-Served-By") != "n1" {
			t.Errorf("%s: %v", target, a.Header)
		}
	}
	r.want(200, "", "GET", "/v1/cluster", "")
	r.want(200, "", "GET", "/livez", "")
}
