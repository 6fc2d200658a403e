package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/hashring/ringraft"
	"github.com/quoratedb/quorate/internal/buildinfo"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
	"github.com/quoratedb/quorate/node/httpapi/h1"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
	"github.com/quoratedb/quorate/node/wire"
)

// raftDamage is a Raft directory that cannot be trusted: the store must not vote again
// under its id, so it is replaced as a damaged one is.
type raftDamage struct{ err error }

func (e *raftDamage) Error() string { return "the Raft directory is damaged: " + e.err.Error() }
func (e *raftDamage) Unwrap() error { return e.err }

func raftError(err error) error {
	if ringraft.Damaged(err) {
		err = &raftDamage{err}
	}
	return fmt.Errorf("raft: %w", err)
}

// Mendable tells whether an error that ended a node, or a start, is one of its store's
// that the next Start deals with: damage, or a store that was rolled back (D4, D6).
func Mendable(err error) bool {
	var damaged *store.DamagedError
	var quarantined *store.QuarantinedError
	var raft *raftDamage
	return errors.As(err, &damaged) || errors.As(err, &quarantined) || errors.As(err, &raft)
}

// suspect is the node while its store must not serve: the control plane alone, and an
// API that says so.
type suspect struct {
	n     *Node // not started: configuration, log, seams, testing
	why   error
	wreck *store.Wreck
	life  *lifecycle
	peers *peer.Transport
	seen  *gossip.Gossip
	api   *h1.Server
	reg   *prometheus.Registry
	spare chan struct{}
	fatal chan error
	rest  sync.WaitGroup
}

// setAside waits until the store that cannot be opened can be spared, sets its directory
// aside and leaves the beginning of a new store. Its error is why, where nobody can tell
// whose the directory is; ctx's, when that ends first; or what ended the wait.
func setAside(ctx context.Context, n *Node, why error) (err error) {
	cfg := n.cfg
	if err := n.testing.init(&cfg); err != nil {
		return err
	}
	s := &suspect{n: n, why: why, reg: prometheus.NewRegistry(), spare: make(chan struct{}), fatal: make(chan error, 1)}
	if s.wreck, err = store.OpenWreck(n.cfg.Data); err != nil {
		return errors.Join(why, err)
	}
	n.log.Error("this node's store must not serve; it keeps its data until its peers can do without", "reason", why)
	err = s.start()
	if err == nil {
		select {
		case <-s.spare:
		case err = <-s.fatal:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	err = errors.Join(err, s.stop())
	if err == nil {
		var where string
		if where, err = s.wreck.SetAside(why); err == nil {
			n.log.Warn("the store is set aside and a new one takes its place; the folder is not needed any more once the cluster shows no building partitions",
				"store", s.life.self.Short(), "folder", where)
		}
	}
	return errors.Join(err, s.wreck.Close())
}

func (s *suspect) fail(err error) {
	select {
	case s.fatal <- err:
	default:
	}
}

func (s *suspect) start() (err error) {
	n := s.n
	ports, err := openPorts(n.cfg, n.seams)
	if err != nil {
		return err
	}
	var damaged *store.DamagedError
	cfg := n.lifeConfig(ports)
	if !cfg.Rebuild {
		return errors.Join(s.why, ports.close())
	}
	cfg.Store, cfg.OnRing, cfg.OnConfirmed, cfg.OnFatal = s.wreck, nil, nil, s.fail
	cfg.Unfit, cfg.OnSpare, cfg.NoRaft = s.why, func() { close(s.spare) }, !errors.As(s.why, &damaged)
	s.life = newLifecycle(cfg)
	n.life = s.life
	pc := n.peerConfig()
	pc.Self = func() peer.Hello { return s.life.hello(wire.ProtocolMin, wire.ProtocolMax) }
	pc.Check, pc.Control, pc.Deliver = s.life.check, s.life.control, func(*core.Message) {}
	pc.Up, pc.Down = func(peer.Hello) {}, func(hashring.SID) {}
	s.peers = peer.New(ports.peer, pc)
	if ports.frames != nil {
		if err = ports.frames.Close(); err != nil {
			return errors.Join(err, ports.api.Close())
		}
	}
	if err = s.join(); err != nil {
		return errors.Join(err, ports.api.Close())
	}
	s.api = httpapi.NewServer(httpapi.New(sick{s}, httpapi.Options{MaxValue: n.cfg.MaxValueBytes, MaxInFlight: n.cfg.MaxInFlight, Log: n.log, Registerer: s.reg}))
	s.rest.Go(func() {
		if err := s.api.Serve(ports.api); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("HTTP API: %w", err))
		}
	})
	return nil
}

