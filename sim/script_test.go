package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// script is a world without chance for one story: five nodes, one partition, a, b and
// c its owners, x and y the others in the order in which they stand in. A story ends
// with what it finds wrong, or with the violations of the world.
type script struct {
	w             *World
	a, b, c, x, y *node
	client        *client
	wrong         string
	kept          []kept
	seq           int
	last          string
}

type kept struct {
	from *node
	m    *core.Message
}

// quiet is a world in which nothing is drawn that matters.
func quiet() Draw {
	return Draw{Nodes: 5, Shards: 1, Partitions: 1, Replicas: 3, NetDelay: time.Millisecond, SyncTime: 10 * time.Millisecond,
		StepTime: time.Microsecond, DeadAfter: 5 * time.Second, PurgeEvery: 5 * time.Second, ScrubEvery: 30 * time.Second, Workloads: map[string]int{}}
}

func newScript(d Draw, o Options) *script {
	o.Seed, o.Nodes = max(o.Seed, 1), d.Nodes
	s := &script{w: newWorld(o, d)}
	s.w.storm.plan(s.w)
	for _, n := range s.w.nodes {
		n.start()
	}
	s.w.load.start(s.w)
	s.client = &client{tokens: map[*keyTruth]*token{}}
	ring := s.w.auth.ringAt(s.w.auth.state.Version)
	owners := ring.Owners(0, 3)
	others := ring.Fallbacks(0, 3)
	s.a, s.b, s.c = s.w.bySID[owners[0]], s.w.bySID[owners[1]], s.w.bySID[owners[2]]
	s.x, s.y = s.w.bySID[others[0]], s.w.bySID[others[1]]
	s.run(3 * time.Second)
	return s
}

func (s *script) run(d time.Duration) { s.w.runUntil(s.w.now+d, nil) }

