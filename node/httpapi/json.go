package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"
)

func base64Text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads a JSON body into v: one value, no members that v does not have, at
// most limit bytes.
func (c *call) decode(v any, limit int) *fault {
	return c.decodeBody(v, limit, false)
}

// decodeMaybe is decode where no body at all is right too.
func (c *call) decodeMaybe(v any, limit int) *fault {
	return c.decodeBody(v, limit, true)
}

func (c *call) decodeBody(v any, limit int, maybe bool) *fault {
	if maybe && c.length == 0 {
		_, f := c.body(limit)
		return f
	}
	if f := checkJSONType(c.h); f != nil {
		return f
	}
	body, f := c.body(limit)
	if f != nil {
		return f
	}
	if !utf8.Valid(body) {
		return refuse(codeInvalidArgument, "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse(codeInvalidArgument, "the body is not the JSON of this route: "+jsonError(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(codeInvalidArgument, "the body has something after its JSON value")
	}
	return nil
}

// jsonError is a decoder's text without Go's names.
func jsonError(err error) string {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		return "it must be an object"
	case errors.As(err, &kind):
		return "member " + quoteShort(kind.Field) + " cannot be a " + kind.Value
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if len(text) > 120 {
		text = text[:120] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// checkJSONType takes JSON, nothing, and what curl -d and simple libraries send
// when nobody told them: forms cannot be meant here.
func checkJSONType(h headers) *fault {
	if v := h.Values(hdrContentCoding); len(v) > 0 && !(len(v) == 1 && v[0] == "identity") {
		return refuse(codeUnsupportedMedia, "Content-Encoding is not taken")
	}
	v, given, f := one(h, hdrContentType)
	if f != nil || !given || v == "" {
		return f
	}
	kind, _, err := mime.ParseMediaType(v)
	if err == nil && (kind == typeJSON || kind == "application/x-www-form-urlencoded" || strings.HasSuffix(kind, "+json")) {
		return nil
	}
	return refuse(codeUnsupportedMedia, "the body must be application/json")
}

// jsonKey takes a key from key or key64.
func jsonKey(text *string, text64 string) ([]byte, *fault) {
	switch {
	case text != nil && text64 != "":
		return nil, refuse(codeInvalidArgument, "key and key64 are both given")
	case text64 != "":
		key, ok := base64Bytes(text64)
		if !ok {
			return nil, refuse(codeInvalidArgument, "key64 is not base64url")
		}
		return key, checkKey(key)
	case text == nil:
		return nil, refuse(codeInvalidArgument, "key or key64 is missing")
	}
	// The decoder puts U+FFFD where an escape is half a surrogate pair: it would be
	// another key.
	if strings.ContainsRune(*text, utf8.RuneError) {
		return nil, refuse(codeInvalidArgument, "the key is not well-formed text; send it as key64")
	}
	return []byte(*text), checkKey([]byte(*text))
}
