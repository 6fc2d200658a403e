package live

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// Workloads on strong buckets. Every kind of read meets every kind of write on the same
// keys; a write has an Idempotency-Key or none, and one that has may be sent again, or
// twice at once.

// strongWorkload is a workload on a strong bucket.
func strongWorkload(name string, step func(*client, *key, *rand.Rand)) workload {
	return workload{name: name, bucket: map[string]any{"mode": "strong"}, strong: true, step: step}
}

// strongLevels are the kinds of reads and what they promise. Only the last one may show
// the past.
var strongLevels = []struct {
	name  string
	level check.Level
}{{"leader", check.Strict}, {"lease", check.Strict}, {"quorum", check.Quorum}, {"replica", check.One}, {"stale", check.Past}}

// Shares of reads, in percent.
const (
	readsRegister = 40
	readsAppend   = 35
	readsCreate   = 40
	readsCounter  = 40
)

// register reads, writes, compares and sets, and deletes, with and without conditions.
func (c *client) register(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	switch n := r.IntN(100); {
	case n < readsRegister:
		c.strongRead(k, r.IntN(len(strongLevels)))
	case n < 58:
		c.strongWrite(k, check.Write, nil)
	case n < 85 && has:
		c.strongWrite(k, check.CAS, &t)
	case n < 85:
		c.strongWrite(k, check.CAS, &token{})
	case n < 92 && has:
		c.strongDelete(k, &t)
	default:
		c.strongDelete(k, nil)
	}
}

// appendTo reads a list and adds to it what nobody else has added meanwhile.
func (c *client) appendTo(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	if r.IntN(100) < readsAppend || !has && r.IntN(2) == 0 {
		c.strongRead(k, r.IntN(len(strongLevels)))
		return
	}
	c.strongWrite(k, check.CAS, &t)
}

// create is a race for a key that does not exist.
func (c *client) create(k *key, r *rand.Rand) {
	if r.IntN(100) < readsCreate {
		c.strongRead(k, r.IntN(len(strongLevels)))
		return
	}
	c.strongWrite(k, check.CAS, &token{})
}

// lock takes a lock that is free, gives back one's own, or forgets it as one who died
// does, and now and then breaks another one's.
func (c *client) lock(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	n := r.IntN(100)
	switch {
	case has && t.mine && n < 60, has && n < 12:
		c.strongDelete(k, &t)
	case has && t.mine && n < 75:
		k.forget(c.id)
	case !has && n < 60:
		c.strongWrite(k, check.CAS, &token{})
	default:
		c.strongRead(k, r.IntN(len(strongLevels)))
	}
}

// counter adds powers of two, each once, so that a sum tells what is in it.
func (c *client) counter(k *key, r *rand.Rand) {
	if r.IntN(100) < readsCounter {
		c.total(k, r.IntN(len(strongLevels)-1))
		return
	}
	if delta, ok := k.power(); ok {
		c.add(k, delta)
	}
}

// strongRead is one read at any node, at one of the levels.
func (c *client) strongRead(k *key, level int) {
	l := strongLevels[level]
	r := request{method: http.MethodGet, path: keyPath(k.ref), query: levelQuery(level, c.rng), timeout: c.timeout()}
	op := check.Op{Client: c.id, Kind: check.Read, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: l.level}
	s := c.any()
	op.Node, op.Call = s.name, c.run.now()
	a := send(context.Background(), c.http, s, &r)
	op.Return, op.Outcome, op.Version = c.run.now(), a.outcome, a.version()
	op.Read = c.run.names(k.ref, s, a.values)
	c.run.book.addRead(op, a.how)
	switch {
	case a.outcome != check.OK:
	case len(op.Read) == 1:
		mine, _ := k.token(c.id)
		k.keep(c.id, token{text: a.etag, covers: op.Read, mine: mine.mine && mine.text == a.etag})
	default:
		k.forget(c.id)
	}
}

// levelQuery asks for a level; for the default one only sometimes by name.
func levelQuery(level int, r *rand.Rand) url.Values {
	if level == 0 && r.IntN(2) == 0 {
		return nil
	}
	return url.Values{"consistency": {strongLevels[level].name}}
}

// strongWrite is one PUT. over is what it compares with: nil nothing, a token without
// text that the key holds nothing.
func (c *client) strongWrite(k *key, kind check.Kind, over *token) {
	c.seq++
	op := check.Op{Client: c.id, Kind: kind, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: check.Strict, Value: fmt.Sprintf("%s/%d.%d", k.ref.Key, c.id, c.seq)}
	r := request{method: http.MethodPut, path: keyPath(k.ref), timeout: c.timeout()}
	if over != nil {
		op.HasContext, op.Context = true, over.covers
		r.match, r.absent = over.text, over.text == ""
	}
	r.body = c.run.strongValue(k, &op, c.pad())
	c.strongOp(k, &r, &op)
	switch op.Outcome {
	case check.OK:
		k.keep(c.id, token{text: `"` + op.Version + `"`, covers: []string{op.Value}, mine: true})
	case check.Mismatch:
		k.forget(c.id)
	}
}