func (s *script) fail(format string, args ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

// ask begins an operation; with names the token it carries.
func (s *script) ask(n *node, op core.Op, bucket, value string, opts ...func(*core.Request)) *call {
	r := &core.Request{Op: op, Bucket: bucket, Key: []byte("k")}
	if op == core.OpPut {
		r.Value = []byte(value)
	}
	for _, o := range opts {
		o(r)
	}
	ring := s.w.auth.ringAt(s.w.auth.state.Version)
	b, _ := ring.Bucket(bucket)
	with, _ := r.Waiter.(*token)
	if r.HasContext && r.Context.Bucket == 0 {
		r.Context.Bucket, r.Context.KeyHash = uint64(b.ID), hashring.Hash(bucket, r.Key)
	}
	return s.w.load.ask(s.w, n, s.client, r, with)
}

// wait runs until the client has its answer; nil: it has none.
func (s *script) wait(c *call) *core.Reply {
	s.w.runUntil(s.w.now+time.Minute, func() bool { return c.done })
	return c.reply
}

func (s *script) put(n *node, bucket, value string, opts ...func(*core.Request)) *core.Reply {
	return s.wait(s.ask(n, core.OpPut, bucket, value, opts...))
}

func (s *script) get(n *node, bucket string, opts ...func(*core.Request)) *core.Reply {
	return s.wait(s.ask(n, core.OpGet, bucket, "", opts...))
}

func (s *script) del(n *node, bucket string, opts ...func(*core.Request)) *core.Reply {
	return s.wait(s.ask(n, core.OpDelete, bucket, "", opts...))
}

// acked is put that must be acknowledged; it returns the token of the answer.
func (s *script) acked(n *node, bucket, value string, opts ...func(*core.Request)) *token {
	r := s.put(n, bucket, value, opts...)
	if r == nil || r.Outcome != core.Applied {
		s.fail("%s of %s at %s: %s", value, bucket, n.name, show(r))
		return &token{}
	}
	return s.token(bucket)
}

// token is the one that the client got last for the key.
func (s *script) token(bucket string, key ...string) *token {
	name := "k"
	if len(key) > 0 {
		name = key[0]
	}
	for kt, t := range s.client.tokens { // order-free: there is one
		if kt.name == bucket && kt.key == name {
			return t
		}
	}
	return &token{}
}

func wOf(n core.Count) func(*core.Request)      { return func(r *core.Request) { r.W = n } }
func rOf(n core.Count) func(*core.Request)      { return func(r *core.Request) { r.R = n } }
func pwOf(n core.Count) func(*core.Request)     { return func(r *core.Request) { r.PW = n } }
func onKey(k string) func(*core.Request)        { return func(r *core.Request) { r.Key = []byte(k) } }
func ttlOf(d time.Duration) func(*core.Request) { return func(r *core.Request) { r.TTL = d } }
func idOf(id byte) func(*core.Request)          { return func(r *core.Request) { r.ID[0] = id } }
func within(d time.Duration) func(*core.Request) {
	return func(r *core.Request) { r.Timeout = d }
}

// fresh is a context that has seen nothing.
func fresh(r *core.Request) { r.HasContext = true }

// with carries a token as the write's context, after as the read's session.
func with(t *token) func(*core.Request) {
	return func(r *core.Request) {
		r.HasContext, r.Waiter = true, t
		r.Context, _ = version.ParseContext(t.text)
	}
}

func after(t *token) func(*core.Request) {
	return func(r *core.Request) {
		r.HasAfter, r.Waiter = true, t
		r.After, _ = version.ParseContext(t.text)
	}
}

// show draws an answer: its code if it is not ok, its outcome, its values.
func show(r *core.Reply) string {
	if r == nil {
		return "no answer"
	}
	var out []string
	if r.Code != core.OK {
		out = append(out, r.Code.String())
	}
	if r.Outcome != core.OutcomeNone {
		return strings.Join(append(out, r.Outcome.String()), " ")
	}
	var values []string
	if r.Strong != nil && r.Strong.Value.Live() {
		values = append(values, valueName(r.Strong.Value.Data))
	}
	for _, v := range r.Object.Live(epochMS) {
		values = append(values, string(v.Value))
	}
	slices.Sort(values)
	return strings.Join(append(out, values...), " ")
}

func (s *script) expect(r *core.Reply, want ...string) {
	if got := show(r); !slices.Contains(want, got) {
		s.fail("%s, not %s", got, strings.Join(want, " or "))
	}
}

// cut and mend sever all links between one node and others, both ways.
func (s *script) cut(n *node, from ...*node)  { s.sever(1, n, from) }
func (s *script) mend(n *node, from ...*node) { s.sever(-1, n, from) }

func (s *script) sever(by int, n *node, from []*node) {
	for _, o := range from {
		s.w.cutLink(n, o, by)
		s.w.cutLink(o, n, by)
	}
	if by > 0 {
		for _, o := range from { // they notice at once
			s.w.breakPair(s.w.link(n, o))
		}
		s.run(10 * time.Millisecond)
	}
}

// down kills nodes, and lets everybody notice.
func (s *script) down(nodes ...*node) {
	for _, n := range nodes {
		n.kill(false)
	}
	s.run(20 * time.Millisecond)
}

// cutPower kills a node whose commits under way have reached nothing.
func (s *script) cutPower(n *node) {
	for _, sh := range n.shards {
		sh.inFlight, sh.pending = nil, nil
	}
	n.kill(true)
	n.disk.stalled = 0
	s.run(20 * time.Millisecond)
}

// hang lets no commit of the nodes end for d.
func (s *script) hang(d time.Duration, nodes ...*node) {
	for _, n := range nodes {
		n.disk.stalled = s.w.now + d
	}
}

// keep holds back messages of a kind between two nodes until letGo; lose drops them.
func (s *script) keep(from, to *node, k core.Kind) {
	s.w.onSend = func(a, b *node, m *core.Message) verdict {
		if a != from || b != to || m.Kind != k {
			return deliver
		}
		c := *m
		s.kept = append(s.kept, kept{a, &c})
		return hold
	}
}

func (s *script) lose(from *node, kinds ...core.Kind) {
	s.w.onSend = func(a, _ *node, m *core.Message) verdict {
		if a == from && slices.Contains(kinds, m.Kind) {
			return drop
		}
		return deliver
	}
}

func (s *script) letGo() {
	list := s.kept
	s.kept, s.w.onSend = nil, nil
	for _, k := range list {
		s.w.send(k.from, k.m)
	}
}

// end heals, waits for rest, reads everything twice and holds it against the truth.
func (s *script) end() {
	if s.wrong != "" || s.w.failed() {
		return
	}
	s.w.onSend = nil
	for _, n := range s.w.nodes {
		for _, o := range s.w.nodes {
			if n != o {
				s.w.cutLink(n, o, -s.w.link(n, o).cut[s.w.link(n, o).dir(n)])
			}
		}
		n.deaf = 0
	}
	s.w.auth.outage, s.w.auth.tame = 0, false
	s.w.heal()
	s.w.load.stopped = true
	s.w.settle()
	if s.w.failed() {
		return
	}
	if !converges {
		s.w.readAll(2)
	}
	if s.w.failed() {
		return
	}
	s.run(quietFor)
	s.w.settle()
	s.w.verify()
}

// finding is what the story came to; empty: all is well.
func (s *script) finding() string {
	if len(s.w.violations) > 0 {
		return s.w.violations[0].String()
	}
	return s.wrong
}
