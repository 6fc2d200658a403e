package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
)

const (
	// headMax bounds the head of an answer: a token of 1,024 actors is 24 KiB.
	headMax = 64 << 10
	// bodyMax bounds a body: the largest object, 8 MiB, as base64 in JSON.
	bodyMax = 12 << 20
)

// errBadAnswer is an answer that is not HTTP as a node speaks it.
var errBadAnswer = errors.New("the answer is not one of a quorate node")

func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBadAnswer, fmt.Sprintf(format, args...))
}

// answerHead is what of a head does not go into the response.
type answerHead struct {
	length  int64 // -1: not given
	chunked bool
	close   bool
	retryMS int64 // Retry-After
	left    int   // bytes the head may still have
}

// receive reads the answer to q. begun tells that something of it came, keep that
// the connection can be used again.
func (c *httpConn) receive(q *request, p *response) (begun, keep bool, err error) {
	h := answerHead{length: -1, left: headMax}
	for {
		var minor byte
		p.status, minor, err = c.readStatus(&h)
		if err != nil {
			return c.br.Buffered() > 0 || errors.Is(err, errBadAnswer), false, err
		}
		h.close = minor == '0'
		if err = c.readHeaders(&h, p); err != nil {
			return true, false, err
		}
		if p.status >= 200 {
			break
		}
	}
	body, ended, err := c.readBody(&h, q, p.status)
	if err != nil {
		return true, false, err
	}
	if err := p.finish(q, &h, body); err != nil {
		return true, false, err
	}
	return true, ended && !h.close, nil
}

// readLine gives the next line without its end, good until the next read.
func (c *httpConn) readLine(h *answerHead) ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		c.line = c.line[:0]
		for errors.Is(err, bufio.ErrBufferFull) && len(c.line) <= h.left {
			c.line = append(c.line, line...)
			line, err = c.br.ReadSlice('\n')
		}
		c.line = append(c.line, line...)
		line = c.line
	}
	if h.left -= len(line); h.left < 0 {
		return nil, badAnswer("its head is longer than %d bytes", headMax)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// readStatus reads "HTTP/1.1 204 No Content".
func (c *httpConn) readStatus(h *answerHead) (status int, minor byte, err error) {
	line, err := c.readLine(h)
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return 0, 0, badAnswer("it does not begin with a status line")
	}
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			return 0, 0, badAnswer("its status is no number")
		}
		status = 10*status + int(d-'0')
	}
	if status < 100 {
		return 0, 0, badAnswer("its status is %d", status)
	}
	return status, line[7], nil
}

func (c *httpConn) readHeaders(h *answerHead, p *response) error {
	for {
		line, err := c.readLine(h)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		at := bytes.IndexByte(line, ':')
		if at <= 0 {
			return badAnswer("a header line without a colon")
		}
		if err := c.header(h, p, line[:at], bytes.Trim(line[at+1:], " \t")); err != nil {
			return err
		}
	}
}

// header takes one header line. Lengths first: most lines are told apart by them.
func (c *httpConn) header(h *answerHead, p *response, name, v []byte) error {
	switch {
	case is(name, "content-length"):
		n, ok := parseUint(v)
		if !ok || n > bodyMax && p.status != 200 || h.length >= 0 && h.length != int64(n) || n > 1<<40 {
			return badAnswer("its length is wrong or above %d bytes", bodyMax)
		}
		h.length = int64(n)
	case is(name, "content-type"):
		if c.contentType != string(v) {
			c.contentType = string(v)
		}
		p.contentType = c.contentType
	case is(name, "etag"):
		p.etag = ETag(v)
	case is(name, "quorate-context"):
		p.context = Context(v)
	case is(name, "quorate-receipt"):
		p.receipt = parseReceipt(v)
	case is(name, "quorate-served-by"):
		if c.servedBy != string(v) {
			c.servedBy = string(v)
		}
		p.servedBy = c.servedBy
	case is(name, "quorate-ring"):
		p.ring, _ = parseUint(v)
	case is(name, "quorate-epoch"):
		p.epoch, _ = parseUint(v)
	case is(name, "quorate-partition"):
		n, ok := parseUint(v)
		p.partition, p.hasPartition = uint32(n), ok
	case is(name, "quorate-stale"):
		p.stale = true
		_, n, _ := bytes.Cut(v, []byte("applied="))
		p.applied, _ = parseUint(n)
	case is(name, "quorate-siblings"):
		n, _ := parseUint(v)
		p.count = int(min(n, 1<<16))
	case is(name, "quorate-request-id"):
		if p.status >= 400 {
			p.requestID = string(v)
		}
	case is(name, "transfer-encoding"):
		if !is(v, "chunked") {
			return badAnswer("a transfer encoding that is not chunked")
		}
		h.chunked = true
	case is(name, "connection"):
		h.close = h.close || hasToken(v, "close")
	case is(name, "retry-after"):
		if n, ok := parseUint(v); ok {
			h.retryMS = int64(min(n, 3600)) * 1000
		}
	}
	return nil
}

