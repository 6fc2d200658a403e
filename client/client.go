package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// Transport is how requests for single keys travel.
type Transport uint8

const (
	// HTTP is the public API, the default.
	HTTP Transport = iota
	// Frames are binary frames, pipelined over one connection to each node that takes
	// them; the others, and all that is not about a single key, go by HTTP.
	Frames
)

const (
	// DefaultTimeout of a call whose context has no deadline: the servers' own default,
	// twice and some, so that one silent node can be survived.
	DefaultTimeout = 5 * time.Second
	// DefaultMaxAttempts of one call.
	DefaultMaxAttempts = 4
	// DefaultMaxConns open to one node at a time over HTTP, one for each request.
	DefaultMaxConns = 512
	// DefaultRetryShare of calls that may be retried.
	DefaultRetryShare = 0.1
	// DefaultHedgeShare of reads that may be sent to a second node.
	DefaultHedgeShare = 0.05
	// retryBurst is how many retries may be made before their share counts: what is in
	// flight to a node that dies, for a client with 1,500 requests at a time.
	retryBurst = 500
)

// Config of a client. Only Endpoints must be given.
type Config struct {
	// Endpoints are nodes to begin with, "http://10.0.0.1:7400" or "10.0.0.1:7400", or a
	// balancer in front of them; the others are learned from the ring. With https all
	// nodes are spoken to by TLS.
	Endpoints []string
	Transport Transport
	// FramesToken is the secret of the nodes' frames-token-file; nil where they have
	// none. A client with a token speaks only to nodes that show that they know it.
	FramesToken []byte

	Timeout     time.Duration // of a call whose context has no deadline; DefaultTimeout
	MaxAttempts int           // of one call, 1: no retries; DefaultMaxAttempts
	MaxConns    int           // to one node; DefaultMaxConns
	// RetryShare bounds retries by a share of the calls; DefaultRetryShare. Negative:
	// none beyond the first burst.
	RetryShare float64
	// HedgeShare bounds the reads that are sent to a second node, once the first is
	// later than 95 in 100; DefaultHedgeShare. Negative: no hedging.
	HedgeShare float64
	// NoOwnerRouting sends everything to the endpoints alone, for use behind a balancer
	// when the nodes themselves cannot be reached.
	NoOwnerRouting bool

	TLS *tls.Config // for https; nil: the defaults
	// Dial opens connections; nil: TCP with keep-alive.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Log  *slog.Logger // nil: silent. Never keys or values.
}

func (c *Config) fill() {
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.MaxAttempts, DefaultMaxAttempts)
	c.MaxAttempts = min(c.MaxAttempts, triedMax)
	setDefault(&c.MaxConns, DefaultMaxConns)
	if c.RetryShare == 0 {
		c.RetryShare = DefaultRetryShare
	}
	if c.HedgeShare == 0 {
		c.HedgeShare = DefaultHedgeShare
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

const (
	// dialTimeout is short: a node that does not take a connection is not the one to
	// wait for.
	dialTimeout = time.Second
	keepAlive   = 15 * time.Second
)

// Client speaks to one cluster. It is safe for any number of goroutines; one per
// process is enough.
type Client struct {
	cfg    Config
	log    *slog.Logger
	began  time.Time
	scheme string
	seeds  []*node
	link   transport // of single keys
	web    *web      // of everything else

	ring    atomic.Pointer[view]
	asked   atomic.Int64 // when the ring was last asked for
	flight  singleflight.Group
	retries *budget
	hedges  *budget // nil: no hedging
	// patience multiplies the wait before a hedge, in thousandths.
	patience atomic.Int64
	slow     [len(opNames)]quantile
	stats    counters

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // install, closed
	closed bool
}

// New checks cfg and makes a client. It does not wait for the cluster: the first
// call finds out whether it is there.
func New(cfg Config) (*Client, error) {
	cfg.fill()
	c := &Client{cfg: cfg, log: cfg.Log, began: time.Now(), retries: newBudget(max(cfg.RetryShare, 0), retryBurst)}
	c.patience.Store(1000)
	if cfg.HedgeShare > 0 {
		c.hedges = newBudget(cfg.HedgeShare, hedgeBurst)
	}
	if err := c.addSeeds(); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.web = newWeb(&c.cfg)
	switch cfg.Transport {
	case HTTP:
		c.link = newHTTPTransport(&c.cfg)
	case Frames:
		link, err := newFramesTransport(&c.cfg, cfg.FramesToken)
		if err != nil {
			c.cancel()
			return nil, err
		}
		c.link = link
	default:
		c.cancel()
		return nil, fmt.Errorf("quorate: there is no transport %d", cfg.Transport)
	}
	c.spawn(c.janitor)
	if !cfg.NoOwnerRouting {
		c.refreshSoon(nil, 0)
	}
	return c, nil
}

func (c *Client) addSeeds() error {
	if len(c.cfg.Endpoints) == 0 {
		return fmt.Errorf("quorate: Endpoints is empty: name at least one node, such as http://127.0.0.1:7400")
	}
	for _, e := range c.cfg.Endpoints {
		t, err := parseEndpoint(e)
		if err != nil {
			return err
		}
		scheme := "http"
		if t.tls {
			scheme = "https"
		}
		if c.scheme != "" && c.scheme != scheme {
			return fmt.Errorf("quorate: Endpoints has both http and https")
		}
		c.scheme = scheme
		c.seeds = append(c.seeds, &node{target: t})
	}
	return nil
}

// parseEndpoint takes host:port or a URL without a path.
func parseEndpoint(e string) (t target, err error) {
	text := e
	if u, err := url.Parse(e); err != nil || u.Host == "" {
		text = "http://" + e
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return t, fmt.Errorf("quorate: the endpoint %q is not http://host:port", e)
	}
	t.tls, t.addr = u.Scheme == "https", u.Host
	if u.Port() == "" {
		port := "80"
		if t.tls {
			port = "443"
		}
		t.addr = net.JoinHostPort(u.Hostname(), port)
	}
	t.base = u.Scheme + "://" + t.addr
	return t, nil
}

// enter counts one more goroutine that Close waits for; false: the client is closed.
// The goroutine ends with wg.Done.
func (c *Client) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

// spawn runs f in a goroutine that Close waits for.
func (c *Client) spawn(f func()) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.wg.Done()
		f()
	}()
	return true
}

// janitor closes connections that nobody has used for a while.
func (c *Client) janitor() {
	tick := time.NewTicker(idleTimeout / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if r, ok := c.link.(interface{ reap(time.Time) }); ok {
				r.reap(time.Now())
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// Close ends running calls with ErrClosed, closes every connection and waits for the
// client's own goroutines. It may be called twice.
func (c *Client) Close() error {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if was {
		return nil
	}
	c.cancel()
	c.link.close()
	c.web.close()
	c.wg.Wait()
	return nil
}
