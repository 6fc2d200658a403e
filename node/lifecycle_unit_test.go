package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
)

// fakeStore is an identity in memory.
type fakeStore struct{ id store.Identity }

func (f *fakeStore) Identity() store.Identity               { return f.id }
func (f *fakeStore) SetCluster(c hashring.ClusterID) error  { f.id.Cluster = c; return nil }
func (f *fakeStore) SetPromise(p store.Promise) error       { f.id.Promise = &p; return nil }
func (f *fakeStore) RingState() (*hashring.State, error)    { return nil, nil }
func (f *fakeStore) SaveRingState(st *hashring.State) error { return nil }
func (f *fakeStore) SetQuarantine(registered uint64) error {
	f.id.Quarantine = &store.Quarantine{Boot: f.id.Boot, Registered: registered}
	return &store.QuarantinedError{SID: f.id.SID, Quarantine: *f.id.Quarantine}
}

// fakeGossip has one view for ever.
type fakeGossip struct{ v *gossip.View }

func (f fakeGossip) View() *gossip.View         { return f.v }
func (f fakeGossip) Refresh()                   {}
func (f fakeGossip) JoinTried() <-chan struct{} { c := make(chan struct{}); close(c); return c }

// fakePeer lets calls go to another lifecycle directly.
type fakePeer struct {
	to   map[string]*lifecycle
	from *lifecycle
}

func (f *fakePeer) SetPeers(map[hashring.SID]string) {}
func (f *fakePeer) Call(ctx context.Context, addr, method string, payload []byte) ([]byte, error) {
	to := f.to[addr]
	if to == nil {
		return nil, errors.New("no route to " + addr)
	}
	return to.control(ctx, f.from.hello(1, 1), method, payload)
}

// fakeRaft leads nothing.
type fakeRaft struct{ lifeRaft }

func (fakeRaft) Leader() (hashring.SID, string) { return hashring.SID{}, "" }
func (fakeRaft) Voters() []hashring.SID         { return nil }
func (fakeRaft) IsLeader() bool                 { return false }

// fakeLives are lifecycles without ports that can call each other; addresses are
// their names. The store ids rise with the index.
func fakeLives(n int) []*lifecycle {
	routes := map[string]*lifecycle{}
	var all []*lifecycle
	var members []gossip.Member
	for i := range n {
		name := string(rune('a' + i))
		l := newLifecycle(lifeConfig{Name: name, Peer: name, Expect: n, Join: true, Store: &fakeStore{store.Identity{SID: hashring.SID{byte(i + 1)}, Boot: 1}},
			Log: slog.New(slog.DiscardHandler), OnFatal: func(error) {}})
		routes[name] = l
		all = append(all, l)
		members = append(members, gossip.Member{Meta: l.meta(), State: gossip.Alive})
	}
	for _, l := range all {
		l.parts.Store(&lifeParts{gossip: fakeGossip{gossip.NewView(l.self, members)}, peer: &fakePeer{routes, l}, raft: fakeRaft{}})
	}
	return all
}

func promiseOf(l *lifecycle) store.Promise {
	if p := l.cfg.Store.Identity().Promise; p != nil {
		return *p
	}
	return store.Promise{}
}

