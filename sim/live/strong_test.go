package live

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/sim/check"
)

// strongFake is a linearizable store of one node, as long as flaw is empty.
type strongFake struct {
	flaw string

	mu     sync.Mutex
	seq    int
	rows   map[string]row
	before map[string]row // what was there before the present row
	done   map[string]answered
}

type row struct {
	version int
	value   []byte
	count   int64
	live    bool
}

// answered is kept for a request with an id.
type answered struct {
	status int
	etag   string
	body   string
}

func (f *strongFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Quorate-Served-By", "n1")
	kv, isKV := strings.CutPrefix(r.URL.Path, "/v1/kv/")
	counter, isCounter := strings.CutPrefix(r.URL.Path, "/v1/counter/")
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/inspect/"):
		fmt.Fprint(w, `{"replicas":[{"node":"n1","role":"owner","state":"present","etag":"x"}]}`)
	case !isKV && !isCounter:
		fmt.Fprint(w, `{}`)
	case r.Method == http.MethodGet:
		f.read(w, r, kv+counter, isCounter)
	default:
		f.write(w, r, kv+counter, body)
	}
}

func (f *strongFake) read(w http.ResponseWriter, r *http.Request, key string, counter bool) {
	x := f.rows[key]
	if r.URL.Query().Get("consistency") == "stale" || f.flaw == "stale reads" && f.seq%4 == 0 {
		x = f.before[key]
	}
	if x.version > 0 {
		w.Header().Set("Etag", etagOf(x))
	}
	w.Header().Set("Quorate-Consistency", labelOf(r.URL.Query().Get("consistency"), f.seq))
	switch {
	case !x.live:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"code":"key_not_found"}`)
	case counter:
		fmt.Fprintf(w, `{"value":%d}`, x.count)
	default:
		_, _ = w.Write(x.value)
	}
}

// labelOf: every other lease is none.
func labelOf(asked string, seq int) string {
	if asked == "" || asked == "lease" && seq%2 == 0 {
		return "leader"
	}
	return asked
}

func etagOf(x row) string { return `"1.1.` + strconv.Itoa(x.version) + `"` }

func (f *strongFake) write(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	id := r.Header.Get("Idempotency-Key")
	a, known := f.done[id]
	if id == "" || !known || f.flaw == "repeats act again" {
		a = f.carryOut(r, key, body)
		f.done[id] = a
	}
	w.Header().Set("Etag", a.etag)
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

func (f *strongFake) carryOut(r *http.Request, key string, body []byte) answered {
	f.seq++
	x := f.rows[key]
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	fails := match != "" && (!x.live || match != etagOf(x)) || none == "*" && x.live
	if fails && !(f.flaw == "conditions do not hold" && f.seq%2 == 0) {
		return answered{412, etagOf(x), `{"code":"precondition_failed","outcome":"not_applied"}`}
	}
	f.before[key] = x
	was := x
	x = row{version: f.seq, value: body, count: x.count, live: r.Method != http.MethodDelete}
	a := answered{204, etagOf(x), ""}
	if r.Method == http.MethodPost {
		var ask struct{ Delta int64 }
		_ = json.Unmarshal(body, &ask)
		x.count += ask.Delta
		a.status, a.body = 200, fmt.Sprintf(`{"value":%d}`, x.count)
	}
	if f.flaw == "acked writes are lost" && f.seq%4 == 0 {
		x = was
	}
	f.rows[key] = x
	return a
}

func runStrong(t *testing.T, flaw string, workloads ...string) *Report {
	t.Helper()
	f := &strongFake{flaw: flaw, rows: map[string]row{}, before: map[string]row{}, done: map[string]answered{}}
	srv := httptest.NewServer(f)
	defer srv.Close()
	o := Default()
	o.Addrs, o.Duration, o.Rate, o.Workloads, o.Dir, o.Seed = []string{srv.URL}, DurationMin, 900, workloads, t.TempDir(), 1
	var talk strings.Builder
	o.Talk = &talk
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	return r
}

var strongNames = []string{"register", appending, creating, counting, locking}

// A store that keeps its word is not blamed.
func TestAStrongStoreIsClean(t *testing.T) {
	t.Parallel()
	r := runStrong(t, "", strongNames...)
	for _, v := range r.Violations {
		t.Errorf("%v", v)
	}
	if r.Outcomes["writes mismatch"] == 0 || r.Outcomes["writes ok"] < 100 || r.Outcomes["reads ok"] < 100 {
		t.Errorf("too little happened: %v", r.Outcomes)
	}
	total := 0
	for _, l := range strongLevels {
		total += r.Reads[l.name]
		if r.Reads[l.name] == 0 {
			t.Errorf("no %s reads in %v", l.name, r.Reads)
		}
	}
	if total != r.Outcomes["reads ok"] || r.Reads["lease"] >= r.Reads["leader"] {
		t.Errorf("%v of %v", r.Reads, r.Outcomes)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Check)
	}
	for _, want := range []string{"linearizable", "registers", "lists", "counters", "locks", "request ids"} {
		if !slices.Contains(names, want) {
			t.Errorf("no check %s in %v", want, names)
		}
	}
	if slices.Contains(names, "eventual") {
		t.Errorf("nothing was eventual: %v", names)
	}
}

// One that does not is found, by each checker that can see it.
func TestStrongFlawsAreFound(t *testing.T) {
	for flaw, want := range map[string][]string{
		"stale reads":            {"linearizable", "registers"},
		"conditions do not hold": {"linearizable", "registers", "lists", "locks"},
		"acked writes are lost":  {"linearizable", "registers", "lists", "counters"},
		"repeats act again":      {"linearizable", "counters", "request ids"},
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			found := map[string]bool{}
			for _, v := range runStrong(t, flaw, strongNames...).Violations {
				found[v.Check] = true
			}
			for _, x := range want {
				if !found[x] {
					t.Errorf("no %s; found %v", x, found)
				}
			}
		})
	}
}

func TestFate(t *testing.T) {
	ok, other := answer{outcome: check.OK, etag: `"1.1.5"`}, answer{outcome: check.OK, etag: `"1.1.6"`}
	no, unknown, refused := answer{outcome: check.NotApplied, retryable: true}, answer{outcome: check.Unknown}, answer{outcome: check.Mismatch, etag: `"1.1.5"`}
	for _, c := range []struct {
		answers []answer
		want    check.Outcome
		differ  bool
	}{
		{[]answer{ok}, check.OK, false}, {[]answer{unknown, ok}, check.OK, false}, {[]answer{ok, unknown}, check.OK, false},
		{[]answer{unknown, no}, check.Unknown, false}, {[]answer{no, unknown}, check.Unknown, false}, {[]answer{no, no}, check.NotApplied, false},
		{[]answer{unknown, refused}, check.Mismatch, false}, {[]answer{refused, no}, check.Mismatch, false},
		{[]answer{ok, ok, unknown}, check.OK, false}, {[]answer{ok, other}, check.OK, true}, {[]answer{refused, ok}, check.Mismatch, true},
	} {
		var f fate
		retryable := f.take(c.answers)
		if f.outcome != c.want || (f.contradiction != "") != c.differ || retryable != slices.ContainsFunc(c.answers, func(a answer) bool { return a.retryable }) {
			t.Errorf("%v: %v %q", c.answers, f.outcome, f.contradiction)
		}
	}
}
