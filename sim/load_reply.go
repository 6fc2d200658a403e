package sim

import (
	"slices"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/sim/check"
)

func (l *load) wrote(w *World, c *call, r *core.Reply) {
	op, a := &l.history[c.op], c.att
	a.unheard = a.unheard || r == nil
	if r == nil {
		op.Outcome, op.Return = check.Unknown, w.now
		l.again(w, c)
		l.counts.Unknown++
		return
	}
	if len(a.mints) > 1 {
		op.Resent = true
	}
	if op.Return != 0 && op.Outcome == check.OK { // another try of it was acked before
		if len(r.Context.Seen) > 0 && r.Outcome == core.Applied {
			c.client.keep(c.key, a.gained(c, r))
		}
		return
	}
	op.Return = w.now
	switch r.Outcome {
	case core.Applied:
		op.Outcome = check.OK
		l.counts.Acked++
		l.okOps++
		w.truth.answered(a, r, c.began)
	case core.NotApplied:
		if op.Outcome = check.NotApplied; c.tries > 1 || a.unsure {
			op.Outcome = check.Unknown // an earlier try may have been
		} else {
			w.truth.answered(a, r, c.began)
		}
		l.counts.NotApplied++
	default:
		op.Outcome = check.Unknown
		l.counts.Unknown++
		l.again(w, c)
	}
	if len(r.Context.Seen) > 0 && r.Outcome != core.NotApplied {
		c.client.keep(c.key, a.gained(c, r))
	}
}

// again may send a write of unknown fate once more, under its id, to another node (E16).
func (l *load) again(w *World, c *call) {
	c.att.unsure = true
	if c.tries >= 3 || l.stopped || !chance(l.rand, w.draw.Retry) {
		return
	}
	to := w.nodes[l.rand.IntN(len(w.nodes))]
	if !to.up {
		return
	}
	w.probe.hit(pResent)
	req := *c.req
	l.history[c.op].Resent = true
	next := &call{op: c.op, client: c.client, node: to, req: &req, key: c.key, att: c.att, token: c.token, began: w.now, tries: c.tries}
	l.send(w, next)
}

// gained is the token that a write's answer gives.
func (a *attempt) gained(c *call, r *core.Reply) *token {
	t := &token{text: r.Context.Token(), knows: slices.Clone(a.knows)}
	for _, m := range a.mints {
		if !r.Context.Seen.Covers(m.dot) {
			continue
		}
		t.knows = append(t.knows, m)
		if !a.has {
			t.knows = append(t.knows, m.covers...)
		}
	}
	if a.value != "" {
		t.values = []string{a.value}
	} else if c.token != nil && a.has {
		t.values = c.token.values
	}
	return t
}

func (l *load) didRead(w *World, c *call, r *core.Reply) {
	op := &l.history[c.op]
	op.Return = w.now
	if r == nil || r.Code != core.OK && r.Code != core.KeyNotFound {
		op.Outcome = check.Failed
		l.counts.ReadsFailed++
		return
	}
	op.Outcome = check.OK
	l.counts.Reads++
	l.okOps++
	t := &token{}
	for _, s := range r.Object.Live(c.node.wall()) {
		op.Read = append(op.Read, valueName(s.Value))
	}
	if r.Object != nil {
		t.knows = c.key.append(nil, r.Object)
		t.values = op.Read
	}
	w.truth.read(c.key, c, r)
	if len(r.Context.Seen) > 0 {
		t.text = r.Context.Token()
		c.client.keep(c.key, t)
	}
}

// maxTokens bounds what a client remembers.
const maxTokens = 64

func (c *client) keep(kt *keyTruth, t *token) {
	if len(c.tokens) >= maxTokens {
		clear(c.tokens)
	}
	c.tokens[kt] = t
}
