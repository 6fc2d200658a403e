package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// strongOK is a good answer of a strong bucket.
func strongOK(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Etag", `"1.5.77"`)
	h.Set("Quorate-Receipt", "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2")
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/counter/"):
		h.Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"value":42}`)
	case r.Method == http.MethodGet:
		if r.URL.Query().Get("consistency") == "stale" {
			h.Set("Quorate-Stale", "applied=70")
		}
		_, _ = io.WriteString(w, "value")
	default:
		w.WriteHeader(204)
	}
}

// newStrongFake has a primary in every partition, which is not the first owner.
func newStrongFake(t *testing.T) *fake {
	f := newFake(t, 3)
	for i := range f.ring.Partitions {
		p := &f.ring.Partitions[i]
		p.Primary = p.Replicas[2]
	}
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) { strongOK(w, r) })
	return f
}

// primaryOf is the node that the fake's ring names for a key now.
func (f *fake) primaryOf(c *Client, bucket, key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ring.Partitions[partitionOf(c.ring.Load(), bucket, key)].Primary
}

// last is the newest request that reached a node.
func (f *fake) last() seen {
	all := f.requests()
	return all[len(all)-1]
}

// What only a primary can answer goes straight to it, from the first call that says
// that the bucket is strong, or the first answer that does.
func TestThePrimaryIsAsked(t *testing.T) {
	f := newStrongFake(t)
	c := f.client()
	ctx := context.Background()
	keys := []string{"a", "b", "c", "d", "e"}
	fresh := func() *Bucket { return c.Bucket("b") }
	for name, do := range map[string]func(key string) error{
		"PutIf":     func(k string) error { return second(fresh().PutIf(ctx, k, nil, `"1.2.3"`)) },
		"IfAbsent":  func(k string) error { return second(fresh().Put(ctx, k, nil, IfAbsent())) },
		"DeleteIf":  func(k string) error { return second(fresh().DeleteIf(ctx, k, `"1.2.3"`)) },
		"Increment": func(k string) error { return second(fresh().Increment(ctx, k, 1)) },
		"Counter":   func(k string) error { return second(fresh().Counter(ctx, k)) },
		"Leader":    func(k string) error { return second(fresh().Get(ctx, k, Consistency(Leader))) },
	} {
		for _, k := range keys {
			if err := do(k); err != nil || f.last().node != f.primaryOf(c, "b", k) {
				t.Errorf("%s: %v, at %s", name, err, f.last().node)
			}
		}
	}
	b := c.Bucket("b")
	if _, err := b.Put(ctx, "a", nil); err != nil { // and now it knows
		t.Fatal(err)
	}
	for _, k := range keys {
		for _, err := range []error{second(b.Put(ctx, k, nil)), second(b.Get(ctx, k)), second(b.Delete(ctx, k))} {
			if err != nil || f.last().node != f.primaryOf(c, "b", k) {
				t.Errorf("%v, at %s", err, f.last().node)
			}
		}
	}
	f.set(nil) // the bucket was dropped and is an eventual one now
	if _, err := b.Put(ctx, "a", nil); err != nil || b.known.strong.Load() {
		t.Errorf("%v: it still counts as strong", err)
	}
}

// Reads that need no primary go to the cheapest owner, wherever the primary is.
func TestOtherReadsAreSpread(t *testing.T) {
	f := newStrongFake(t)
	c := f.client(func(cfg *Config) { cfg.HedgeShare = -1 })
	b := c.Bucket("b")
	for _, l := range []ReadLevel{Quorum, Replica, Stale} {
		nodes := map[string]int{}
		for range 60 {
			v, err := b.Get(context.Background(), "k", Consistency(l))
			if err != nil {
				t.Fatal(err)
			}
			if v.Stale != (l == Stale) || l == Stale && v.Applied != 70 {
				t.Errorf("%d: %+v", l, v)
			}
			nodes[f.last().node]++
			if q := f.last().query; q != "consistency="+levelNames[readLevels[l]] {
				t.Errorf("query %q", q)
			}
		}
		if len(nodes) < 2 {
			t.Errorf("level %d: %v", l, nodes)
		}
	}
}

// When a partition gets another primary, whoever notices fetches the ring and asks
// that one; a write does so under the id it had.
func TestThePrimaryChanges(t *testing.T) {
	for code, outcome := range map[string]string{"primary_unavailable": "not_applied", "primary_changed": "unknown"} {
		t.Run(code, func(t *testing.T) {
			f := newStrongFake(t)
			c := f.client()
			b := c.Bucket("b")
			old := f.primaryOf(c, "b", "k")
			before := f.ringFetches()
			f.set(func(n *fakeNode, w http.ResponseWriter, r *http.Request) {
				if n.name != old {
					strongOK(w, r)
					return
				}
				f.mu.Lock()
				f.ring.Version = 11
				for i := range f.ring.Partitions {
					f.ring.Partitions[i].Primary = f.ring.Partitions[i].Replicas[1]
				}
				f.mu.Unlock()
				w.Header().Set("Quorate-Ring", "11")
				problem(w, 503, code, outcome, true, 1000)
			})
			r, err := b.PutIf(context.Background(), "k", []byte("v"), "")
			if err != nil || r.Attempts != 2 {
				t.Fatalf("%+v %v", r, err)
			}
			got := f.requests()
			if len(got) != 2 || got[0].node != old || got[1].node != f.primaryOf(c, "b", "k") || got[1].node == old {
				t.Fatalf("%+v", got)
			}
			if id := got[0].header.Get("Idempotency-Key"); id == "" || id != got[1].header.Get("Idempotency-Key") {
				t.Errorf("%q, then %q", id, got[1].header.Get("Idempotency-Key"))
			}
			if n := f.ringFetches() - before; n == 0 || n > 2 {
				t.Errorf("%d fetches of the ring", n)
			}
			if _, err := b.Get(context.Background(), "k"); err != nil || f.last().node != f.primaryOf(c, "b", "k") {
				t.Errorf("%v, at %s", err, f.last().node)
			}
		})
	}
}

// A primary that cannot be reached is not waited for: others know when there is a new
// one.
func TestADeadPrimary(t *testing.T) {
	f := newStrongFake(t)
	c := f.client()
	b := c.Bucket("b")
	old := f.primaryOf(c, "b", "k")
	for _, n := range f.nodes {
		if n.name == old {
			n.srv.Close()
		}
	}
	r, err := b.PutIf(context.Background(), "k", nil, `"1.2.3"`)
	if err != nil || r.Node == old || r.Attempts != 2 {
		t.Fatalf("%+v %v", r, err)
	}
}

// The refusal of a comparison holds for every copy of the write, as it is kept with the
// write's id; without an id nothing is sent twice.
func TestARefusalSpeaksForEveryCopy(t *testing.T) {
	refuse := func(w http.ResponseWriter) {
		w.Header().Set("Etag", `"1.5.90"`)
		problem(w, 412, "precondition_failed", "not_applied", false, 0)
	}
	f := newStrongFake(t)
	b := f.client().Bucket("b")
	f.script(hangUp, refuse)
	_, err := b.PutIf(context.Background(), "k", nil, `"1.2.3"`)
	e := fault(t, err)
	if !errors.Is(err, ErrPreconditionFailed) || !errors.Is(err, ErrConflict) || e.Outcome != NotApplied || e.ETag != `"1.5.90"` || e.Attempts != 2 {
		t.Errorf("%+v", e)
	}
	f.script(hangUp)
	_, err = b.PutIf(context.Background(), "k", nil, `"1.2.3"`, NoIdempotencyKey())
	if e = fault(t, err); e.Outcome != Unknown || e.Attempts != 1 || e.IdempotencyKey != "" || f.last().header.Get("Idempotency-Key") != "" {
		t.Errorf("%+v", e)
	}
	f.script(hangUp, func(w http.ResponseWriter) { problem(w, 409, "idempotency_expired", "unknown", false, 0) })
	_, err = b.PutIf(context.Background(), "k", nil, `"1.2.3"`)
	if e = fault(t, err); !errors.Is(err, ErrIdempotencyExpired) || e.Outcome != Unknown || e.IdempotencyKey == "" {
		t.Errorf("%+v", e)
	}
}

func TestConditionsAsTheyAreSent(t *testing.T) {
	f := newStrongFake(t)
	b := f.client().Bucket("b")
	ctx := context.Background()
	for _, x := range []struct {
		do              func() error
		match, absent   string
		method, problem string
	}{
		{func() error { return second(b.PutIf(ctx, "k", nil, `"1.2.3"`)) }, `"1.2.3"`, "", "PUT", ""},
		{func() error { return second(b.PutIf(ctx, "k", nil, "")) }, "", "*", "PUT", ""},
		{func() error { return second(b.PutIf(ctx, "k", nil, `"1.2.3"`, IfAbsent())) }, `"1.2.3"`, "", "PUT", ""},
		{func() error { return second(b.Put(ctx, "k", nil, IfMatch(`"1.2.3"`))) }, `"1.2.3"`, "", "PUT", ""},
		{func() error { return second(b.DeleteIf(ctx, "k", `"1.2.3"`)) }, `"1.2.3"`, "", "DELETE", ""},
		{func() error { return second(b.Delete(ctx, "k", IfMatch(`"1.2.3"`))) }, `"1.2.3"`, "", "DELETE", ""},
		{func() error { return second(b.DeleteIf(ctx, "k", "")) }, "", "", "", "invalid_argument"},
		{func() error { return second(b.PutIf(ctx, "k", nil, "\"1\r\n\"")) }, "", "", "", "invalid_argument"},
	} {
		before := len(f.requests())
		err := x.do()
		if x.problem != "" {
			if e := fault(t, err); e.Code != x.problem || len(f.requests()) != before {
				t.Errorf("%+v", e)
			}
			continue
		}
		got := f.last()
		if err != nil || got.method != x.method || got.header.Get("If-Match") != x.match || got.header.Get("If-None-Match") != x.absent {
			t.Errorf("%v %+v", err, got)
		}
	}
	f.set(func(_ *fakeNode, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1.5.78"`)
		w.WriteHeader(201)
	})
	if r, err := b.Put(ctx, "k", nil, IfAbsent()); err != nil || !r.Created || r.ETag != `"1.5.78"` {
		t.Errorf("%+v %v", r, err)
	}
}

