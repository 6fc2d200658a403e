package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// result is one invocation of the command line, in this process.
type result struct {
	code     int
	out, err string
}

func invoke(t *testing.T, stdin string, environ []string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errOut, environ: environ}
	code := a.run(t.Context(), args)
	return result{code, out.String(), errOut.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./cmd/quorate -run Golden -rewrite):\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

// recorder collects what servers saw.
type recorder struct {
	mu   sync.Mutex
	list []string
}

func (r *recorder) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, s)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}

// canned serves fixed answers by "METHOD /path".
type canned map[string]func(http.ResponseWriter, *http.Request)

func (c canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := c[r.Method+" "+r.URL.EscapedPath()]; ok {
		h(w, r)
		return
	}
	problemReply(404, "not_found", "not_applied")(w, r)
}

func jsonReply(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func problemReply(status int, code, outcome string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":%d,"code":%q,"outcome":%q,"detail":"as planted"}`, status, code, outcome)
	}
}

var sample = canned{
	"GET /v1/kv/default/a%2Fb": func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range map[string]string{"ETag": `"e1"`, "Content-Type": "text/plain", "Quorate-Context": "ctx", "Quorate-Receipt": "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", "Quorate-Served-By": "n1"} {
			w.Header().Set(k, v)
		}
		_, _ = io.WriteString(w, "hello")
	},
	"GET /v1/kv/default/sib": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"all"`)
		w.WriteHeader(300)
		_, _ = io.WriteString(w, `{"siblings":[{"etag":"\"e1\"","content_type":"text/plain","value":"b25l","hlc":"1"},{"etag":"\"e2\"","content_type":"","value":"/wA=","hlc":"2"}],"context":"both"}`)
	},
	"GET /v1/kv/default": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			_, _ = io.WriteString(w, `{"keys":[{"key":"a","etag":"\"1\"","hlc":"1"},{"key":"b\nc","etag":"\"2\"","hlc":"1","siblings":2}],"cursor":"c1","complete":true,"r":1}`)
			return
		}
		_, _ = io.WriteString(w, `{"keys":[{"key64":"_w","etag":"\"3\"","hlc":"1"}],"complete":true,"r":1}`)
	},
	"GET /v1/kv/holes": jsonReply(`{"keys":[{"key":"a","etag":"\"1\""}],"complete":false,"r":1}`),
	"PUT /v1/kv/default/k": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("ETag", `"`+string(body)+`"`)
		w.Header().Set("Quorate-Context", "after-"+r.Header.Get("Quorate-Context"))
		w.Header().Set("Quorate-Receipt", "n=1, need=1, acks=1, owners=1, fallbacks=0, synced=1")
		w.Header().Set("Quorate-Served-By", "n1")
		w.WriteHeader(204)
	},
	"DELETE /v1/kv/default/k": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	"GET /v1/inspect/default/k": jsonReply(`{"key":"k","partition":3,"epoch":1,"replicas":[
		{"node":"n1","role":"owner","state":"present","etag":"\"e1\"","size":5,"in_sync":true},
		{"node":"n2","role":"owner","state":"unreachable","in_sync":false},
		{"node":"n4","role":"fallback","state":"present","etag":"\"e1\"","size":5,"in_sync":true}]}`),
	"GET /v1/buckets": jsonReply(`{"buckets":[{"name":"default","mode":"eventual","conflict":"siblings","n":3,"r":0,"w":0,"sloppy":true,"ttl_ms":0},
		{"name":"short","mode":"eventual","conflict":"lww","n":2,"r":1,"w":2,"sloppy":false,"ttl_ms":90000}]}`),
	"GET /v1/cluster": jsonReply(`{"ring_version":17,"raft_leader":"n2","nodes":[
		{"name":"n1","state":"up","alive":true,"zone":"a","version":"0.1.0","voter":true,"partitions":26,"hints":12,"api":"10.0.0.1:7400","later":"kept"},
		{"name":"n2","state":"up","alive":false,"zone":"","version":"","note":"owns no partitions yet: it coordinates and stands in for others"}],
		"partitions":{"total":64,"ok":60,"degraded":4,"below_quorum":0,"lost":0},"hints":{"pending":12,"bytes":4096},"repair":{"debt_keys":3}}`),
	"GET /v1/repair": jsonReply(`{"debt_keys":1234,"behind_ms":75400,"partitions":76,"in_sync":60,"running":1,"tombstones":12,"nodes":[
		{"node":"n1","answered":true,"rate_bytes":4194304,"partitions":38,"in_sync":30,"debt_keys":1200,"behind_ms":75400,"running":1,"tombstones":12,"expiring":0,
		"pairs":[{"partition":3,"n":3,"peer":"n2","state":"running","doing":"ship","keys":1200,"behind_ms":75400,"sent":10,"received":700},
		{"partition":7,"n":3,"peer":"n3","state":"waiting","dirty":true,"never":true,"keys":0,"behind_ms":900,"sent":0,"received":0}],"omitted_pairs":6,
		"purges":[{"partition":3,"generation":2,"tombstones":9,"expiring":1,"phase":"gather","blocked":"hints undelivered","by":"n3","count":7,"for_ms":90000},
		{"partition":4,"generation":0,"tombstones":3,"expiring":0}],"omitted_purges":0},
		{"node":"n2","answered":false,"pairs":[],"purges":[]}]}`),
	"POST /v1/repair": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(202)
		_, _ = fmt.Fprintf(w, `{"asked":[{"node":"n1","answered":true,"comparisons":%d},{"node":"n2","answered":false,"comparisons":0}]}`, len(body))
	},
	"GET /v1/hints": jsonReply(`{"pending":12,"bytes":4096,"oldest_age_ms":65000,"dirty_partitions":2,"targets":[
		{"node":"n3","sid":"aa","hints":12,"bytes":4096,"oldest_age_ms":65000,"dirty_partitions":1,"holders":["n1","n4"]},
		{"node":"","sid":"bb","hints":0,"bytes":0,"oldest_age_ms":0,"dirty_partitions":1,"holders":["n1"]}],"silent":["n5"]}`),
	"GET /v1/cluster/ring":   jsonReply(`{"ring_version":17,"partitions":[{"id":0,"epoch":1,"primary":"","replicas":["n1","n2","n3"]},{"id":10,"epoch":2,"primary":"n2","replicas":["n2"]}],"nodes":[]}`),
	"GET /v1/cluster/locate": jsonReply(`{"partition":7,"epoch":1,"primary":"","replicas":["n3","n1"],"fallbacks":["n2"]}`),
}

func TestGoldenOutputs(t *testing.T) {
	srv := httptest.NewServer(sample)
	defer srv.Close()
	for name, args := range map[string][]string{
		"get.raw":        {"get", "a/b"},
		"get.table":      {"get", "a/b", "-o", "table"},
		"get.json":       {"get", "a/b", "-o", "json"},
		"siblings.table": {"get", "sib", "-o", "table"},
		"siblings.json":  {"get", "sib", "-o", "json"},
		"list.table":     {"list"},
		"list.raw":       {"list", "-o", "raw"},
		"list.json":      {"list", "-o", "json"},
		"list.ndjson":    {"list", "-o", "ndjson"},
		"put.table":      {"put", "k", "v"},
		"put.raw":        {"put", "k", "v", "--context", "seen", "-o", "raw"},
		"inspect.table":  {"inspect", "k"},
		"inspect.ndjson": {"inspect", "k", "-o", "ndjson"},
		"buckets.table":  {"bucket", "list"},
		"buckets.raw":    {"bucket", "list", "-o", "raw"},
		"cluster.table":  {"cluster"},
		"cluster.json":   {"cluster", "-o", "json"},
		"ring.table":     {"ring"},
		"locate.table":   {"ring", "locate", "k"},
		"repair.table":   {"repair", "status"},
		"repair.raw":     {"repair", "status", "-o", "raw"},
		"repair.json":    {"repair", "status", "-o", "json"},
		"start.table":    {"repair", "start", "--partition", "7"},
		"hints.table":    {"repair", "hints"},
		"hints.ndjson":   {"repair", "hints", "-o", "ndjson"},
		"config.table":   {"config", "print"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "config") {
				args = append(args, "--addrs", srv.URL)
			}
			r := invoke(t, "", nil, args...)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			if strings.HasSuffix(name, "json") {
				for _, line := range documents(name, r.out) {
					if !json.Valid([]byte(line)) {
						t.Errorf("not JSON: %s", line)
					}
				}
			}
			golden(t, name, r.out)
		})
	}
}

func documents(name, out string) []string {
	if strings.HasSuffix(name, ".ndjson") {
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	return []string{out}
}

func TestExitCodes(t *testing.T) {
	routes := canned{}
	for path, h := range map[string]func(http.ResponseWriter, *http.Request){
		"ok":          jsonReply("v"),
		"missing":     problemReply(404, "key_not_found", ""),
		"conflict":    problemReply(409, "conflict", "not_applied"),
		"failed":      problemReply(412, "precondition_failed", "not_applied"),
		"expired":     problemReply(409, "idempotency_expired", "unknown"),
		"unavailable": problemReply(503, "quorum_unavailable", "not_applied"),
		"throttled":   problemReply(429, "rate_limited", "not_applied"),
		"full":        problemReply(507, "insufficient_storage", "not_applied"),
		"slow":        problemReply(504, "read_quorum_timeout", ""),
		"unknown":     problemReply(504, "write_quorum_timeout", "unknown"),
		"denied":      problemReply(403, "permission_denied", "not_applied"),
		"who":         problemReply(401, "unauthenticated", "not_applied"),
		"impossible":  problemReply(422, "quorum_impossible", "not_applied"),
		"internal":    problemReply(500, "internal", "unknown"),
		"proxy":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"siblings": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(300)
			_, _ = io.WriteString(w, `{"siblings":[{},{}]}`)
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				c.Close()
			}
		},
	} {
		routes["GET /v1/kv/default/"+path], routes["PUT /v1/kv/default/"+path] = h, h
	}
	srv := httptest.NewServer(routes)
	defer srv.Close()
	dead := httptest.NewServer(routes)
	dead.Close()
	for _, c := range []struct {
		line string
		want int
	}{
		{"get ok", 0}, {"get missing", 3}, {"get unavailable", 5}, {"get slow", 5}, {"get denied", 7}, {"get who", 7},
		{"get impossible", 2}, {"get siblings", 4}, {"get cut", 5},
		{"put ok v", 0}, {"put conflict v", 4}, {"put failed v", 4}, {"put expired v", 6}, {"put unavailable v", 5},
		{"put throttled v", 5}, {"put full v", 5}, {"put unknown v", 6}, {"put internal v", 6}, {"put proxy v", 6}, {"put cut v", 6},
		{"list -b nowhere", 3},
		{"get", 2}, {"get a b", 2}, {"get ok --nope", 2}, {"nope", 2}, {"bucket", 2}, {"bucket nope", 2}, {"get ok -o yaml", 2},
		{"get ok --timeout 2h", 2}, {"get ! --key64", 2}, {"bucket set b", 2}, {"bucket delete b", 2}, {"list --limit -1", 2},
		{"bench --keys 0", 2}, {"bench --sloppy perhaps", 2}, {"demo --nodes 0", 2}, {"demo --script x", 2},
	} {
		args := strings.Fields(c.line)
		if len(args) > 1 && args[0] != "demo" && args[1] != "nope" {
			args = append(args, "--addrs", srv.URL)
		}
		if r := invoke(t, "", nil, args...); r.code != c.want || (c.want != 0) != (r.err != "") {
			t.Errorf("%s: exit %d, want %d; %s", c.line, r.code, c.want, r.err)
		}
	}
	for _, line := range []string{"get ok", "put ok v"} {
		if r := invoke(t, "", nil, append(strings.Fields(line), "--addrs", dead.URL)...); r.code != exitUnavailable {
			t.Errorf("%s at a dead node: exit %d; %s", line, r.code, r.err)
		}
	}
}

func TestIncompleteListSaysSo(t *testing.T) {
	srv := httptest.NewServer(sample)
	defer srv.Close()
	r := invoke(t, "", nil, "list", "-b", "holes", "-o", "raw", "--addrs", srv.URL)
	if r.code != exitUnavailable || r.out != "a\n" || !strings.Contains(r.err, "incomplete") {
		t.Fatalf("%+v", r)
	}
}

func TestListLimitSaysThatMoreFollows(t *testing.T) {
	srv := httptest.NewServer(sample)
	defer srv.Close()
	r := invoke(t, "", nil, "list", "--limit", "2", "-o", "raw", "--addrs", srv.URL)
	if r.code != 0 || strings.Count(r.out, "\n") != 2 || !strings.Contains(r.err, "more keys follow") {
		t.Fatalf("%+v", r)
	}
	if r = invoke(t, "", nil, "list", "--limit", "2", "-o", "json", "--addrs", srv.URL); !strings.Contains(r.out, `"more": true`) {
		t.Fatalf("%+v", r)
	}
}

// The next address is asked where the first is down or refused, and a write that may
// have happened is repeated under the same idempotency key.
func TestFailoverBetweenAddresses(t *testing.T) {
	var keys recorder
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys.add(r.Header.Get("Idempotency-Key"))
		w.WriteHeader(204)
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys.add(r.Header.Get("Idempotency-Key"))
		w.WriteHeader(504)
		_, _ = io.WriteString(w, `{"code":"write_quorum_timeout","outcome":"unknown","retryable":true}`)
	}))
	defer bad.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	r := invoke(t, "", []string{"QUORATE_ADDRS=" + dead.URL + "," + bad.URL + "," + good.URL}, "put", "k", "v")
	if k := keys.all(); r.code != 0 || len(k) != 2 || k[0] == "" || k[0] != k[1] {
		t.Fatalf("%+v, keys %v", r, k)
	}
}

func TestPutReadsStandardInputAndFile(t *testing.T) {
	srv := httptest.NewServer(sample)
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "v")
	if err := os.WriteFile(file, []byte("from-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"from-stdin": {"put", "k"},
		"from-file":  {"put", "k", "--file", file},
		"from-arg":   {"put", "k", "from-arg"},
	} {
		r := invoke(t, "from-stdin", nil, append(args, "--addrs", srv.URL)...)
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := invoke(t, "", nil, "put", "k", "v", "--file", file, "--addrs", srv.URL); r.code != exitUsage {
		t.Errorf("two values: %+v", r)
	}
}

func TestBucketRequestsCarryOnlyWhatWasSet(t *testing.T) {
	var got recorder
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.add(r.Method + " " + r.URL.Path + " " + string(body))
		_, _ = io.WriteString(w, `{"name":"b","mode":"eventual","conflict":"lww","n":3,"r":2,"w":2,"sloppy":false}`)
	}))
	defer srv.Close()
	for _, line := range []string{"bucket create b --conflict lww --n 3 --sloppy=false --ttl 1m", "bucket set b --r 2 --w 0", "bucket show b", "bucket delete b --yes"} {
		if r := invoke(t, "", nil, append(strings.Fields(line), "--addrs", srv.URL)...); r.code != 0 {
			t.Errorf("%s: %+v", line, r)
		}
	}
	want := []string{
		`POST /v1/buckets {"conflict":"lww","n":3,"name":"b","sloppy":false,"ttl_ms":60000}`,
		`PATCH /v1/buckets/b {"r":2,"w":0}`, "GET /v1/buckets/b ", "DELETE /v1/buckets/b ",
	}
	if g := strings.Join(got.all(), "\n"); g != strings.Join(want, "\n") {
		t.Fatalf("got %s", g)
	}
}

func TestKeysReachTheServerByteForByte(t *testing.T) {
	var got recorder
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.add(strings.TrimPrefix(r.URL.Path, "/v1/kv/default/"))
	}))
	defer srv.Close()
	keys := []string{"a//b", "..", ".", "a/../b", "ä ?#%2F", "k\x00", "plain"}
	for _, k := range keys {
		if r := invoke(t, "", nil, "get", k, "--addrs", srv.URL); r.code != 0 {
			t.Errorf("%q: %+v", k, r)
		}
	}
	if !slices.Equal(got.all(), keys) {
		t.Fatalf("sent %q, got %q", keys, got.all())
	}
}

func TestHelpVersionAndCompletion(t *testing.T) {
	for _, c := range []struct {
		line, out string
	}{
		{"--help", "Exit codes: 0 ok"}, {"serve --help", "--bootstrap-expect"}, {"version", "quorate 0.1"},
		{"version -o raw", "0.1.0-dev\n"}, {"--version", "0.1.0-dev"},
		{"completion bash", "__start_quorate"}, {"completion zsh", "#compdef quorate"}, {"completion fish", "complete -c quorate"},
		{"__complete get -o ", "ndjson"}, {"__complete bucket ", "create"}, {"__complete bench --dist ", "zipfian"},
	} {
		args := strings.Split(c.line, " ")
		if r := invoke(t, "", nil, args...); r.code != 0 || !strings.Contains(r.out, c.out) {
			t.Errorf("%s: exit %d, no %q in %q %s", c.line, r.code, c.out, r.out, r.err)
		}
	}
}

// The list of API.md; what later issues bring must not be promised yet.
func TestCommandsAreThoseThereAre(t *testing.T) {
	var names []string
	for _, c := range (&app{}).root().Commands() {
		names = append(names, c.Name())
	}
	got := strings.Join(names, " ")
	if want := "bench bucket check cluster config counter delete demo get inspect list put repair ring serve sim version"; got != want {
		t.Fatalf("got %s", got)
	}
}

func TestConfigCheckNamesFileAndLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "q.yaml")
	if err := os.WriteFile(file, []byte("name: a\nreplics: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", file}, {"serve", "--config", file}, {"config", "print", "--config", file}} {
		r := invoke(t, "", nil, args...)
		if r.code != exitUsage || !strings.Contains(r.err, file+":2: replics: unknown key") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := invoke(t, "", []string{"QUORATE_NAEM=x"}, "config", "check"); r.code != 0 || !strings.Contains(r.err, "QUORATE_NAEM") {
		t.Errorf("%+v", r)
	}
}

func TestPortInUseNamesPortAndFlag(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	for _, flag := range []string{"--api", "--gossip", "--peer"} {
		r := invoke(t, "", nil, "serve", "--data", t.TempDir(), flag, addr)
		if r.code != exitOther || !strings.Contains(r.err, "port "+port) || !strings.Contains(r.err, flag+" ") || !strings.Contains(r.err, "in use") {
			t.Errorf("%s: %+v", flag, r)
		}
	}
}

func TestBeyondLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "localhost:1": false, "0.0.0.0:1": true, ":1": true, "10.0.0.1:1": true, "host:1": true} {
		if beyondLoopback(addr) != want {
			t.Errorf("%s: want %v", addr, want)
		}
	}
}

func TestBenchOverTheCommandLine(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
	defer srv.Close()
	r := invoke(t, "", nil, "bench", "--addrs", srv.URL, "--duration", "200ms", "--warmup", "0s", "--keys", "10", "-c", "2", "-o", "json")
	var report struct {
		Ops    uint64 `json:"ops"`
		Errors uint64 `json:"errors"`
	}
	if r.code != 0 || json.Unmarshal([]byte(r.out), &report) != nil || report.Ops == 0 || report.Errors != 0 {
		t.Fatalf("%+v", r)
	}
	for _, o := range []string{"table", "raw", "ndjson"} {
		if r := invoke(t, "", nil, "bench", "--addrs", srv.URL, "--duration", "50ms", "--warmup", "0s", "--keys", "10", "-o", o); r.code != 0 || r.out == "" {
			t.Errorf("%s: %+v", o, r)
		}
	}
	r = invoke(t, "", nil, "bench", "--addrs", "127.0.0.1:1", "--duration", "50ms", "--warmup", "0s", "--preload=false", "--op-timeout", "20ms")
	if r.code != exitOther || !strings.Contains(r.err, "failed after retries") {
		t.Errorf("%+v", r)
	}
}
