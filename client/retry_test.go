package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// verdicts is what is done about every code of the contract. Letters: r a read is
// retried, w a write, o a write that must not be repeated where it may have been
// applied.
var verdicts = []struct {
	codes   string
	status  int
	outcome string // of a write
	again   string
}{
	{"invalid_argument unknown_parameter context_invalid digest_mismatch", 400, "not_applied", ""},
	{"unauthenticated", 401, "not_applied", ""},
	{"permission_denied", 403, "not_applied", ""},
	{"key_not_found", 404, "", ""},
	{"bucket_not_found not_found", 404, "not_applied", ""},
	{"method_not_allowed", 405, "not_applied", ""},
	{"conflict sibling_limit idempotency_in_flight", 409, "not_applied", ""},
	{"idempotency_expired", 409, "unknown", ""},
	{"precondition_failed", 412, "not_applied", ""},
	{"value_too_large", 413, "not_applied", ""},
	{"key_too_long", 414, "not_applied", ""},
	{"unsupported_media", 415, "not_applied", ""},
	{"not_owner", 421, "not_applied", "rwo"},
	{"conditional_needs_strong quorum_impossible idempotency_mismatch not_supported", 422, "not_applied", ""},
	{"rate_limited hot_key_throttled", 429, "not_applied", "rwo"},
	{"internal", 500, "unknown", "r"},
	{"overloaded draining starting quorum_unavailable primary_unavailable clock_skew", 503, "not_applied", "rwo"},
	{"stale_replica", 503, "", "r"},
	{"replica_failure primary_changed", 503, "unknown", "rw"},
	{"read_quorum_timeout", 504, "", "r"},
	{"write_quorum_timeout", 504, "unknown", "rw"},
	{"insufficient_storage", 507, "not_applied", ""},
	{"a_code_of_tomorrow", 503, "not_applied", "rwo"}, // it says itself that it may be retried
	{"another_of_tomorrow", 499, "unknown", ""},       // and this one that it may not
}

// retryableToday is what the server says in the member retryable.
func retryableToday(status int, code string) bool {
	return status == 421 || status == 429 || status == 503 || status == 504
}

func TestEveryCodeHasItsVerdict(t *testing.T) {
	known := map[string]bool{}
	for _, v := range verdicts {
		for code := range strings.FieldsSeq(v.codes) {
			known[code] = true
			t.Run(code, func(t *testing.T) { eachVerdict(t, code, v.status, v.outcome, v.again) })
		}
	}
	doc, err := os.ReadFile("../node/httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^ +\| ([a-z_, ()]+) \| \d{3} \|`).FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 15 {
		t.Fatalf("%d rows of codes in the API document", len(rows))
	}
	for _, row := range rows {
		for code := range strings.SplitSeq(regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(row[1], ""), ",") {
			if code = strings.TrimSpace(code); !known[code] {
				t.Errorf("the API document has the code %q, this table does not", code)
			}
		}
	}
}

// eachVerdict sends a read, a write and a write that must not be repeated, whose
// first answer is the code and whose second is good.
func eachVerdict(t *testing.T, code string, status int, outcome, again string) {
	f := newFake(t, 3)
	c := f.client()
	b := c.Bucket("b")
	ctx := context.Background()
	first := func(w http.ResponseWriter) { problem(w, status, code, outcome, retryableToday(status, code), 1) }
	for _, call := range []struct {
		letter string
		write  bool
		do     func() error
	}{
		{"r", false, func() error { return second(b.Get(ctx, "k")) }},
		{"w", true, func() error { return second(b.Put(ctx, "k", []byte("v"))) }},
		{"w", true, func() error { return second(b.Delete(ctx, "k")) }},
		{"o", true, func() error { return second(b.Put(ctx, "k", []byte("v"), Once())) }},
	} {
		if call.write && outcome == "" && status != 404 {
			continue // a code of reads alone
		}
		f.script(first)
		before := len(f.requests())
		err := call.do()
		n := len(f.requests()) - before
		if strings.Contains(again, call.letter) {
			if err != nil || n != 2 {
				t.Errorf("%s: %d attempts, %v", call.letter, n, err)
			}
			continue
		}
		e := fault(t, err)
		want := parseOutcome(outcome)
		if !call.write {
			want = OutcomeNone
		} else if want == OutcomeNone {
			want = Unknown // a server that does not say
		}
		if n != 1 || e.Code != code || e.Status != status || e.Outcome != want || e.Attempts != 1 {
			t.Errorf("%s: %d attempts, %+v", call.letter, n, e)
		}
	}
}

