// Package httpsent tells whether a request that an http.Client could not have answered
// ever left. A write that did not is certain not to have happened, and one that may have
// is not.
//
// The error alone does not tell. An http.Transport whose kept connection ends under a
// request sends it again by itself if it may, as it may all that has an Idempotency-Key and
// a body that can be had once more, or none; when then nobody listens any more, the error
// is that of the second try, which got no connection.
package httpsent

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Transport is an http.Transport whose errors say whether a try before the last one left.
type Transport struct{ *http.Transport }

// RoundTrip is http.RoundTripper.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var left atomic.Bool // until the head is written nobody can act on it
	trace := &httptrace.ClientTrace{WroteHeaders: func() { left.Store(true) }}
	res, err := t.Transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && left.Load() {
		err = &leftError{err}
	}
	return res, err
}

// leftError is that of a request that may have arrived.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }

// NotSent tells that err, of a client with a Transport, came before the request left: no
// connection was made.
func NotSent(err error) bool {
	var op *net.OpError
	var left *leftError
	return errors.As(err, &op) && op.Op == "dial" && !errors.As(err, &left)
}
