package httpapi

import (
	"net/http"
	"strings"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

// countParams are those that mean something in eventual buckets only.
var countParams = [...]param{paramR, paramW, paramPW, paramSloppy}

// parseStrong fills req and out from headers and query for a key of a strong bucket,
// beside what parseCommon reads. Query beats header.
func parseStrong(h headers, q *query, req *core.Request, out *parsed) (f *fault) {
	a := rules.Ask{TTL: q.given.has(paramTTL)}
	if q.given != 0 {
		for _, p := range countParams {
			if q.given.has(p) {
				a.Counts = paramNames[p]
			}
		}
		if v, given := q.get(paramResolve); given && v != "newest" {
			return refuse(codeInvalidArgument, "resolve has one value, newest")
		}
	}
	if a.Consistency, f = parseLevel(h, q); f != nil {
		return f
	}
	match, f := tagList(h, hdrIfMatch)
	if f != nil {
		return f
	}
	none, f := tagList(h, hdrIfNoneMatch)
	if f != nil {
		return f
	}
	if !isWriteOp(req.Op) {
		if len(h.Values(hdrReadAfter)) > 0 {
			a.Token = hdrReadAfter
		}
		out.match, out.noneMatch, out.consistency = match, none, a.Consistency
		return asFault(a.Fill(req))
	}
	if len(h.Values(hdrContext)) > 0 {
		a.Token = hdrContext
	}
	a.IfMatch, a.IfNoneMatch = match, none
	if key := h.Values(hdrIdempotencyKey); len(key) > 0 { // it was checked when the request began
		a.IdempotencyKey = key[0]
	}
	return asFault(a.Fill(req))
}

func isWriteOp(op core.Op) bool {
	return op == core.OpPut || op == core.OpDelete || op == core.OpIncrement
}

// parseLevel is the word of consistency, from query or header.
func parseLevel(h headers, q *query) (string, *fault) {
	v, given, f := one(h, hdrConsistency)
	if f != nil {
		return "", f
	}
	if word, inQuery := q.get(paramConsistency); inQuery {
		v, given = word, true
	}
	if given && v == "" {
		return "", refuse(codeInvalidArgument, "consistency is empty")
	}
	return v, nil
}

// tagList joins the lines of a header that is a list of ETags. One that is there and
// empty is refused: it must not mean the same as none.
func tagList(h headers, name string) (string, *fault) {
	v := h.Values(name)
	if len(v) == 0 {
		return "", nil
	}
	list := v[0]
	if len(v) > 1 {
		list = strings.Join(v, ",")
	}
	if strings.Trim(list, ", \t") == "" {
		return "", refuse(codeInvalidArgument, name+" is empty; it is *, or ETags in quotes")
	}
	return list, nil
}

// lookStrong is what the client sees of a reply to a read.
func (c *call) lookStrong(rep *core.Reply) (rules.StrongLook, *fault) {
	v, f := rules.LookStrong(rep, c.p.match, c.p.noneMatch)
	if f != nil && f.Damaged {
		c.a.Log.Error("value fails its checksum at the way out", "request", c.id, "partition", rep.Partition)
	}
	return v, asFault(f)
}

// showStrong answers a GET or HEAD of a key in a strong bucket.
func (c *call) showStrong(rep *core.Reply) {
	v, f := c.lookStrong(rep)
	if f != nil {
		c.fail(f)
		return
	}
	h := c.headers()
	h.buf = rules.AppendVersion(h.buf, v.Version)
	h.done(hdrETag)
	if v.Status == http.StatusNotModified {
		h.text(hdrNosniff, nosniff)
		c.replyHeaders(h, rep)
		c.send(v.Status, h, nil)
		return
	}
	c.out = len(v.Value.Data)
	h.number(hdrContentLength, uint64(len(v.Value.Data)))
	kind := rules.StrongKind(v.Value)
	h.text(hdrContentType, kind)
	if activeContent(kind) {
		h.text(hdrCSP, sandbox)
	}
	h.text(hdrNosniff, nosniff)
	c.replyHeaders(h, rep)
	c.send(v.Status, h, v.Value.Data)
}

// strongHeaders label a read of a strong bucket with how it was done.
func (c *call) strongHeaders(h *headerList, rep *core.Reply) {
	s := rep.Strong
	if s == nil || c.write {
		return
	}
	h.text(hdrConsistency, rules.LevelName(s.Level))
	if s.Level == core.LevelStale {
		h.buf = rules.AppendStale(h.buf, s)
		h.done(hdrStale)
	}
}