func askPromise(t *testing.T, from, to *lifecycle, set hashring.SID) promiseAnswer {
	t.Helper()
	var out promiseAnswer
	err := from.ask(context.Background(), to.cfg.Name, methodPromise,
		promiseAsk{head{lifeFormat}, set, []hashring.SID{from.self, to.self}}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPromiseIsToOneSetOnly(t *testing.T) {
	l := fakeLives(3)
	a, b, c := l[0], l[1], l[2]
	setC, setB := hashring.SID{0xc}, hashring.SID{0xb}
	// c initiates and gets a's promise; then b wants a too and is refused.
	must(t, c.cfg.Store.SetPromise(store.Promise{Set: setC, Initiator: c.self}))
	if out := askPromise(t, c, a, setC); out.Set != setC || promiseOf(a).Initiator != c.self {
		t.Fatalf("%+v", out)
	}
	if out := askPromise(t, c, a, setC); out.Set != setC {
		t.Fatal("asking twice must be the same")
	}
	if out := askPromise(t, b, a, setB); out.Set != setC {
		t.Fatalf("a promised twice: %+v", out)
	}
	// c gives its own set up for b, whose store id is lower; then a may follow.
	if out := askPromise(t, b, c, setB); out.Set != setB || promiseOf(c).Set != setB {
		t.Fatalf("the higher initiator must give way: %+v", out)
	}
	if out := askPromise(t, b, a, setB); out.Set != setB {
		t.Fatalf("a is still bound to a dead set: %+v", out)
	}
	// b, an initiator itself, does not give way to the higher c.
	must(t, b.cfg.Store.SetPromise(store.Promise{Set: setB, Initiator: b.self}))
	if out := askPromise(t, c, b, setC); out.Set != setB {
		t.Fatalf("the lower initiator gave way: %+v", out)
	}
}

func TestPromiseIsRefusedInACluster(t *testing.T) {
	l := fakeLives(2)
	must(t, l[1].cfg.Store.SetCluster(hashring.SID{7}))
	if out := askPromise(t, l[0], l[1], hashring.SID{1}); out.Cluster != (hashring.SID{7}) || !out.Set.IsZero() {
		t.Fatalf("%+v", out)
	}
}

func TestPromiseHoldsWhenItsInitiatorIsSilent(t *testing.T) {
	l := fakeLives(3)
	must(t, l[1].cfg.Store.SetPromise(store.Promise{Set: hashring.SID{9}, Initiator: l[2].self}))
	delete(l[1].parts.Load().peer.(*fakePeer).to, "c") // the initiator does not answer
	if out := askPromise(t, l[0], l[1], hashring.SID{5}); out.Set != (hashring.SID{9}) {
		t.Fatalf("%+v", out)
	}
}

func TestOnlyTheLowestBeginsAndOnlyWithAllPromises(t *testing.T) {
	l := fakeLives(3)
	ctx := context.Background()
	for _, x := range l[1:] {
		must(t, x.tryCluster(ctx, x.parts.Load()))
		if held(x.cfg.Store.Identity().Promise) || !x.cluster().IsZero() {
			t.Fatal("a higher store id began")
		}
	}
	must(t, l[2].cfg.Store.SetPromise(store.Promise{Set: hashring.SID{9}, Initiator: hashring.SID{0xff}}))
	must(t, l[0].tryCluster(ctx, l[0].parts.Load()))
	if !l[0].cluster().IsZero() {
		t.Fatal("begun with two promises of three")
	}
	must(t, l[2].cfg.Store.SetPromise(store.Promise{}))
	set := promiseOf(l[0]).Set
	must(t, l[0].tryCluster(ctx, l[0].parts.Load()))
	if l[0].cluster() != set || set.IsZero() {
		t.Fatal("the cluster's id must be the promised set's")
	}
	// Another node that took part only follows; its promise is not a beginning.
	must(t, l[1].joinCluster(set))
	if p := promiseOf(l[1]); p.Initiator == l[1].self {
		t.Fatal("a follower would bootstrap at its next start")
	}
}

func TestJoiningGivesOwnSetUp(t *testing.T) {
	l := fakeLives(1)[0]
	must(t, l.cfg.Store.SetPromise(store.Promise{Set: hashring.SID{4}, Initiator: l.self}))
	must(t, l.joinCluster(hashring.SID{4})) // even if the ids were the same
	if held(l.cfg.Store.Identity().Promise) {
		t.Fatal("resume would bootstrap a second Raft group")
	}
}

func TestSecondProcessAtOneBootIsRefused(t *testing.T) {
	l := fakeLives(1)[0]
	h := peer.Hello{SID: hashring.SID{9}, Boot: 5}
	must(t, l.sight(h, &clusterAsk{Run: hashring.SID{1}}))
	must(t, l.sight(h, &clusterAsk{Run: hashring.SID{1}}))
	if err := l.sight(h, &clusterAsk{Run: hashring.SID{2}}); err == nil {
		t.Fatal("a clone was taken")
	}
	h.Boot = 4
	if l.sight(h, &clusterAsk{Run: hashring.SID{3}}) == nil || l.check(h) == nil {
		t.Fatal("an older boot was taken")
	}
	h.Boot = 6
	must(t, l.sight(h, &clusterAsk{Run: hashring.SID{3}}))
}

func TestCallsBeforeStartAreRefused(t *testing.T) {
	l := newLifecycle(lifeConfig{Store: &fakeStore{}, Log: slog.New(slog.DiscardHandler)})
	if _, err := l.control(context.Background(), peer.Hello{}, methodRing, nil); !errors.Is(err, errStarting) {
		t.Fatalf("got %v", err)
	}
	if l.handles("status") || !l.handles(methodPropose) {
		t.Fatal("wrong methods")
	}
	must(t, l.stop())
}

func FuzzLifecycleControl(f *testing.F) {
	for method, payload := range map[string]string{
		methodCluster: `{"v":1,"boot":1,"run":"00000000000000000000000000000001"}`,
		methodPromise: `{"v":1,"set":"00000000000000000000000000000001","members":["01000000000000000000000000000000"]}`,
		methodPropose: `{"v":1,"command":"AXt9"}`,
		methodRing:    `{"v":1,"have":0,"newest":true}`, methodRingPush: `{"v":1,"state":"AXt9"}`, "none": ``,
	} {
		f.Add(method, []byte(payload))
	}
	f.Fuzz(func(t *testing.T, method string, payload []byte) {
		l := fakeLives(2)
		must(t, l[0].cfg.Store.SetCluster(hashring.SID{7}))
		from := l[1].hello(1, 1)
		from.Cluster = hashring.SID{7}
		out, err := l[0].control(context.Background(), from, method, payload)
		if err == nil && !strings.HasPrefix(string(out), `{"v":1`) {
			t.Fatalf("answer %s", out)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
