// Package gossip says who is there. It wraps memberlist and gives an immutable
// View; it carries liveness and "I know ring version v", never ownership.
//
// The name of a member is its store id, not its node name: two nodes that were
// given one name are both visible, and the node above decides who has to go.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/quoratedb/quorate/hashring"
)

// Config of Start. Meta and Log are required.
type Config struct {
	Bind      string   // host:port for TCP and UDP; port 0: any
	Advertise string   // host:port told to others; empty: from Bind, see AdvertiseAddr
	Join      []string // gossip addresses, retried for ever; one's own is ignored

	Meta     func() Meta     // what this node says of itself; quick, called at Start and Refresh
	OnChange func(*View)     // on a goroutine of its own, always the newest view; may block
	Ring     func() []string // gossip addresses of the ring's members, for the rejoin loop

	Transport memberlist.Transport // tests; nil: TCP and UDP at Bind
	// Via, for tests, gives the address to dial or send to in place of one; nil: itself.
	Via  func(addr string) string
	Log  *slog.Logger
	Fast bool // shorter intervals, for tests
}

// Gossip is one running member. Its goroutines: publish (views), update (own
// metadata), join, rejoin; all end with Close. memberlist has its own.
type Gossip struct {
	cfg        Config
	log        *slog.Logger
	pace       pace
	list       *memberlist.Memberlist
	table      *table
	bound      netip.AddrPort
	advertised netip.AddrPort

	view    atomic.Pointer[View]
	viewMu  sync.Mutex    // builds are in order
	changed chan struct{} // table changed
	refresh chan struct{} // own metadata changed
	tried   chan struct{} // closed after the first round over Join

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stopMu sync.Mutex // Leave before Close, never after
	closed bool
}

// pace is every interval in one place.
type pace struct {
	updateEvery time.Duration // least time between two updates of own metadata
	joinFirst   time.Duration // back-off of the join loop
	joinMost    time.Duration
	rejoinEvery time.Duration
}

// label stands before every packet and stream: what does not carry it is dropped
// before it is parsed.
const label = "quorate-gossip-1"

// config tunes failure detection. A killed node: about half a probe interval until
// somebody probes it, one interval for the probe to fail, then the suspicion, which
// is SuspicionMult intervals when somebody else confirms it and
// SuspicionMaxTimeoutMult times that when nobody does: 2.3 s on average. A probe
// that failed over UDP is tried over TCP and by two others before it counts, and a
// node that hears that it is suspected has 1.5 s to answer, which a loaded machine
// manages. ProbeTimeout is below half the interval, so that the negative answers of
// the others still arrive within it.
func (g *Gossip) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.table.self.String()
	c.Label = label
	c.Delegate, c.Events, c.Conflict = g.table, g.table, g.table
	c.Merge, c.Alive = g.table, g.table
	c.Logger = newLogger(g.log)
	c.ProbeInterval = 500 * time.Millisecond
	c.ProbeTimeout = 200 * time.Millisecond
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 2
	c.IndirectChecks = 2
	c.AwarenessMaxMultiplier = 4
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = 3 * time.Second
	c.DeadNodeReclaimTime = time.Nanosecond // a store may come back at another address
	c.EnableCompression = false             // messages are small
	if g.cfg.Fast {
		c.ProbeInterval = 100 * time.Millisecond
		c.ProbeTimeout = 45 * time.Millisecond
		c.SuspicionMult = 5
		c.GossipInterval = 20 * time.Millisecond
		c.PushPullInterval = time.Second
	}
	return c
}

// Start opens the port, tells about this node and begins to join. It fails for a
// port that cannot be opened and for metadata that cannot be sent (*FieldError),
// never for want of peers.
func Start(cfg Config) (*Gossip, error) {
	meta := cfg.Meta()
	ctx, cancel := context.WithCancel(context.Background())
	changed := make(chan struct{}, 1)
	g := &Gossip{
		cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, changed: changed, refresh: make(chan struct{}, 1),
		tried: make(chan struct{}),
		pace:  pace{200 * time.Millisecond, 250 * time.Millisecond, 5 * time.Second, 10 * time.Second},
		table: &table{self: meta.SID, log: cfg.Log, changed: changed, members: map[hashring.SID]entry{},
			named: map[hashring.SID]time.Time{}},
	}
	if cfg.Fast {
		g.pace = pace{20 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond}
	}
	if _, err := g.table.setOwn(meta); err != nil {
		cancel()
		return nil, err
	}
	if err := g.open(); err != nil {
		cancel()
		return nil, err
	}
	g.rebuild()
	for _, loop := range []func(){g.publish, g.update, g.join, g.rejoin} {
		g.wg.Add(1)
		go func() { defer g.wg.Done(); loop() }()
	}
	return g, nil
}

