package node

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/buildinfo"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/wire"
)

// ports are the TCP listeners of a node and how others reach them.
type ports struct {
	api, peer                   net.Listener
	frames                      net.Listener // nil: off
	token                       frames.Token
	apiAddr, gossipAt, peerAddr string
	framesAddr                  string // "": off
}

// openPorts listens before anything else starts, so that a taken port changes nothing.
func openPorts(cfg Config, s seams) (p ports, err error) {
	if p.api, err = listen(s, "--api", cfg.API); err != nil {
		return p, err
	}
	if p.peer, err = listen(s, "--peer", cfg.Peer); err != nil {
		return p, errors.Join(err, p.api.Close())
	}
	if p.frames, p.token, err = framesPort(cfg, s); err != nil {
		return p, errors.Join(err, p.close())
	}
	for _, a := range []struct {
		flag, bind string
		to         *string
	}{{"--api", p.api.Addr().String(), &p.apiAddr}, {"--peer", p.peer.Addr().String(), &p.peerAddr}, {"--gossip", cfg.Gossip, &p.gossipAt}} {
		if *a.to, err = gossip.AdvertiseAddr(a.bind); err != nil {
			return p, errors.Join(fmt.Errorf("%s %s: %w", a.flag, a.bind, err), p.close())
		}
	}
	if p.frames != nil {
		if p.framesAddr, err = gossip.AdvertiseAddr(p.frames.Addr().String()); err != nil {
			return p, errors.Join(fmt.Errorf("--frames %s: %w", cfg.Frames, err), p.close())
		}
	}
	return p, nil
}

func (p *ports) close() error { return errors.Join(p.peer.Close(), p.closeClients()) }

// closeClients closes the ports of clients.
func (p *ports) closeClients() error {
	if p.frames != nil {
		return errors.Join(p.api.Close(), p.frames.Close())
	}
	return p.api.Close()
}

// listen names the flag when a port cannot be had.
func listen(s seams, flag, addr string) (net.Listener, error) {
	l, err := s.listener(addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	return l, nil
}

func (n *Node) lifeConfig(p ports) lifeConfig {
	times := lifeDefaults()
	if n.cfg.NameWait > 0 {
		times.Name = n.cfg.NameWait
	}
	cfg := lifeConfig{
		Name: n.cfg.Name, Zone: n.cfg.Zone, Version: buildinfo.Version,
		API: p.apiAddr, Gossip: p.gossipAt, Peer: p.peerAddr, Frames: p.framesAddr,
		Join: len(n.cfg.Join) > 0, Expect: n.cfg.BootstrapExpect, Partitions: n.cfg.Partitions, Replicas: n.cfg.Replicas,
		Feature: wire.ProtocolMax, Store: n.store, OnRing: n.onRing, OnConfirmed: n.onConfirmed, OnFatal: n.fail, Log: n.log, Times: times,
		RaftPaused: n.testing.raftPaused(), Rebuild: true,
	}
	if n.seams.life != nil {
		n.seams.life(&cfg)
	}
	return cfg
}

func (n *Node) peerConfig() peer.Config {
	dial := n.seams.dial
	if dial == nil {
		dial = n.testing.dialPeer()
	}
	return peer.Config{
		Self:    func() peer.Hello { return n.life.hello(wire.ProtocolMin, wire.ProtocolMax) },
		Check:   n.life.check,
		Deliver: n.router.deliver,
		Control: n.control,
		Down: func(sid hashring.SID) {
			n.ready.settle(sid)
			n.router.tell(core.Event{Down: sid})
		},
		Up:   func(h peer.Hello) { n.ready.settle(h.SID) },
		Dial: dial,
		Log:  n.log,
	}
}

// control serves the calls of other nodes.
func (n *Node) control(ctx context.Context, from peer.Hello, method string, payload []byte) ([]byte, error) {
	if answer, mine, err := n.statusCall(ctx, method, payload); mine {
		return answer, err
	}
	return n.life.control(ctx, from, method, payload)
}

func (n *Node) gossipConfig() gossip.Config {
	return gossip.Config{
		Bind: n.cfg.Gossip, Join: n.cfg.Join, Meta: n.life.meta, OnChange: n.onView, Ring: n.life.ringGossip, Via: n.testing.gossipVia,
		Transport: n.seams.gossip, Log: n.log,
	}
}
