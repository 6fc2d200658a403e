package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/quoratedb/quorate/node"
)

// preflight finds what would fail later with a less helpful message: addresses that
// cannot be listened on.
func preflight(ctx context.Context, cfg *node.Config) error {
	for _, l := range listens(cfg) {
		if err := tryListen(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// listen is one address to listen on, and the flag that names it.
type listen struct {
	flag, addr string
	networks   []string
}

func listens(cfg *node.Config) []listen {
	all := []listen{
		{"--api", cfg.API, []string{"tcp"}},
		{"--gossip", cfg.Gossip, []string{"tcp", "udp"}},
		{"--peer", cfg.Peer, []string{"tcp"}},
	}
	if cfg.Frames != "" {
		all = append(all, listen{"--frames", cfg.Frames, []string{"tcp"}})
	}
	return all
}

func tryListen(ctx context.Context, l listen) error {
	var lc net.ListenConfig
	for _, network := range l.networks {
		var err error
		if network == "udp" {
			var c net.PacketConn
			if c, err = lc.ListenPacket(ctx, network, l.addr); err == nil {
				err = c.Close()
			}
		} else {
			var c net.Listener
			if c, err = lc.Listen(ctx, network, l.addr); err == nil {
				err = c.Close()
			}
		}
		if err != nil {
			return listenError(l, network, err)
		}
	}
	return nil
}

func listenError(l listen, network string, err error) error {
	_, port, _ := net.SplitHostPort(l.addr) // checked with the configuration
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %s (%s) of %s %s is in use: %w", port, network, l.flag, l.addr, err)
	}
	return fmt.Errorf("cannot listen on %s %s (%s): %w", l.flag, l.addr, network, err)
}

// explainStart names the flag where a start failed on an address after all.
func explainStart(err error, cfg *node.Config) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" || op.Addr == nil {
		return err
	}
	for _, l := range listens(cfg) {
		if sameAddr(l.addr, op.Addr.String()) {
			return listenError(l, op.Net, err)
		}
	}
	return err
}

func sameAddr(configured, actual string) bool {
	_, p1, err1 := net.SplitHostPort(configured)
	_, p2, err2 := net.SplitHostPort(actual)
	return err1 == nil && err2 == nil && p1 == p2
}

// beyondLoopback says whether others than this machine can reach addr.
func beyondLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}
