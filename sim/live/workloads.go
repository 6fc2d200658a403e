package live

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// workload is one way to use the store, on a bucket of its own.
type workload struct {
	name string
	// bucket is the body that makes it, beside the name.
	bucket map[string]any
	strong bool
	step   func(c *client, k *key, r *rand.Rand)
}

// workloads in the order in which they are listed.
var workloads = []workload{
	{name: "siblings", bucket: map[string]any{}, step: (*client).siblings},
	{name: "strict", bucket: map[string]any{"sloppy": false}, step: (*client).strict},
	{name: "session", bucket: map[string]any{}, step: (*client).session},
	{name: "lww", bucket: map[string]any{"conflict": "lww"}, step: (*client).lww},
	strongWorkload("register", (*client).register),
	strongWorkload(appending, (*client).appendTo),
	strongWorkload(creating, (*client).create),
	strongWorkload(counting, (*client).counter),
	strongWorkload(locking, (*client).lock),
}

// Names of workloads that something depends on.
const (
	appending = "append"
	creating  = "create"
	counting  = "counter"
	locking   = "lock"
)

// client is one sequential user of the store.
type client struct {
	id      int
	run     *run
	rng     *rand.Rand
	http    *http.Client
	servers []server
	seq     int
	named   int // writes with an Idempotency-Key
}

// work goes on until ctx ends: that is the end of the load, not of an operation.
func (c *client) work(ctx context.Context) {
	every := time.Duration(float64(c.run.o.Clients) / c.run.o.Rate * float64(time.Second))
	for {
		if !rest(ctx, time.Duration(c.rng.ExpFloat64()*float64(every))) || c.run.book.full() {
			return
		}
		w := c.run.active[c.rng.IntN(len(c.run.active))]
		slot := c.rng.IntN(slotsPerWorkload)
		switch k, make, number := w.pool.take(slot); {
		case make:
			w.pool.put(slot, c.found(w, number))
		case k != nil:
			w.step(c, k, c.rng)
		}
	}
}

// found makes a key: asks who owns it and writes it for the first time, at an owner.
// Nil when that did not succeed for certain.
func (c *client) found(w *active, number int) *key {
	name := w.name + "-" + strconv.Itoa(number)
	if w.strong {
		return c.strongKey(w, name)
	}
	q := url.Values{"bucket": {w.bucket}, "key": {name}}
	a := send(context.Background(), c.http, c.any(), &request{method: http.MethodGet, path: "/v1/cluster/locate", query: q, timeout: time.Second})
	var at struct {
		Replicas []string `json:"replicas"`
	}
	if a.outcome != check.OK || json.Unmarshal(a.body, &at) != nil || len(at.Replicas) == 0 {
		return nil
	}
	k := &key{ref: check.KeyRef{Bucket: w.bucket, Key: name}, owners: at.Replicas, blind: number%blindEvery == 0 || w.name == "lww",
		uses: usesMin + c.rng.IntN(usesSpread), tokens: map[int]token{}}
	if c.write(k, check.Write, check.Quorum, nil, token{}, false) != check.OK {
		return nil
	}
	return k
}

func (c *client) any() server { return c.servers[c.rng.IntN(len(c.servers))] }

// owner is a random owner of k, zero when none of them is known.
func (c *client) owner(k *key) (server, bool) {
	var list []server
	for _, s := range c.servers {
		if slices.Contains(k.owners, s.name) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return server{}, false
	}
	return list[c.rng.IntN(len(list))], true
}

// level draws a consistency.
func level(r *rand.Rand, one, quorum int) (check.Level, url.Values) {
	switch n := r.IntN(100); {
	case n < one:
		return check.One, url.Values{"consistency": {"one"}}
	case n < one+quorum:
		return check.Quorum, nil
	}
	return check.All, url.Values{"consistency": {"all"}}
}

// siblings adds, overwrites and deletes, with fresh and with stale contexts.
func (c *client) siblings(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	n := r.IntN(100)
	switch {
	case n < 45 || !has && n < 88:
		l, q := level(r, 20, 60)
		c.read(k, l, q, nil)
	case n < 80:
		l, q := level(r, 20, 70)
		c.write(k, check.Write, l, q, t, true)
	case n < 88:
		l, q := level(r, 10, 80)
		c.write(k, check.Delete, l, q, t, true)
	case n < 94 && k.blind:
		kind := check.Write
		if n == 93 {
			kind = check.Delete
		}
		c.write(k, kind, check.Quorum, nil, token{}, false)
	default:
		c.readAfter(k)
	}
}

// strict reads and writes without stand-ins, R+W>N.
func (c *client) strict(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	switch n := r.IntN(100); {
	case n < 55 || !has:
		c.read(k, check.Strict, nil, nil)
	case n < 95:
		c.write(k, check.Write, check.Strict, nil, t, true)
	default:
		c.write(k, check.Delete, check.Strict, nil, t, true)
	}
}

// session reads after its own reads and writes, mostly from one replica.
func (c *client) session(k *key, r *rand.Rand) {
	t, has := k.token(c.id)
	switch n := r.IntN(100); {
	case !has:
		c.read(k, check.Quorum, nil, nil)
	case n < 55:
		c.readAfter(k)
	case n < 92:
		l, q := level(r, 50, 45)
		c.write(k, check.Write, l, q, t, true)
	default:
		c.write(k, check.Delete, check.Quorum, nil, t, true)
	}
}

