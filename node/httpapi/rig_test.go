package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// fakeBackend answers with scripted replies and holds a real ring state, so that
// bucket commands go through hashring's own rules.
type fakeBackend struct {
	reg *prometheus.Registry

	mu        sync.Mutex
	ring      *hashring.Ring
	newer     *hashring.Ring // what RefreshRing finds
	dead      map[hashring.SID]bool
	reply     func(*core.Request) *core.Reply
	got       []core.Request
	refreshed int
	propose   error // when set, Propose fails with it
	checks    []Check
	late      bool // Admit refuses
	status    ClusterStatus
	hints     []NodeHints
	repair    []NodeRepair
	asked     []int     // partitions of Hints and StartRepair
	moved     []string  // what MovePrimary was asked
	moveBy    time.Time // its deadline
	logs      []NodeLogs
	proposed  []hashring.Command // that were applied
}

func testSID(n byte) (s hashring.SID) {
	s[0], s[15] = n, n
	return s
}

// testState is a cluster of n1..n4 with three replicas and 8 partitions on the
// first three nodes; n4 joined later and owns nothing.
func testState(t testing.TB) *hashring.State {
	t.Helper()
	s := &hashring.State{}
	apply := func(c hashring.Command) {
		t.Helper()
		next, err := s.Apply(s.Version+10, c)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	apply(hashring.Command{Kind: hashring.KindInit, Init: &hashring.Init{Cluster: testSID(99), Replicas: 3, Feature: 1}})
	var first []hashring.SID
	for i := byte(1); i <= 4; i++ {
		digit := string('0' + rune(i))
		apply(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: hashring.Store{SID: testSID(i), Node: "n" + digit,
			API: "127.0.0.1:740" + digit, Gossip: "127.0.0.1:750" + digit, Peer: "127.0.0.1:760" + digit, Boot: 1, FeatureMax: 1}}})
		if i <= 3 {
			first = append(first, testSID(i))
		}
	}
	apply(hashring.Command{Kind: hashring.KindFirstRing, FirstRing: &hashring.FirstRing{Partitions: 8, Stores: first}})
	apply(hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "fixed", N: 3, R: 1, W: 3, Sloppy: false}})
	return s
}

func newFake(t testing.TB) *fakeBackend {
	return &fakeBackend{ring: hashring.NewRing(testState(t)), dead: map[hashring.SID]bool{}, reg: prometheus.NewRegistry(),
		reply: func(*core.Request) *core.Reply { return okReply(nil) }}
}

func (b *fakeBackend) Do(_ context.Context, req *core.Request) *core.Reply {
	b.mu.Lock()
	b.got = append(b.got, *req)
	reply := b.reply
	b.mu.Unlock()
	return reply(req)
}

func (b *fakeBackend) Admit(*core.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.late
}

func (b *fakeBackend) Ring() *hashring.Ring {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ring
}

func (b *fakeBackend) RefreshRing(context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refreshed++
	if b.newer != nil {
		b.ring = b.newer
	}
}

func (b *fakeBackend) Alive(sid hashring.SID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.dead[sid]
}

func (b *fakeBackend) Propose(_ context.Context, cmd hashring.Command) (*hashring.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.propose != nil {
		return nil, b.propose
	}
	next, err := b.ring.State.Apply(b.ring.Version+1, cmd)
	if err != nil {
		return nil, err
	}
	b.ring = hashring.NewRing(next)
	b.proposed = append(b.proposed, cmd)
	return next, nil
}

func (b *fakeBackend) Hints(_ context.Context, partition int) []NodeHints {
	b.asked = append(b.asked, partition)
	return b.hints
}
func (b *fakeBackend) Repair(context.Context) []NodeRepair { return b.repair }
func (b *fakeBackend) StartRepair(_ context.Context, partition int) []NodeAsked {
	b.asked = append(b.asked, partition)
	return []NodeAsked{{Node: "n1", Answered: true, Comparisons: 16}, {Node: "n2"}}
}
func (b *fakeBackend) StrongLogs(context.Context) []NodeLogs { return b.logs }

