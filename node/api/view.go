package api

import (
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// View is what a reader is shown of a reply.
type View struct {
	// Status is 200 with one value, 300 with siblings, 304 with none.
	Status int
	// Values are what is shown, newest first; with Newest only the first is.
	Values []*version.Sibling
	// Siblings counts the live ones, shown or not.
	Siblings int
	Hash     uint64 // the version, see AppendETag
}

// Room spares the usual object, one value, an allocation; it is the caller's.
type Room = [1]*version.Sibling

// Look says what a reader at wall time nowMS is shown of a reply to a read.
// noneMatch is an If-None-Match list, newest asks for one of several siblings.
// Every value's checksum is checked here.
func Look(rep *core.Reply, nowMS int64, noneMatch string, newest bool, room *Room) (View, *Fault) {
	if rep.Code != core.OK && rep.Code != core.KeyNotFound {
		return View{}, FromReply(rep)
	}
	seen := Live(rep.Object, nowMS, room)
	if len(seen) == 0 {
		return View{}, &Fault{Code: KeyNotFound, Detail: "the key has no value", Reply: rep}
	}
	for _, s := range seen {
		if Checksum(s.Value) != s.Sum {
			return View{}, &Fault{Code: Internal, Detail: "the value fails its checksum and is not shown", Reply: rep, Damaged: true}
		}
	}
	v := View{Status: 200, Values: seen, Siblings: len(seen), Hash: rep.Object.Hash()}
	switch {
	case noneMatch != "" && !expired(rep.Object, nowMS) && matches(noneMatch, v.Hash):
		v.Status, v.Values = 304, nil
	case len(seen) > 1 && newest:
		v.Values = seen[:1]
	case len(seen) > 1:
		v.Status = 300
	}
	return v, nil
}

// Live is what a reader sees of an object at wall time nowMS, newest first.
func Live(o *version.Object, nowMS int64, room *Room) []*version.Sibling {
	if o != nil && len(o.Siblings) == 1 {
		s := &o.Siblings[0]
		if s.Tombstone || s.ExpiryMS != 0 && s.ExpiryMS <= nowMS {
			return nil
		}
		room[0] = s
		return room[:]
	}
	return o.Live(nowMS)
}

// expired tells that a sibling has run out: the object looks different to readers
// than it did under the same version, so the version alone proves nothing.
func expired(o *version.Object, nowMS int64) bool {
	for i := range o.Siblings {
		if e := o.Siblings[i].ExpiryMS; e != 0 && e <= nowMS {
			return true
		}
	}
	return false
}

// KindOf is the content type that a value is shown with.
func KindOf(s *version.Sibling) string {
	if s.ContentType == "" {
		return TypeOctets
	}
	return s.ContentType
}

// matches tells whether an If-None-Match list holds a version: weak comparison, as
// RFC 9110 wants it.
func matches(list string, hash uint64) bool {
	var room [18]byte
	return MatchesETag(list, string(AppendETag(room[:0], hash)))
}

// MatchesETag tells whether a list of ETags holds tag.
func MatchesETag(list, tag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

func appendHex64(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// AppendETag appends a version's strong ETag: quotes around 16 hex digits.
func AppendETag(b []byte, hash uint64) []byte {
	return append(appendHex64(append(b, '"'), hash), '"')
}

// ETag is AppendETag as a string.
func ETag(hash uint64) string { return string(AppendETag(nil, hash)) }

// SiblingETag names one sibling by its dot.
func SiblingETag(d version.Dot) string {
	b := appendHex64([]byte{'"'}, uint64(d.Actor))
	return string(append(strconv.AppendUint(append(b, '-'), d.Counter, 16), '"'))
}
