package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// strongSample answers as a strong bucket does; what it was asked stands in heard.
func strongSample(heard *recorder) canned {
	reply := func(status int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			key, _, _ := strings.Cut(r.Header.Get("Idempotency-Key"), "-")
			heard.add(fmt.Sprintf("%s %s %s match=%s none=%s id=%v", r.Method, r.URL.RequestURI(), sent, r.Header.Get("If-Match"), r.Header.Get("If-None-Match"), key != ""))
			h := w.Header()
			h.Set("ETag", `"1.7.42"`)
			h.Set("Quorate-Receipt", "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
			h.Set("Quorate-Served-By", "n1")
			if r.Method == "GET" {
				h.Set("Content-Type", "text/plain")
				if level := r.URL.Query().Get("consistency"); level == "stale" {
					h.Set("Quorate-Consistency", level)
					h.Set("Quorate-Stale", "applied=57")
				} else {
					h.Set("Quorate-Consistency", "leader")
				}
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	return canned{
		"GET /v1/kv/s/k":      reply(200, "hello"),
		"PUT /v1/kv/s/k":      reply(204, ""),
		"PUT /v1/kv/s/new":    reply(201, ""),
		"DELETE /v1/kv/s/k":   reply(204, ""),
		"GET /v1/counter/s/c": reply(200, `{"value":9223372036854775807}`),
		"POST /v1/counter/s/c": func(w http.ResponseWriter, r *http.Request) {
			reply(200, `{"value":-3}`+"\n")(w, r)
		},
		"PUT /v1/kv/s/lost": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(412)
			_, _ = io.WriteString(w, `{"status":412,"code":"precondition_failed","outcome":"not_applied","detail":"the condition does not hold","etag":"\"1.7.43\""}`)
		},
		"PUT /v1/kv/s/away":      problemReply(503, "primary_unavailable", "not_applied"),
		"PUT /v1/kv/s/changed":   problemReply(503, "primary_changed", "unknown"),
		"PUT /v1/kv/s/old":       problemReply(409, "idempotency_expired", "unknown"),
		"PUT /v1/kv/s/hot":       problemReply(429, "hot_key_throttled", "not_applied"),
		"PUT /v1/kv/s/reused":    problemReply(422, "idempotency_mismatch", "not_applied"),
		"POST /v1/counter/s/no":  problemReply(409, "conflict", "not_applied"),
		"GET /v1/counter/s/none": problemReply(404, "key_not_found", ""),
	}
}

func TestStrongGoldenOutputs(t *testing.T) {
	var heard recorder
	srv := httptest.NewServer(strongSample(&heard))
	defer srv.Close()
	for _, c := range []struct{ name, line, heard string }{
		{"strong_get.table", "get k -o table", "GET /v1/kv/s/k  match= none= id=false"},
		{"strong_stale.table", "get k --consistency stale -o table", "GET /v1/kv/s/k?consistency=stale  match= none= id=false"},
		{"strong_stale.json", "get k --consistency stale -o json", "GET /v1/kv/s/k?consistency=stale  match= none= id=false"},
		{"strong_put.table", "put k v --if-match 1.7.41", `PUT /v1/kv/s/k v match="1.7.41" none= id=true`},
		{"strong_put.raw", `put k v --if-match "1.7.41" -o raw`, `PUT /v1/kv/s/k v match="1.7.41" none= id=true`},
		{"strong_new.table", "put new v --if-none-match * --idempotency-key 1700000000000-x", "PUT /v1/kv/s/new v match= none=* id=true"},
		{"strong_delete.table", "delete k --if-match *", "DELETE /v1/kv/s/k  match=* none= id=true"},
		{"counter.raw", "counter get c", "GET /v1/counter/s/c  match= none= id=false"},
		{"counter.table", "counter get c -o table", "GET /v1/counter/s/c  match= none= id=false"},
		{"counter.json", "counter get c -o json --consistency stale", "GET /v1/counter/s/c?consistency=stale  match= none= id=false"},
		{"counter_add.raw", "counter add c", `POST /v1/counter/s/c {"delta":1} match= none= id=true`},
		{"counter_add.table", "counter add c -o table -- -4", `POST /v1/counter/s/c {"delta":-4} match= none= id=true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := strings.Fields(c.line)
			at := 1
			if args[0] == "counter" {
				at = 2
			}
			args = append(append(append([]string{}, args[:at]...), "-b", "s", "--addrs", srv.URL), args[at:]...)
			r := invoke(t, "", nil, args...)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			if all := heard.all(); all[len(all)-1] != c.heard {
				t.Errorf("the node heard %s, want %s", all[len(all)-1], c.heard)
			}
			golden(t, c.name, r.out)
		})
	}
}

func TestStrongExitCodes(t *testing.T) {
	var heard recorder
	srv := httptest.NewServer(strongSample(&heard))
	defer srv.Close()
	for _, c := range []struct {
		line string
		want int
	}{
		{"put lost v", 4}, {"put away v", 5}, {"put changed v", 6}, {"put old v", 6}, {"put hot v", 5}, {"put reused v", 2},
		{"put k v --if-match 1.1.1 --if-none-match *", 2}, {"put k v --if-none-match 1.1.1", 2},
		{"counter add no", 4}, {"counter add c x", 2}, {"counter add c 1.5", 2}, {"counter get none", 3}, {"counter", 2}, {"counter get", 2},
	} {
		args := strings.Fields(c.line)
		if len(args) > 2 {
			args = append(args, "-b", "s", "--addrs", srv.URL)
		}
		r := invoke(t, "", nil, args...)
		if r.code != c.want {
			t.Errorf("%s: exit %d, want %d; %s", c.line, r.code, c.want, r.err)
		}
		if c.line == "put lost v" && !strings.Contains(r.err, `the key holds "1.7.43"`) {
			t.Errorf("no word of what is there: %s", r.err)
		}
	}
}

// A variable that a script has not set takes no condition away.
func TestEmptyFlagsAreRefused(t *testing.T) {
	var heard recorder
	srv := httptest.NewServer(strongSample(&heard))
	defer srv.Close()
	for _, line := range []string{"put k v --if-match=", "put k v --if-none-match=", "put k v --idempotency-key=", "put k v --context=", "put k v --consistency=",
		"put k v --sloppy=", "delete k --if-match=", "delete k --context=", "get k --consistency=", "get k --read-after=", "counter add c --if-match=", "counter get c --consistency="} {
		r := invoke(t, "", nil, append(strings.Fields(line), "-b", "s", "--addrs", srv.URL)...)
		if r.code != exitUsage || !strings.Contains(r.err, "empty") {
			t.Errorf("%s: exit %d, %s", line, r.code, r.err)
		}
	}
	if all := heard.all(); len(all) > 0 {
		t.Errorf("the node heard %v", all)
	}
}

// A refusal of a compare-and-set settles the copies that were sent before it: it is in
// the log, under the idempotency key, where none of them was.
func TestRefusalSettlesLostAnswers(t *testing.T) {
	lost := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		_, _ = io.WriteString(w, `{"code":"primary_changed","outcome":"unknown","retryable":true}`)
	}))
	defer lost.Close()
	var heard recorder
	srv := httptest.NewServer(strongSample(&heard))
	defer srv.Close()
	if r := invoke(t, "", nil, "put", "lost", "v", "-b", "s", "--if-match", "1.7.41", "--addrs", lost.URL+","+srv.URL); r.code != exitConflict {
		t.Errorf("%+v", r)
	}
}