func (b *fakeBackend) MovePrimary(ctx context.Context, partition uint32, to hashring.SID) error {
	b.moveBy, _ = ctx.Deadline()
	b.moved = append(b.moved, fmt.Sprint(partition, " ", to.Short()))
	return b.propose
}
func (b *fakeBackend) Cluster(context.Context) ClusterStatus { return b.status }
func (b *fakeBackend) Ready() []Check                        { return b.checks }
func (b *fakeBackend) Gatherer() prometheus.Gatherer         { return b.reg }
func (b *fakeBackend) Self() Self {
	return Self{SID: testSID(1), Node: "n1", Version: "0.1.0", Cluster: testSID(99)}
}

func (b *fakeBackend) requests() []core.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// last is the newest request that reached the backend.
func (b *fakeBackend) last(t testing.TB) core.Request {
	t.Helper()
	got := b.requests()
	if len(got) == 0 {
		t.Fatal("nothing reached the backend")
	}
	return got[len(got)-1]
}

// sibling is a live value with its checksum.
func sibling(actor, counter uint64, ms int64, kind, value string) version.Sibling {
	return version.Sibling{Dot: version.Dot{Actor: version.Actor(actor), Counter: counter}, HLC: version.HLCFromMS(ms),
		ContentType: kind, Value: []byte(value), Sum: checksum([]byte(value))}
}

// object holds siblings that are sorted by dot.
func object(siblings ...version.Sibling) *version.Object {
	o := &version.Object{Siblings: siblings}
	for _, s := range siblings {
		o.Context = o.Context.With(s.Dot)
	}
	return o
}

// okReply is what the core says of a request that met its quorum.
func okReply(o *version.Object) *core.Reply {
	r := &core.Reply{Code: core.OK, Object: o, Receipt: quorum.Receipt{N: 3, Need: 2, Acks: 2, Owners: 2, Synced: 2},
		RingVersion: 60, Epoch: 1, Partition: 5, ServedBy: testSID(2)}
	if o != nil {
		r.Context = version.Context{Bucket: 10, KeyHash: 7, HLC: o.MaxHLC(), Seen: o.Context}
	}
	return r
}

func (b *fakeBackend) answer(rep *core.Reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reply = func(*core.Request) *core.Reply { return rep }
}

// rig is a handler under test. Every call through it is checked against the API
// document.
type rig struct {
	t testing.TB
	b *fakeBackend
	h http.Handler

	wire wire
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	b := newFake(t)
	o := Options{Registerer: b.reg}
	for _, f := range change {
		f(&o)
	}
	return &rig{t: t, b: b, h: New(b, o)}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

func (a *answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("no problem: %v: %s", err, a.body)
	}
	return p
}

// do sends a request; headers are "Name: value".
func (r *rig) do(method, target, body string, headers ...string) *answer {
	r.t.Helper()
	a := r.raw(method, target, body, headers...)
	if err := checkContract(r.request(method, target, body, headers), a); err != nil {
		r.t.Errorf("%s %s -> %d: against the API document: %v", method, target, a.StatusCode, err)
	}
	return a
}

func (r *rig) request(method, target, body string, headers []string) *http.Request {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, from)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	if (method == "POST" || method == "PATCH") && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// raw is do without the check.
func (r *rig) raw(method, target, body string, headers ...string) *answer {
	if road != roadHandler {
		return r.wire.send(r, method, target, body, headers)
	}
	rec := httptest.NewRecorder()
	r.h.ServeHTTP(rec, r.request(method, target, body, headers))
	res := rec.Result()
	return &answer{res, rec.Body.Bytes()}
}

// want sends a request and checks status and, for problems, the code.
func (r *rig) want(status int, code, method, target, body string, headers ...string) *answer {
	r.t.Helper()
	a := r.do(method, target, body, headers...)
	if a.StatusCode != status {
		r.t.Fatalf("%s %s: status %d, want %d: %s", method, target, a.StatusCode, status, a.body)
	}
	if code != "" && method != http.MethodHead {
		if p := a.problem(r.t); p.Code != code || p.Status != status {
			r.t.Fatalf("%s %s: problem %s %d, want %s %d (%s)", method, target, p.Code, p.Status, code, status, p.Detail)
		}
	}
	return a
}

func (r *rig) json(v any) string {
	r.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func decodeInto[T any](t testing.TB, a *answer) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// fixedNow is a clock that stands still.
func fixedNow(ms int64) func(*Options) {
	return func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(ms) } }
}
