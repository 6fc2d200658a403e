package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// memNet is a network in memory between hosts named by their IP. Each direction
// between two hosts can be cut: packets are lost, connections stand still and new
// ones wait, as with a switch that drops everything.
type memNet struct {
	mu    sync.Mutex // everything of the network, its hosts and its connections
	hosts map[string]*memHost
	conns map[*memConn]bool
	cuts  map[[2]string]bool
	loss  float64       // of packets, between 0 and 1
	slow  time.Duration // most that anything is on its way; 0: no time
	port  uint16        // the last one of a dialler
}

// memHost is one process at an IP, until it is unplugged.
type memHost struct {
	net       *memNet
	ip        string
	listeners map[string]*memListener
	gossip    *memGossip
	isGone    bool
}

const (
	backlogMost = 128
	packetsMost = 1024
	dialAgain   = 100 * time.Millisecond // a dial over a cut link
)

func newMemNet() *memNet {
	return &memNet{hosts: map[string]*memHost{}, conns: map[*memConn]bool{}, cuts: map[[2]string]bool{}, port: 40000}
}

// plug puts a new process at ip.
func (n *memNet) plug(ip string) *memHost {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &memHost{net: n, ip: ip, listeners: map[string]*memListener{}}
	n.hosts[ip] = h
	return h
}

// unplug is what the others see of a kill: resets, then nothing. The process itself
// goes on at an IP that nothing leads to.
func (h *memHost) unplug() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.isGone = true
	if h.net.hosts[h.ip] == h {
		delete(h.net.hosts, h.ip)
	}
	for c := range h.net.conns {
		if host(c.near) == h.ip {
			c.closeAs(syscall.ECONNRESET)
		}
	}
}

// cut loses what goes from any of a to any of b, and back with both.
func (n *memNet) cut(a, b []string, both bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range a {
		for _, y := range b {
			n.cuts[[2]string{x, y}] = true
			if both {
				n.cuts[[2]string{y, x}] = true
			}
		}
	}
}

func (n *memNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	for c := range n.conns {
		c.in.wake.Broadcast()
		c.out.wake.Broadcast()
	}
}

// isCut is called under the mutex.
func (n *memNet) isCut(from, to string) bool { return n.cuts[[2]string{from, to}] }

// delay is drawn anew for everything that is sent; called under the mutex.
func (n *memNet) delay() time.Duration {
	if n.slow == 0 {
		return 0
	}
	return rand.N(n.slow)
}

// after calls f under the mutex, later.
func (n *memNet) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		f()
	})
}

func host(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// seams put a node of this process on the network.
func (h *memHost) seams(gossipPort uint16) seams {
	h.gossip = &memGossip{host: h, port: gossipPort, packets: make(chan *memberlist.Packet, packetsMost), streams: make(chan net.Conn, backlogMost)}
	return seams{listen: h.listen, dial: h.dial, gossip: h.gossip}
}

// memListener is a TCP port in memory.
type memListener struct {
	host     *memHost
	addr     string
	backlog  []net.Conn
	isClosed bool
	wake     sync.Cond
}

func (h *memHost) listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.isGone || h.listeners[addr] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &memListener{host: h, addr: addr}
	l.wake.L = &h.net.mu
	h.listeners[addr] = l
	return l, nil
}

func (l *memListener) Addr() net.Addr { return tcpAddr(l.addr) }

func (l *memListener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for len(l.backlog) == 0 && !l.isClosed {
		l.wake.Wait()
	}
	if l.isClosed {
		return nil, net.ErrClosed
	}
	c := l.backlog[0]
	l.backlog = slices.Delete(l.backlog, 0, 1)
	return c, nil
}

func (l *memListener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.isClosed {
		return net.ErrClosed
	}
	l.close()
	return nil
}

// close is called under the mutex.
func (l *memListener) close() {
	l.isClosed = true
	if l.host.listeners[l.addr] == l {
		delete(l.host.listeners, l.addr)
	}
	for _, c := range l.backlog {
		c.(*memConn).closeAs(syscall.ECONNRESET)
	}
	l.wake.Broadcast()
}

