package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/internal/httpsent"
)

// web carries what is not a single key: JSON over net/http. None of it is hot.
type web struct {
	client *http.Client
	trip   *http.Transport
}

// webConns bounds connections to one node for requests of this kind.
const webConns = 32

func newWeb(cfg *Config) *web {
	t := &http.Transport{
		DialContext:           cfg.Dial,
		TLSClientConfig:       cfg.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		MaxConnsPerHost:       webConns,
		MaxIdleConnsPerHost:   webConns,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: nodeTimeoutMost,
		DisableCompression:    true,
	}
	return &web{trip: t, client: &http.Client{Transport: httpsent.Transport{Transport: t}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (w *web) close() { w.trip.CloseIdleConnections() }

// webRequest is one request of web.
type webRequest struct {
	method, path string // path with its query, escaped
	header       map[string]string
	body         []byte // JSON; nil: none
	most         int    // bytes of the answer
}

// get is do for a GET whose headers do not matter.
func (w *web) get(ctx context.Context, to *node, path string, header map[string]string, most int) (status int, body []byte, err error) {
	res, body, err := w.do(ctx, &to.target, &webRequest{method: http.MethodGet, path: path, header: header, most: most})
	return res, body, err
}

func (w *web) do(ctx context.Context, to *target, q *webRequest) (status int, body []byte, err error) {
	res, body, err := w.send(ctx, to, q)
	if err != nil {
		return 0, nil, err
	}
	return res.StatusCode, body, nil
}

// send makes the request and reads the whole answer.
func (w *web) send(ctx context.Context, to *target, q *webRequest) (*http.Response, []byte, error) {
	var from io.Reader
	if q.body != nil {
		from = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, to.base+q.path, from)
	if err != nil {
		return nil, nil, &netError{err: err}
	}
	for name, v := range q.header {
		req.Header.Set(name, v)
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, nil, &netError{sent: !httpsent.NotSent(err), err: cause(ctx, err)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(q.most)+1))
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(body) > q.most {
		err = badAnswer("its body has more than %d bytes", q.most)
	}
	if err != nil {
		return nil, nil, &netError{sent: true, err: cause(ctx, err)}
	}
	return res, body, nil
}

// exchange is call.exchange for JSON: a verdict as response, a good body to accept.
func (w *web) exchange(q *webRequest, accept func(body []byte) error) func(context.Context, *target, *request, *response) error {
	return func(ctx context.Context, to *target, r *request, p *response) error {
		mine := *q
		mine.header = map[string]string{"Quorate-Timeout": strconv.FormatInt(max(1, r.timeout.Milliseconds()), 10) + "ms"}
		for name, v := range q.header {
			mine.header[name] = v
		}
		if r.ring != 0 {
			mine.header["Quorate-Ring"] = strconv.FormatUint(r.ring, 10)
		}
		res, body, err := w.send(ctx, to, &mine)
		if err != nil {
			return err
		}
		p.status = res.StatusCode
		p.ring, _ = strconv.ParseUint(res.Header.Get("Quorate-Ring"), 10, 64)
		p.servedBy, p.requestID = res.Header.Get("Quorate-Served-By"), res.Header.Get("Quorate-Request-Id")
		switch {
		case p.status >= 400:
			p.fault = parseProblem(p.status, body)
			if s, err := strconv.ParseInt(res.Header.Get("Retry-After"), 10, 32); err == nil && p.fault.RetryAfter == 0 {
				p.fault.RetryAfter = time.Duration(s) * time.Second
			}
		case p.status >= 300:
			return badAnswer("its status is %d", p.status)
		case accept != nil:
			if err := accept(body); err != nil {
				return badAnswer("%v", err)
			}
		}
		return nil
	}
}
