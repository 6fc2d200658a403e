package httpapi

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// param is a query parameter of some route.
type param uint8

const (
	paramBucket param = iota
	paramConsistency
	paramCursor
	paramKey
	paramKey64
	paramLimit
	paramPartition
	paramPrefix
	paramPW
	paramR
	paramResolve
	paramSloppy
	paramStart
	paramTTL
	paramValues
	paramVerbose
	paramW
	paramCount
)

var paramNames = [paramCount]string{"bucket", "consistency", "cursor", "key", "key64", "limit", "partition", "prefix", "pw", "r",
	"resolve", "sloppy", "start", "ttl", "values", "verbose", "w"}

// params is a set of parameters.
type params uint32

func paramSet(list ...param) (s params) {
	for _, p := range list {
		s |= 1 << p
	}
	return s
}

func (s params) has(p param) bool { return s&(1<<p) != 0 }

// query is a parsed query string: each parameter at most once.
type query struct {
	given params
	val   [paramCount]string
}

// get gives a parameter and whether the client sent it.
func (q *query) get(p param) (string, bool) { return q.val[p], q.given.has(p) }

// parse reads raw without building a map. A parameter outside allowed is refused,
// so that a typo never weakens a read; so is one that is sent twice.
func (q *query) parse(raw string, allowed params) *fault {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || strings.Contains(pair, ";") {
			return refuse(codeInvalidArgument, "the query string is not well formed")
		}
		p, ok := findParam(name)
		if !ok || !allowed.has(p) {
			return refuse(codeUnknownParameter, "unknown query parameter "+quoteShort(name)+allowedText(allowed))
		}
		if q.given.has(p) {
			return refuse(codeInvalidArgument, "the query parameter "+name+" stands twice")
		}
		if q.val[p], err = url.QueryUnescape(value); err != nil {
			return refuse(codeInvalidArgument, "the value of "+name+" is not percent-encoded correctly")
		}
		q.given |= 1 << p
	}
	return nil
}

func findParam(name string) (param, bool) {
	for p, n := range paramNames {
		if n == name {
			return param(p), true
		}
	}
	return 0, false
}

func allowedText(allowed params) string {
	var names []string
	for p, n := range paramNames {
		if allowed.has(param(p)) {
			names = append(names, n)
		}
	}
	if names == nil {
		return "; this route has none"
	}
	return "; this route has " + strings.Join(names, ", ")
}

// quoteShort shows a name that a client chose, cut to a length for people.
func quoteShort(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "..."
	}
	return `"` + strings.ToValidUTF8(s, "?") + `"`
}

// boolean reads true or false; a bare parameter is true.
func (q *query) boolean(p param) (bool, *fault) {
	switch v, given := q.get(p); {
	case !given || v == "false":
		return false, nil
	case v == "true" || v == "":
		return true, nil
	}
	return false, refuse(codeInvalidArgument, paramNames[p]+" is true or false")
}

// base64Bytes reads base64url, with or without padding.
func base64Bytes(text string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	return b, err == nil
}