func (g *Gossip) open() error {
	c := g.config()
	c.Transport = g.cfg.Transport
	own := false
	if c.Transport == nil {
		t, bound, err := listen(g.ctx, g.cfg.Bind, g.cfg.Via, c.Logger)
		if err != nil {
			return err
		}
		c.Transport, g.bound, own = t, bound, true
		if err := g.setAdvertise(c); err != nil {
			return errors.Join(err, t.Shutdown())
		}
	}
	list, err := memberlist.Create(c)
	if err != nil {
		err = fmt.Errorf("gossip: %w", err)
		if own {
			err = errors.Join(err, c.Transport.Shutdown())
		}
		return err
	}
	g.list = list
	n := list.LocalNode()
	if ip, ok := netip.AddrFromSlice(n.Addr); ok {
		g.advertised = netip.AddrPortFrom(ip.Unmap(), n.Port)
	}
	return nil
}

// setAdvertise tells memberlist which address others see.
func (g *Gossip) setAdvertise(c *memberlist.Config) error {
	adv := g.cfg.Advertise
	if adv == "" {
		var err error
		if adv, err = AdvertiseAddr(g.bound.String()); err != nil {
			return err
		}
	}
	addrs, err := resolve(g.ctx, adv)
	if err != nil {
		return fmt.Errorf("advertised gossip address: %w", err)
	}
	if addrs[0].Addr().IsUnspecified() {
		return fmt.Errorf("advertised gossip address %s: others cannot reach an unspecified address", adv)
	}
	c.AdvertiseAddr, c.AdvertisePort = addrs[0].Addr().String(), int(addrs[0].Port())
	if c.AdvertisePort == 0 {
		c.AdvertisePort = int(g.bound.Port())
	}
	return nil
}

// View is the newest picture; never nil.
func (g *Gossip) View() *View { return g.view.Load() }

// Addr is the address told to others.
func (g *Gossip) Addr() string { return g.advertised.String() }

// JoinTried is closed once every --join address has been tried, and View shows who
// was found: until then "no cluster is seen" says nothing.
func (g *Gossip) JoinTried() <-chan struct{} { return g.tried }

// Port is the port of both sockets.
func (g *Gossip) Port() int { return int(g.bound.Port()) }

// Refresh asks Meta again and tells the others when it changed; many calls in a
// short time are one update. The cluster id takes effect here at once.
func (g *Gossip) Refresh() {
	changed, err := g.table.setOwn(g.cfg.Meta())
	if err != nil {
		g.log.Error("gossip keeps the old metadata", "error", err)
		return
	}
	if changed {
		g.table.poke() // another cluster id hides members
		select {
		case g.refresh <- struct{}{}:
		default:
		}
	}
}

// publish builds views and hands the newest one out.
func (g *Gossip) publish() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.changed:
		}
		v := g.rebuild()
		if g.cfg.OnChange != nil {
			g.cfg.OnChange(v)
		}
	}
}

func (g *Gossip) rebuild() *View {
	g.viewMu.Lock()
	defer g.viewMu.Unlock()
	v := g.table.view(time.Now())
	g.view.Store(v)
	return v
}

// update sends own metadata, at most once per updateEvery.
func (g *Gossip) update() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.refresh:
		}
		if err := g.list.UpdateNode(g.pace.updateEvery); err != nil {
			g.log.Debug("gossip: own metadata is still on its way", "error", err)
		}
		if !g.wait(g.pace.updateEvery) {
			return
		}
	}
}

// wait is false when the node stops first.
func (g *Gossip) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-g.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Leave tells the others that this node stops on purpose, waiting at most about
// timeout for the word to go out.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.stopMu.Lock()
	defer g.stopMu.Unlock()
	if g.closed {
		return nil
	}
	g.cancel() // no update and no join may follow the farewell
	g.wg.Wait()
	if err := g.table.setLeaving(); err != nil {
		return err
	}
	if err := g.list.UpdateNode(timeout / 2); err != nil {
		g.log.Debug("gossip: leaving without every neighbour knowing", "error", err)
	}
	return g.list.Leave(timeout / 2)
}

// Close stops everything. The others find this node dead, unless Leave came first.
func (g *Gossip) Close() error {
	g.stopMu.Lock()
	defer g.stopMu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.cancel()
	err := g.list.Shutdown()
	g.wg.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}
