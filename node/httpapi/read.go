package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// live is what a reader sees of an object, newest first; room spares an allocation.
func live(o *version.Object, nowMS int64, room *rules.Room) []*version.Sibling {
	return rules.Live(o, nowMS, room)
}

// showRead answers a GET or HEAD from the joined object.
func (c *call) showRead(rep *core.Reply) {
	if c.strong() {
		c.showStrong(rep)
		return
	}
	var room rules.Room
	v, f := rules.Look(rep, c.start.UnixMilli(), c.p.noneMatch, c.p.newest, &room)
	if f != nil {
		if f.Damaged {
			c.a.Log.Error("value fails its checksum at the way out", "request", c.id, "partition", rep.Partition)
		}
		c.fail(asFault(f))
		return
	}
	switch v.Status {
	case http.StatusNotModified:
		c.send(v.Status, c.readHeaders(rep, v.Hash, v.Siblings, "", -1), nil)
	case http.StatusMultipleChoices:
		c.showSiblings(rep, v.Hash, v.Values)
	default:
		s := v.Values[0]
		c.out = len(s.Value)
		c.send(v.Status, c.readHeaders(rep, v.Hash, v.Siblings, rules.KindOf(s), len(s.Value)), s.Value)
	}
}

// readHeaders makes the headers of a 200, 300 or 304. An empty kind leaves the
// Content-Type out; so does a length below zero with Content-Length.
func (c *call) readHeaders(rep *core.Reply, hash uint64, siblings int, kind string, length int) *headerList {
	h := c.headers()
	h.buf = appendETag(h.buf, hash)
	h.done(hdrETag)
	if length >= 0 {
		h.number(hdrContentLength, uint64(length))
	}
	if siblings > 1 {
		h.number(hdrSiblings, uint64(siblings))
	}
	if kind != "" {
		h.text(hdrContentType, kind)
		if activeContent(kind) {
			h.text(hdrCSP, sandbox)
		}
	}
	h.text(hdrNosniff, nosniff)
	c.replyHeaders(h, rep)
	return h
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
	c.out = len(body)
	c.send(http.StatusMultipleChoices, c.readHeaders(rep, hash, len(seen), typeJSON, len(body)), body)
}

func matchesETag(list, tag string) bool { return rules.MatchesETag(list, tag) }
