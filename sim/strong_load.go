package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/sim/check"
)

// strongBucket is there from the start in worlds that have strong mode.
const strongBucket = "strong"

// strongTry is one operation of a client on a strong bucket, with all its copies.
type strongTry struct {
	name      string // of its value, or what it does
	key       string
	partition uint32
	op        int // in the history
	read      bool
	level     core.Level
	epoch     uint64 // of the active configuration when it began, 0: there was none
	id        strong.RequestID
	copies    int // sent
	waiting   int // of them, without an answer
	refused   int // of them, answered "no"
	decided   bool
	code      core.Code
	at        strong.Position // where it took effect, as seen from inside
	lock      *lockOrder
}

// refusedAll: its client was told that it was not applied, and rightly took it for final.
func (s *strongTry) refusedAll() bool { return s.decided && s.code != core.OK }

// strongSeen is what a client remembers of a key.
type strongSeen struct {
	version strong.Version
	value   string // name; empty: nothing was there
	list    string // W2: the elements
}

// askStrong gives a request on the strong bucket to a node.
func (l *load) askStrong(w *World, n *node, by *client, req *core.Request, b *hashring.Bucket, ring *hashring.Ring) *call {
	c := &call{client: by, node: n, req: req, op: -1, began: w.now}
	if len(req.Key) == 0 {
		l.send(w, c)
		return c
	}
	if old := w.strong.byID[req.StrongID]; old != nil && !req.StrongID.IsZero() { // one more copy of it
		c.strong, c.op = old, old.op
		l.copyStrong(w, c)
		return c
	}
	s := &strongTry{key: string(req.Key), partition: ring.PartitionOf(hashring.Hash(req.Bucket, req.Key)), level: req.Level, id: req.StrongID, op: len(l.history)}
	if part := &w.auth.state.Partitions[s.partition]; part.Strong != nil && part.Strong.Activated {
		s.epoch = part.Strong.Epoch
	}
	op := check.Op{Client: by.id, Bucket: b.Name, Key: s.key, Call: w.now, Node: n.name, Outcome: check.Unknown, Level: check.Strict}
	switch req.Op {
	case core.OpGet:
		s.read, s.name = true, "a read"
		op.Kind, op.Outcome = check.Read, check.Failed
		if strings.HasPrefix(s.key, counterKeys) {
			op.Kind = check.Total
		}
		if req.Level == core.LevelStale {
			op.Level = check.Past
		}
	case core.OpPut, core.OpDelete:
		s.name = valueName(req.Value)
		op.Kind, op.Value = check.Write, s.name
		if req.Op == core.OpDelete {
			op.Kind, s.name = check.Delete, "a deletion"
		}
		switch {
		case !req.If.IfMatch.IsZero():
			op.Kind, op.HasContext, op.Context = check.CAS, true, []string{w.strong.names[versionOf{s.key, req.If.IfMatch}]}
		case req.If.IfNoneMatch:
			op.Kind, op.HasContext = check.CAS, true
		}
		if op.Value != "" {
			w.strong.tries[op.Value] = s
		}
	case core.OpIncrement:
		s.name = fmt.Sprintf("an increment by %d", req.Delta)
		op.Kind, op.Delta = check.Add, req.Delta
	default:
		l.send(w, c)
		return c
	}
	if !s.id.IsZero() {
		w.strong.byID[s.id] = s
	}
	c.strong, c.op = s, s.op
	l.history = append(l.history, op)
	l.copyStrong(w, c)
	return c
}

func (l *load) copyStrong(w *World, c *call) {
	c.strong.copies++
	c.strong.waiting++
	c.tries = c.strong.copies - 1
	l.send(w, c)
}

// strongAnswered: a copy of the operation has its answer, or with no reply never gets it.
func (l *load) strongAnswered(w *World, c *call, r *core.Reply) {
	s, op := c.strong, &l.history[c.op]
	s.waiting--
	if r != nil {
		if w.strong.answered(c, r); w.failed() {
			return
		}
		r = c.reply
	}
	if s.read {
		l.strongRead(w, c, r)
		return
	}
	if s.decided {
		l.lateAnswer(w, c, r)
		return
	}
	switch {
	case r != nil && r.Outcome == core.Applied:
		op.Outcome, op.Version, op.Return = check.OK, versionText(r.Strong.Version), w.now
		op.Count = r.Strong.Count
		s.decided, s.code = true, core.OK
		l.counts.Acked++
		l.okOps++
		w.probe.hitIf(r.Strong.Again, pDoneBefore)
		w.strong.names[versionOf{s.key, r.Strong.Version}] = op.Value
		c.client.saw(s.key, strongSeen{r.Strong.Version, op.Value, listOf(c.req.Value)})
		s.lock.granted(c, r)
	case r != nil && r.Code == core.PreconditionFailed && (s.copies == 1 || !s.id.IsZero()):
		op.Outcome, op.Return = check.Mismatch, w.now
		if r.Strong != nil {
			op.Version = versionText(r.Strong.Version)
		}
		s.decided, s.code = true, r.Code
		l.counts.NotApplied++
		w.probe.hit(pMismatch)
		delete(c.client.strong, s.key)
	case r != nil && r.Outcome == core.NotApplied:
		if s.refused++; s.refused == s.copies {
			op.Outcome, op.Return = check.NotApplied, w.now
			s.code = r.Code
			s.decided = s.waiting == 0
			l.counts.NotApplied++
			l.againStrong(w, c, false)
			return
		}
		l.againStrong(w, c, true)
	default:
		op.Outcome, op.Return = check.Unknown, w.now
		l.counts.Unknown++
		w.probe.hitIf(r != nil, pStrongUnknown)
		w.probe.hitIf(r != nil && r.Code == core.IdempotencyExpired, pIDExpired)
		l.againStrong(w, c, true)
	}
}