func TestCounters(t *testing.T) {
	f := newStrongFake(t)
	b := f.client().Bucket("b")
	ctx := context.Background()
	var hungUp atomic.Bool // an answer that never comes orders nothing
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && hungUp.CompareAndSwap(false, true) {
			hangUp(w)
		}
		strongOK(w, r)
	})
	n, err := b.Increment(ctx, "a/b", -7)
	if err != nil || n.Value != 42 || n.ETag != `"1.5.77"` || n.Attempts != 2 || n.Receipt.Synced != 2 {
		t.Fatalf("%+v %v", n, err)
	}
	got := f.requests()
	for _, x := range got {
		if x.method != "POST" || x.path != "/v1/counter/b/a%2Fb" || x.body != `{"delta":-7}` || x.header.Get("Content-Type") != "application/json" ||
			x.header.Get("Idempotency-Key") == "" || x.header.Get("Idempotency-Key") != got[0].header.Get("Idempotency-Key") {
			t.Errorf("%+v", x)
		}
	}
	if n, err := b.Counter(ctx, "a/b", Consistency(Quorum)); err != nil || n.Value != 42 || f.last().query != "consistency=quorum" || f.last().method != "GET" {
		t.Errorf("%+v %v", n, err)
	}
	f.script(func(w http.ResponseWriter) { problem(w, 409, "conflict", "not_applied", false, 0) })
	if _, err := b.Increment(ctx, "k", 1); !errors.Is(err, ErrConflict) || fault(t, err).Outcome != NotApplied {
		t.Errorf("%v", err)
	}
	for _, body := range []string{"", "[]", `{"value":"1"}`, `{"value":1.5}`, `{"other":1}`, `{"value":99999999999999999999}`} {
		f.set(func(_ *fakeNode, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		if _, err := b.Counter(ctx, "k"); err == nil || fault(t, err).Code != codeBadAnswer {
			t.Errorf("%q is taken for a counter: %v", body, err)
		}
	}
}

// Swap goes on with what somebody else has written meanwhile.
func TestSwap(t *testing.T) {
	f := newStrongFake(t)
	b := f.client().Bucket("b")
	version, value := 3, "x"
	lose := 2
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", fmt.Sprintf(`"1.5.%d"`, version))
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, value)
			return
		}
		if lose--; lose >= 0 {
			version, value = version+1, value+"o" // by somebody else
		}
		if r.Header.Get("If-Match") != fmt.Sprintf(`"1.5.%d"`, version) {
			problem(w, 412, "precondition_failed", "not_applied", false, 0)
			return
		}
		w.WriteHeader(204)
	})
	var saw []string
	r, err := b.Swap(context.Background(), "k", func(v *Value) ([]byte, error) {
		saw = append(saw, string(v.Data))
		return append(v.Data, '!'), nil
	})
	if err != nil || strings.Join(saw, " ") != "x xo xoo" || f.last().body != "xoo!" || f.last().header.Get("Content-Type") != "text/plain" {
		t.Fatalf("%+v %v %v", r, err, saw)
	}
	stop := errors.New("stop")
	if _, err := b.Swap(context.Background(), "k", func(*Value) ([]byte, error) { return nil, stop }); err != stop {
		t.Error(err)
	}
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			problem(w, 404, "key_not_found", "", false, 0)
			return
		}
		w.WriteHeader(201)
	})
	r, err = b.Swap(context.Background(), "k", func(v *Value) ([]byte, error) { return []byte(v.ETag + "new"), nil })
	if err != nil || !r.Created || f.last().header.Get("If-None-Match") != "*" || f.last().body != "new" {
		t.Errorf("%+v %v", r, err)
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]Version{`"1.5.77"`: {1, 5, 77}, `"18446744073709551615.0.3"`: {1<<64 - 1, 0, 3}} {
		if v, ok := ETag(text).Version(); !ok || v != want {
			t.Errorf("%s: %v %v", text, v, ok)
		}
	}
	for _, text := range []string{"", `"`, `""`, `1.2.3`, `"1.2"`, `"1.2.3.4"`, `"1.-2.3"`, `W/"1.2.3"`, `"0123456789abcdef"`, `"1.2.99999999999999999999"`} {
		if v, ok := ETag(text).Version(); ok || v != (Version{}) {
			t.Errorf("%s: %v", text, v)
		}
	}
	order := []Version{{0, 9, 9}, {1, 1, 9}, {1, 2, 0}, {1, 2, 1}}
	for i, a := range order {
		for j, b := range order {
			if got := a.Compare(b); got > 0 != (i > j) || got < 0 != (i < j) {
				t.Errorf("%v and %v: %d", a, b, got)
			}
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{`"1.2.3"`, `"1.2"`, `"`, `""`, "1.2.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, ok := ETag(s).Version()
		if !ok {
			return
		}
		again, ok := ETag(fmt.Sprintf(`"%d.%d.%d"`, v.Incarnation, v.Epoch, v.Index)).Version()
		if !ok || again != v {
			t.Fatalf("%q is %v, and that is %v", s, v, again)
		}
	})
}