// strongValue is the body of a write: in the lists, all that went before too.
func (r *run) strongValue(k *key, op *check.Op, pad int) []byte {
	if !k.lists {
		return makeValue(op.Value, pad)
	}
	var list []string
	if len(op.Context) == 1 {
		list = r.lists.get(op.Context[0])
	}
	return r.lists.add(op.Value, list)
}

// strongDelete is one DELETE, of what the token names, or of whatever is there.
func (c *client) strongDelete(k *key, over *token) {
	op := check.Op{Client: c.id, Kind: check.Delete, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: check.Strict}
	r := request{method: http.MethodDelete, path: keyPath(k.ref), timeout: c.timeout()}
	if over != nil {
		op.Kind, op.HasContext, op.Context, r.match = check.CAS, true, over.covers, over.text
	}
	c.strongOp(k, &r, &op)
	if op.Outcome == check.OK || op.Outcome == check.Mismatch {
		k.forget(c.id)
	}
}

// add is one increment.
func (c *client) add(k *key, delta int64) {
	op := check.Op{Client: c.id, Kind: check.Add, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: check.Strict, Delta: delta}
	r := request{method: http.MethodPost, path: counterPath(k.ref), body: fmt.Appendf(nil, `{"delta":%d}`, delta), timeout: c.timeout()}
	c.strongOp(k, &r, &op)
}

// total is one read of a counter.
func (c *client) total(k *key, level int) {
	r := request{method: http.MethodGet, path: counterPath(k.ref), query: levelQuery(level, c.rng), timeout: c.timeout()}
	op := check.Op{Client: c.id, Kind: check.Total, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: strongLevels[level].level}
	s := c.any()
	op.Node, op.Call = s.name, c.run.now()
	a := send(context.Background(), c.http, s, &r)
	op.Return, op.Outcome, op.Version, op.Count = c.run.now(), a.outcome, a.version(), a.count
	c.run.book.addRead(op, a.how)
}

func counterPath(ref check.KeyRef) string {
	return "/v1/counter/" + ref.Bucket + "/" + url.PathEscape(ref.Key)
}

// What is done with a write beside sending it, in percent.
const (
	namedPercent  = 60 // it has an Idempotency-Key
	twicePercent  = 20 // of those: it goes to two nodes at once
	repeatPercent = 25 // of those: it is sent again though it was answered
)

// strongOp sends a write until its fate is known or its attempts are used up, and notes
// it.
func (c *client) strongOp(k *key, r *request, op *check.Op) {
	if c.rng.IntN(100) < namedPercent {
		c.named++
		r.idem = fmt.Sprintf("%d-%s.%d.%d", time.Now().UnixMilli(), c.run.id, c.id, c.named)
	}
	op.Call = c.run.now()
	var f fate
	for try := 1; ; try++ {
		servers := []server{c.any()}
		if r.idem != "" && c.rng.IntN(100) < twicePercent {
			servers = append(servers, c.any())
		}
		op.Node = servers[0].name
		retryable := f.take(sendAll(c.http, servers, r))
		again := f.outcome == check.NotApplied && retryable || f.outcome == check.Unknown && r.idem != "" && c.rng.IntN(100) < resendPercent
		if !again || try == attemptsMax {
			break
		}
	}
	op.Outcome, op.Version, op.Count, op.Return = f.outcome, f.version, f.count, c.run.now()
	c.run.book.add(*op)
	if r.idem != "" && f.settled() && c.rng.IntN(100) < repeatPercent { // it must not act once more
		f.take(sendAll(c.http, []server{c.any()}, r))
	}
	if f.contradiction != "" {
		c.run.book.contradict(fmt.Sprintf("%s: %s: %s", k.ref, strings.TrimSpace(op.String()), f.contradiction))
	}
}

// sendAll sends a request to each of some nodes at once.
func sendAll(hc *http.Client, servers []server, r *request) []answer {
	out := make([]answer, len(servers))
	done := make(chan struct{})
	for i, s := range servers[1:] {
		go func() {
			out[i+1] = send(context.Background(), hc, s, r)
			done <- struct{}{}
		}()
	}
	out[0] = send(context.Background(), hc, servers[0], r)
	for range servers[1:] {
		<-done
	}
	return out
}
