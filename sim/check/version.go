package check

import (
	"slices"
	"strconv"
	"strings"
)

// versionParts is the most numbers in a version: (bucket incarnation, epoch, index)
// and one to spare.
const versionParts = 4

// stamp is a parsed version; stamps with equally many parts compare as arrays.
type stamp [versionParts]uint64

func (s stamp) compare(o stamp) int { return slices.Compare(s[:], o[:]) }

// FormatVersion is the Version of these numbers, the most significant first, as
// (epoch, index). At most four, and at least one of them above 0.
func FormatVersion(numbers ...uint64) string {
	b := make([]byte, 0, 24)
	for i, n := range numbers {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return string(b)
}

// parseVersion is false for anything that FormatVersion cannot have made. All zeros
// is kept for what was there before any write.
func parseVersion(s string) (out stamp, parts int, ok bool) {
	for {
		part, rest, more := strings.Cut(s, ".")
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || parts == versionParts || part[0] == '+' || len(part) > 1 && part[0] == '0' {
			return stamp{}, 0, false
		}
		out[parts] = n
		parts++
		if !more {
			return out, parts, out != stamp{}
		}
		s = rest
	}
}
