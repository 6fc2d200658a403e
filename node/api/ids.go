package api

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	// MaxIdempotencyKey: a stamp and a random part; longer ones are not ids.
	MaxIdempotencyKey = 256
	// maxStampDigits holds unix milliseconds until the year 33658.
	maxStampDigits = 15
)

// BadIdempotencyKey refuses what ValidIdempotencyKey does not take.
func BadIdempotencyKey() *Fault {
	return Refuse(InvalidArgument, "Idempotency-Key is UNIX_MS-RANDOM, such as 1795388772846-4f2a9c, at most 256 characters")
}

// ValidIdempotencyKey tells whether v has the form of one.
func ValidIdempotencyKey(v string) bool {
	stamp, random, ok := strings.Cut(v, "-")
	if !ok || random == "" || len(v) > MaxIdempotencyKey || len(stamp) == 0 || len(stamp) > maxStampDigits {
		return false
	}
	for i := range len(stamp) {
		if stamp[i] < '0' || stamp[i] > '9' {
			return false
		}
	}
	return true
}

// HashID is the request id that a valid Idempotency-Key stands for.
func HashID(text string) (id version.RequestID) {
	sum := sha256.Sum256([]byte(text))
	copy(id[:], sum[:])
	return id
}

// BindID makes an id that came from an Idempotency-Key depend on what is written
// too: readers show the siblings of one id as one (E16), so a client that reuses a
// key for other bytes must not hide an acknowledged write by it. A strong bucket
// remembers what its ids were used for, and needs no such care.
func BindID(req *core.Request, idempotencyKey string) {
	if idempotencyKey == "" || !req.StrongID.IsZero() {
		return
	}
	tail := req.ID[12:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)^req.Sum^uint32(req.Op)<<24)
}
