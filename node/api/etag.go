package api

import (
	"math"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/quorum/strong"
)

// AppendVersion appends the ETag of a value in a strong bucket: quotes around
// incarnation.epoch.index. It grows with every write of the partition (S16).
func AppendVersion(b []byte, v strong.Version) []byte {
	b = strconv.AppendUint(append(b, '"'), v.Incarnation, 10)
	b = strconv.AppendUint(append(b, '.'), v.Epoch, 10)
	b = strconv.AppendUint(append(b, '.'), v.Index, 10)
	return append(b, '"')
}

// VersionETag is AppendVersion as a string; "" for no version.
func VersionETag(v strong.Version) string {
	if v.IsZero() {
		return ""
	}
	return string(AppendVersion(nil, v))
}

// nobody is a version that no key ever holds: what an ETag stands for that this
// cluster has never given out.
var nobody = strong.Version{Incarnation: math.MaxUint64, Epoch: math.MaxUint64, Index: math.MaxUint64}

// parseVersion reads what stands between the quotes; nobody if that is no version.
func parseVersion(text string) strong.Version {
	first, rest, ok := strings.Cut(text, ".")
	second, third, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nobody
	}
	var v strong.Version
	for _, part := range [...]struct {
		text string
		to   *uint64
	}{{first, &v.Incarnation}, {second, &v.Epoch}, {third, &v.Index}} {
		n, err := strconv.ParseUint(part.text, 10, 64)
		if err != nil || len(part.text) > 1 && part.text[0] == '0' {
			return nobody // written in another way, so it is none of ours
		}
		*part.to = n
	}
	if v.IsZero() {
		return nobody
	}
	return v
}

// ParseVersionETag reads one strong ETag of a strong bucket, quotes included; ok is
// false when it is none that such a bucket gives out.
func ParseVersionETag(text string) (v strong.Version, ok bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return v, false
	}
	if v = parseVersion(text[1 : len(text)-1]); v == nobody {
		return strong.Version{}, false
	}
	return v, true
}

// nextTag takes the first entity tag off a list (RFC 9110, 8.8.3); ok is false when
// what is there is none.
func nextTag(list string) (opaque string, weak bool, rest string, ok bool) {
	list, weak = strings.CutPrefix(list, "W/")
	if list == "" || list[0] != '"' {
		return "", weak, "", false
	}
	opaque, rest, ok = strings.Cut(list[1:], `"`)
	for i := range len(opaque) {
		if c := opaque[i]; c <= ' ' || c == 0x7f {
			return "", weak, "", false
		}
	}
	rest = strings.Trim(rest, " \t")
	if rest != "" {
		if rest[0] != ',' {
			return "", weak, "", false
		}
		rest = strings.TrimLeft(rest, ", \t")
	}
	return opaque, weak, rest, ok
}

// condition reads If-Match and If-None-Match of a write; "" is not given.
func condition(match, noneMatch string) (c strong.Condition, f *Fault) {
	if match != "" && noneMatch != "" {
		return c, Refuse(InvalidArgument, "If-Match and If-None-Match: a write has one of them")
	}
	switch match, noneMatch = strings.Trim(match, " \t"), strings.Trim(noneMatch, " \t"); {
	case noneMatch == "*":
		c.IfNoneMatch = true
	case noneMatch != "":
		f = Refuse(InvalidArgument, "If-None-Match of a write is *, the key must hold nothing")
	case match == "*":
		c.IfPresent = true
	case match != "":
		f = matchAny(&c, match)
	}
	return c, f
}

// matchAny reads the ETags of an If-Match. Weak ones match nothing, as RFC 9110 has
// it; neither do those that no strong bucket gives out.
func matchAny(c *strong.Condition, list string) *Fault {
	for list = strings.TrimLeft(list, ", \t"); list != ""; {
		opaque, weak, rest, ok := nextTag(list)
		if !ok {
			return Refuse(InvalidArgument, `If-Match is *, or ETags as they came, in quotes: "1.7.42"`)
		}
		v := parseVersion(opaque)
		switch list = rest; {
		case weak || v == nobody: // nothing to compare with
		case c.IfMatch.IsZero():
			c.IfMatch = v
		case len(c.Or) == strong.MaxMatches-1:
			return Refuse(InvalidArgument, "If-Match has more than "+itoa(strong.MaxMatches)+" ETags")
		default:
			c.Or = append(c.Or, v)
		}
	}
	if c.IfMatch.IsZero() {
		c.IfMatch = nobody
	}
	return nil
}