// A write whose outcome is unknown is repeated under the same idempotency key, with
// the same context and value, at another node.
func TestUnknownIsRepeatedAsTheSameWrite(t *testing.T) {
	unknown := func(w http.ResponseWriter) { problem(w, 504, "write_quorum_timeout", "unknown", true, 0) }
	for name, first := range map[string]func(http.ResponseWriter){"verdict": unknown, "cut": hangUp} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 3)
			c := f.client()
			f.script(first, first)
			r, err := c.Bucket("b").Put(context.Background(), "k", []byte("v"), With("AQ-seen"), ContentType("text/x"), TTL(time.Second), W(2), PW(1), Strict())
			if err != nil || r.Attempts != 3 || r.Receipt.Synced != 2 {
				t.Fatalf("%+v %v", r, err)
			}
			got := f.requests()
			if len(got) != 3 || got[0].node == got[1].node || got[1].node == got[2].node || got[0].node == got[2].node {
				t.Fatalf("%+v", got)
			}
			key := got[0].header.Get("Idempotency-Key")
			if !regexp.MustCompile(`^\d{13}-[0-9a-f]{16}$`).MatchString(key) {
				t.Errorf("idempotency key %q", key)
			}
			for _, x := range got {
				if x.header.Get("Idempotency-Key") != key || x.header.Get("Quorate-Context") != "AQ-seen" || x.body != "v" ||
					x.header.Get("Content-Type") != "text/x" || x.query != "w=2&pw=1&sloppy=false&ttl=1000ms" || x.path != "/v1/kv/b/k" {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// Whoever forbids it is told that the outcome is unknown, and under which key the
// write can be repeated.
func TestOnceIsNotRepeated(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	f.script(hangUp)
	_, err := c.Bucket("b").Put(context.Background(), "k", nil, Once())
	e := fault(t, err)
	if !errors.Is(err, ErrOutcomeUnknown) || e.Code != codeUnreachable || len(f.requests()) != 1 || e.IdempotencyKey != f.requests()[0].header.Get("Idempotency-Key") {
		t.Fatalf("%+v", e)
	}
	if _, err := c.Bucket("b").Put(context.Background(), "k", nil, IdempotencyKey(e.IdempotencyKey)); err != nil || f.requests()[1].header.Get("Idempotency-Key") != e.IdempotencyKey {
		t.Errorf("%v %+v", err, f.requests())
	}
}

// Once an attempt may have been applied, no later refusal makes it "not applied".
func TestUnknownStays(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	f.script(hangUp, func(w http.ResponseWriter) { problem(w, 400, "invalid_argument", "not_applied", false, 0) })
	_, err := c.Bucket("b").Put(context.Background(), "k", nil)
	if e := fault(t, err); e.Code != "invalid_argument" || e.Outcome != Unknown || e.Attempts != 2 || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%+v", e)
	}
}

// A refused connection means that nothing was sent: even a write that must not be
// repeated goes to the next owner, and the node is left alone.
func TestRefusedConnections(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	dead := f.ownerOf(c, "b", "k")
	dead.srv.Close()
	r, err := c.Bucket("b").Put(context.Background(), "k", nil, Once())
	if err != nil || r.Attempts != 2 || r.Node == dead.name {
		t.Fatalf("%+v %v", r, err)
	}
	for range 20 {
		if r, err := c.Bucket("b").Put(context.Background(), "k", nil, Once()); err != nil || r.Attempts != 1 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	if s := c.Stats(); s.NodesDown != 1 || s.Retries != 1 {
		t.Errorf("%+v", s)
	}
	// All of them gone: the error says so, and that nothing was applied.
	for _, n := range f.nodes {
		n.srv.Close()
	}
	until(t, "no node", func() error {
		_, err := c.Bucket("b").Put(context.Background(), "k", nil)
		if e := fault(t, err); e.Code != codeUnreachable || !errors.Is(err, ErrUnavailable) || e.Outcome == Applied {
			return fmt.Errorf("%+v", e)
		} else if e.Outcome != NotApplied {
			return fmt.Errorf("%+v", e) // a kept connection that was closed under it
		}
		return nil
	})
}

// A node that came back is used again, once a probe has found it ready.
func TestProbe(t *testing.T) {
	f := newFake(t, 1)
	c := f.client()
	n := f.nodes[0]
	c.failed(c.ring.Load().nodes[0])
	if s := c.Stats(); !s.Nodes[0].Down {
		t.Fatal("not down")
	}
	until(t, "up again", func() error {
		if c.Stats().Nodes[0].Down {
			return errors.New("down")
		}
		return nil
	})
	_ = n
}

// Retry-After of the cluster is kept; one that is beyond the deadline ends the call.
func TestRetryAfter(t *testing.T) {
	f := newFake(t, 3)
	c := f.client()
	wait := int64(60)
	f.script(func(w http.ResponseWriter) { problem(w, 503, "quorum_unavailable", "not_applied", true, wait) })
	began := time.Now()
	if _, err := c.Bucket("b").Put(context.Background(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < time.Duration(wait)*time.Millisecond {
		t.Errorf("retried after %v", took)
	}
	f.script(func(w http.ResponseWriter) { problem(w, 503, "quorum_unavailable", "not_applied", true, 60_000) })
	began = time.Now()
	_, err := c.Bucket("b").Put(context.Background(), "k", nil)
	if e := fault(t, err); e.RetryAfter != time.Minute || e.Attempts != 1 || e.Outcome != NotApplied || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%+v", e)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("waited %v for what could not come", took)
	}
	// A shed request goes to another node without waiting for the first one.
	f.script(func(w http.ResponseWriter) { problem(w, 503, "overloaded", "not_applied", true, 60_000) })
	if r, err := c.Bucket("b").Put(context.Background(), "k", nil); err != nil || r.Attempts != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// Attempts are bounded, and so are retries of all calls together.
func TestRetriesAreBounded(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.MaxAttempts = 3; c.RetryShare = 0.1 })
	f.set(func(_ *fakeNode, w http.ResponseWriter, _ *http.Request) {
		problem(w, 503, "quorum_unavailable", "not_applied", true, 1)
	})
	b := c.Bucket("b")
	_, err := b.Put(context.Background(), "k", nil)
	if e := fault(t, err); e.Attempts != 3 || len(f.requests()) != 3 {
		t.Fatalf("%+v", e)
	}
	c.retries.tokens.Store(2 * oneToken)
	before := len(f.requests())
	for range 100 {
		_, err = b.Put(context.Background(), "k", nil)
		fault(t, err)
	}
	// 100 calls, two tokens that were there, and one for each ten calls.
	if n := len(f.requests()) - before; n < 110 || n > 112 {
		t.Errorf("%d requests for 100 calls", n)
	}
	if s := c.Stats(); s.NoBudget == 0 || s.Retries > 2+12 {
		t.Errorf("%+v", s)
	}
}

// The node is told how long it has; a node that says nothing does not take all of
// the time.
func TestDeadlines(t *testing.T) {
	f := newFake(t, 3)
	c := f.client(func(c *Config) { c.Timeout = 2 * time.Second; c.HedgeShare = -1 })
	stuck := f.ownerOf(c, "b", "k")
	release := make(chan struct{})
	defer close(release)
	f.set(func(n *fakeNode, w http.ResponseWriter, r *http.Request) {
		if n == stuck {
			<-release
		}
		ok(w, r)
	})
	r, err := c.Bucket("b").Put(context.Background(), "k", []byte("v"))
	if err != nil || r.Attempts != 2 || r.Node == stuck.name {
		t.Fatalf("%+v %v", r, err)
	}
	for i, x := range f.requests() {
		d, err := time.ParseDuration(x.header.Get("Quorate-Timeout"))
		if err != nil || d <= 0 || d > time.Second || i == 0 && d < 900*time.Millisecond {
			t.Errorf("%d: %s", i, x.header.Get("Quorate-Timeout"))
		}
	}
	if s := c.Stats(); s.NodesDown != 1 {
		t.Errorf("a node that gave no verdict in a second is not taken out: %+v", s)
	}
	f.set(func(*fakeNode, http.ResponseWriter, *http.Request) { <-release })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Bucket("b").Put(ctx, "k", nil)
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	went := len(f.requests())
	done := make(chan error, 1)
	go func() { done <- second(c.Bucket("b").Get(ctx, "k")) }()
	until(t, "sent", func() error {
		if len(f.requests()) == went {
			return errors.New("not yet")
		}
		return nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || fault(t, err).Code != codeCanceled {
		t.Error(err)
	}
	if _, err := c.Bucket("b").Put(ctx, "k", nil); !errors.Is(err, context.Canceled) || fault(t, err).Outcome != NotApplied {
		t.Errorf("a call that was over before it began: %v", err)
	}
}

// Answers that are no answers of a node are errors, never values.
func TestBadAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"not http":        "SSH-2.0-x\r\n\r\n",
		"no colon":        "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
		"bad length":      "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"two lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"huge":            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"long head":       "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headMax) + "\r\n\r\n",
		"cut":             "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"cut head":        "HTTP/1.1 200 OK\r\nContent-",
		"redirect":        "HTTP/1.1 307 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"no siblings":     "HTTP/1.1 300 Multiple\r\nContent-Length: 2\r\n\r\n{}",
		"coding":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"status":          "HTTP/1.1 0x0 OK\r\n\r\n",
		"endless preface": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, Config{Endpoints: []string{rawServer(t, text)}, NoOwnerRouting: true, MaxAttempts: 2})
			v, err := c.Bucket("b").Get(context.Background(), "k")
			if v != nil || err == nil {
				t.Fatalf("%+v %v", v, err)
			}
			if e := fault(t, err); e.Code != codeBadAnswer && e.Code != codeUnreachable {
				t.Errorf("%+v", e)
			}
			if _, err := c.Bucket("b").Put(context.Background(), "k", nil); !errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("a write: %v", err)
			}
		})
	}
	// What stands in front of a node may send these.
	for name, text := range map[string]string{
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"to end":  "HTTP/1.0 200 OK\r\n\r\nabc",
		"preface": "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
		"long":    "HTTP/1.1 200 OK\r\nquorate-context: " + strings.Repeat("x", 20_000) + "\r\nContent-Length: 3\r\n\r\nabc",
	} {
		c := newClient(t, Config{Endpoints: []string{rawServer(t, text)}, NoOwnerRouting: true})
		if v, err := c.Bucket("b").Get(context.Background(), "k"); err != nil || string(v.Data) != "abc" || name == "long" && len(v.Context) != 20_000 {
			t.Errorf("%s: %+v %v", name, v, err)
		}
	}
}

