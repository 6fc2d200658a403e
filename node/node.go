// Package node composes one node: the only place that knows every part, owns every
// goroutine, and fixes the order in which they start and stop.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/httpapi"
	"github.com/quoratedb/quorate/node/httpapi/h1"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
	"github.com/quoratedb/quorate/quorum/strong"
)

type storeStats = store.Stats

// Node is one running node.
type Node struct {
	cfg     Config
	log     *slog.Logger
	seams   seams
	testing testSection
	self    hashring.SID
	began   time.Time

	store    *store.Store
	peers    *peer.Transport
	gossip   *gossip.Gossip
	life     *lifecycle
	router   *router
	commit   *committer
	proposer *proposer
	registry *prometheus.Registry
	api      *h1.Server
	apiAddr  string

	frames     *frames.Server // nil: off
	framesAddr string

	ring  atomic.Pointer[hashring.Ring]
	view  atomic.Pointer[gossip.View]
	ready readiness

	cancel   context.CancelFunc
	stopData chan struct{}  // stops shards and loaders
	stopDisk chan struct{}  // then the committer
	data     sync.WaitGroup // shards, loaders
	disk     sync.WaitGroup // the committer
	rest     sync.WaitGroup // everything else
	done     chan error
	fatal    sync.Once
	stopping atomic.Bool
}

// Start opens the data directory and starts a node; it returns once every port is
// served. /readyz says when the node is of use. Errors name what to do about them.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Node, error) {
	return startOn(ctx, seams{}, cfg, log)
}

// startOn is Start on a given network.
func startOn(ctx context.Context, s seams, cfg Config, log *slog.Logger) (*Node, error) {
	n, err := startOnce(ctx, s, cfg, log)
	if err == nil || !Mendable(err) {
		return n, err
	}
	if err := setAside(ctx, newNode(s, cfg, log), err); err != nil {
		return nil, err
	}
	return startOnce(ctx, s, cfg, log)
}

func newNode(s seams, cfg Config, log *slog.Logger) *Node {
	return &Node{cfg: cfg, log: log, seams: s, began: time.Now(), stopData: make(chan struct{}), stopDisk: make(chan struct{}), done: make(chan error, 1)}
}

func startOnce(ctx context.Context, s seams, cfg Config, log *slog.Logger) (*Node, error) {
	n := newNode(s, cfg, log)
	if err := n.testing.init(&cfg); err != nil {
		return nil, err
	}
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.undo())
	}
	return n, nil
}

// start builds the parts in the order of their dependencies: what accepts from the
// network is served last.
func (n *Node) start(ctx context.Context) (err error) {
	var ports ports
	if ports, err = openPorts(n.cfg, n.seams); err != nil {
		return err
	}
	if n.store, err = store.Open(n.cfg.Data, store.Options{}); err != nil {
		return errors.Join(err, ports.close())
	}
	n.self = n.store.Identity().SID
	n.router = &router{self: n.self}
	n.buildShards()
	n.life = newLifecycle(n.lifeConfig(ports))
	n.peers = peer.New(ports.peer, n.peerConfig())
	n.router.send = n.peers.Send
	n.registry = newRegistry(n)
	n.runShards()
	if err = n.life.open(n.peers, n.peers.Raft(), filepath.Join(n.cfg.Data, "raft")); err != nil {
		return errors.Join(raftError(err), ports.closeClients())
	}
	if n.gossip, err = gossip.Start(n.gossipConfig()); err != nil {
		return errors.Join(fmt.Errorf("--gossip %s: %w", n.cfg.Gossip, err), ports.closeClients())
	}
	if err = n.life.start(n.gossip); err != nil {
		return errors.Join(err, ports.closeClients())
	}
	n.rest.Go(func() { n.watch(ctx) })
	n.rest.Go(func() { n.proposer.run(ctx) })
	n.followTesting(ctx)
	if err = n.serveFrames(&ports); err != nil {
		return errors.Join(err, ports.closeClients())
	}
	n.serve(ports.api)
	return nil
}

func (n *Node) shardCount() int {
	if n.cfg.Shards > 0 {
		return n.cfg.Shards
	}
	return runtime.GOMAXPROCS(0)
}

// hintAge is the shards' bound; below 0 there is none.
func (n *Node) hintAge() time.Duration {
	if n.cfg.HintAge == 0 {
		return -1
	}
	return n.cfg.HintAge
}

func (n *Node) buildShards() {
	count := n.shardCount()
	boot := seeded().Uint64()
	n.commit = newCommitter(count, n.syncer(), n.router, n.fail)
	n.proposer = newProposer(n.propose, n.ring.Load, n.router.decided, n.log)
	for i := range count {
		cfg := core.Config{Self: n.self, Shard: i, Shards: count, Rand: seeded(), Boot: boot, HLCBound: n.store.HLCBound(), HintBytes: n.cfg.HintBytesMax / int64(count), HintAge: n.hintAge(),
			Starts: n.store.Identity().Boot, RepairOff: n.testing.repairOff, RepairTarget: n.cfg.RepairTarget, RepairFloor: n.cfg.RepairFloor, RepairCeiling: n.cfg.RepairCeiling,
			ScrubEvery: n.cfg.ScrubEvery, Strong: strong.Options{Lease: n.cfg.StrongLease}}
		n.router.shards = append(n.router.shards, newShard(cfg, n.store, n.router, n.commit, n.now, n.wantRing, n.proposer.add, n.say))
	}
}

