package httpapi

import (
	"encoding/binary"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// MaxTTL keeps an expiry, unix milliseconds as int64, far from its end.
const MaxTTL = rules.MaxTTL

// parsed is what the front end needs of a data request beside core.Request.
type parsed struct {
	newest      bool   // resolve=newest
	consistency string // one, quorum, all, or ""
	ring        uint64 // the client's ring version, 0: not given
	noneMatch   string // If-None-Match of a read
	match       string // If-Match of a read of a strong bucket
}

// parseKey takes the key from the path or from key64, never from both.
func parseKey(path string, q *query) ([]byte, *fault) {
	var key []byte
	if k64, given := q.get(paramKey64); given {
		if path != "" {
			return nil, refuse(codeInvalidArgument, "the key stands in the path and in key64")
		}
		// Longer text cannot be a key: do not decode what is refused anyway.
		if len(k64) > (core.MaxKey+2)*4/3+2 {
			return nil, tooLong(len(k64) * 3 / 4)
		}
		var ok bool
		if key, ok = base64Bytes(k64); !ok {
			return nil, refuse(codeInvalidArgument, "key64 is not base64url")
		}
	} else if strings.IndexByte(path, '%') < 0 {
		key = []byte(path)
	} else {
		text, err := url.PathUnescape(path)
		if err != nil {
			return nil, refuse(codeInvalidArgument, "the key is not percent-encoded correctly")
		}
		key = []byte(text)
	}
	return key, checkKey(key)
}

func checkKey(key []byte) *fault {
	return asFault(rules.CheckKey(key))
}

func tooLong(bytes int) *fault {
	return asFault(rules.TooLong(bytes))
}

// parseBucket unescapes and checks a bucket's name.
func parseBucket(path string) (string, *fault) {
	if strings.IndexByte(path, '%') >= 0 {
		text, err := url.PathUnescape(path)
		if err != nil {
			return "", refuse(codeInvalidArgument, "the bucket is not percent-encoded correctly")
		}
		path = text
	}
	return path, checkBucket(path)
}

func checkBucket(name string) *fault {
	return asFault(rules.CheckBucket(name))
}

// parseEventual fills req and out from headers and query for a key of an eventual
// bucket, beside what parseCommon reads. Query beats header; the bucket's defaults are
// the core's to apply.
func parseEventual(h headers, q *query, req *core.Request, out *parsed) *fault {
	write := req.Op == core.OpPut || req.Op == core.OpDelete
	if f := parseConditions(h, write, out); f != nil {
		return f
	}
	if f := parseTokens(h, write, req); f != nil {
		return f
	}
	if f := parseConsistency(h, q, write, req, out); f != nil {
		return f
	}
	if q.given == 0 {
		return nil
	}
	return parseOptions(q, req, out)
}

// parseCommon reads the headers that every data route has.
func parseCommon(h headers, req *core.Request, out *parsed) *fault {
	if v, given, f := one(h, hdrTimeout); f != nil {
		return f
	} else if given {
		if req.Timeout, f = parseTimeout(v); f != nil {
			return f
		}
	}
	if v, given, f := one(h, hdrRing); f != nil {
		return f
	} else if given {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return refuse(codeInvalidArgument, hdrRing+" is a ring version, a number")
		}
		out.ring = n
	}
	if v, given, f := one(h, hdrRoute); f != nil {
		return f
	} else if given {
		if v != "owner" {
			return refuse(codeInvalidArgument, hdrRoute+" has one value, owner")
		}
		req.OwnerOnly = true
	}
	return nil
}

func parseTimeout(v string) (time.Duration, *fault) {
	d, err := time.ParseDuration(v)
	if err != nil {
		d = 0 // no duration is as wrong as one that is out of bounds
	}
	return d, asFault(rules.CheckTimeout(d))
}

