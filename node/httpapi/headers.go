package httpapi

import (
	"net/http"
	"strconv"

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
	hdrTimeout     = "Quorate-Timeout"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeNDJSON  = "application/x-ndjson"
	typeOctets  = "application/octet-stream"
)

// Values that never change, shared by all replies; net/http only reads them.
var (
	valJSON    = []string{typeJSON}
	valProblem = []string{typeProblem}
	valNDJSON  = []string{typeNDJSON}
	valNosniff = []string{"nosniff"}
	valSandbox = []string{"sandbox; default-src 'none'"}
	valNoStore = []string{"no-store"}
)

// headerMax is the most headers one reply has through a headerList.
const headerMax = 14

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

// one gives the single value of a header. Two lines of one header are refused:
// which of them counts would be a guess.
func one(h http.Header, key string) (value string, given bool, f *fault) {
	switch v := h[key]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	}
	return "", true, refuse(codeInvalidArgument, "the header "+key+" stands twice")
}

const hexDigits = "0123456789abcdef"

// appendHex64 appends 16 hex digits.
func appendHex64(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// appendETag appends a version's strong ETag: quotes around 16 hex digits.
func appendETag(b []byte, hash uint64) []byte {
	return append(appendHex64(append(b, '"'), hash), '"')
}

func etag(hash uint64) string { return string(appendETag(nil, hash)) }

// siblingETag names one sibling by its dot.
func siblingETag(d version.Dot) string {
	b := appendHex64([]byte{'"'}, uint64(d.Actor))
	return string(append(strconv.AppendUint(append(b, '-'), d.Counter, 16), '"'))
}

// appendHex appends two hex digits for each byte.
func appendHex(b, src []byte) []byte {
	for _, c := range src {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}
