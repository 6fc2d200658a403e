package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
	"github.com/quoratedb/quorate/quorum/strong"
)

// lifecycle takes a node from an empty directory to a registered member of a
// cluster, and keeps its ring state current after that. It decides nothing about
// data: it reads liveness from gossip, changes ring state through Raft alone, and
// hands every new state out through OnRing once it is durable here.
//
// It is built before the peer transport and gossip, whose callbacks it serves:
// newLifecycle, then peer.New, then open, then gossip.Start, then start. Calls that
// come before start are refused as "starting". Its goroutines, all started by start
// and joined by stop: run (find or make a cluster, register), confirm (D6 without
// Raft), follow (fetch newer ring states), lead (what the Raft leader has to do), word
// (tell it of strong partitions), push (send out what its judge has had committed).
type lifecycle struct {
	cfg   lifeConfig
	log   *slog.Logger
	self  hashring.SID
	boot  uint64
	nonce uint64
	drew  bool         // the nonce is of this start, not of one before it (store.MaxStarts)
	runID hashring.SID // of this process: tells a restart from a reconnection
	guise hashring.SID // under which others see the node of a store that must not serve; zero: none

	transport lifePeer                  // set by open
	raft      *ringraft.Raft            // nil: no part in it
	group     lifeRaft                  // raft, or what stands for it
	parts     atomic.Pointer[lifeParts] // nil until start
	ring      atomic.Pointer[hashring.Ring]
	adopt     sync.Mutex // orders save, publish and OnRing; held over a disk write

	promise sync.Mutex // every change of promise or cluster id

	mu        sync.Mutex // the small maps below; never held over a call
	seen      map[hashring.SID]sighting
	wanted    map[hashring.SID]uint64
	leaderSID hashring.SID // last hint of another node
	leaderAt  string

	words  *words                // of this node's shards, for the leader of the Raft group
	bench  atomic.Pointer[bench] // of this node's leadership; nil: none
	pusher *pusher
	counts judgedCounts

	confirmed atomic.Bool
	pokes     [lifeLoops]chan struct{} // one for each loop
	said      sayings
	barriers  *barriers              // of readers of the newest ring state, while this store leads
	doing     atomic.Pointer[string] // for a person who waits

	fatalOnce sync.Once
	cancel    context.CancelFunc // set by start
	wg        sync.WaitGroup
}

// The loops that wake up when anything changed.
const (
	loopRun = iota
	loopConfirm
	loopFollow
	loopLead
	lifeLoops
)

// sighting is the process that was last seen running a store.
type sighting struct {
	boot  uint64
	nonce uint64 // 0: not said
	run   hashring.SID
}

// lifeStore is what lifecycle needs of the store.
type lifeStore interface {
	Identity() store.Identity
	SetCluster(hashring.ClusterID) error
	SetPromise(store.Promise) error
	RingState() (*hashring.State, error)
	SaveRingState(*hashring.State) error
	SetQuarantine(registered uint64) error // never nil
}

// lifeGossip is what lifecycle needs of gossip.
type lifeGossip interface {
	View() *gossip.View
	Refresh()
	JoinTried() <-chan struct{}
}

// lifePeer is what lifecycle needs of the peer transport.
type lifePeer interface {
	Call(ctx context.Context, addr, method string, payload []byte) ([]byte, error)
	SetPeers(map[hashring.SID]string)
}

// lifeRaft is what lifecycle needs of the Raft group.
type lifeRaft interface {
	HasState() bool
	Bootstrap() error
	Propose(context.Context, hashring.Command) (*hashring.State, error)
	Leader() (hashring.SID, string)
	IsLeader() bool
	LeaderCh() <-chan bool
	Barrier(context.Context) error
	State() *hashring.State
	Voters() []hashring.SID
	ReconcileVoters(ctx context.Context, want []hashring.SID, addr func(hashring.SID) string) error
}

type lifeParts struct {
	gossip lifeGossip
	peer   lifePeer
	raft   lifeRaft
}

