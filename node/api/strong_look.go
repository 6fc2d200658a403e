package api

import (
	"strconv"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// StrongLook is what a reader is shown of a strong bucket's reply.
type StrongLook struct {
	Status  int           // 200, or 304 without the value
	Value   *strong.Value // live
	Version strong.Version
}

// LookStrong says what a reader is shown of a reply to a read of a strong bucket.
// match and noneMatch are If-Match and If-None-Match as they came, "" if they did
// not. The value's checksum is checked here.
func LookStrong(rep *core.Reply, match, noneMatch string) (v StrongLook, f *Fault) {
	if rep.Code != core.OK && rep.Code != core.KeyNotFound {
		return v, FromReply(rep)
	}
	if s := rep.Strong; s != nil && s.Value.Live() {
		v.Value, v.Version = s.Value, s.Value.Version
	}
	if match != "" {
		if f = unlessMatch(rep, match, &v); f != nil {
			return v, f
		}
	}
	switch {
	case v.Value == nil:
		return v, &Fault{Code: KeyNotFound, Detail: "the key has no value", Reply: rep}
	case !Whole(v.Value):
		return v, &Fault{Code: Internal, Detail: "the value fails its checksum and is not shown", Reply: rep, Damaged: true}
	case noneMatch != "" && matchesVersion(noneMatch, v.Version):
		v.Status, v.Value = 304, nil
		return v, nil
	}
	v.Status = 200
	return v, nil
}

// Whole checks a value's bytes. A counter's are made by the primary; they have the
// checksum of the log's entry only.
func Whole(v *strong.Value) bool { return v.Counter || Checksum(v.Data) == v.Sum }

// unlessMatch refuses a read whose If-Match does not hold.
func unlessMatch(rep *core.Reply, match string, v *StrongLook) *Fault {
	c, f := condition(match, "")
	if f != nil || c.Holds(v.Value) {
		return f
	}
	return &Fault{Code: PreconditionFailed, Detail: "the key does not hold that version", Reply: rep, ETag: VersionETag(v.Version)}
}

// matchesVersion is MatchesETag for a strong bucket's version.
func matchesVersion(list string, v strong.Version) bool {
	var room [64]byte
	return MatchesETag(list, string(AppendVersion(room[:0], v)))
}

// StrongKind is the content type that a value of a strong bucket is shown with.
func StrongKind(v *strong.Value) string {
	switch {
	case v.Counter:
		return "text/plain"
	case v.ContentType == "":
		return TypeOctets
	}
	return v.ContentType
}

// Counter is the number in a counter; ok is false when the value is none.
func Counter(v *strong.Value) (n int64, ok bool) {
	if v == nil || !v.Counter {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Data), 10, 64)
	return n, err == nil
}

// NotCounter refuses to read something else as a counter.
func NotCounter(rep *core.Reply) *Fault {
	return &Fault{Code: Conflict, Detail: "the key holds a value that is not a counter", Reply: rep}
}

// AppendStale appends what Quorate-Stale says: the log index of the state that a stale
// answer shows.
func AppendStale(b []byte, s *core.StrongReply) []byte {
	return strconv.AppendUint(append(b, "applied="...), s.Applied, 10)
}
