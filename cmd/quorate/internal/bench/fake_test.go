package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is an honest single-copy store with siblings behind several addresses, whose
// faults are planted by the test.
type fake struct {
	mu       sync.Mutex
	objects  map[string][]sib
	dots     uint64
	requests int
	idems    map[string][]byte // bytes of every Idempotency-Key seen
	mixed    bool              // one Idempotency-Key came with different bytes
	conflict string
	sloppy   bool
	plant    func(n int, r *http.Request) plant // n counts from 1
}

type sib struct {
	dot   uint64
	value []byte
}

type plant int

const (
	honest      plant = iota
	refuse503         // definite refusal, nothing applied
	timeout504        // applied, but the answer says unknown
	resetBefore       // connection cut, nothing applied
	resetAfter        // applied, connection cut
	forget            // acknowledged and not applied: the fault verify exists for
	older             // a read that shows the state before the last write
	damage            // a read with a flipped byte
	refuse400         // no retry helps
)

func newFake(t *testing.T, nodes int) (*fake, []string) {
	f := &fake{objects: map[string][]sib{}, idems: map[string][]byte{}, conflict: "siblings",
		plant: func(int, *http.Request) plant { return honest }}
	var addrs []string
	for range nodes {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		addrs = append(addrs, s.URL)
	}
	return f, addrs
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/buckets/"):
		fmt.Fprintf(w, `{"name":"default","mode":"eventual","conflict":%q,"n":3,"r":0,"w":0,"sloppy":%v}`, f.conflict, f.sloppy)
		return
	case r.URL.Path == "/v1/cluster/ring":
		fmt.Fprint(w, `{"ring_version":1,"nodes":[{},{},{}]}`)
		return
	}
	f.requests++
	p := f.plant(f.requests, r)
	switch p {
	case refuse503:
		problem(w, 503, "quorum_unavailable", "not_applied", true)
		return
	case refuse400:
		problem(w, 400, "invalid_argument", "not_applied", false)
		return
	case resetBefore:
		cut(w)
		return
	}
	if r.Method == http.MethodGet {
		f.get(w, r, p)
		return
	}
	f.put(w, r, body, p)
}

func problem(w http.ResponseWriter, status int, code, outcome string, retryable bool) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q,"outcome":%q,"retryable":%v}`, status, code, outcome, retryable)
}

func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, body []byte, p plant) {
	key, idem := r.URL.Path, r.Header.Get("Idempotency-Key")
	if old, ok := f.idems[idem]; ok && string(old) != string(body) || idem == "" {
		f.mixed = true
	}
	f.idems[idem] = body
	f.dots++
	seen := strings.Split(r.Header.Get("Quorate-Context"), ",")
	if p != forget {
		var kept []sib
		for _, s := range f.objects[key] {
			if seen[0] != "" && !contains(seen, s.dot) {
				kept = append(kept, s)
			}
		}
		f.objects[key] = append(kept, sib{f.dots, body})
	}
	switch p {
	case resetAfter:
		cut(w)
		return
	case timeout504:
		problem(w, 504, "write_quorum_timeout", "unknown", true)
		return
	}
	w.Header().Set("Quorate-Context", strings.Trim(strings.Join(append(seen, strconv.FormatUint(f.dots, 10)), ","), ","))
	w.WriteHeader(http.StatusNoContent)
}

func contains(seen []string, dot uint64) bool {
	for _, s := range seen {
		if s == strconv.FormatUint(dot, 10) {
			return true
		}
	}
	return false
}

func (f *fake) get(w http.ResponseWriter, r *http.Request, p plant) {
	sibs := f.objects[r.URL.Path]
	if p == older || len(sibs) == 0 {
		problem(w, 404, "key_not_found", "", false)
		return
	}
	var dots []string
	for _, s := range sibs {
		dots = append(dots, strconv.FormatUint(s.dot, 10))
	}
	w.Header().Set("Quorate-Context", strings.Join(dots, ","))
	if len(sibs) == 1 || r.URL.Query().Get("resolve") == "newest" {
		value := append([]byte(nil), sibs[len(sibs)-1].value...)
		if p == damage {
			value[len(value)-1] ^= 1
		}
		_, _ = w.Write(value)
		return
	}
	var list []map[string]string
	for _, s := range sibs {
		list = append(list, map[string]string{"value": base64.StdEncoding.EncodeToString(s.value)})
	}
	w.WriteHeader(http.StatusMultipleChoices)
	_ = json.NewEncoder(w).Encode(map[string]any{"siblings": list})
}

// quick is a run of a fraction of a second.
func quick(addrs []string) Options {
	o := Default()
	o.Addrs, o.Keys, o.Concurrency = addrs, 20, 4
	o.Duration, o.Warmup = 250*time.Millisecond, 20*time.Millisecond
	o.OpTimeout, o.SettleTimeout = 2*time.Second, 600*time.Millisecond
	o.Seed = 7
	return o
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	b, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
