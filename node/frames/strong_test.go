package frames

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
)

// scripted answers every request with one reply, and has one strong bucket, s.
type scripted struct {
	ring *hashring.Ring
	mu   sync.Mutex
	rep  *core.Reply
	got  core.Request
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	state := *testRing(t).State
	state.Buckets = map[string]hashring.Bucket{"s": {ID: 70, Name: "s", Mode: hashring.Strong, N: 3}}
	return &scripted{ring: hashring.NewRing(&state)}
}

func (s *scripted) Ring() *hashring.Ring        { return s.ring }
func (s *scripted) RefreshRing(context.Context) {}
func (s *scripted) Submit(_ *hashring.Ring, reqs []*core.Request) {
	for _, r := range reqs {
		s.mu.Lock()
		s.got = *r
		rep := s.rep
		s.mu.Unlock()
		r.Waiter.(Waiter).Reply(rep)
	}
}

func (s *scripted) answer(code core.Code, r *core.StrongReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep = &core.Reply{Code: code, Strong: r, RingVersion: 60, Epoch: 7, Partition: 5, ServedBy: testSID(1),
		Receipt: quorum.Receipt{N: 3, Need: 2, Acks: 2, Owners: 2, Synced: 2}}
}

func (s *scripted) last() core.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func TestStrongBuckets(t *testing.T) {
	s := newScripted(t)
	r := newRig(t, func(c *Config) { c.Backend = s })
	c := r.dial(DialConfig{})
	ask := func(op wire.ClientOp, change func(*wire.ClientRequest)) wire.ClientReply {
		q := wire.ClientRequest{Op: op, Bucket: "s", Key: []byte("k")}
		if change != nil {
			change(&q)
		}
		return do(t, c, q)
	}
	v := strong.Version{Incarnation: 1, Epoch: 7, Index: 9}
	s.answer(core.OK, &core.StrongReply{Version: v, Again: true, Count: -2})
	for name, c := range map[string]struct {
		got  wire.ClientReply
		want wire.ClientStrong
		code uint16
	}{
		"put":       {ask(wire.ClientPut, nil), wire.ClientStrong{Version: v, Again: true}, 204},
		"create":    {ask(wire.ClientPut, func(q *wire.ClientRequest) { q.IfNoneMatch = "*" }), wire.ClientStrong{Version: v, Again: true}, 201},
		"delete":    {ask(wire.ClientDelete, func(q *wire.ClientRequest) { q.IfMatch = `"1.7.9"` }), wire.ClientStrong{Version: v, Again: true}, 204},
		"increment": {ask(wire.ClientIncrement, func(q *wire.ClientRequest) { q.Delta = -5 }), wire.ClientStrong{Version: v, Again: true, Counted: true, Count: -2}, 200},
	} {
		if c.got.Status != c.code || c.got.Strong != c.want || c.got.HasETag || c.got.Context != "" || c.got.Epoch != 7 {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
	ask(wire.ClientIncrement, func(q *wire.ClientRequest) { q.Delta, q.IdempotencyKey, q.IfMatch = -5, "7-a", "*" })
	if got := s.last(); got.Op != core.OpIncrement || got.Delta != -5 || got.StrongID != api.StrongID("7-a") || !got.If.IfPresent {
		t.Errorf("%+v", got)
	}

	value := &strong.Value{Version: v, Data: []byte("x"), ContentType: "text/plain", Sum: api.Checksum([]byte("x"))}
	s.answer(core.OK, &core.StrongReply{Version: v, Value: value, Level: core.LevelStale, Applied: 12})
	label := wire.ClientStrong{Version: v, Level: core.LevelStale, Stale: true, Applied: 12}
	g := ask(wire.ClientGet, func(q *wire.ClientRequest) { q.Consistency = "stale" })
	if g.Status != 200 || string(g.Value) != "x" || g.ContentType != "text/plain" || g.Strong != label || s.last().Level != core.LevelStale {
		t.Errorf("%+v", g)
	}
	if g = ask(wire.ClientHead, nil); g.Status != 200 || g.Value != nil || g.Size != 1 || g.Strong != label {
		t.Errorf("%+v", g)
	}
	if g = ask(wire.ClientGet, func(q *wire.ClientRequest) { q.IfNoneMatch = `"1.7.9"` }); g.Status != 304 || g.Value != nil || g.Strong != label {
		t.Errorf("%+v", g)
	}
	if g = ask(wire.ClientGet, func(q *wire.ClientRequest) { q.IfMatch = `"1.7.8"` }); g.Status != 412 || g.Code != "precondition_failed" || g.Strong != label {
		t.Errorf("%+v", g)
	}
	s.answer(core.OK, &core.StrongReply{Level: core.LevelStale, Applied: 12})
	if g = ask(wire.ClientGet, nil); g.Status != 404 || g.Code != "key_not_found" || g.Strong != (wire.ClientStrong{Level: core.LevelStale, Stale: true, Applied: 12}) {
		t.Errorf("%+v", g)
	}
	s.answer(core.OK, &core.StrongReply{Version: v, Value: &strong.Value{Version: v, Counter: true, Data: []byte("-2")}})
	if g = ask(wire.ClientGet, nil); string(g.Value) != "-2" || !g.Strong.Counted || g.Strong.Count != -2 || g.Strong.Level != core.LevelLeader {
		t.Errorf("%+v", g)
	}
	s.answer(core.PreconditionFailed, &core.StrongReply{Version: v})
	if g = ask(wire.ClientPut, func(q *wire.ClientRequest) { q.IfNoneMatch = "*" }); g.Status != 412 || g.Code != "precondition_failed" || g.Strong.Version != v {
		t.Errorf("%+v", g)
	}
	for code, change := range map[string]func(*wire.ClientRequest){
		"400 invalid_argument": func(q *wire.ClientRequest) { q.W = 1 },
		"422 not_supported":    func(q *wire.ClientRequest) { q.TTL = 1e9 },
		"400 context_invalid":  func(q *wire.ClientRequest) { q.Context = "AA" },
	} {
		g = ask(wire.ClientPut, change)
		if got := fmt.Sprint(g.Status, " ", g.Code); got != code {
			t.Errorf("%s, want %s", got, code)
		}
	}
}

// A connection of version 1 cannot be told a strong bucket's versions, so it gets
// nothing of it.
func TestStrongBucketsNeedVersion2(t *testing.T) {
	s := newScripted(t)
	p := &pending{c: &conn{version: 1}}
	_, f := (&Server{}).prepare(p, &wire.ClientRequest{Op: wire.ClientGet, Bucket: "s", Key: []byte("k")}, s.ring)
	if f == nil || f.Code != api.NotSupported {
		t.Error(f)
	}
	p.c.version = 2
	if _, f = (&Server{}).prepare(p, &wire.ClientRequest{Op: wire.ClientGet, Bucket: "s", Key: []byte("k")}, s.ring); f != nil {
		t.Error(f)
	}
}