func (n *Node) runShards() {
	for _, s := range n.router.shards {
		n.data.Go(func() { s.run(n.stopData) })
		n.data.Go(func() { s.load(n.store, n.stopData) })
	}
	n.disk.Go(func() { n.commit.run(n.stopDisk) })
}

// wantRing hears from a shard that a peer knows a newer ring.
func (n *Node) wantRing(version uint64, from hashring.SID) { n.life.Want(version, from) }

// say takes words of a shard for the leader of the Raft group.
func (n *Node) say(said []strong.Word) { n.life.words.say(said) }

// propose commits a ring command for the shards.
func (n *Node) propose(ctx context.Context, c hashring.Command) (*hashring.State, error) {
	return n.life.propose(ctx, c)
}

// now is the time as the core takes it: monotonic since the start, and the wall's.
func (n *Node) now() core.Now {
	now := core.Now{Mono: time.Since(n.began), WallMS: time.Now().UnixMilli() + n.testing.clockMS.Load()}
	if n.cfg.StrongLease > 0 {
		now.Boot = bootTime()
	}
	return now
}

func (n *Node) serve(l net.Listener) {
	n.apiAddr = l.Addr().String()
	h := httpapi.New(backend{n}, httpapi.Options{MaxValue: n.cfg.MaxValueBytes, MaxInFlight: n.cfg.MaxInFlight, Log: n.log, Registerer: n.registry, Profile: n.cfg.Profile})
	n.api = httpapi.NewServer(h)
	n.rest.Go(func() {
		if err := n.api.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("HTTP API: %w", err))
		}
	})
}

// APIAddr is where the HTTP API is served.
func (n *Node) APIAddr() string { return n.apiAddr }

// Done gives the error that ends the process, if one does: a failed write or sync
// (D2), a store that is not what its cluster knows (D6), a name that is taken.
func (n *Node) Done() <-chan error { return n.done }

// fail reports the first fatal error. The process is expected to end.
func (n *Node) fail(err error) {
	n.fatal.Do(func() { n.done <- err })
}

// watch waits for what must end the process, and measures the disk's free space.
func (n *Node) watch(ctx context.Context) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	low := false
	for {
		select {
		case err := <-n.store.Fatal():
			n.fail(n.condemned(err))
		case d := <-n.store.Damaged():
			n.rest.Go(func() { n.resign(ctx, d) })
		case <-tick.C:
			low = n.watchSpace(low)
		case <-ctx.Done():
			return
		}
	}
}

// condemned marks a store that cannot go on for a damaged table, so that the next
// start does not try again: the scan before opening does not read tables.
func (n *Node) condemned(err error) error {
	err = fmt.Errorf("the store cannot go on: %w", err)
	var d *store.DamagedError
	if errors.As(err, &d) {
		err = errors.Join(err, n.store.SetDamage(d))
	}
	return err
}

// resign ends the node for damage that a read has met, once its peers can
// stand for all that the store holds; the next start sets it aside (D4).
func (n *Node) resign(ctx context.Context, d *store.DamagedError) {
	n.log.Error("the store is damaged; it goes on with what it can read until its peers can do without", "file", d.File, "offset", d.Offset, "reason", d.Reason)
	if !n.life.cfg.Rebuild {
		return
	}
	if err := n.life.awaitSpare(ctx); err != nil {
		if ctx.Err() == nil {
			n.fail(err)
		}
		return
	}
	n.fail(errors.Join(d, n.store.SetDamage(d)))
}

const spaceEvery = time.Second

// watchSpace tells the shards when free space crosses the reserve (D3).
func (n *Node) watchSpace(low bool) bool {
	free, err := n.store.FreeBytes()
	if err != nil {
		n.log.Warn("cannot measure free disk space", "err", err)
		return low
	}
	now := free < uint64(n.cfg.DiskReserve) || n.testing.diskFull.Load()
	if now == low {
		return low
	}
	state := core.Yes
	if now {
		state = core.No
	}
	n.log.Warn("free disk space crossed the reserve", "free_bytes", free, "reserve_bytes", n.cfg.DiskReserve, "writes_refused", now)
	n.router.tell(core.Event{Space: state})
	return now
}

// Stop drains and stops the node in the reverse order of its start: no new
// requests, others lead what it led, the requests in flight end, everything staged is
// synced, then the others are told and the ports close.
func (n *Node) Stop(ctx context.Context) error {
	if n.stopping.Swap(true) {
		return nil
	}
	n.router.tell(core.Event{Drain: true})
	n.handOver(ctx)
	var errs []error
	byFrames := make(chan error, 1)
	go func() { byFrames <- n.stopFrames(ctx) }() // both ways in drain at once
	if err := n.api.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("requests were still in flight: %w", err), n.api.Close())
	}
	errs = append(errs, <-byFrames)
	return errors.Join(append(errs, n.undo())...)
}

// undo stops what has been started, in whatever state the start is.
func (n *Node) undo() error {
	var errs []error
	if n.gossip != nil {
		if err := n.gossip.Leave(leaveTimeout); err != nil {
			n.log.Info("stopped without telling the others", "err", err)
		}
	}
	n.cancel()
	if n.life != nil {
		errs = append(errs, n.life.stop())
	}
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.peers != nil {
		errs = append(errs, n.peers.Close())
	}
	close(n.stopData)
	n.data.Wait()
	close(n.stopDisk)
	n.disk.Wait()
	n.rest.Wait()
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

const leaveTimeout = time.Second
