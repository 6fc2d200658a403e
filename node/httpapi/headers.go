package httpapi

import (
	"bytes"
	"net/http"
	"strconv"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// Header names in canonical form: they index http.Header directly, which spares
// the canonicalisation of Get and Set on every request.
const (
	hdrAccept         = "Accept"
	hdrAllow          = "Allow"
	hdrCacheControl   = "Cache-Control"
	hdrContentDigest  = "Content-Digest"
	hdrContentCoding  = "Content-Encoding"
	hdrContentLength  = "Content-Length"
	hdrContentRange   = "Content-Range"
	hdrContentType    = "Content-Type"
	hdrCSP            = "Content-Security-Policy"
	hdrETag           = "Etag"
	hdrIdempotencyKey = "Idempotency-Key"
	hdrIfMatch        = "If-Match"
	hdrIfNoneMatch    = "If-None-Match"
	hdrLocation       = "Location"
	hdrRetryAfter     = "Retry-After"
	hdrNosniff        = "X-Content-Type-Options"
	hdrOrigin         = "Origin"
	hdrFetchSite      = "Sec-Fetch-Site"

	hdrConsistency = "Quorate-Consistency"
	hdrContext     = "Quorate-Context"
	hdrEpoch       = "Quorate-Epoch"
	hdrPartition   = "Quorate-Partition"
	hdrReadAfter   = "Quorate-Read-After"
	hdrReceipt     = "Quorate-Receipt"
	hdrRequestID   = "Quorate-Request-Id"
	hdrRing        = "Quorate-Ring"
	hdrRoute       = "Quorate-Route"
	hdrServedBy    = "Quorate-Served-By"
	hdrSiblings    = "Quorate-Siblings"
	hdrStale       = "Quorate-Stale"
	hdrTimeout     = "Quorate-Timeout"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeNDJSON  = "application/x-ndjson"
	typeOctets  = "application/octet-stream"
)

const (
	nosniff = "nosniff"
	sandbox = "sandbox; default-src 'none'"
)

// Values that never change, shared by all replies; net/http only reads them.
var (
	valJSON    = []string{typeJSON}
	valNDJSON  = []string{typeNDJSON}
	valNosniff = []string{nosniff}
	valNoStore = []string{"no-store"}
)

// headerMax is the most headers one reply has through a headerList.
const headerMax = 16

// headerList collects header values in one buffer, so that a reply costs two
// allocations for all of them: the text and the slice the map points into.
type headerList struct {
	n    int
	keys [headerMax]string
	ends [headerMax]int
	buf  []byte
	room [512]byte
}

// headers gives the call's list, empty.
func (c *call) headers() *headerList {
	c.hdr.n, c.hdr.buf = 0, c.hdr.room[:0]
	return &c.hdr
}

// done ends the value that was appended to buf and names it.
func (h *headerList) done(key string) {
	h.keys[h.n], h.ends[h.n] = key, len(h.buf)
	h.n++
}

func (h *headerList) text(key, value string) {
	h.buf = append(h.buf, value...)
	h.done(key)
}

func (h *headerList) number(key string, v uint64) {
	h.buf = strconv.AppendUint(h.buf, v, 10)
	h.done(key)
}

// version is the ETag of a strong bucket's reply, where it has one.
func (h *headerList) version(rep *core.Reply) {
	if rep.Strong != nil && !rep.Strong.Version.IsZero() {
		h.buf = rules.AppendVersion(h.buf, rep.Strong.Version)
		h.done(hdrETag)
	}
}

// flush puts everything into dst.
func (h *headerList) flush(dst http.Header) {
	text, values, start := string(h.buf), make([]string, h.n), 0
	for i := range values {
		values[i] = text[start:h.ends[i]]
		dst[h.keys[i]] = values[i : i+1 : i+1]
		start = h.ends[i]
	}
	h.buf = nil // a long token's room is not kept with the call
}

// render appends everything as header lines. What would end a line early becomes a
// space, as in net/http.
func (h *headerList) render(b []byte) []byte {
	if bytes.IndexByte(h.buf, '\n') >= 0 || bytes.IndexByte(h.buf, '\r') >= 0 {
		for i, c := range h.buf {
			if c == '\n' || c == '\r' {
				h.buf[i] = ' '
			}
		}
	}
	start := 0
	for i, key := range h.keys[:h.n] {
		b = append(append(b, key...), ": "...)
		b = append(append(b, h.buf[start:h.ends[i]]...), "\r\n"...)
		start = h.ends[i]
	}
	h.buf = nil
	return b
}

// headers are a request's header fields; name is in canonical form.
type headers interface{ Values(name string) []string }

// netHeaders are those of net/http, without the canonicalisation of its own Values.
type netHeaders http.Header

func (h netHeaders) Values(name string) []string { return h[name] }

// one gives the single value of a header. Two lines of one header are refused:
// which of them counts would be a guess.
func one(h headers, key string) (value string, given bool, f *fault) {
	switch v := h.Values(key); len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	}
	return "", true, refuse(codeInvalidArgument, "the header "+key+" stands twice")
}

// appendETag appends a version's strong ETag.
func appendETag(b []byte, hash uint64) []byte { return rules.AppendETag(b, hash) }

func etag(hash uint64) string { return string(appendETag(nil, hash)) }

// siblingETag names one sibling by its dot.
func siblingETag(d version.Dot) string { return rules.SiblingETag(d) }

const hexDigits = "0123456789abcdef"

// appendHex appends two hex digits for each byte.
func appendHex(b, src []byte) []byte {
	for _, c := range src {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}
