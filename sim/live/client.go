package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quoratedb/quorate/internal/httpsent"
	"github.com/quoratedb/quorate/sim/check"
)

const (
	// bodyMax bounds an answer: 8 MiB of siblings, a third more in base64, and JSON.
	bodyMax = 16 << 20
	// answerGrace lets the node's own verdict arrive after its deadline.
	answerGrace = 500 * time.Millisecond
	dialTimeout = time.Second
)

// server is one node as clients see it.
type server struct {
	name string // as it calls itself
	base string // http://host:port
}

// request is one attempt of an operation. Its bytes are the same at every attempt.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	token        string // Quorate-Context, or with GET Quorate-Read-After
	hasToken     bool
	idem         string // Idempotency-Key
	ownerOnly    bool   // no node on the way may send it again
	match        string // If-Match
	absent       bool   // If-None-Match: *
	timeout      time.Duration
}

// answer is what became of an attempt.
type answer struct {
	outcome   check.Outcome
	values    [][]byte // of a read
	token     string
	etag      string
	how       string // of a read of a strong bucket: as the answer says it was done
	count     int64  // of a counter
	servedBy  string
	code      string // of a problem, or the kind of silence
	retryable bool
	body      []byte // of control requests
}

// newHTTP keeps conns connections to each node. Redirects are not followed.
func newHTTP(conns int) *http.Client {
	return &http.Client{
		Transport:     httpsent.Transport{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, MaxIdleConnsPerHost: conns, DisableCompression: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send makes one attempt at one node.
func send(ctx context.Context, hc *http.Client, s server, r *request) answer {
	ctx, cancel := context.WithTimeout(ctx, r.timeout+answerGrace)
	defer cancel()
	req, err := r.http(ctx, s)
	if err != nil {
		return answer{outcome: r.silence(false), code: "bad_request"}
	}
	resp, err := hc.Do(req)
	if err != nil {
		unsent := httpsent.NotSent(err)
		return answer{outcome: r.silence(!unsent), code: "no_answer", retryable: unsent}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax+1))
	if err != nil || len(body) > bodyMax {
		return answer{outcome: r.silence(true), code: "cut_answer"}
	}
	a := answer{token: resp.Header.Get("Quorate-Context"), etag: resp.Header.Get("Etag"), servedBy: resp.Header.Get("Quorate-Served-By"), how: resp.Header.Get("Quorate-Consistency"), body: body}
	a.judge(r, resp.StatusCode)
	return a
}

func (r *request) http(ctx context.Context, s server) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	target := s.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // or the HTTP client might send a write twice by itself
	req.Header.Set("Quorate-Timeout", r.timeout.String())
	switch {
	case r.hasToken && r.method == http.MethodGet:
		req.Header.Set("Quorate-Read-After", r.token)
	case r.hasToken:
		req.Header.Set("Quorate-Context", r.token)
	}
	if r.idem != "" {
		req.Header.Set("Idempotency-Key", r.idem)
	}
	if r.match != "" {
		req.Header.Set("If-Match", r.match)
	}
	if r.absent {
		req.Header.Set("If-None-Match", "*")
	}
	if r.ownerOnly {
		req.Header.Set("Quorate-Route", "owner")
	}
	return req, nil
}

// silence is the outcome of a request without an answer.
func (r *request) silence(left bool) check.Outcome {
	switch {
	case r.method == http.MethodGet:
		return check.Failed
	case left:
		return check.Unknown
	}
	return check.NotApplied
}

func (a *answer) judge(r *request, status int) {
	read := r.method == http.MethodGet
	switch {
	case strings.HasPrefix(r.path, "/v1/counter/") && status == http.StatusOK:
		a.counted(read)
		return
	case read && status == http.StatusOK:
		a.outcome, a.values = check.OK, [][]byte{a.body}
		return
	case read && status == http.StatusMultipleChoices:
		a.siblings()
		return
	case !read && status < 300:
		a.outcome = check.OK
		return
	}
	var p struct {
		Code      string `json:"code"`
		Outcome   string `json:"outcome"`
		Retryable bool   `json:"retryable"`
	}
	if json.Unmarshal(a.body, &p) != nil || p.Code == "" {
		p.Code = fmt.Sprintf("http_%d", status)
	}
	a.code, a.retryable, a.outcome = p.Code, p.Retryable, check.Failed
	switch {
	case read && p.Code == "key_not_found":
		a.outcome = check.OK
	case read:
	case status == http.StatusPreconditionFailed && (r.match != "" || r.absent):
		a.outcome = check.Mismatch
	case p.Outcome == "not_applied":
		a.outcome = check.NotApplied
	default:
		a.outcome = check.Unknown
	}
}

// counted takes the value of a counter.
func (a *answer) counted(read bool) {
	var c struct {
		Value *int64 `json:"value"`
	}
	if json.Unmarshal(a.body, &c) != nil || c.Value == nil {
		a.outcome, a.code = map[bool]check.Outcome{true: check.Failed, false: check.Unknown}[read], "broken_answer"
		return
	}
	a.outcome, a.count = check.OK, *c.Value
}

func (a *answer) siblings() {
	var list struct {
		Siblings []struct {
			Value []byte `json:"value"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		a.outcome, a.code = check.Failed, "broken_answer"
		return
	}
	a.outcome = check.OK
	for _, s := range list.Siblings {
		a.values = append(a.values, s.Value)
	}
}

// A value is the name of its write, unique in the history, then bytes that follow
// from the name, so that a damaged one shows.
func makeValue(name string, pad int) []byte {
	b := append([]byte(name), ' ')
	for len(b) < len(name)+1+pad {
		b = append(b, name[len(b)%len(name)])
	}
	return b
}

// nameOf is the write that a value comes from.
func nameOf(value []byte) (string, error) {
	name, pad, ok := strings.Cut(string(value), " ")
	if !ok || name == "" || !bytes.Equal(makeValue(name, len(pad)), value) {
		return "", fmt.Errorf("%d bytes that no client wrote: %.40q", len(value), value)
	}
	return name, nil
}
