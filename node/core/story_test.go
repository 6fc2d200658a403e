package core

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// Short words for the scenarios: a request is made of options, and what comes back
// is drawn as text.

type opt func(*Request)

func rOf(n Count) opt         { return func(r *Request) { r.R = n } }
func wOf(n Count) opt         { return func(r *Request) { r.W = n } }
func pwOf(n Count) opt        { return func(r *Request) { r.PW = n } }
func in(d time.Duration) opt  { return func(r *Request) { r.Timeout = d } }
func strictly(r *Request)     { r.Sloppy = No }
func sized(bytes int) opt     { return func(r *Request) { r.Value = make([]byte, bytes) } }
func id(n byte) opt           { return func(r *Request) { r.ID = version.RequestID{0: 0xff, 1: n} } }
func ttl(d time.Duration) opt { return func(r *Request) { r.TTL = d } }
func having(seen *Reply) opt {
	return func(r *Request) { r.HasContext, r.Context = true, seen.Context }
}
func readAfter(of *Reply) opt { return func(r *Request) { r.HasAfter, r.After = true, of.Context } }
func ownerOnly(r *Request)    { r.OwnerOnly = true }
func emptyHanded(r *Request)  { r.HasContext = true } // a context that has seen nothing, completed by fit
func (w *world) fit(r *Request) {
	if b, ok := w.ring.Bucket(r.Bucket); ok && r.HasContext && r.Context.Bucket == 0 {
		r.Context.Bucket, r.Context.KeyHash = uint64(b.ID), hashring.Hash(r.Bucket, r.Key)
	}
}

func (w *world) request(op Op, bucket, key, value string, opts []opt) *Request {
	r := &Request{Op: op, Bucket: bucket, Key: []byte(key)}
	if op == OpPut || op == OpDelete {
		w.ids++
		binary.BigEndian.PutUint64(r.ID[8:], w.ids)
		r.Value = []byte(value)
	}
	for _, o := range opts {
		o(r)
	}
	w.fit(r)
	return r
}

func (w *world) put(at, bucket, key, value string, opts ...opt) *Reply {
	w.t.Helper()
	return w.do(w.node(at), w.request(OpPut, bucket, key, value, opts))
}

func (w *world) startPut(at, bucket, key, value string, opts ...opt) *call {
	return w.ask(w.node(at), w.request(OpPut, bucket, key, value, opts))
}

func (w *world) get(at, bucket, key string, opts ...opt) *Reply {
	w.t.Helper()
	return w.do(w.node(at), w.request(OpGet, bucket, key, "", opts))
}

func (w *world) startGet(at, bucket, key string, opts ...opt) *call {
	return w.ask(w.node(at), w.request(OpGet, bucket, key, "", opts))
}

func (w *world) del(at, bucket, key string, opts ...opt) *Reply {
	w.t.Helper()
	return w.do(w.node(at), w.request(OpDelete, bucket, key, "", opts))
}

// show draws a reply: its code if it is not ok, else the live values.
func (w *world) show(r *Reply) string {
	if r == nil {
		return "nothing"
	}
	out := []string{}
	if r.Code != OK {
		out = append(out, r.Code.String())
	}
	if r.Outcome != OutcomeNone {
		return strings.Join(append(out, r.Outcome.String()), " ")
	}
	return strings.Join(append(out, values(r.Object, w.wall())...), " ")
}

func (w *world) wall() int64 { return epochMS + w.now.Milliseconds() }

func values(o *version.Object, nowMS int64) (out []string) {
	for _, s := range o.Live(nowMS) {
		out = append(out, string(s.Value))
	}
	slices.Sort(out)
	return out
}

// has draws what a node's disk holds of a key: "-" nothing, "x" only tombstones.
func (w *world) has(at, bucket, key string) string {
	b, _ := w.ring.Bucket(bucket)
	o, _ := w.node(at).disk.Record(w.ring.PartitionOf(hashring.Hash(bucket, []byte(key))), b.ID, []byte(key))
	return w.drawObject(o)
}

func (w *world) drawObject(o *version.Object) string {
	switch v := values(o, w.wall()); {
	case o == nil:
		return "-"
	case len(v) == 0:
		return "x"
	default:
		return strings.Join(v, " ")
	}
}

// keeps draws the hints on a node's disk: "target=values", by target.
func (w *world) keeps(at string) string {
	var out []string
	for k, h := range w.node(at).disk.hints {
		out = append(out, strings.TrimRight(string(k.target[:1]), "\x00")+"="+w.drawObject(h.object))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (w *world) expect(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Fatalf("%s: %s, want %s", what, got, want)
	}
}

// cut drops (or holds) what fits: kinds of messages from some nodes to some.
func cut(f fate, from, to string, kinds ...Kind) func(a, b *wnode, m *Message) fate {
	return func(a, b *wnode, m *Message) fate {
		if strings.Contains(from, a.name) && strings.Contains(to, b.name) && (len(kinds) == 0 || slices.Contains(kinds, m.Kind)) {
			return f
		}
		return deliver
	}
}

// all of the filters, the first that does not deliver decides.
func all(fs ...func(a, b *wnode, m *Message) fate) func(a, b *wnode, m *Message) fate {
	return func(a, b *wnode, m *Message) fate {
		for _, f := range fs {
			if v := f(a, b, m); v != deliver {
				return v
			}
		}
		return deliver
	}
}

const everybody = "abcdef"

// settle heals the network, lets hand-off and repair end, and reads a key from all
// owners: they must agree.
func (w *world) settle(bucket, key string) string {
	w.t.Helper()
	w.letGo()
	for _, n := range w.nodes {
		if n.core == nil {
			w.start(n, true)
		}
		w.release(n)
	}
	w.view("", everybody)
	w.run(15 * time.Second)
	first := w.show(w.get("a", bucket, key, rOf(All)))
	w.run(time.Second)
	w.expect("the second look at "+key, w.show(w.get("b", bucket, key, rOf(All))), first)
	for _, n := range w.nodes {
		n.disk.checkCounters(w.t, n.name)
	}
	return first
}

func TestOptionsAreUsed(t *testing.T) { // the words above must say what they mean
	w := newWorld(t, "abc", 1)
	r := w.request(OpPut, "sloppy", "k", "v", []opt{rOf(1), wOf(2), pwOf(1), in(time.Second), strictly, id(3), ttl(time.Minute), emptyHanded, ownerOnly})
	if r.R != 1 || r.W != 2 || r.PW != 1 || r.Timeout != time.Second || r.Sloppy != No || r.ID[1] != 3 || r.TTL != time.Minute ||
		!r.HasContext || r.Context.Bucket != 2 || r.Context.KeyHash == 0 || !r.OwnerOnly || string(r.Value) != "v" {
		t.Errorf("%+v", r)
	}
}