// lww writes without contexts where the last write wins.
func (c *client) lww(k *key, r *rand.Rand) {
	switch n := r.IntN(100); {
	case n < 50:
		l, q := level(r, 30, 60)
		c.read(k, l, q, nil)
	case n < 95:
		c.write(k, check.Write, check.Quorum, nil, token{}, false)
	default:
		c.write(k, check.Delete, check.Quorum, nil, token{}, false)
	}
}

// readAfter reads with the client's token, mostly at the weakest level.
func (c *client) readAfter(k *key) {
	t, has := k.token(c.id)
	if !has {
		c.read(k, check.Quorum, nil, nil)
		return
	}
	q := url.Values{"consistency": {"one"}}
	if c.rng.IntN(4) == 0 {
		q = nil
	}
	c.read(k, check.Session, q, &t)
}

// timeouts that clients ask for: some are shorter than a failure takes to notice.
var timeouts = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

func (c *client) timeout() time.Duration { return timeouts[c.rng.IntN(len(timeouts))] }

func keyPath(ref check.KeyRef) string { return "/v1/kv/" + ref.Bucket + "/" + url.PathEscape(ref.Key) }

// read is one read at any node; after, if given, is the session's token.
func (c *client) read(k *key, l check.Level, q url.Values, after *token) {
	r := request{method: http.MethodGet, path: keyPath(k.ref), query: q, timeout: c.timeout()}
	op := check.Op{Client: c.id, Kind: check.Read, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: l}
	if after != nil {
		r.token, r.hasToken = after.text, true
		op.Session, op.SessionGone = after.covers, after.gone
	}
	s := c.any()
	op.Node, op.Call = s.name, c.run.now()
	a := send(context.Background(), c.http, s, &r)
	op.Return, op.Outcome = c.run.now(), a.outcome
	op.Read = c.run.names(k.ref, s, a.values)
	c.run.book.add(op)
	if a.outcome == check.OK {
		k.keep(c.id, token{text: a.token, covers: op.Read})
	}
}

// Attempts of one write: it is sent again where it was certainly not applied, and
// sometimes where nobody knows, with the same bytes, context and Idempotency-Key.
const (
	attemptsMax   = 3
	resendPercent = 50
)

// write is one PUT or DELETE. Without a context it goes to an owner that must not
// forward it, and once only: what is sent twice may act late and replace anything.
func (c *client) write(k *key, kind check.Kind, l check.Level, q url.Values, with token, hasToken bool) check.Outcome {
	op := check.Op{Client: c.id, Kind: kind, Bucket: k.ref.Bucket, Key: k.ref.Key, Level: l, HasContext: hasToken, Context: with.covers}
	r := request{method: http.MethodDelete, path: keyPath(k.ref), query: q, token: with.text, hasToken: hasToken, timeout: c.timeout()}
	if kind == check.Write {
		c.seq++
		op.Value = fmt.Sprintf("%s/%d.%d", k.ref.Key, c.id, c.seq)
		r.method, r.body = http.MethodPut, makeValue(op.Value, c.pad())
		if hasToken {
			r.idem = fmt.Sprintf("%d-%s.%d.%d", time.Now().UnixMilli(), c.run.id, c.id, c.seq)
		}
	}
	op.Call = c.run.now()
	a := c.attempts(k, &r, &op)
	op.Return = c.run.now()
	c.run.book.add(op)
	switch {
	case op.Outcome == check.Unknown && !hasToken:
		k.retire()
	case op.Outcome == check.OK:
		t := token{text: a.token, gone: with.covers}
		if op.Value != "" {
			t.covers = []string{op.Value}
		}
		k.keep(c.id, t)
	}
	return op.Outcome
}

func (c *client) attempts(k *key, r *request, op *check.Op) (a answer) {
	unknown := false
	for try := 1; ; try++ {
		s := c.any()
		if !op.HasContext || c.rng.IntN(3) == 0 {
			if o, ok := c.owner(k); ok {
				s, r.ownerOnly = o, true
			}
		} else {
			r.ownerOnly = false
		}
		op.Node = s.name
		a = send(context.Background(), c.http, s, r)
		op.Outcome = a.outcome
		op.Resent = op.Resent || mayBeResent(k, r, s, a)
		if a.outcome == check.NotApplied && unknown {
			op.Outcome = check.Unknown
		}
		unknown = unknown || a.outcome == check.Unknown
		again := a.outcome == check.NotApplied && a.retryable || a.outcome == check.Unknown && r.idem != "" && c.rng.IntN(100) < resendPercent
		if !again || try == attemptsMax {
			return a
		}
		op.Resent = op.Resent || unknown
	}
}

// mayBeResent: a node that forwards a write and gets no answer hands it to another
// one (rule E16), and both may carry it out, the first one late. Only the owner that
// coordinates a write itself is sure not to have done that.
func mayBeResent(k *key, r *request, s server, a answer) bool {
	switch {
	case r.ownerOnly || a.outcome == check.NotApplied:
		return false
	case a.outcome == check.OK:
		return a.servedBy != s.name || !slices.Contains(k.owners, s.name)
	}
	return true
}

// pad draws a size: mostly small, now and then one that takes the road of large
// messages between nodes.
func (c *client) pad() int {
	switch n := c.rng.IntN(100); {
	case n < 70:
		return c.rng.IntN(64)
	case n < 98:
		return c.rng.IntN(2 << 10)
	}
	return 100 << 10
}
