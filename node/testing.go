package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quoratedb/quorate/node/store"
)

// testSection is what checks of whole clusters need from inside a node: detours for its
// traffic, and faults that only the node itself can have. Everything is off in
// production: the configuration refuses the section unless QUORATE_TESTING=1, and
// /v1/cluster shows what is on.
type testSection struct {
	peerVia, gossipVias map[string]string
	start               switches
	file                string
	repairOff           bool

	clockMS    atomic.Int64
	raftIsOff  atomic.Bool
	diskFull   atomic.Bool
	diskHangs  atomic.Bool
	lastSwitch []byte // of the loop that reads the file alone
}

// switches are the faults that come and go.
type switches struct {
	ClockOffset textDuration `json:"clock-offset"`
	RaftPaused  bool         `json:"raft-paused"`
	DiskFull    bool         `json:"disk-full"`
	DiskHangs   bool         `json:"disk-hangs"` // of the file alone: a node could not start
}

// textDuration is a duration written as 90s.
type textDuration time.Duration

// UnmarshalText reads it.
func (d *textDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = textDuration(v)
	return err
}

const (
	switchesEvery = 100 * time.Millisecond
	switchesMax   = 4 << 10 // bytes of the file
)

func (t *testSection) init(cfg *Config) (err error) {
	if t.peerVia, err = detours("testing.peer-via", cfg.TestingPeerVia); err != nil {
		return err
	}
	if t.gossipVias, err = detours("testing.gossip-via", cfg.TestingGossipVia); err != nil {
		return err
	}
	t.file, t.repairOff = cfg.TestingSwitches, cfg.TestingRepairOff
	t.start = switches{ClockOffset: textDuration(cfg.TestingClockOffset), RaftPaused: cfg.TestingRaftPaused, DiskFull: cfg.TestingDiskFull}
	t.set(t.start)
	return nil
}

func detours(key string, list []string) (map[string]string, error) {
	var out map[string]string
	for _, e := range list {
		addr, via, ok := strings.Cut(e, "=")
		if !ok || addr == "" || via == "" {
			return nil, fmt.Errorf("%s: %q is not ADDR=VIA", key, e)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[addr] = via
	}
	return out, nil
}

func (t *testSection) set(s switches) {
	t.clockMS.Store(time.Duration(s.ClockOffset).Milliseconds())
	t.raftIsOff.Store(s.RaftPaused)
	t.diskFull.Store(s.DiskFull)
	t.diskHangs.Store(s.DiskHangs)
}

// on lists what differs from a node in production.
func (t *testSection) on() (out []string) {
	for _, s := range []struct {
		name string
		on   bool
	}{
		{"clock-offset", t.clockMS.Load() != 0}, {"disk-full", t.diskFull.Load()}, {"disk-hangs", t.diskHangs.Load()}, {"gossip-via", t.gossipVias != nil},
		{"peer-via", t.peerVia != nil}, {"raft-paused", t.raftIsOff.Load()}, {"repair-off", t.repairOff}, {"switches", t.file != ""},
	} {
		if s.on {
			out = append(out, s.name)
		}
	}
	return out
}

// dialPeer is for peer.Config.Dial: nil, the transport's own, without detours.
func (t *testSection) dialPeer() func(context.Context, string) (net.Conn, error) {
	if t.peerVia == nil {
		return nil
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		if via, ok := t.peerVia[addr]; ok {
			addr = via
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

// gossipVia is for gossip.Config.Via.
func (t *testSection) gossipVia(addr string) string {
	if via, ok := t.gossipVias[addr]; ok {
		return via
	}
	return addr
}

// raftPaused is for the Raft group: nil, never, where nothing can switch it.
func (t *testSection) raftPaused() func() bool {
	if t.file == "" && !t.start.RaftPaused {
		return nil
	}
	return t.raftIsOff.Load
}

// hangingDisk is the store as the committer sees it while a test may have the disk hang:
// syncs wait, everything else goes on.
type hangingDisk struct {
	backing
	hangs *atomic.Bool
	stop  <-chan struct{} // the node ends: what is staged is synced
}

func (d hangingDisk) CommitAll(turn []store.Staged) error {
	tick := time.NewTicker(switchesEvery / 10)
	defer tick.Stop()
	for d.hangs.Load() {
		select {
		case <-tick.C:
		case <-d.stop:
			return d.backing.CommitAll(turn)
		}
	}
	return d.backing.CommitAll(turn)
}

// syncer is the store for the committer.
func (n *Node) syncer() backing {
	if n.testing.file == "" {
		return n.store
	}
	return hangingDisk{n.store, &n.testing.diskHangs, n.stopDisk}
}

// followTesting reads the file of switches until ctx ends.
func (n *Node) followTesting(ctx context.Context) {
	if n.testing.file == "" {
		return
	}
	n.rest.Go(func() {
		tick := time.NewTicker(switchesEvery)
		defer tick.Stop()
		for {
			if changed, err := n.testing.read(); err != nil {
				n.log.Error("the file of testing switches", "error", err)
			} else if changed {
				n.log.Warn("testing switches", "on", n.testing.on())
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// read takes over the file when its text changed; without it the keys hold.
func (t *testSection) read() (changed bool, err error) {
	text, err := readSome(t.file, switchesMax)
	if os.IsNotExist(err) {
		err = nil
	}
	if err != nil || bytes.Equal(text, t.lastSwitch) {
		return false, err
	}
	t.lastSwitch = text
	s := t.start
	if len(text) > 0 {
		if err := json.Unmarshal(text, &s); err != nil {
			return false, err
		}
	}
	t.set(s)
	return true, nil
}

func readSome(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
