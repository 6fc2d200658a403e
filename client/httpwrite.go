package client

import (
	"encoding/base64"
	"net"
	"strconv"
)

// send writes q.
func (c *httpConn) send(to *target, q *request) error {
	c.out = appendRequest(c.out[:0], to, q)
	if q.op == opIncrement {
		c.out = append(strconv.AppendInt(append(c.out, deltaHead...), q.delta, 10), '}')
	}
	if q.op == opPut && len(q.value) > inlineValue {
		both := net.Buffers{c.out, q.value}
		_, err := both.WriteTo(c.Conn)
		return err
	}
	if q.op == opPut {
		c.out = append(c.out, q.value...)
	}
	_, err := c.Write(c.out)
	return err
}

// appendRequest appends the head of q.
func appendRequest(b []byte, to *target, q *request) []byte {
	switch q.op {
	case opHead:
		b = append(b, "HEAD "...)
	case opPut:
		b = append(b, "PUT "...)
	case opIncrement:
		b = append(b, "POST "...)
	case opDelete:
		b = append(b, "DELETE "...)
	default:
		b = append(b, "GET "...)
	}
	b = appendTarget(b, q)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, to.addr...)
	b = append(b, "\r\nQuorate-Timeout: "...)
	b = strconv.AppendInt(b, max(1, q.timeout.Milliseconds()), 10)
	b = append(b, "ms\r\n"...)
	b = header(b, "Quorate-Context", string(q.context))
	b = header(b, "Quorate-Read-After", string(q.after))
	b = header(b, "If-Match", string(q.match))
	b = header(b, "If-None-Match", string(q.noneMatch))
	b = header(b, "Idempotency-Key", q.idempotency)
	if q.ring != 0 {
		b = append(b, "Quorate-Ring: "...)
		b = append(strconv.AppendUint(b, q.ring, 10), '\r', '\n')
	}
	if q.ownerOnly {
		b = append(b, "Quorate-Route: owner\r\n"...)
	}
	if q.op == opPut {
		b = header(b, "Content-Type", q.contentType)
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(q.value)), 10), '\r', '\n')
	}
	if q.op == opIncrement {
		b = header(b, "Content-Type", "application/json")
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(deltaBody(q.delta)), 10), '\r', '\n')
	}
	return append(b, '\r', '\n')
}

// header appends a line, if there is a value. Values were checked to be printable.
func header(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, '\r', '\n')
}

// appendTarget appends path and query.
func appendTarget(b []byte, q *request) []byte {
	if q.op.counter() {
		b = append(b, "/v1/counter/"...)
	} else {
		b = append(b, "/v1/kv/"...)
	}
	b = appendEscaped(b, q.bucket)
	if q.key == "." || q.key == ".." {
		// Proxies take these away from a path, escaped or not.
		b = append(b, "?key64="...)
		b = base64.RawURLEncoding.AppendEncode(b, []byte(q.key))
		return appendQuery(b, '&', q)
	}
	b = append(b, '/')
	return appendQuery(appendEscaped(b, q.key), '?', q)
}

// appendQuery appends what a request chooses, the first member after sep.
func appendQuery(b []byte, sep byte, q *request) []byte {
	number := func(name string, v int8) {
		if v != 0 {
			b = append(append(b, sep), name...)
			b = strconv.AppendInt(b, int64(v), 10)
			sep = '&'
		}
	}
	text := func(name, v string) {
		b = append(append(append(b, sep), name...), v...)
		sep = '&'
	}
	if q.op.write() {
		number("w=", q.w)
		number("pw=", q.pw)
	} else {
		number("r=", q.r)
	}
	if q.level != 0 {
		text("consistency=", levelNames[q.level])
	}
	switch q.sloppy {
	case yes:
		text("sloppy=", "true")
	case no:
		text("sloppy=", "false")
	}
	if q.newest {
		text("resolve=", "newest")
	}
	if q.ttl != 0 {
		b = append(append(b, sep), "ttl="...)
		b = append(strconv.AppendInt(b, q.ttl.Milliseconds(), 10), "ms"...)
	}
	return b
}

const upperHex = "0123456789ABCDEF"

// appendEscaped percent-encodes everything but RFC 3986's unreserved characters,
// slashes too: what is between here and the node must see one segment.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if unreserved[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

var unreserved = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" {
		t[c] = true
	}
	return t
}()
