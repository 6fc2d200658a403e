// Package ringraft is the small Raft group that commits ring commands
// (PROTOCOLS.md, 1). The data path never asks it: without a quorum of it, requests
// go on in the ring state there is.
//
// VerifyLeader is not used (it can be satisfied by an answer sent before the call;
// Barrier is), nor LeadershipTransfer (it can leave a group without a leader), nor
// pipelined replication (it can deadlock a follower).
package ringraft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk"
	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// Config of Open. SID, PeerAddr, Dir, Layer and Log are required.
type Config struct {
	SID      hashring.SID
	PeerAddr string // host:port of this node's peer port, as others reach it
	Dir      string // of the small database; made when it is missing
	// MustExist refuses a missing or empty Dir: a store that has been part of a
	// cluster must not vote without the votes it gave.
	MustExist bool
	Layer     Layer
	// AddrOf gives the peer address of a store as known now; nil or "": the one in
	// the Raft configuration.
	AddrOf func(hashring.SID) string
	// OnState gets every new state, on a goroutine of its own, in order; when it is
	// slow, states in between are left out.
	OnState func(*hashring.State)
	// OnFatal: the log cannot be written any more, or a write hangs: the process
	// must end. Called at most once, must not block. Nil: the error is only logged.
	OnFatal func(error)
	// Paused, when true, cuts this node's Raft streams: a test takes the quorum away
	// while the data path goes on. Nil: never.
	Paused func() bool
	Log    *slog.Logger

	Fast          bool          // shorter timeouts, for tests
	SnapshotEvery uint64        // log entries; 0: snapshotEvery
	WriteBound    time.Duration // 0: writeBound
}

const (
	// snapshotEvery and trailingLogs bound the log: a state is a few KiB and
	// changes rarely, so a follower that missed more takes a snapshot.
	snapshotEvery = 512
	trailingLogs  = 128
	// writeBound is how long a synced write of the log may take.
	writeBound = 10 * time.Second
	// rpcTimeout is the deadline of one read or write on a stream.
	rpcTimeout = 5 * time.Second
	streamsMax = 3 // idle streams kept per voter
)

// ErrMissing is a Raft directory that should be there and is not.
var ErrMissing = errors.New("raft directory is missing or empty")

// Damaged tells whether an error of Open is damage that no crash explains (D4): the
// votes and entries of this store may be gone, and it must not vote under its id again.
func Damaged(err error) bool {
	var d *leveldisk.ErrDamaged
	if errors.As(err, &d) || errors.Is(err, ErrCorrupt) {
		return true
	}
	var table *lverrors.ErrCorrupted
	return errors.As(err, &table)
}

// Raft is this store's part in the group, voter or not. Its goroutines: publish,
// which ends with Shutdown, and one per call that waits; raft has its own.
type Raft struct {
	cfg       Config
	log       *slog.Logger
	raft      *raft.Raft
	fsm       *fsm
	disk      *disk
	closeDB   func() error
	streams   *streams
	transport *transport

	fatalOnce sync.Once
	stop      chan struct{}
	wg        sync.WaitGroup
	reconcile sync.Mutex // one ReconcileVoters at a time

	mu    sync.Mutex
	asked int           // futures of raft without an answer
	idle  chan struct{} // closed when there is none; nil: nobody waits for it

	shutdown sync.Once
	stopErr  error
}

// Open starts this store's part: with what Dir holds, or as a newcomer that waits
// to be made a voter, or for Bootstrap.
func Open(cfg Config) (*Raft, error) {
	r := &Raft{cfg: cfg, log: cfg.Log, fsm: newFSM(), stop: make(chan struct{})}
	if err := r.openDisk(); err != nil {
		return nil, err
	}
	r.openTransport()
	var err error
	if r.raft, err = raft.NewRaft(r.config(), r.fsm, r.disk, r.disk, snapshots{r.disk}, r.transport); err != nil {
		return nil, errors.Join(fmt.Errorf("raft: %w", err), r.transport.Close(), r.closeDB())
	}
	r.wg.Add(1)
	go r.publish()
	return r, nil
}

func (r *Raft) openDisk() error {
	db, storage, err := r.openDB()
	if err != nil {
		return fmt.Errorf("raft store %s: %w", r.cfg.Dir, err)
	}
	r.closeDB = func() error { return errors.Join(db.Close(), storage.Close()) }
	bound := r.cfg.WriteBound
	if bound == 0 {
		bound = writeBound
	}
	if r.disk, err = openDisk(db, bound, r.fatal); err != nil {
		return errors.Join(fmt.Errorf("raft store %s: %w", r.cfg.Dir, err), r.closeDB())
	}
	return nil
}

// openDB opens what is there, or formats. An interrupted format is begun again.
func (r *Raft) openDB() (*leveldb.DB, *leveldisk.Storage, error) {
	o := leveldisk.Options{OnFatal: r.fatal, DB: &opt.Options{
		WriteBuffer: 1 << 20, DisableBlockCache: true, OpenFilesCacheCapacity: 16, DisableSeeksCompaction: true,
	}}
	db, storage, err := leveldisk.Open(r.cfg.Dir, o)
	if !errors.Is(err, leveldisk.ErrMissing) {
		return db, storage, err
	}
	if r.cfg.MustExist {
		return nil, nil, fmt.Errorf("%w: this store has been part of a cluster, bring the directory back: %w", ErrMissing, err)
	}
	o.Format = true
	return leveldisk.Open(r.cfg.Dir, o)
}

func (r *Raft) fatal(err error) {
	r.fatalOnce.Do(func() {
		if r.cfg.OnFatal != nil {
			r.cfg.OnFatal(err)
			return
		}
		r.log.Error("raft store failed", "error", err)
	})
}