// lifeConfig is what the composition root knows before anything runs.
type lifeConfig struct {
	Name, Zone, Version string
	API, Gossip, Peer   string // as others reach them
	Frames              string // the same, "": off
	Join                bool   // --join was given
	Expect              int    // --bootstrap-expect as given
	Partitions          int
	Replicas            int
	Feature             uint16 // highest protocol version of this binary

	Store lifeStore
	// OnRing gets every new ring, versions rising, one call at a time; saved before.
	OnRing func(*hashring.Ring)
	// OnConfirmed is called once, when this start of the store is known to be the
	// newest (D6): from then on it may answer and attest as an owner.
	OnConfirmed func()
	// OnFatal is called at most once: the process must end. Must not block.
	OnFatal func(error)
	Log     *slog.Logger
	Times   lifeTimes // zero: lifeDefaults
	// Rebuild: the data path counts full owners and fills building ones, so that this
	// node may take its dead store's place, and grow replica lists while it leads.
	Rebuild bool
	Fast    bool // Raft's shorter timeouts, for tests
	// Unfit is why the store must not serve: it is damaged, or was rolled back. Then the
	// lifecycle registers nothing and waits until the store can be spared, and calls
	// OnSpare, once. Nil: the store is sound.
	Unfit   error
	OnSpare func()
	// NoRaft leaves the Raft group alone: the store's log is not to be trusted.
	NoRaft bool
	// Judge makes the judge of one leadership; nil: strong.NewJudge.
	Judge func() lifeJudge
	// RaftPaused, when it says true, cuts this node's Raft streams; nil: never.
	RaftPaused func() bool
}

// lifeTimes is every wait in one place.
type lifeTimes struct {
	Poll          time.Duration // between two tries of anything
	RPC           time.Duration // one control call
	Push          time.Duration // a new state's way to all live nodes
	Quiet         time.Duration // no new node for so long: the first ring is made
	QuietMax      time.Duration // and at this age of the leadership at the latest
	Name          time.Duration // a newcomer under a taken name waits so long
	VoterPatience time.Duration // a voter must be away for so long to lose its vote
	Reconcile     time.Duration // one attempt to change voters
	Say           time.Duration // a waiting node says so again
	Word          time.Duration // between two tries to deliver words of strong partitions
}

func lifeDefaults() lifeTimes {
	return lifeTimes{
		Poll: 250 * time.Millisecond, RPC: 2 * time.Second, Push: time.Second, Quiet: 2 * time.Second, QuietMax: 10 * time.Second,
		Name: 30 * time.Second, VoterPatience: 15 * time.Second, Reconcile: 15 * time.Second, Say: 10 * time.Second,
		Word: 100 * time.Millisecond,
	}
}

// errStarting: not everything runs yet; the caller tries again.
var errStarting = errors.New("this node is starting")

// newLifecycle builds the lifecycle of one start of a store; nothing runs yet.
func newLifecycle(cfg lifeConfig) *lifecycle {
	if cfg.Times == (lifeTimes{}) {
		cfg.Times = lifeDefaults()
	}
	if cfg.Judge == nil {
		cfg.Judge = func() lifeJudge { return strong.NewJudge(strong.JudgeOptions{}) }
	}
	id := cfg.Store.Identity()
	l := &lifecycle{cfg: cfg, log: cfg.Log, self: id.SID, boot: id.Boot, nonce: id.Nonce(), drew: id.Drew(), runID: randomSID(),
		seen: map[hashring.SID]sighting{}, wanted: map[hashring.SID]uint64{}, words: newWords(), pusher: newPusher(), barriers: newBarriers()}
	for i := range l.pokes {
		l.pokes[i] = make(chan struct{}, 1)
	}
	if cfg.Unfit != nil {
		l.guise = randomSID()
	}
	l.note("starting")
	return l
}

// open publishes the saved ring state, so that a restart serves without Raft, and
// starts this store's part in the Raft group, over the peer port. In that order:
// Raft begins with older states than the saved one, which must not replace it.
func (l *lifecycle) open(p lifePeer, layer ringraft.Layer, dir string) error {
	st, err := l.cfg.Store.RingState()
	if err != nil {
		return fmt.Errorf("saved ring state: %w", err)
	}
	if st != nil {
		l.publish(st)
	}
	l.transport = p
	if l.cfg.NoRaft {
		l.group = noRaft{}
		return nil
	}
	r, err := ringraft.Open(ringraft.Config{
		SID: l.self, PeerAddr: l.cfg.Peer, Dir: dir, MustExist: l.hasVoted(st), Layer: layer, AddrOf: l.peerAddr,
		OnState: l.learn, OnFatal: l.fatal, Log: l.log, Fast: l.cfg.Fast, Paused: l.cfg.RaftPaused,
	})
	if err != nil {
		return err
	}
	l.raft, l.group = r, r
	return nil
}

// hasVoted tells whether this store may have had a part in the Raft group, whose votes
// must then be found. One that was made to take another's place begins with a cluster
// and has none until the ring knows it.
func (l *lifecycle) hasVoted(saved *hashring.State) bool {
	id := l.cfg.Store.Identity()
	if id.Cluster.IsZero() || id.Replaces == nil {
		return !id.Cluster.IsZero()
	}
	if saved == nil {
		return false
	}
	_, known := hashring.NewRing(saved).Store(id.SID)
	return known
}

