package bench

import (
	"context"
	"errors"
	"net/http"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// setCondition makes a PUT one over the version that its writer knows; "": over nothing.
func setCondition(h http.Header, etag string) {
	if etag == "" {
		h["If-None-Match"] = []string{"*"}
		return
	}
	h["If-Match"] = []string{etag}
}

// writeVersion writes a key of a strong bucket over the version that its one writer
// knows. Repeats act once, by their idempotency key, and a copy that comes late finds
// another version. Where a write before this one had an unknown outcome, the version may
// be that one's: the refusal names it, and this write goes over it. Any other refusal is
// a fault: nobody else writes the key.
func (w *worker) writeVersion(ctx context.Context, c *cell) *failure {
	c.attempt++
	value := makeValue(w.b.id, c.name, c.attempt, w.b.o.ValueSize)
	for {
		a, f := w.b.nodes.do(ctx, w.rng, w.b.put(c.name, value, c.context))
		if etag := heldInstead(f); etag != "" && c.doubt {
			c.context, c.doubt = etag, false
			continue
		}
		if f != nil && f.unknown {
			c.doubt = true
		}
		return w.settle(c, a, f)
	}
}

// heldInstead is the version that a refused condition has found; "": it was no such
// refusal, or the key holds nothing.
func heldInstead(f *failure) string {
	var p *rest.Problem
	if f == nil || !errors.As(f.err, &p) || p.Code != "precondition_failed" {
		return ""
	}
	return p.ETag
}