// rawServer answers each connection's first request with a text and closes it.
func rawServer(t *testing.T, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var head []byte
			b := make([]byte, 4096)
			for !strings.Contains(string(head), "\r\n\r\n") {
				n, err := conn.Read(b)
				if err != nil {
					break
				}
				head = append(head, b[:n]...)
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestErrorText(t *testing.T) {
	e := &Error{Op: "put", Bucket: "carts", Code: "write_quorum_timeout", Status: 504, Outcome: Unknown, Detail: "1 of 2", Attempts: 2, Err: context.DeadlineExceeded}
	if got, want := e.Error(), "quorate: put in carts: write_quorum_timeout (unknown): 1 of 2: context deadline exceeded [attempt 2]"; got != want {
		t.Errorf("%s", got)
	}
	for err, is := range map[*Error][]error{
		{Code: codeKeyNotFound, Status: 404}:                          {ErrNotFound},
		{Code: codeBucketNotFound, Status: 404}:                       {ErrBucketNotFound},
		{Code: codeOverloaded, Status: 503, Outcome: NotApplied}:      {ErrOverloaded, ErrUnavailable},
		{Code: codeStaleReplica, Status: 503}:                         {ErrStale, ErrUnavailable},
		{Code: "write_quorum_timeout", Status: 504, Outcome: Unknown}: {ErrTimeout, ErrOutcomeUnknown},
		{Code: "precondition_failed", Status: 412}:                    {ErrConflict},
		{Code: "quorum_impossible", Status: 422}:                      {ErrInvalid},
		{Code: codeClosed, Err: ErrClosed}:                            {ErrClosed},
		{Code: codeTimeout, Err: context.DeadlineExceeded}:            {ErrTimeout, context.DeadlineExceeded},
		{Code: codeUnreachable, Outcome: NotApplied, Err: io.EOF}:     {ErrUnavailable, io.EOF},
	} {
		for _, x := range []error{ErrNotFound, ErrBucketNotFound, ErrOverloaded, ErrUnavailable, ErrStale, ErrTimeout, ErrOutcomeUnknown,
			ErrConflict, ErrInvalid, ErrClosed, context.DeadlineExceeded, io.EOF} {
			if got := errors.Is(err, x); got != slices.Contains(is, x) {
				t.Errorf("%v is %v: %v", err, x, got)
			}
		}
	}
}