// join enters Raft, where its log is sound, and gossip.
func (s *suspect) join() (err error) {
	dir := filepath.Join(s.n.cfg.Data, "raft")
	if err = s.life.open(s.peers, s.peers.Raft(), dir); err != nil {
		s.n.log.Error("the Raft directory cannot be used either", "error", err)
		s.life.cfg.NoRaft = true
		if err = s.life.open(s.peers, nil, dir); err != nil {
			return err
		}
	}
	gc := s.n.gossipConfig()
	gc.OnChange = s.life.onView
	if s.seen, err = gossip.Start(gc); err != nil {
		return fmt.Errorf("--gossip %s: %w", s.n.cfg.Gossip, err)
	}
	return s.life.start(s.seen)
}

// stop ends what has been started.
func (s *suspect) stop() error {
	var errs []error
	if s.api != nil {
		errs = append(errs, s.api.Close())
	}
	if s.seen != nil {
		if err := s.seen.Leave(leaveTimeout); err != nil {
			s.n.log.Info("stopped without telling the others", "err", err)
		}
	}
	if s.life != nil {
		errs = append(errs, s.life.stop())
	}
	if s.seen != nil {
		errs = append(errs, s.seen.Close())
	}
	if s.peers != nil {
		errs = append(errs, s.peers.Close())
	}
	s.rest.Wait()
	return errors.Join(errs...)
}

// sick is such a node as the HTTP API sees it.
type sick struct{ s *suspect }

var _ httpapi.Backend = sick{}

func (b sick) detail() string { return b.s.life.progress() + ": " + b.s.why.Error() }

func (b sick) Do(_ context.Context, req *core.Request) *core.Reply {
	return &core.Reply{Code: core.Starting, Outcome: fate(req, core.NotApplied), Detail: b.detail()}
}

func (b sick) Admit(*core.Request) bool        { return true }
func (b sick) Ring() *hashring.Ring            { return b.s.life.Ring() }
func (b sick) RefreshRing(ctx context.Context) { b.s.life.refresh(ctx) }
func (b sick) Gatherer() prometheus.Gatherer   { return b.s.reg }

func (b sick) Alive(sid hashring.SID) bool { return b.s.seen.View().Alive(sid) }

func (b sick) Propose(ctx context.Context, cmd hashring.Command) (*hashring.State, error) {
	return b.s.life.propose(ctx, cmd)
}

func (b sick) MovePrimary(ctx context.Context, partition uint32, to hashring.SID) error {
	return b.s.life.movePrimary(ctx, partition, to)
}

func (b sick) Cluster(context.Context) httpapi.ClusterStatus {
	ring := b.s.life.Ring()
	out := httpapi.ClusterStatus{Cluster: b.s.life.cluster().String(), Nodes: httpapi.NodesFromRing(ring, b.Alive)}
	if ring == nil {
		return out
	}
	out.RingVersion, out.Partitions = ring.Version, httpapi.Health(ring, b.Alive)
	if leader, _ := b.s.life.leader(); !leader.IsZero() {
		if st, ok := ring.Store(leader); ok {
			out.RaftLeader = st.Node
		}
	}
	return out
}

// Such a node asks no others: all of them are silent to it.
func (b sick) Hints(context.Context, int) (out []httpapi.NodeHints) {
	for _, name := range storeNodes(b.Ring()) {
		out = append(out, httpapi.NodeHints{Node: name})
	}
	return out
}

func (b sick) Repair(context.Context) (out []httpapi.NodeRepair) {
	for _, name := range storeNodes(b.Ring()) {
		out = append(out, httpapi.NodeRepair{Node: name})
	}
	return out
}

func (b sick) StartRepair(context.Context, int) []httpapi.NodeAsked {
	out := []httpapi.NodeAsked{}
	for _, name := range storeNodes(b.Ring()) {
		out = append(out, httpapi.NodeAsked{Node: name})
	}
	return out
}

func (b sick) Ready() []httpapi.Check {
	return []httpapi.Check{{Name: "store", Detail: b.detail()}}
}

func (b sick) Self() httpapi.Self {
	return httpapi.Self{SID: b.s.life.self, Node: b.s.n.cfg.Name, Version: buildinfo.Version, Cluster: b.s.life.cluster()}
}
