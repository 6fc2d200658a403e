package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C that travels with a value from here to its readers.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// readBody takes a whole body of at most limit bytes, or nothing: a body that ends
// early or is too large is a fault, and no part of it is used. A body whose length
// is announced is refused before it is read.
func readBody(r *http.Request, limit int) ([]byte, *fault) {
	switch n := r.ContentLength; {
	case n > int64(limit):
		return nil, tooLarge(n, limit)
	case n == 0:
		return []byte{}, nil
	case n > 0:
		b := make([]byte, n)
		if _, err := io.ReadFull(r.Body, b); err != nil {
			return nil, cutBody(err)
		}
		return b, nil
	}
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, int64(limit)+1)); err != nil {
		return nil, cutBody(err)
	}
	if buf.Len() > limit {
		return nil, tooLarge(-1, limit)
	}
	return bytes.Clone(buf.Bytes()), nil // without the buffer's spare room: the value may live long
}

func tooLarge(announced int64, limit int) *fault {
	text := "the body is larger than "
	if announced >= 0 {
		text = "the body has " + strconv.FormatInt(announced, 10) + " bytes, the limit is "
	}
	return refuse(codeValueTooLarge, text+strconv.Itoa(limit))
}

func cutBody(err error) *fault {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return refuse(codeInvalidArgument, "the body ended before its announced length; nothing was written")
	}
	return refuse(codeInvalidArgument, "the body could not be read to its end; nothing was written")
}

// checkDigest compares a body with its Content-Digest (RFC 9530), where there is
// one: every sha-256 and sha-512 in it must match, and there must be one of them.
func checkDigest(h http.Header, body []byte) *fault {
	lines := h[hdrContentDigest]
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
func checkRepresentation(h http.Header) *fault {
	if v := h[hdrContentCoding]; len(v) > 0 && !(len(v) == 1 && v[0] == "identity") {
		return refuse(codeUnsupportedMedia, "Content-Encoding is not kept with a value; send the bytes as they are")
	}
	if len(h[hdrContentRange]) > 0 {
		return refuse(codeInvalidArgument, "a PUT replaces the whole value; Content-Range has no meaning here")
	}
	return nil
}