// parseConditions refuses compare-and-set where it cannot hold: an eventual bucket
// has no one version to compare with.
func parseConditions(h headers, write bool, out *parsed) *fault {
	none := h.Values(hdrIfNoneMatch)
	if len(h.Values(hdrIfMatch)) > 0 || write && len(none) > 0 {
		return asFault(rules.NeedsStrong())
	}
	switch len(none) {
	case 0:
	case 1:
		out.noneMatch = none[0]
	default:
		out.noneMatch = strings.Join(none, ",")
	}
	return nil
}

// parseTokens reads the causal tokens. Whether they belong to this key the core
// checks, against its own ring.
func parseTokens(h headers, write bool, req *core.Request) *fault {
	name := hdrReadAfter
	if write {
		name = hdrContext
	}
	v, given, f := one(h, name)
	if f != nil || !given {
		return f
	}
	c, bad := rules.Token(name, v)
	if bad != nil {
		return asFault(bad)
	}
	if write {
		req.Context, req.HasContext = c, true
	} else {
		req.After, req.HasAfter = c, true
	}
	return nil
}

// parseConsistency: r or w beats consistency in the query only if the other is not
// given there; both at once would be a guess.
func parseConsistency(h headers, q *query, write bool, req *core.Request, out *parsed) *fault {
	v, given, f := one(h, hdrConsistency)
	if f != nil {
		return f
	}
	if given {
		if f := checkConsistency(v); f != nil {
			return f
		}
		out.consistency = v
	}
	count, to := paramR, &req.R
	if write {
		count, to = paramW, &req.W
	}
	number, hasNumber := q.get(count)
	if v, given := q.get(paramConsistency); given {
		if hasNumber {
			return refuse(codeInvalidArgument, "consistency and "+paramNames[count]+" say the same; send one of them")
		}
		if f := checkConsistency(v); f != nil {
			return f
		}
		out.consistency = v
	}
	if hasNumber {
		out.consistency = ""
		*to, f = parseCount(paramNames[count], number, 1)
	}
	return f
}

func checkConsistency(v string) *fault {
	return asFault(rules.CheckConsistency(v))
}

// parseCount reads a number of replicas. Beyond n is the core's to refuse, with
// the numbers; here only what is no count at all.
func parseCount(name, v string, least int) (core.Count, *fault) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || int(n) < least {
		return 0, refuse(codeInvalidArgument, name+" is a number of replicas, from "+strconv.Itoa(least))
	}
	return rules.Count(uint32(n)), nil
}

func parseOptions(q *query, req *core.Request, out *parsed) (f *fault) {
	if v, given := q.get(paramPW); given {
		if req.PW, f = parseCount("pw", v, 0); f != nil {
			return f
		}
	}
	if v, given := q.get(paramSloppy); given {
		switch v {
		case "true":
			req.Sloppy = core.Yes
		case "false":
			req.Sloppy = core.No
		default:
			return refuse(codeInvalidArgument, "sloppy is true or false")
		}
	}
	if v, given := q.get(paramResolve); given {
		if v != "newest" {
			return refuse(codeInvalidArgument, "resolve has one value, newest")
		}
		out.newest = true
	}
	if v, given := q.get(paramTTL); given {
		d, err := time.ParseDuration(v)
		if err != nil {
			d = 0 // no duration is as wrong as one that is out of bounds
		}
		if req.TTL, f = d, asFault(rules.CheckTTL(d)); f != nil {
			return f
		}
	}
	return nil
}

// requestID draws an id, or makes it from the client's Idempotency-Key.
func requestID(h headers, write bool) (id version.RequestID, f *fault) {
	if write {
		v, given, f := one(h, hdrIdempotencyKey)
		if f != nil {
			return randomID(), f
		}
		if given {
			if !validIdempotencyKey(v) {
				return randomID(), asFault(rules.BadIdempotencyKey())
			}
			return hashID(v), nil
		}
	}
	return randomID(), nil
}

// randomID needs no secrecy, only that two never meet: 128 bits.
func randomID() (id version.RequestID) {
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func hashID(text string) (id version.RequestID) {
	return rules.HashID(text)
}

func validIdempotencyKey(v string) bool {
	return rules.ValidIdempotencyKey(v)
}
