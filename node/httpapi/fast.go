package httpapi

import (
	"net/http"
	"strings"

	"github.com/quoratedb/quorate/node/httpapi/h1"
)

// fastHeaders are the request headers that decide about a request for one key.
var fastHeaders = []string{hdrContentDigest, hdrContentCoding, hdrContentRange, hdrContentType, hdrIdempotencyKey, hdrIfMatch, hdrIfNoneMatch,
	hdrConsistency, hdrContext, hdrReadAfter, hdrRing, hdrRoute, hdrTimeout, hdrOrigin, hdrFetchSite}

// fastRoad are the operations on one key, which run without net/http and the
// router. They are the same operations with the same code behind them.
type fastRoad struct {
	a   *api
	ops map[string]*operation // by method; HEAD is a GET
}

// takes leaves to net/http what is rare: keys in key64 without a slash, bodies
// where none belongs, and writes from a browser, whose origin is to be checked.
func (f *fastRoad) takes(x *h1.Exchange) bool {
	if _, _, _, ok := splitPath(x.Path()); !ok {
		return false
	}
	if !isWrite(x.Method()) {
		return x.Length() == 0
	}
	return (x.Length() == 0 || x.Method() == http.MethodPut) && x.Values(hdrOrigin) == nil && x.Values(hdrFetchSite) == nil
}

func (f *fastRoad) serve(x *h1.Exchange) {
	c := calls.Get().(*call)
	c.callState = callState{a: f.a, x: x, method: x.Method(), rawQuery: x.Query(), h: x, length: x.Length(), src: x,
		ctx: x.Context(), op: f.ops[x.Method()], start: f.a.Now(), write: isWrite(x.Method())}
	c.serve()
}

// splitPath finds bucket and key in the paths of one key; named is false where the
// path names no bucket. These are the router's two key routes, as it matches them.
func splitPath(path string) (bucket, key string, named, ok bool) {
	if rest, found := strings.CutPrefix(path, "/v1/kv/"); found {
		bucket, key, ok = strings.Cut(rest, "/")
		return bucket, key, true, ok
	}
	key, ok = strings.CutPrefix(path, "/keys/")
	return "", key, false, ok
}

// keptType gives a Content-Type that may live as long as a value: the usual ones
// are shared, and none holds on to the head that it came in.
func keptType(kind string) string {
	switch kind {
	case typeOctets:
		return typeOctets
	case typeJSON:
		return typeJSON
	case "text/plain":
		return "text/plain"
	case "text/plain; charset=utf-8":
		return "text/plain; charset=utf-8"
	case "application/x-www-form-urlencoded": // curl -d
		return "application/x-www-form-urlencoded"
	}
	return strings.Clone(kind)
}