// In a batch on a strong bucket every operation has a name of its own, so that what is
// unknown is repeated as the same write.
func TestBatchOfAStrongBucket(t *testing.T) {
	f := newStrongFake(t)
	b := f.client().Bucket("b")
	var ids []string
	f.set(func(_ *fakeNode, w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Operations []operationJSON `json:"operations"`
		}
		if err := json.NewDecoder(strings.NewReader(f.last().body)).Decode(&ask); err != nil {
			t.Error(err)
		}
		var out resultsJSON
		for _, o := range ask.Operations {
			ids = append(ids, o.Idempotency)
			switch {
			case o.IfMatch == `"1.1.1"`:
				out.Results = append(out.Results, resultJSON{Status: 412, ETag: `"1.5.9"`, Problem: &problemJSON{Code: "precondition_failed", Outcome: "not_applied", ETag: `"1.5.9"`}})
			case o.IfNoneMatch == "*" && len(ids) <= 2:
				out.Results = append(out.Results, resultJSON{Status: 503, Problem: &problemJSON{Code: "primary_changed", Outcome: "unknown", Retryable: true}})
			default:
				out.Results = append(out.Results, resultJSON{Status: 201, ETag: `"1.5.10"`})
			}
		}
		_ = json.NewEncoder(w).Encode(&out)
	})
	done, err := b.Batch(context.Background(), []Operation{{Key: "a", IfMatch: `"1.1.1"`}, {Key: "a", IfAbsent: true}})
	if err != nil {
		t.Fatal(err)
	}
	if e := fault(t, done[0].Err); !errors.Is(e, ErrPreconditionFailed) || e.ETag != `"1.5.9"` || e.Outcome != NotApplied {
		t.Errorf("%+v", e)
	}
	if done[1].Err != nil || !done[1].Result.Created || done[1].Result.ETag != `"1.5.10"` {
		t.Errorf("%+v", done[1])
	}
	if len(ids) != 3 || ids[0] == "" || ids[0] == ids[1] || ids[1] != ids[2] {
		t.Errorf("%q", ids)
	}
	if _, err := b.Batch(context.Background(), nil, IfMatch(`"1.1.1"`)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