// readBody reads what belongs to the answer. ended tells that its end is known, so
// that another answer can follow.
func (c *httpConn) readBody(h *answerHead, q *request, status int) (body []byte, ended bool, err error) {
	switch {
	case q.op == opHead || status == 204 || status == 304:
		return nil, true, nil
	case h.chunked:
		// Never from a node on this path, but from what may stand before it. The
		// connection is not used again, so the trailer may stay where it is.
		body, err = readAll(httputil.NewChunkedReader(c.br))
	case h.length < 0:
		body, err = readAll(c.br)
	case h.length > bodyMax:
		err = badAnswer("its body has %d bytes, more than %d", h.length, bodyMax)
	default:
		body = make([]byte, h.length)
		_, err = io.ReadFull(c.br, body)
		ended = true
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return body, ended, err
}

func readAll(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, bodyMax+1))
	if err == nil && len(body) > bodyMax {
		err = badAnswer("its body has more than %d bytes", bodyMax)
	}
	return body, err
}

// finish fills in what depends on status and body.
func (p *response) finish(q *request, h *answerHead, body []byte) error {
	switch {
	case p.status == 200 && q.op == opHead:
		p.size = h.length
	case p.status == 200 && q.op.counter():
		return p.parseCounter(body)
	case p.status == 200 && !q.op.write():
		p.value, p.size = body, int64(len(body))
	case p.status == 300:
		if q.op == opHead {
			return nil
		}
		return p.parseSiblings(body)
	case p.status == 200 || p.status == 201 || p.status == 204 || p.status == 304:
	case p.status < 400:
		return badAnswer("its status is %d", p.status)
	default:
		p.fault = parseProblem(p.status, body)
		if p.fault.ETag == "" && p.status == 412 {
			p.fault.ETag = p.etag
		}
		if q.op == opHead && p.status == 404 && p.servedBy != "" {
			p.fault.Code = codeBucketNotFound
			if p.hasPartition {
				p.fault.Code = codeKeyNotFound // it got as far as the key
			}
		}
		if p.fault.RetryAfter == 0 {
			p.fault.RetryAfter = msDuration(h.retryMS)
		}
	}
	return nil
}

// is compares a header's name, or a token, without regard to case. b is ASCII.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if b[i]|0x20 != lower[i] && b[i] != lower[i] {
			return false
		}
	}
	return true
}

func hasToken(list []byte, token string) bool {
	for item := range bytes.SplitSeq(list, []byte{','}) {
		if is(bytes.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

func parseUint(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	if len(b) > 18 {
		n, err := strconv.ParseUint(string(b), 10, 64)
		return n, err == nil
	}
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + uint64(d-'0')
	}
	return n, true
}

// parseReceipt reads "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2". Members
// that it does not know are left out, those that are missing are 0.
func parseReceipt(b []byte) (r Receipt) {
	for item := range bytes.SplitSeq(b, []byte{','}) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(item), []byte{'='})
		n, ok := parseUint(value)
		if !ok || n > 1<<16 {
			continue
		}
		v := int(n)
		switch string(name) {
		case "n":
			r.N = v
		case "need":
			r.Need = v
		case "acks":
			r.Acks = v
		case "owners":
			r.Owners = v
		case "fallbacks":
			r.Fallbacks = v
		case "synced":
			r.Synced = v
		}
	}
	return r
}