// dial waits while the link is cut either way, as a SYN that is sent again.
func (h *memHost) dial(ctx context.Context, addr string) (net.Conn, error) {
	for {
		c, isCut, err := h.tryDial(addr)
		if !isCut {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", addr, ctx.Err())
		case <-time.After(dialAgain):
		}
	}
}

func (h *memHost) tryDial(addr string) (_ net.Conn, isCut bool, _ error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	far := tcpAddr(addr)
	ip := host(far)
	switch {
	case h.isGone:
		return nil, false, syscall.ENETDOWN
	case n.isCut(h.ip, ip) || n.isCut(ip, h.ip):
		return nil, true, nil
	}
	to := n.hosts[ip]
	if to == nil {
		return nil, false, syscall.ECONNREFUSED
	}
	n.port++
	near, remote := n.newConnPair(tcpAddr(fmt.Sprintf("%s:%d", h.ip, n.port)), far, h.ip, ip)
	if !to.offer(addr, remote) {
		near.closeAs(nil)
		remote.closeAs(nil)
		return nil, false, syscall.ECONNREFUSED
	}
	return near, false, nil
}

// offer gives a connection to whoever listens; called under the mutex.
func (h *memHost) offer(addr string, c net.Conn) bool {
	if l := h.listeners[addr]; l != nil && len(l.backlog) < backlogMost {
		l.backlog = append(l.backlog, c)
		l.wake.Broadcast()
		return true
	}
	g := h.gossip
	if g == nil || g.isClosed || addr != g.addr() {
		return false
	}
	select {
	case g.streams <- c:
		return true
	default:
		return false
	}
}

// memGossip is memberlist's transport: packets that may be lost, and streams. A
// receiver that has stopped never holds up a sender.
type memGossip struct {
	host     *memHost
	port     uint16
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	isClosed bool
}

var _ memberlist.NodeAwareTransport = (*memGossip)(nil)

func (g *memGossip) addr() string { return fmt.Sprintf("%s:%d", g.host.ip, g.port) }

// FinalAdvertiseAddr is memberlist.Transport, like the rest.
func (g *memGossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(g.host.ip), int(g.port), nil
}

func (g *memGossip) WriteTo(b []byte, addr string) (time.Time, error) {
	n, now := g.host.net, time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	ip := host(tcpAddr(addr))
	to := n.hosts[ip]
	if g.host.isGone || to == nil || to.gossip == nil || to.gossip.isClosed || to.gossip.addr() != addr || n.isCut(g.host.ip, ip) || rand.Float64() < n.loss {
		return now, nil
	}
	p := &memberlist.Packet{Buf: slices.Clone(b), From: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(g.addr()))}
	if d := n.delay(); d > 0 {
		n.after(d, func() { to.gossip.take(p) })
	} else {
		to.gossip.take(p)
	}
	return now, nil
}

// take is called under the mutex.
func (g *memGossip) take(p *memberlist.Packet) {
	p.Timestamp = time.Now()
	select {
	case g.packets <- p:
	default: // its buffer is full
	}
}

// WriteToAddress and DialAddressTimeout are memberlist.NodeAwareTransport.
func (g *memGossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

func (g *memGossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.DialTimeout(a.Addr, timeout)
}

func (g *memGossip) PacketCh() <-chan *memberlist.Packet { return g.packets }
func (g *memGossip) StreamCh() <-chan net.Conn           { return g.streams }

func (g *memGossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return g.host.dial(ctx, addr)
}

func (g *memGossip) Shutdown() error {
	g.host.net.mu.Lock()
	defer g.host.net.mu.Unlock()
	g.isClosed = true
	for {
		select {
		case c := <-g.streams:
			c.(*memConn).closeAs(syscall.ECONNRESET)
		default:
			return nil
		}
	}
}

// settle lets everything come to rest at this moment of virtual time.
func settle() { synctest.Wait() }
