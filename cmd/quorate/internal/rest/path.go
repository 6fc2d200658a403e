package rest

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// KeyPath is the path of a key: every byte that is not unreserved is escaped, slashes
// included, and so are the dots of "." and "..", which a proxy would collapse.
func KeyPath(prefix, bucket, key string) string {
	return prefix + bucket + "/" + escape(key)
}

func escape(key string) string {
	const hexDigits = "0123456789ABCDEF"
	dots := strings.Trim(key, ".") == ""
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '~', c == '.' && !dots:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// NewIdempotencyKey is `<unix_ms>-<random>`: with it a write may be sent again.
func NewIdempotencyKey(now time.Time) string {
	var r [12]byte
	_, _ = rand.Read(r[:]) // never fails: it ends the process instead
	return strconv.FormatInt(now.UnixMilli(), 10) + "-" + hex.EncodeToString(r[:])
}
