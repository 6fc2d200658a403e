package api

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Ask is what a client may want of a key in a strong bucket, beside the key and the
// value. The zero value of each member means that it was not given.
type Ask struct {
	Counts         string // the parameter among r, w, pw and sloppy that was given
	TTL            bool
	Token          string // the header of a causal token that was given
	Consistency    string
	IfMatch        string // as the header has it; that of a read is Looking.Match
	IfNoneMatch    string // of a write
	IdempotencyKey string // of a write, valid
}

// Fill checks a and fills in what a strong bucket goes by. Nothing is ignored: what
// has no meaning here is refused.
func (a *Ask) Fill(req *core.Request) (f *Fault) {
	write := writes(req.Op)
	switch {
	case a.Counts != "":
		return Refuse(InvalidArgument, a.Counts+" is for eventual buckets: a strong write needs a majority, and a strong read says consistency leader, quorum, replica or stale")
	case a.TTL:
		return Refuse(NotSupported, "values of strong buckets do not expire: ttl is not supported")
	case a.Token != "":
		return Refuse(ContextInvalid, a.Token+" is for eventual buckets; a strong bucket compares ETags (If-Match) and its reads need no token")
	case write && a.Consistency != "":
		return Refuse(InvalidArgument, "a strong write always needs a majority; consistency is for reads")
	}
	if !write {
		req.Level, f = ParseLevel(a.Consistency)
		return f
	}
	if req.If, f = condition(a.IfMatch, a.IfNoneMatch); f != nil {
		return f
	}
	if a.IdempotencyKey != "" {
		req.StrongID = StrongID(a.IdempotencyKey)
	}
	return nil
}

// writes tells that an operation may change something.
func writes(op core.Op) bool {
	return op == core.OpPut || op == core.OpDelete || op == core.OpIncrement
}

// levelNames are the words of consistency in strong buckets.
var levelNames = [...]string{core.LevelDefault: "leader", core.LevelLeader: "leader", core.LevelQuorum: "quorum", core.LevelReplica: "replica", core.LevelStale: "stale", core.LevelLease: "lease"}

// LevelName is how a read of a strong bucket was done.
func LevelName(l core.Level) string { return levelNames[min(int(l), len(levelNames)-1)] }

// ParseLevel reads the word; "" is the default.
func ParseLevel(word string) (core.Level, *Fault) {
	if word == "" {
		return core.LevelDefault, nil
	}
	for l := core.LevelLeader; l <= core.LevelLease; l++ {
		if word == levelNames[l] {
			return l, nil
		}
	}
	return 0, Refuse(InvalidArgument, "consistency is leader, lease, quorum, replica or stale in a strong bucket")
}

// StrongID is the request id that a valid Idempotency-Key stands for in a strong
// bucket: its stamp, and the hash of all of it.
func StrongID(key string) (id strong.RequestID) {
	stamp, _, _ := strings.Cut(key, "-")
	id.StampMS, _ = strconv.ParseInt(stamp, 10, 64) // digits only, and few enough
	sum := sha256.Sum256([]byte(key))
	copy(id.Nonce[:], sum[:])
	return id
}

// Created tells that a write made the key, as If-None-Match: * asks.
func Created(req *core.Request) bool { return req.Op == core.OpPut && req.If.IfNoneMatch }