func (r *Raft) openTransport() {
	r.streams = newStreams(r.cfg.Layer, r.cfg.Paused)
	c := &raft.NetworkTransportConfig{
		Stream: r.streams, MaxPool: streamsMax, Timeout: rpcTimeout, Logger: newLogger(r.log),
		MaxRPCsInFlight: 1, // pipelining can deadlock a follower for a whole leadership
	}
	if of := r.cfg.AddrOf; of != nil {
		c.ServerAddressProvider = addresses{func(id raft.ServerID) string {
			sid, err := hashring.ParseSID(string(id))
			if err != nil {
				return ""
			}
			return of(sid)
		}}
	}
	r.transport = &transport{NetworkTransport: raft.NewNetworkTransportWithConfig(c), matched: map[raft.ServerID]uint64{}}
}

// config gives a new leader about 0.7 to 1.6 s after the old one fell silent.
func (r *Raft) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = serverID(r.cfg.SID)
	c.Logger = newLogger(r.log)
	c.HeartbeatTimeout, c.ElectionTimeout = 650*time.Millisecond, 650*time.Millisecond
	c.LeaderLeaseTimeout = 500 * time.Millisecond
	c.CommitTimeout = 100 * time.Millisecond
	c.SnapshotInterval = time.Minute
	c.SnapshotThreshold, c.TrailingLogs = snapshotEvery, trailingLogs
	c.ShutdownOnRemove = false // a store that is no voter now may be one again
	c.NoLegacyTelemetry = true
	if r.cfg.Fast {
		c.HeartbeatTimeout, c.ElectionTimeout = 250*time.Millisecond, 250*time.Millisecond
		c.LeaderLeaseTimeout = 200 * time.Millisecond
		c.CommitTimeout = 20 * time.Millisecond
		c.SnapshotInterval = 100 * time.Millisecond
	}
	if r.cfg.SnapshotEvery > 0 {
		c.SnapshotThreshold, c.TrailingLogs = r.cfg.SnapshotEvery, r.cfg.SnapshotEvery/4
	}
	return c
}

func serverID(s hashring.SID) raft.ServerID { return raft.ServerID(s.String()) }

// publish hands states out, newest first when several wait.
func (r *Raft) publish() {
	defer r.wg.Done()
	var last uint64
	for {
		select {
		case <-r.stop:
			return
		case <-r.fsm.changed:
		}
		if s := r.fsm.state.Load(); s.Version > last && r.cfg.OnState != nil {
			last = s.Version
			r.cfg.OnState(s)
		}
	}
}

// HasState tells whether anything of Raft is on disk: if so there is nothing to
// bootstrap.
func (r *Raft) HasState() bool {
	has, err := raft.HasExistingState(r.disk, r.disk, snapshots{r.disk})
	return has || err != nil
}

// Bootstrap makes a group of this store alone. It fails when there is state.
func (r *Raft) Bootstrap() error {
	err := r.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: serverID(r.cfg.SID), Address: raft.ServerAddress(r.cfg.PeerAddr),
	}}}).Error()
	if err != nil {
		return fmt.Errorf("raft bootstrap: %w", err)
	}
	return nil
}

// State is the newest state this store has applied; never nil, Version 0 when
// there is none. It needs no quorum.
func (r *Raft) State() *hashring.State { return r.fsm.state.Load() }

// IsLeader tells whether this store leads, as far as it knows.
func (r *Raft) IsLeader() bool { return r.raft.State() == raft.Leader }

// Leader is who leads, as far as this store knows: zero and "" when nobody is known.
func (r *Raft) Leader() (hashring.SID, string) {
	addr, id := r.raft.LeaderWithID()
	sid, err := hashring.ParseSID(string(id))
	if err != nil {
		return hashring.SID{}, ""
	}
	return sid, string(addr)
}

// LeaderCh says true when this store begins to lead and false when it ends; for one
// reader, who sees the newest value.
func (r *Raft) LeaderCh() <-chan bool { return r.raft.LeaderCh() }

// Shutdown stops everything, in the order that cannot hang: raft is told, its
// streams are cut, then all of it is waited for.
func (r *Raft) Shutdown() error {
	r.shutdown.Do(func() {
		r.settle()
		f := r.raft.Shutdown()
		closed := r.transport.Close()
		r.transport.CloseStreams()
		stopped := f.Error()
		close(r.stop)
		r.wg.Wait()
		r.settle()
		r.disk.over.Store(true)
		if err := errors.Join(closed, stopped, r.closeDB()); err != nil {
			r.stopErr = fmt.Errorf("raft: %w", err)
		}
	})
	return r.stopErr
}

// settlePatience bounds the wait for answers of raft at a shutdown.
const settlePatience = 300 * time.Millisecond

// settle waits until raft has answered all that was asked of it. One that is told to
// stop between committing an entry and applying it answers never, so it is let finish
// what it can finish first; what waits for a quorum it answers when it stops.
func (r *Raft) settle() {
	patience := time.NewTimer(settlePatience)
	defer patience.Stop()
	for {
		r.mu.Lock()
		idle := r.idle
		if r.asked == 0 {
			r.mu.Unlock()
			return
		}
		if idle == nil {
			idle = make(chan struct{})
			r.idle = idle
		}
		r.mu.Unlock()
		select {
		case <-idle:
		case <-patience.C:
			return
		}
	}
}

func (r *Raft) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked--; r.asked == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// wait ends with f or with ctx, whichever is first.
func (r *Raft) wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	go func() {
		defer r.answered()
		done <- f.Error()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		return err
	}
}
