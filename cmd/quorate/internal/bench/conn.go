package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
	"github.com/quoratedb/quorate/internal/httpsent"
)

const (
	// bodyMax bounds an answer: 8 MiB of siblings, a third more in base64, and JSON.
	bodyMax = 16 << 20
	// Pauses between rounds over all nodes: short enough to find a node that came
	// back, long enough not to spin while none can serve.
	backoffMin = 5 * time.Millisecond
	backoffMax = 250 * time.Millisecond
	// attemptGrace lets the node's own deadline answer arrive.
	attemptGrace = 500 * time.Millisecond
)

// cluster is the nodes under load, and the turn of the next request.
type cluster struct {
	base    []*url.URL
	http    *http.Client
	timeout time.Duration
	turn    atomic.Uint32
	tries   *tally
	// versions: verify of a strong bucket. Versions and conditions take the place of
	// contexts.
	versions bool
}

// call is one operation on a key. Its bytes do not change between attempts.
type call struct {
	method  string
	path    string // escaped
	query   string
	body    []byte
	context string // Quorate-Context; "" for none
	idem    string // Idempotency-Key of a write
	once    bool   // not to be repeated once its outcome is unknown
}

type answer struct {
	status  int
	context string
	body    []byte
}

// failure is an operation that got no final answer; unknown says that a write of it
// may have happened.
type failure struct {
	reason  string
	unknown bool
	err     error
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func newCluster(o *Options, tries *tally) (*cluster, error) {
	c := &cluster{http: rest.NewHTTP(o.Concurrency), timeout: o.AttemptTimeout, tries: tries}
	for _, a := range o.Addrs {
		u, err := url.Parse(a)
		if err != nil {
			return nil, err
		}
		c.base = append(c.base, u)
	}
	return c, nil
}

// do sends k to the nodes in turn until one gives a final answer or ctx ends. rng is
// the caller's alone.
func (c *cluster) do(ctx context.Context, rng *rand.Rand, k *call) (*answer, *failure) {
	node := int(c.turn.Add(1)) % len(c.base)
	var last failure
	for attempt := 0; ; attempt++ {
		a, f, v := c.attempt(ctx, c.base[(node+attempt)%len(c.base)], k)
		if v == final {
			return a, nil
		}
		f.unknown = f.unknown || last.unknown
		last = *f
		if v == dead || (k.once && last.unknown) || !c.pause(ctx, rng, attempt) {
			return nil, &last
		}
		c.tries.add(last.reason)
	}
}

// pause waits after each round over all nodes; false when ctx ended.
func (c *cluster) pause(ctx context.Context, rng *rand.Rand, attempt int) bool {
	if (attempt+1)%len(c.base) != 0 {
		return ctx.Err() == nil
	}
	round := min((attempt+1)/len(c.base)-1, 6)
	wait := min(backoffMin<<round, backoffMax)
	return sleep(ctx, wait/2+time.Duration(rng.Int64N(int64(wait))))
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cluster) attempt(ctx context.Context, base *url.URL, k *call) (*answer, *failure, verdict) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+attemptGrace)
	defer cancel()
	write := k.method != http.MethodGet
	resp, err := c.http.Do(c.request(ctx, base, k))
	if err != nil {
		return nil, &failure{reason: reasonOf(err), unknown: write && !httpsent.NotSent(err), err: err}, again
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax+1))
	if err != nil {
		// Even an acknowledgement that was cut counts as none: the repeat settles it.
		return nil, &failure{reason: reasonOf(err), unknown: write, err: err}, again
	}
	if len(body) > bodyMax {
		return nil, &failure{reason: "answer_too_long", err: fmt.Errorf("more than %d bytes", bodyMax)}, dead
	}
	v, p := judgeReply(resp.StatusCode, resp.Header, body, base.Host, write)
	if v != final {
		return nil, &failure{reason: p.Code, unknown: write && p.Outcome != rest.NotApplied, err: p}, v
	}
	seen := resp.Header.Get("Quorate-Context")
	if c.versions {
		seen = resp.Header.Get("ETag")
	}
	return &answer{status: resp.StatusCode, context: seen, body: body}, nil, final
}

func (c *cluster) request(ctx context.Context, base *url.URL, k *call) *http.Request {
	u := *base
	u.Path, u.RawQuery = k.path, k.query // keys of a run need no escaping
	header := make(http.Header, 4)
	header["Quorate-Timeout"] = []string{strconv.FormatInt(c.timeout.Milliseconds(), 10) + "ms"}
	switch {
	case c.versions && k.method == http.MethodPut:
		setCondition(header, k.context)
	case k.context != "":
		header["Quorate-Context"] = []string{k.context}
	}
	req := &http.Request{Method: k.method, URL: &u, Host: u.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if k.method != http.MethodGet {
		header["Idempotency-Key"] = []string{k.idem}
		header["Content-Type"] = []string{"application/octet-stream"}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(k.body)), int64(len(k.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(k.body)), nil }
	}
	return req.WithContext(ctx)
}
