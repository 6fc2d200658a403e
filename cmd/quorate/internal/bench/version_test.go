package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// strongFake is an honest store of one copy with versions, conditions and requests that
// act once, whose faults are planted by the test.
type strongFake struct {
	mu       sync.Mutex
	values   map[string]strongValue
	done     map[string]string // ETag by idempotency key
	version  int
	requests int
	repeats  int
	queries  map[string]int
	silent   map[string]bool // ids whose outcome nobody is told
	plant    func(n int, r *http.Request) plant
}

type strongValue struct {
	etag string
	data []byte
}

func newStrongFake(t *testing.T) (*strongFake, []string) {
	f := &strongFake{values: map[string]strongValue{}, done: map[string]string{}, queries: map[string]int{}, silent: map[string]bool{},
		plant: func(int, *http.Request) plant { return honest }}
	var addrs []string
	for range 2 {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		addrs = append(addrs, s.URL)
	}
	return f, addrs
}

func (f *strongFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/buckets/"):
		fmt.Fprint(w, `{"name":"default","mode":"strong","conflict":"siblings","n":3}`)
		return
	case r.URL.Path == "/v1/cluster/ring":
		fmt.Fprint(w, `{"ring_version":1,"nodes":[{},{},{}]}`)
		return
	}
	f.requests++
	p := f.plant(f.requests, r)
	if r.Method == http.MethodGet {
		f.queries[r.URL.RawQuery]++
		v, ok := f.values[r.URL.Path]
		if !ok || p == older {
			problem(w, 404, "key_not_found", "", false)
			return
		}
		w.Header().Set("ETag", v.etag)
		_, _ = w.Write(v.data)
		return
	}
	f.put(w, r, body, p)
}

func (f *strongFake) put(w http.ResponseWriter, r *http.Request, body []byte, p plant) {
	key, id := r.URL.Path, r.Header.Get("Idempotency-Key")
	v, held := f.values[key]
	etag, again := f.done[id]
	switch {
	case again:
		f.repeats++
	case !held && r.Header.Get("If-None-Match") == "*", held && r.Header.Get("If-Match") == v.etag:
		f.version++
		etag = fmt.Sprintf(`"1.2.%d"`, f.version)
		f.done[id] = etag
		if p != forget {
			f.values[key] = strongValue{etag, body}
		}
	default:
		w.Header().Set("ETag", v.etag)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprintf(w, `{"status":412,"code":"precondition_failed","outcome":"not_applied","etag":%q}`, v.etag)
		return
	}
	switch {
	case p == timeout504, f.silent[id]:
		f.silent[id] = true
		problem(w, 504, "write_quorum_timeout", "unknown", true)
		return
	case p == resetAfter && !again:
		cut(w)
		return
	}
	w.Header().Set("ETag", etag)
	w.WriteHeader(http.StatusNoContent)
}

// A strong bucket is verified by its versions: lost answers are asked for again, and a
// write of unknown outcome that was applied is found by the next one.
func TestVerifyOfAStrongBucket(t *testing.T) {
	f, addrs := newStrongFake(t)
	f.plant = func(n int, r *http.Request) plant {
		if r.Method == http.MethodPut && n%9 == 0 {
			return resetAfter
		}
		return honest
	}
	o := quick(addrs)
	o.Verify = true
	r := run(t, o)
	if err := r.Failed(); err != nil {
		t.Fatalf("%v %+v", err, r.Verify)
	}
	if v := r.Verify; v.Acked == 0 || f.repeats == 0 || !v.Strict || f.queries["consistency=quorum"] == 0 || f.queries["consistency=all&sloppy=false"] != 0 {
		t.Fatalf("report %+v, verify %+v, queries %v", r, v, f.queries)
	}
}

func TestVerifyOfAStrongBucketFindsUnknownWrites(t *testing.T) {
	f, addrs := newStrongFake(t)
	f.plant = func(n int, r *http.Request) plant {
		if r.Method == http.MethodPut && n%9 == 0 {
			return timeout504
		}
		return honest
	}
	o := quick(addrs)
	o.Verify, o.OpTimeout, o.Duration = true, 400*time.Millisecond, time.Second
	r := run(t, o)
	if v := r.Verify; v.Unknown == 0 || v.Lost+v.Wrong+v.Unread != 0 || v.Stale != 0 || r.ErrorsBy["precondition_failed"] != 0 {
		t.Fatalf("report %+v, verify %+v", r, v)
	}
}

func TestVerifyOfAStrongBucketFindsLossAndOldReads(t *testing.T) {
	for _, bad := range []plant{forget, older} {
		f, addrs := newStrongFake(t)
		f.plant = func(n int, r *http.Request) plant {
			switch {
			case bad == forget && r.Method == http.MethodPut && n%5 == 0,
				bad == older && r.Method == http.MethodGet && n%5 == 0 && r.URL.RawQuery == "":
				return bad
			}
			return honest
		}
		o := quick(addrs)
		o.Verify = true
		r := run(t, o)
		if v := r.Verify; r.Failed() == nil || v.Lost == 0 && v.Stale == 0 {
			t.Errorf("plant %d: report %+v, verify %+v", bad, r, v)
		}
	}
}
