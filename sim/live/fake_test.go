package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// fake is a store of one node that keeps one value a key and so drops siblings.
type fake struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int
	damage bool
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Quorate-Served-By", "n1")
	rest, isKey := strings.CutPrefix(r.URL.Path, "/v1/kv/")
	switch {
	case r.URL.Path == "/v1/cluster/locate":
		fmt.Fprint(w, `{"replicas":["n1"]}`)
	case strings.HasPrefix(r.URL.Path, "/v1/inspect/"):
		fmt.Fprint(w, `{"replicas":[{"node":"n1","role":"owner","state":"present","etag":"x"}]}`)
	case !isKey:
		fmt.Fprint(w, `{}`)
	case r.Method == http.MethodGet && f.values[rest] == nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"code":"key_not_found"}`)
	case r.Method == http.MethodGet:
		w.Header().Set("Quorate-Context", "t")
		_, _ = w.Write(f.values[rest])
	default:
		f.write(w, r, rest)
	}
}

func (f *fake) write(w http.ResponseWriter, r *http.Request, key string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.writes++
	if f.damage && len(body) > 0 {
		body[0] ^= 1
	}
	f.values[key] = body
	if r.Method == http.MethodDelete {
		delete(f.values, key)
	}
	w.Header().Set("Quorate-Context", "t")
	w.WriteHeader(http.StatusNoContent)
}

func runFake(t *testing.T, f *fake) (*Report, string) {
	t.Helper()
	f.values = map[string][]byte{}
	srv := httptest.NewServer(f)
	defer srv.Close()
	o := Default()
	o.Addrs, o.Duration, o.Rate, o.Workloads, o.Dir, o.Seed = []string{srv.URL}, DurationMin, 600, []string{"siblings", "lww"}, t.TempDir(), 1
	var talk strings.Builder
	o.Talk = &talk
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	return r, talk.String()
}

// A store that loses what two clients wrote side by side is found out.
func TestAStoreThatDropsSiblingsIsFound(t *testing.T) {
	f := &fake{}
	r, talk := runFake(t, f)
	if r.Clean() || f.writes == 0 {
		t.Fatalf("clean after %d writes:\n%s", f.writes, talk)
	}
	kinds := map[string]int{}
	for _, v := range r.Violations {
		kinds[v.Check+" "+v.Kind]++
	}
	if kinds["eventual LOST"] == 0 {
		t.Errorf("found %v", kinds)
	}
	for _, name := range []string{"history.ndjson", "report.json", "schedule.json"} {
		if info, err := os.Stat(filepath.Join(r.Dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	checkHistory(t, filepath.Join(r.Dir, "history.ndjson"), r.Operations)
}

// checkHistory reads what was kept.
func checkHistory(t *testing.T, name string, want int) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var ops []check.Op
	for d := json.NewDecoder(file); ; {
		var op check.Op
		if err := d.Decode(&op); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	if len(ops) < want {
		t.Errorf("%d operations kept of %d", len(ops), want)
	}
	if bad := check.Validate(ops); bad != nil {
		t.Error(bad[0])
	}
}

func TestDamagedValuesAreFound(t *testing.T) {
	r, _ := runFake(t, &fake{damage: true})
	for _, v := range r.Checks {
		if v.Check == "values" && v.Verdict == Violated && strings.Contains(v.Detail, "DAMAGED") {
			return
		}
	}
	t.Fatalf("%+v", r.Checks)
}

func TestWhatAnAnswerMeans(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		switch {
		case err != nil || status == 0:
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		case status == 1:
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	}))
	defer srv.Close()
	defer close(hang)
	hc := newHTTP(1)
	for _, c := range []struct {
		method string
		status int
		body   string
		want   check.Outcome
		values int
	}{
		{"GET", 200, "v", check.OK, 1}, {"GET", 404, `{"code":"key_not_found"}`, check.OK, 0},
		{"GET", 404, `{"code":"bucket_not_found"}`, check.Failed, 0}, {"GET", 503, "", check.Failed, 0}, {"GET", 300, "{", check.Failed, 0},
		{"GET", 300, `{"siblings":[{"value":"YQ=="},{"value":"Yg=="}]}`, check.OK, 2}, {"GET", 1, "", check.Failed, 0}, {"GET", 0, "", check.Failed, 0},
		{"PUT", 204, "", check.OK, 0}, {"PUT", 503, `{"code":"overloaded","outcome":"not_applied"}`, check.NotApplied, 0},
		{"PUT", 504, `{"code":"write_quorum_timeout","outcome":"unknown"}`, check.Unknown, 0}, {"PUT", 502, "<html>", check.Unknown, 0},
		{"DELETE", 1, "", check.Unknown, 0}, {"PUT", 0, "", check.Unknown, 0},
	} {
		r := &request{method: c.method, path: "/", query: url.Values{"status": {strconv.Itoa(c.status)}, "body": {c.body}}, timeout: 50 * time.Millisecond}
		if c.method == http.MethodPut {
			r.body = []byte("x")
		}
		if a := send(t.Context(), hc, server{base: srv.URL}, r); a.outcome != c.want || len(a.values) != c.values {
			t.Errorf("%s %d %s: %v with %d values", c.method, c.status, c.body, a.outcome, len(a.values))
		}
	}
	if a := send(t.Context(), hc, server{base: "http://127.0.0.1:1"}, &request{method: http.MethodPut, path: "/", timeout: time.Second}); a.outcome != check.NotApplied {
		t.Errorf("nobody there: %v", a.outcome)
	}
}

func TestValues(t *testing.T) {
	for _, pad := range []int{0, 1, 7, 5000} {
		if name, err := nameOf(makeValue("siblings-1/2.3", pad)); name != "siblings-1/2.3" || err != nil {
			t.Errorf("%d: %q, %v", pad, name, err)
		}
	}
	for _, bad := range []string{"", "a", " ", "ab abx", "ab " + strings.Repeat("x", 10)} {
		if name, err := nameOf([]byte(bad)); err == nil {
			t.Errorf("%q passes for %q", bad, name)
		}
	}
}

func TestMayBeResent(t *testing.T) {
	k := &key{owners: []string{"n1", "n2"}}
	for _, c := range []struct {
		ownerOnly bool
		asked, by string
		outcome   check.Outcome
		want      bool
	}{
		{false, "n1", "n1", check.OK, false}, {false, "n1", "n2", check.OK, true}, {false, "n3", "n1", check.OK, true},
		{false, "n3", "n3", check.OK, true}, {false, "n1", "", check.Unknown, true}, {false, "n3", "", check.NotApplied, false},
		{true, "n1", "", check.Unknown, false},
	} {
		if got := mayBeResent(k, &request{ownerOnly: c.ownerOnly}, server{name: c.asked}, answer{outcome: c.outcome, servedBy: c.by}); got != c.want {
			t.Errorf("%+v", c)
		}
	}
}
