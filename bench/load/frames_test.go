package load

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// framesBackend is a store in memory behind the real server of frames.
type framesBackend struct {
	ring   *hashring.Ring
	mu     sync.Mutex
	kv     map[string]*version.Object
	busy   atomic.Bool // writes are refused for overload
	counts [2]int      // of reads with r=1 and r=2
	badW   int         // writes without w=2
}

func newFramesBackend(t *testing.T) *framesBackend {
	t.Helper()
	s, one := &hashring.State{}, hashring.SID{1}
	for _, c := range []hashring.Command{
		{Kind: hashring.KindInit, Init: &hashring.Init{Cluster: hashring.SID{9}, Replicas: 3, Feature: 1}},
		{Kind: hashring.KindRegister, Register: &hashring.Register{Store: hashring.Store{SID: one, Node: "n1",
			API: "127.0.0.1:1", Gossip: "127.0.0.1:2", Peer: "127.0.0.1:3", Boot: 1, FeatureMax: 1}}},
		{Kind: hashring.KindFirstRing, FirstRing: &hashring.FirstRing{Partitions: 8, Stores: []hashring.SID{one}}},
	} {
		var err error
		if s, err = s.Apply(s.Version+10, c); err != nil {
			t.Fatal(err)
		}
	}
	return &framesBackend{ring: hashring.NewRing(s), kv: map[string]*version.Object{}}
}

func (b *framesBackend) Ring() *hashring.Ring        { return b.ring }
func (b *framesBackend) RefreshRing(context.Context) {}

func (b *framesBackend) Submit(_ *hashring.Ring, reqs []*core.Request) {
	for _, r := range reqs {
		r.Waiter.(frames.Waiter).Reply(b.answer(r))
	}
}

func (b *framesBackend) answer(r *core.Request) *core.Reply {
	b.mu.Lock()
	defer b.mu.Unlock()
	rep := &core.Reply{Code: core.OK, RingVersion: b.ring.Version, Epoch: 1, Receipt: quorum.Receipt{N: 1, Need: 1, Acks: 1, Owners: 1}}
	if r.Op == core.OpPut {
		if b.busy.Load() {
			rep.Code = core.Overloaded
			return rep
		}
		if r.W != 2 {
			b.badW++
		}
		dot := version.Dot{Actor: 1, Counter: 1}
		o := &version.Object{Context: version.Vector{dot}, Siblings: []version.Sibling{{Dot: dot, Value: bytes.Clone(r.Value), Sum: r.Sum}}}
		b.kv[string(r.Key)] = o
		rep.Object, rep.Outcome = o, core.Applied
		return rep
	}
	if r.R == 1 || r.R == 2 {
		b.counts[r.R-1]++
	}
	if rep.Object = b.kv[string(r.Key)]; rep.Object == nil {
		rep.Code = core.KeyNotFound
	}
	return rep
}

func TestRunOverFrames(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newFramesBackend(t)
	s, err := frames.Serve(ln, frames.Config{Backend: b, Self: func() api.Self { return api.Self{SID: hashring.SID{1}, Node: "n1", Cluster: hashring.SID{9}} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d, err := Open("frames", []string{ln.Addr().String()}, Opts{"bucket": "default", "conns": "2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	ks := NewKeyspace(200)
	if r := runPhase(t, d, ks, "get:8:80:uniform"); r.Ops == 0 || r.Missing != r.Ops || r.Errs > 0 {
		t.Errorf("reads of an empty store: %v", r)
	}
	if r := runPhase(t, d, ks, "load:8:80:uniform"); r.Ops != 200 || r.Errs > 0 || len(b.kv) != 200 || b.badW > 0 {
		t.Errorf("load left %d keys, %d writes not with w=2: %v", len(b.kv), b.badW, r)
	}
	for phase, stale := range map[string]bool{"mix:8:80:zipf": false, "sget:8:80:uniform": true} {
		before := b.counts
		r := runPhase(t, d, ks, phase)
		if r.Ops == 0 || r.Errs+r.Missing+r.Wrong > 0 || (b.counts[0] > before[0]) != stale || (b.counts[1] > before[1]) == stale {
			t.Errorf("reads with r=1 and r=2 %v, before %v: %v", b.counts, before, r)
		}
	}
	b.busy.Store(true)
	if r := runPhase(t, d, ks, "put:2:80:zipf"); r.Shed == 0 || r.Shed != r.Ops || r.Errs > 0 {
		t.Errorf("an overloaded server: %v", r)
	}
	for _, o := range []Opts{{}, {"bucket": "b", "conns": "0"}} {
		if _, err := Open("frames", []string{"127.0.0.1:1"}, o); err == nil {
			t.Errorf("%v taken", o)
		}
	}
}
