package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// live is what a reader sees of an object, newest first. The usual object, one
// value, costs no allocation: room is the caller's.
func live(o *version.Object, nowMS int64, room *[1]*version.Sibling) []*version.Sibling {
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

// showRead answers a GET or HEAD from the joined object.
func (c *call) showRead(rep *core.Reply) {
	if rep.Code != core.OK && rep.Code != core.KeyNotFound {
		c.fail(fromReply(rep))
		return
	}
	var room [1]*version.Sibling
	nowMS := c.start.UnixMilli()
	seen := live(rep.Object, nowMS, &room)
	if len(seen) == 0 {
		c.fail(&fault{code: codeKeyNotFound, detail: "the key has no value", reply: rep})
		return
	}
	for _, s := range seen {
		if checksum(s.Value) != s.Sum {
			c.a.Log.Error("value fails its checksum at the way out", "request", c.id, "partition", rep.Partition, "bytes", len(s.Value))
			c.fail(&fault{code: codeInternal, detail: "the value fails its checksum and is not shown", reply: rep})
			return
		}
	}
	hash := rep.Object.Hash()
	if c.p.noneMatch != "" && !expired(rep.Object, nowMS) && matches(c.p.noneMatch, hash) {
		c.readHeaders(rep, hash, len(seen), nil, -1)
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	if len(seen) > 1 && !c.p.newest {
		c.showSiblings(rep, hash, seen)
		return
	}
	s := seen[0]
	c.readHeaders(rep, hash, len(seen), s, len(s.Value))
	c.out = len(s.Value)
	_, _ = c.w.Write(s.Value)
}

// readHeaders sets the headers of a 200, 300 or 304. s gives the Content-Type, nil
// leaves it out; so does a length below zero with Content-Length.
func (c *call) readHeaders(rep *core.Reply, hash uint64, siblings int, s *version.Sibling, length int) {
	hdr := c.w.Header()
	h := c.headers()
	h.buf = appendETag(h.buf, hash)
	h.done(hdrETag)
	if length >= 0 {
		h.number(hdrContentLength, uint64(length))
	}
	if siblings > 1 {
		h.number(hdrSiblings, uint64(siblings))
	}
	if s != nil {
		kind := s.ContentType
		if kind == "" {
			kind = typeOctets
		}
		h.text(hdrContentType, kind)
		if activeContent(kind) {
			hdr[hdrCSP] = valSandbox
		}
	}
	c.replyHeaders(h, rep)
	h.flush(hdr)
	hdr[hdrNosniff] = valNosniff
}

// activeContent tells that a browser might run the value as a page of this origin.
func activeContent(kind string) bool {
	return strings.Contains(kind, "html") || strings.Contains(kind, "xml") || strings.Contains(kind, "svg")
}

// siblingJSON is one of several concurrent values.
type siblingJSON struct {
	ETag        string `json:"etag"`
	ContentType string `json:"content_type"`
	Value       []byte `json:"value"` // base64
	HLC         string `json:"hlc"`   // decimal; as a number it would not fit a double
}

type siblingsJSON struct {
	Siblings []siblingJSON `json:"siblings"`
	Context  string        `json:"context"` // covers all of them
}

func siblingList(seen []*version.Sibling) []siblingJSON {
	out := make([]siblingJSON, len(seen))
	for i, s := range seen {
		out[i] = siblingJSON{siblingETag(s.Dot), s.ContentType, s.Value, hlcText(s.HLC)}
	}
	return out
}

func hlcText(h version.HLC) string { return strconv.FormatUint(uint64(h), 10) }

func (c *call) showSiblings(rep *core.Reply, hash uint64, seen []*version.Sibling) {
	body, err := json.Marshal(siblingsJSON{siblingList(seen), rep.Context.Token()})
	if err != nil {
		c.fail(refuse(codeInternal, "the siblings could not be encoded"))
		return
	}
	c.readHeaders(rep, hash, len(seen), nil, len(body))
	c.w.Header()[hdrContentType] = valJSON
	c.out = len(body)
	c.w.WriteHeader(http.StatusMultipleChoices)
	_, _ = c.w.Write(body)
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

// matches tells whether an If-None-Match list holds a version: weak comparison, as
// RFC 9110 wants it.
func matches(list string, hash uint64) bool {
	var room [18]byte
	return matchesETag(list, string(appendETag(room[:0], hash)))
}

func matchesETag(list, tag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}
