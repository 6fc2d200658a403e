package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quoratedb/quorate/internal/httpsent"
)

const (
	// bodyMax bounds an answer: an object with all siblings is at most 8 MiB, as base64
	// in JSON a third more, and a list page or the ring stays below that.
	bodyMax = 32 << 20
	// dialTimeout bounds the search for a node that answers at all.
	dialTimeout = 2 * time.Second
)

// Client asks Addrs in their order until one answers.
type Client struct {
	Addrs   []string // base URLs, see ParseAddrs
	HTTP    *http.Client
	Timeout time.Duration // one attempt; also sent as Quorate-Timeout
}

// Request is one call. Write says that it may change something, so that a lost answer
// is an unknown outcome; Repeat says that the same bytes may be sent again.
type Request struct {
	Method, Path  string // Path is already escaped
	Query         url.Values
	Header        http.Header
	Body          []byte
	Write, Repeat bool
}

// Reply is any answer below 400.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Node   string
}

// Unreachable says that no node took the request: nothing was applied.
type Unreachable struct{ Err error }

func (e *Unreachable) Error() string { return "no node answered: " + e.Err.Error() }
func (e *Unreachable) Unwrap() error { return e.Err }

// Lost says that a request left and no answer came: a write may have happened.
type Lost struct {
	Write bool
	Err   error
}

func (e *Lost) Error() string {
	if e.Write {
		return "no answer, the write may or may not have happened: " + e.Err.Error()
	}
	return "no answer: " + e.Err.Error()
}
func (e *Lost) Unwrap() error { return e.Err }

// NewHTTP is a pooled client for conns connections to each node. Redirects are
// returned, not followed: a 301 would turn a PUT into a GET.
func NewHTTP(conns int) *http.Client {
	return &http.Client{
		Transport: httpsent.Transport{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost: conns,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ParseAddrs turns "host:port" and "http://host:port" entries into base URLs.
func ParseAddrs(list []string) ([]string, error) {
	var out []string
	for _, a := range list {
		a = strings.TrimSpace(a)
		if a == "" {
			continue
		}
		if !strings.Contains(a, "://") {
			a = "http://" + a
		}
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("address %q: want host:port or http://host:port", a)
		}
		out = append(out, u.Scheme+"://"+u.Host)
	}
	if len(out) == 0 {
		return nil, errors.New("no address given")
	}
	return out, nil
}

// Do sends r to one node after the other. It goes on to the next one where nothing was
// sent, where the answer says that nothing was applied and a retry makes sense, and,
// for a read or a request with Repeat, where the answer got lost. The error is a
// *Problem, *Unreachable, *Lost or the context's.
func (c *Client) Do(ctx context.Context, r Request) (*Reply, error) {
	var last error
	unknown := false
	for _, addr := range c.Addrs {
		reply, err := c.attempt(ctx, addr, r)
		if err == nil {
			return reply, nil
		}
		if ctx.Err() != nil && last == nil && !isLost(err) {
			return nil, err
		}
		if unknown = unknown || outcomeUnknown(err); settled(r, err) {
			return nil, err
		}
		// A definite refusal does not settle what an earlier attempt did.
		if last == nil || !unknown || outcomeUnknown(err) {
			last = err
		}
		if !next(r, err) {
			break
		}
	}
	return nil, last
}

func isLost(err error) bool {
	var lost *Lost
	return errors.As(err, &lost)
}

func outcomeUnknown(err error) bool {
	var p *Problem
	var l *Lost
	switch {
	case errors.As(err, &p):
		return p.Outcome == Unknown
	case errors.As(err, &l):
		return l.Write
	}
	return false
}

// settled says that a refusal speaks for every copy of the request that was sent: the
// primary of a strong bucket that compared has put its refusal into the log, under the
// request's idempotency key, where no copy had been.
func settled(r Request, err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == http.StatusPreconditionFailed && r.Header.Get("Idempotency-Key") != ""
}

// next says whether another node may be asked after err.
func next(r Request, err error) bool {
	var p *Problem
	var l *Lost
	switch {
	case errors.As(err, &p):
		return p.Retryable && (p.Outcome != Unknown || r.Repeat || !r.Write)
	case errors.As(err, &l):
		return r.Repeat || !r.Write
	}
	return true
}

func (c *Client) attempt(ctx context.Context, addr string, r Request) (*Reply, error) {
	resp, cancel, err := c.open(ctx, addr, r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax+1))
	if err != nil {
		return nil, &Lost{Write: r.Write, Err: err}
	}
	if len(body) > bodyMax {
		return nil, fmt.Errorf("answer of %s is longer than %d bytes", addr, bodyMax)
	}
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusMultipleChoices && resp.StatusCode != http.StatusNotModified {
		return nil, DecodeProblem(resp.StatusCode, resp.Header, body, addr)
	}
	return &Reply{Status: resp.StatusCode, Header: resp.Header, Body: body, Node: addr}, nil
}

// open sends r and returns the answer with its body still to be read.
func (c *Client) open(ctx context.Context, addr string, r Request) (*http.Response, context.CancelFunc, error) {
	full := addr + r.Path
	if len(r.Query) > 0 {
		full += "?" + r.Query.Encode()
	}
	// The node gives up first and says so; the margin is for its answer to arrive.
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+time.Second)
	req, err := http.NewRequestWithContext(ctx, r.Method, full, bytes.NewReader(r.Body))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	req.Header.Set("Quorate-Timeout", c.Timeout.String())
	resp, err := c.HTTP.Do(req)
	if err != nil {
		cancel()
		return nil, nil, sendError(r, err)
	}
	return resp, cancel, nil
}

func sendError(r Request, err error) error {
	if httpsent.NotSent(err) {
		return &Unreachable{Err: err}
	}
	return &Lost{Write: r.Write, Err: err}
}
