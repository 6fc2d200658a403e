package httpapi

import (
	"net/http"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

// strong fills in what an operation on a strong bucket goes by.
func (b *batchRun) strong(i int, req *core.Request, o *batchOperation) *fault {
	a := rules.Ask{TTL: o.TTLMS != 0, IdempotencyKey: b.key(i, o)}
	if o.Context != "" {
		a.Token = "context"
	}
	for _, tag := range []struct {
		from *string
		to   *string
	}{{o.IfMatch, &a.IfMatch}, {o.IfNoneMatch, &a.IfNoneMatch}} {
		if tag.from == nil {
			continue
		}
		if *tag.to = *tag.from; *tag.to == "" {
			return refuse(codeInvalidArgument, "if_match and if_none_match are *, or ETags in quotes")
		}
	}
	if o.IdempotencyKey != "" && !validIdempotencyKey(o.IdempotencyKey) {
		return refuse(codeInvalidArgument, "idempotency_key is UNIX_MS-RANDOM, at most 256 characters")
	}
	req.ID = randomID()
	return asFault(a.Fill(req))
}

// showStrong writes down what became of a request on a strong bucket.
func (b *batchRun) showStrong(res *batchResult, req *core.Request, rep *core.Reply) {
	if req.Op != core.OpGet {
		if res.Status = http.StatusNoContent; rules.Created(req) {
			res.Status = http.StatusCreated
		}
		if rep.Strong != nil {
			res.ETag = rules.VersionETag(rep.Strong.Version)
		}
		return
	}
	if s := rep.Strong; s != nil {
		if res.Consistency = rules.LevelName(s.Level); s.Level == core.LevelStale {
			res.Stale = string(rules.AppendStale(nil, s))
		}
	}
	v, f := b.c.lookStrong(rep)
	if f != nil {
		b.fail(res, f)
		return
	}
	b.bytes.Add(int64(len(v.Value.Data)))
	res.Status, res.ETag, res.ContentType, res.Value = http.StatusOK, rules.VersionETag(v.Version), rules.StrongKind(v.Value), v.Value.Data
	if res.Value == nil {
		res.Value = []byte{}
	}
}
