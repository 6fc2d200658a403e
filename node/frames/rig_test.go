package frames

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

const patience = 20 * time.Second

var secret = Token("0123456789abcdef")

func testSID(n byte) (s hashring.SID) {
	s[0], s[15] = n, n
	return s
}

func testRing(t testing.TB) *hashring.Ring {
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
	apply(hashring.Command{Kind: hashring.KindRegister, Register: &hashring.Register{Store: hashring.Store{SID: testSID(1), Node: "n1",
		API: "127.0.0.1:7400", Gossip: "127.0.0.1:7401", Peer: "127.0.0.1:7402", Frames: "127.0.0.1:7403", Boot: 1, FeatureMax: 1}}})
	apply(hashring.Command{Kind: hashring.KindFirstRing, FirstRing: &hashring.FirstRing{Partitions: 8, Stores: []hashring.SID{testSID(1)}}})
	return hashring.NewRing(s)
}

// fake is a backend that keeps values in memory, and holds requests back when told.
type fake struct {
	mu        sync.Mutex
	ring      *hashring.Ring
	newer     *hashring.Ring // what RefreshRing finds
	refreshed int
	values    map[string]*version.Object
	hold      bool
	held      []*core.Request
	batches   []int // sizes of what came together
}

func newFake(t testing.TB) *fake {
	return &fake{ring: testRing(t), values: map[string]*version.Object{}}
}

func (f *fake) Ring() *hashring.Ring {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ring
}

func (f *fake) RefreshRing(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshed++
	if f.newer != nil {
		f.ring = f.newer
	}
}

func (f *fake) Submit(_ *hashring.Ring, reqs []*core.Request) {
	f.mu.Lock()
	f.batches = append(f.batches, len(reqs))
	if f.hold {
		f.held = append(f.held, reqs...)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	for _, r := range reqs {
		f.answer(r)
	}
}

// release answers what was held back, the last first.
func (f *fake) release() {
	f.mu.Lock()
	held := f.held
	f.held, f.hold = nil, false
	f.mu.Unlock()
	for i := range held {
		f.answer(held[len(held)-1-i])
	}
}

func (f *fake) holding() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

func (f *fake) answer(r *core.Request) {
	f.mu.Lock()
	o := f.values[string(r.Key)]
	rep := &core.Reply{Code: core.OK, Object: o, RingVersion: f.ring.Version, Epoch: 1, Partition: 2, ServedBy: testSID(1),
		Receipt: quorum.Receipt{N: 1, Need: 1, Acks: 1, Owners: 1}}
	switch r.Op {
	case core.OpPut:
		dot := version.Dot{Actor: 1, Counter: 1}
		o = &version.Object{Context: version.Vector{dot}, Siblings: []version.Sibling{{Dot: dot, Value: bytes.Clone(r.Value), Sum: r.Sum, ContentType: r.ContentType}}}
		f.values[string(r.Key)] = o
		rep.Object, rep.Outcome, rep.Receipt.Synced = o, core.Applied, 1
		rep.Context = version.Context{Seen: o.Context}
	case core.OpDelete:
		delete(f.values, string(r.Key))
		rep.Outcome = core.Applied
	default:
		if o == nil {
			rep.Code = core.KeyNotFound
		}
	}
	f.mu.Unlock()
	r.Waiter.(Waiter).Reply(rep)
}

// rig is a server on loopback.
type rig struct {
	t testing.TB
	f *fake
	s *Server
	l *logs
}

type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, f: newFake(t), l: &logs{}}
	cfg := Config{Backend: r.f, Self: func() api.Self { return api.Self{SID: testSID(1), Node: "n1", Cluster: testSID(99)} },
		Log: slog.New(slog.NewTextHandler(r.l, nil))}
	if change != nil {
		change(&cfg)
	}
	if r.s, err = Serve(ln, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.s.Close()
		if s := r.s.Stats(); s.InFlight != 0 || r.s.held.Load() != 0 {
			t.Errorf("closed with %d requests and %d bytes counted", s.InFlight, r.s.held.Load())
		}
		goleak.VerifyNone(t, ignore)
	})
	return r
}

func (r *rig) dial(cfg DialConfig) *Conn {
	r.t.Helper()
	c, err := r.tryDial(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) tryDial(cfg DialConfig) (*Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Dial(ctx, r.s.Addr().String(), cfg)
	if err == nil {
		r.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func do(t testing.TB, c *Conn, q wire.ClientRequest) wire.ClientReply {
	t.Helper()
	rep, err := try(c, q)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func try(c *Conn, q wire.ClientRequest) (rep wire.ClientReply, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = c.Do(ctx, &q, &rep)
	return rep, err
}

func put(key string, value []byte) wire.ClientRequest {
	return wire.ClientRequest{Op: wire.ClientPut, Bucket: hashring.DefaultBucket, Key: []byte(key), Value: value}
}

func get(key string) wire.ClientRequest {
	return wire.ClientRequest{Op: wire.ClientGet, Bucket: hashring.DefaultBucket, Key: []byte(key)}
}

// eventually polls until ok, for what has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}