// start begins the loops.
func (l *lifecycle) start(g lifeGossip) error {
	if l.group == nil {
		return errors.New("lifecycle: start comes after open")
	}
	l.parts.Store(&lifeParts{gossip: g, peer: l.transport, raft: l.group})
	l.setPeers()
	g.Refresh()
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	loops := []func(context.Context){l.run, l.confirmLoop, l.followLoop, l.leadLoop, l.wordLoop, l.pushLoop}
	if l.unfit() != nil {
		loops = []func(context.Context){l.suspectLoop, l.followLoop, l.leadLoop, l.pushLoop}
	}
	for _, loop := range loops {
		l.wg.Go(func() { loop(ctx) })
	}
	return nil
}

// stop ends the loops, then Raft. It may follow any of the steps of a start.
func (l *lifecycle) stop() error {
	if l.cancel != nil {
		l.cancel()
	}
	l.wg.Wait()
	if l.raft == nil {
		return nil
	}
	return l.raft.Shutdown()
}

// note remembers what this node is doing, for progress.
func (l *lifecycle) note(doing string) { l.doing.Store(&doing) }

// progress says in a few words what keeps the node from serving.
func (l *lifecycle) progress() string {
	if !l.cluster().IsZero() && l.confirmed.Load() {
		return "registered; waiting for the first ring"
	}
	return *l.doing.Load()
}

func (l *lifecycle) fatal(err error) {
	l.fatalOnce.Do(func() { l.cfg.OnFatal(err) })
}

// run is the road of one start.
func (l *lifecycle) run(ctx context.Context) {
	err := l.findCluster(ctx)
	if err == nil {
		err = l.resume()
	}
	if err == nil {
		err = l.register(ctx)
	}
	if err != nil && ctx.Err() == nil {
		l.fatal(err)
	}
}

// cluster is the id this store belongs to; zero: none yet.
func (l *lifecycle) cluster() hashring.ClusterID { return l.cfg.Store.Identity().Cluster }

// Ring is the newest ring this node knows; nil until there is one.
func (l *lifecycle) Ring() *hashring.Ring { return l.ring.Load() }

// version is the newest ring version this node knows.
func (l *lifecycle) version() uint64 {
	if r := l.ring.Load(); r != nil {
		return r.Version
	}
	return 0
}

// seenAs is the id under which others see this node.
func (l *lifecycle) seenAs() hashring.SID {
	if !l.guise.IsZero() {
		return l.guise
	}
	return l.self
}

// meta is what gossip says of this node.
func (l *lifecycle) meta() gossip.Meta {
	return gossip.Meta{
		Cluster: l.cluster(), SID: l.seenAs(), Node: l.cfg.Name, API: l.cfg.API, Peer: l.cfg.Peer, Zone: l.cfg.Zone,
		Version: l.cfg.Version, Boot: l.boot, RingVersion: l.version(), Feature: l.cfg.Feature, Expect: uint8(min(l.expect(), 255)),
	}
}

// hello is how this node introduces itself on the peer port.
func (l *lifecycle) hello(minVersion, maxVersion uint16) peer.Hello {
	return peer.Hello{Cluster: l.cluster(), SID: l.seenAs(), Node: l.cfg.Name, Boot: l.boot, Min: minVersion, Max: maxVersion}
}

// onView is gossip's OnChange.
func (l *lifecycle) onView(*gossip.View) {
	l.setPeers()
	l.poke()
}

func (l *lifecycle) poke() {
	for _, c := range l.pokes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// pause waits for d, or shorter when something changed; false when ctx ended.
func (l *lifecycle) pause(ctx context.Context, loop int, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-l.pokes[loop]:
	case <-t.C:
	}
	return true
}

// rest waits for d, whatever changes; false when ctx ended.
func (l *lifecycle) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sayings keeps a node that waits from saying the same thing on every try.
type sayings struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// sayingsMax bounds the table; there are a dozen things to say.
const sayingsMax = 64

// say logs msg unless it was logged within Times.Say.
func (l *lifecycle) say(level slog.Level, msg string, args ...any) {
	l.said.mu.Lock()
	now := time.Now()
	again := now.Sub(l.said.last[msg]) < l.cfg.Times.Say
	if !again {
		if l.said.last == nil || len(l.said.last) >= sayingsMax {
			l.said.last = map[string]time.Time{}
		}
		l.said.last[msg] = now
	}
	l.said.mu.Unlock()
	l.note(msg)
	if !again {
		l.log.Log(context.Background(), level, msg, args...)
	}
}