// lateAnswer: another copy was answered before. Copies of one request agree.
func (l *load) lateAnswer(w *World, c *call, r *core.Reply) {
	s, op := c.strong, &l.history[c.op]
	switch {
	case r == nil || r.Outcome == core.Unknown:
	case r.Outcome == core.Applied && s.code != core.OK:
		w.violate(w.strong.about(s, "S12", "one copy was answered %v, another is applied as %v", s.code, r.Strong.Version))
	case r.Outcome == core.Applied && versionText(r.Strong.Version) != op.Version:
		w.violate(w.strong.about(s, "S12", "one copy was applied as %s, another as %v", op.Version, r.Strong.Version))
	case r.Code == core.PreconditionFailed && s.code == core.OK:
		w.violate(w.strong.about(s, "S12", "it was applied as %s, and a copy of it is refused with %v (F22)", op.Version, r.Code))
	}
}

// strongTries is how many copies a client makes of a request that it gets no good answer
// to.
const strongTries = 5

// againStrong may send the operation again: under its id, through other nodes, and each
// time twice. Without an id only what was refused for certain goes again, as a new
// operation would; that is left to the workload.
func (l *load) againStrong(w *World, c *call, open bool) {
	s := c.strong
	if s.id.IsZero() || s.copies >= strongTries || l.stopped || !open && !chance(l.rand, 0.5) {
		if s.waiting == 0 && s.refused == s.copies {
			s.decided = true
		}
		return
	}
	if !open {
		l.history[c.op].Outcome, l.history[c.op].Return = check.Unknown, w.now
		s.decided = false
	}
	for range 2 {
		to := w.nodes[l.rand.IntN(len(w.nodes))]
		if !to.up {
			continue
		}
		w.probe.hit(pStrongResent)
		req := *c.req
		next := &call{op: c.op, client: c.client, node: to, req: &req, strong: s, began: w.now}
		if d := between(l.rand, 0, 2*time.Second); l.rand.IntN(3) == 0 { // after somebody else's write, perhaps (F23)
			s.copies++
			s.waiting++
			w.do(d, func() { next.began = w.now; l.send(w, next) })
			continue
		}
		l.copyStrong(w, next)
	}
}

func (l *load) strongRead(w *World, c *call, r *core.Reply) {
	s, op := c.strong, &l.history[c.op]
	op.Return = w.now
	if r == nil || r.Code != core.OK && r.Code != core.KeyNotFound {
		op.Outcome = check.Failed
		l.counts.ReadsFailed++
		return
	}
	op.Outcome = check.OK
	l.counts.Reads++
	l.okOps++
	var v *strong.Value
	if r.Strong != nil {
		v = r.Strong.Value
		op.Version = versionText(r.Strong.Version)
	}
	level := s.level
	if level == core.LevelLease && r.Strong != nil { // how it was done
		level = r.Strong.Level
	}
	w.probe.n[pReadLeader+probe(min(max(level, core.LevelLeader)-core.LevelLeader, 4))]++
	w.probe.hitIf(s.level != core.LevelStale && w.auth.outage > 0, pStrongInOutage)
	seen := strongSeen{}
	if v.Live() {
		w.strong.names[versionOf{s.key, v.Version}] = valueName(v.Data)
		seen = strongSeen{v.Version, valueName(v.Data), listOf(v.Data)}
		if op.Kind == check.Total {
			op.Count = parseCount(v.Data)
		} else {
			op.Read = []string{seen.value}
		}
	}
	c.client.saw(s.key, seen)
}

func (c *client) saw(key string, s strongSeen) {
	if c.strong == nil || len(c.strong) >= maxTokens {
		c.strong = map[string]strongSeen{}
	}
	c.strong[key] = s
}

func versionText(v strong.Version) string {
	if v.IsZero() {
		return ""
	}
	return v.String()
}

func parseCount(b []byte) (n int64) {
	_, _ = fmt.Sscan(string(b), &n) // what is no number counts as 0, and fails the sum
	return n
}

// newID is an Idempotency-Key as a client of this moment makes it.
func (l *load) newID(w *World, n *node) strong.RequestID {
	l.reqSeq++
	text := fmt.Sprintf("%d-%x.%x", n.wall(), w.opt.Seed, l.reqSeq)
	id := api.StrongID(text)
	l.keyTexts[id] = text
	return id
}
