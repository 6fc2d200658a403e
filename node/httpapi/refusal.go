package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
)

// refusal is the whole answer to what net/http refuses before the router sees it: a
// malformed escape in the path, a header that is none, a head that is too long. It is a
// problem as every other refusal is, with net/http's status, and ends the connection.
func (a *api) refusal(status int, reason string) []byte {
	w := refusalWriter{header: http.Header{}}
	c := calls.Get().(*call)
	c.callState = callState{a: a, w: &w, h: netHeaders(nil), ctx: context.Background(), op: &operation{name: opOther}, start: a.Now()}
	c.fail(&fault{code: codeInvalidArgument, status: status, detail: whyRefused(status, reason)})
	c.finish()
	res := http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body)}
	var out bytes.Buffer
	_ = res.Write(&out) // into memory: it cannot fail
	return out.Bytes()
}

// whyRefused: net/http names the reason in its status line, but not that of a request line
// which it cannot read, nor which of its headers asks for too much.
func whyRefused(status int, reason string) string {
	if _, why, ok := strings.Cut(reason, ": "); ok {
		return why
	}
	switch status {
	case http.StatusBadRequest:
		return "the request is malformed; in its path, % begins an escape of two hexadecimal digits"
	case http.StatusNotImplemented:
		return "a Transfer-Encoding other than chunked is not supported"
	case http.StatusExpectationFailed:
		return "an Expect other than 100-continue is not supported"
	}
	return strings.ToLower(reason)
}

// refusalWriter keeps an answer that no request belongs to.
type refusalWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *refusalWriter) Header() http.Header         { return w.header }
func (w *refusalWriter) WriteHeader(status int)      { w.status = status }
func (w *refusalWriter) Write(p []byte) (int, error) { return w.body.Write(p) }
