package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint is where a node listens for other nodes, host:port.
type Endpoint struct{ Gossip, Peer string }

// Rule is the state of one direction between two nodes.
type Rule struct {
	// Cut: nothing passes. Streams stand still, as they do when packets are lost,
	// and go on when the rule is lifted; datagrams are lost.
	Cut bool
	// Delay is added to everything.
	Delay time.Duration
}

// Links carries all traffic between nodes of one machine, so that it can be cut,
// slowed or made one-way. For each ordered pair there is a listener for peer streams
// and one for gossip (TCP and UDP); a node is told to use its own instead of the
// others' addresses (testing.peer-via, testing.gossip-via). A rule holds for a
// direction, whichever side opened the connection.
type Links struct {
	nodes []Endpoint
	pairs []*pair // from*len(nodes)+to; nil where both are one

	mu      sync.Mutex
	rules   []Rule
	changed chan struct{} // closed and replaced with each change of rules
	relays  map[*relay]struct{}

	ctx   context.Context // ends with Close
	close context.CancelFunc
	wg    sync.WaitGroup
}

// pair is one directed link's listeners.
type pair struct {
	from, to     int
	peer, gossip net.Listener
	packets      net.PacketConn // at gossip's port
	held         atomic.Int64   // delayed datagrams
}

// LinksMax is the most nodes: the sockets grow with the square.
const LinksMax = 12

// NewLinks opens the listeners, on free loopback ports. Every rule is clear.
func NewLinks(nodes []Endpoint) (*Links, error) {
	if len(nodes) > LinksMax {
		return nil, fmt.Errorf("%d nodes, links can be had for %d", len(nodes), LinksMax)
	}
	l := &Links{nodes: nodes, rules: make([]Rule, len(nodes)*len(nodes)), changed: make(chan struct{}), relays: map[*relay]struct{}{}}
	l.ctx, l.close = context.WithCancel(context.Background())
	for from := range nodes {
		for to := range nodes {
			if from == to {
				l.pairs = append(l.pairs, nil)
				continue
			}
			p, err := openPair(from, to)
			if err != nil {
				return nil, errors.Join(err, l.Close())
			}
			l.pairs = append(l.pairs, p)
			l.serve(p)
		}
	}
	return l, nil
}

// portTries: the port that is free for TCP may be taken for UDP.
const portTries = 20

func openPair(from, to int) (*pair, error) {
	p := &pair{from: from, to: to}
	var err error
	if p.peer, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	for range portTries {
		if p.gossip, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		if p.packets, err = net.ListenPacket("udp", p.gossip.Addr().String()); err == nil {
			return p, nil
		}
		_ = p.gossip.Close() // another port is tried
	}
	return nil, errors.Join(err, p.peer.Close())
}

func (l *Links) serve(p *pair) {
	l.wg.Go(func() { l.accept(p, p.peer, l.nodes[p.to].Peer) })
	l.wg.Go(func() { l.accept(p, p.gossip, l.nodes[p.to].Gossip) })
	l.wg.Go(func() { l.forward(p, l.nodes[p.to].Gossip) })
}

// Via is what a node has to be told, as ADDR=VIA entries.
func (l *Links) Via(node int) (peer, gossip []string) {
	for to, n := range l.nodes {
		if p := l.pairs[node*len(l.nodes)+to]; p != nil {
			peer = append(peer, n.Peer+"="+p.peer.Addr().String())
			gossip = append(gossip, n.Gossip+"="+p.gossip.Addr().String())
		}
	}
	return peer, gossip
}

// TestingEnv must be in the environment of a node that takes Arguments.
const TestingEnv = "QUORATE_TESTING=1"

// Arguments of a node's serve that send its traffic over these links.
func (l *Links) Arguments(node int) []string {
	peer, gossip := l.Via(node)
	if peer == nil {
		return nil
	}
	return []string{"--testing.peer-via", strings.Join(peer, ","), "--testing.gossip-via", strings.Join(gossip, ",")}
}

// Set changes the rule of one direction.
func (l *Links) Set(from, to int, r Rule) {
	l.change(func(rules []Rule) { rules[from*len(l.nodes)+to] = r })
}

// Between sets both directions of every link between a node that in names and one
// that it does not.
func (l *Links) Between(in func(node int) bool, r Rule) {
	l.change(func(rules []Rule) {
		for from := range l.nodes {
			for to := range l.nodes {
				if in(from) != in(to) {
					rules[from*len(l.nodes)+to] = r
				}
			}
		}
	})
}

// Only sets every link of one node, both ways; the zero Rule heals it.
func (l *Links) Only(node int, r Rule) { l.Between(func(n int) bool { return n == node }, r) }

// Isolate cuts every link of these nodes, also between them, and clears all others.
func (l *Links) Isolate(nodes map[int]bool) {
	l.change(func(rules []Rule) {
		for i := range rules {
			rules[i] = Rule{Cut: nodes[i/len(l.nodes)] || nodes[i%len(l.nodes)]}
		}
	})
}

// Heal clears every rule.
func (l *Links) Heal() { l.change(func(rules []Rule) { clear(rules) }) }

func (l *Links) change(f func([]Rule)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.rules)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Reset breaks every stream between two nodes, as a restarted firewall does.
func (l *Links) Reset(a, b int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.relays {
		if r.from == a && r.to == b || r.from == b && r.to == a {
			r.cancel()
		}
	}
}

func (l *Links) rule(from, to int) (Rule, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules[from*len(l.nodes)+to], l.changed
}

// passable waits until nothing cuts from -> to; false when ctx ended first.
func (l *Links) passable(ctx context.Context, from, to int) bool {
	for {
		r, changed := l.rule(from, to)
		if !r.Cut {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Close ends all links and waits for their goroutines.
func (l *Links) Close() error {
	l.close()
	var errs []error
	for _, p := range l.pairs {
		if p != nil {
			errs = append(errs, p.peer.Close(), p.gossip.Close(), p.packets.Close())
		}
	}
	l.wg.Wait()
	return errors.Join(errs...)
}
