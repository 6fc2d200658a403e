package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	rules "github.com/quoratedb/quorate/node/api"
)

// checksum is the CRC-32C that travels with a value from here to its readers.
func checksum(b []byte) uint32 { return rules.Checksum(b) }

// bodyPart is the room a body gets before any of it is there; what has come is
// doubled from there on, so that an announced length alone holds no memory.
const bodyPart = 64 << 10

// body takes the request's whole body, at most limit bytes, or nothing: a body that
// ends early or is too large is a fault, and no part of it is used. One whose
// announced length is too large is refused before it is read. Only then does the
// request take its place among those that are served: a slow body holds none.
func (c *call) body(limit int) ([]byte, *fault) {
	n := c.length
	if n > int64(limit) {
		return nil, tooLarge(n, limit)
	}
	b := []byte{}
	if n != 0 {
		var f *fault
		if b, f = c.readBody(n, limit); f != nil {
			return nil, f
		}
	}
	return b, c.admit()
}

// readBody reads n bytes, or when n is below 0 to the end.
func (c *call) readBody(n int64, limit int) ([]byte, *fault) {
	most := int(n)
	if n < 0 {
		most = limit + 1 // one more shows that it is too large
	}
	var b []byte
	for len(b) < most {
		if len(b) == cap(b) {
			room := min(most, max(bodyPart, 2*cap(b)))
			if f := c.hold(int64(room - cap(b))); f != nil {
				return nil, f
			}
			b = append(make([]byte, 0, room), b...)
		}
		got, err := c.src.Read(b[len(b):cap(b)])
		b = b[:len(b)+got]
		switch {
		case err == nil || len(b) == most:
		case n < 0 && errors.Is(err, io.EOF):
			return bytes.Clone(b), nil // without spare room: the value may live long
		default:
			return nil, cutBody(n, err)
		}
	}
	if len(b) > limit {
		return nil, tooLarge(-1, limit)
	}
	return b, nil
}

func tooLarge(announced int64, limit int) *fault { return asFault(rules.TooLarge(announced, limit)) }

// cutBody: of a body in chunks it is not told how it was cut, since readers of
// chunks have errors of their own for an end in a trailer.
func cutBody(n int64, err error) *fault {
	if n >= 0 && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)) {
		return refuse(codeInvalidArgument, "the body ended before its announced length; nothing was written")
	}
	return refuse(codeInvalidArgument, "the body could not be read to its end; nothing was written")
}

// checkDigest compares a body with its Content-Digest (RFC 9530), where there is
// one: every sha-256 and sha-512 in it must match, and there must be one of them.
func checkDigest(h headers, body []byte) *fault {
	lines := h.Values(hdrContentDigest)
	if len(lines) == 0 {
		return nil
	}
	known := false
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		var sum []byte
		switch name {
		case "sha-256":
			s := sha256.Sum256(body)
			sum = s[:]
		case "sha-512":
			s := sha512.Sum512(body)
			sum = s[:]
		default:
			continue
		}
		known = true
		want, ok := digestBytes(value)
		if !ok {
			return refuse(codeInvalidArgument, "Content-Digest is not of the form sha-256=:<base64>:")
		}
		if !bytes.Equal(want, sum) {
			return refuse(codeDigestMismatch, "the body's "+name+" is not the one in Content-Digest; nothing was written")
		}
	}
	if !known {
		return refuse(codeInvalidArgument, "Content-Digest has neither sha-256 nor sha-512")
	}
	return nil
}

func digestBytes(value string) ([]byte, bool) {
	text, ok := strings.CutPrefix(value, ":")
	text, end, ok2 := strings.Cut(text, ":")
	if !ok || !ok2 || end != "" && !strings.HasPrefix(end, ";") {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil
}

// checkRepresentation refuses a body that would read back as something else.
func checkRepresentation(h headers) *fault {
	if v := h.Values(hdrContentCoding); len(v) > 0 && !(len(v) == 1 && v[0] == "identity") {
		return refuse(codeUnsupportedMedia, "Content-Encoding is not kept with a value; send the bytes as they are")
	}
	if len(h.Values(hdrContentRange)) > 0 {
		return refuse(codeInvalidArgument, "a PUT replaces the whole value; Content-Range has no meaning here")
	}
	return nil
}
