package frames

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/wire"
)

// DialConfig is how a client introduces itself. The zero value will do.
type DialConfig struct {
	// Token to prove, and to demand a proof of; nil: the server must not want one.
	Token Token
	// Cluster that is meant; zero: whichever is there.
	Cluster hashring.ClusterID
	Name    string // for the server's logs, at most 255 bytes
	// Dial connects; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Wrap, when set, makes a new connection secure (TLS) before its first byte.
	Wrap func(c net.Conn, dialled bool) (net.Conn, error)
	// MaxInFlight bounds the requests under way; 0 and what is above the server's own
	// bound mean the server's.
	MaxInFlight int
}

// Info is what the server said of itself.
type Info struct {
	Version     uint16 // of the messages
	Cluster     hashring.ClusterID
	SID         hashring.SID
	Node        string
	MaxInFlight int // requests of this connection
	MaxValue    int // bytes
}

// maxSlots bounds what a server can make a client allocate.
const maxSlots = 1 << 16

// Dial connects to the frames port at addr and exchanges the hello, within ctx and
// three seconds. Errors: *RefusedError, or those of the network.
func Dial(ctx context.Context, addr string, cfg DialConfig) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	raw, err := cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() }) // a cancel ends the hello
	nc, info, err := cfg.greet(ctx, raw)
	if !unwatch() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		var no *RefusedError
		if ctx.Err() != nil && !errors.As(err, &no) {
			err = fmt.Errorf("hello with %s: %w", addr, ctx.Err())
		}
		return nil, err
	}
	return newClientConn(nc, info, cfg.MaxInFlight), nil
}

func (cfg *DialConfig) greet(ctx context.Context, raw net.Conn) (net.Conn, Info, error) {
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	nc := raw
	if cfg.Wrap != nil {
		secure, err := cfg.Wrap(raw, true)
		if err != nil {
			return nil, Info{}, err
		}
		nc = secure
	}
	h := hello{min: wire.ClientMin, max: wire.ClientMax, cluster: cfg.Cluster, name: cfg.Name}
	if _, err := rand.Read(h.nonce[:]); err != nil {
		return nil, Info{}, err
	}
	said := h.append(nil)
	if _, err := nc.Write(said); err != nil {
		return nil, Info{}, err
	}
	code, body, answer, err := readPreface(nc)
	if err != nil {
		return nil, Info{}, fmt.Errorf("hello: %w", err)
	}
	c, err := parseChallenge(code, body)
	if err != nil {
		return nil, Info{}, err
	}
	if no := cfg.judge(&c); no != nil {
		return nil, Info{}, no
	}
	if c.needsProof {
		if err := cfg.proveAndDemand(nc, &c, said, answer); err != nil {
			return nil, Info{}, err
		}
	}
	_ = nc.SetDeadline(time.Time{})
	return nc, Info{Version: c.version, Cluster: c.cluster, SID: c.sid, Node: c.node,
		MaxInFlight: int(min(max(c.maxInFlight, 1), maxSlots)), MaxValue: int(min(c.maxValue, wire.MaxClientValue))}, nil
}

// judge decides on the server's answer. A client with a token does not talk to a
// server that wants none: anybody could be that.
func (cfg *DialConfig) judge(c *challenge) *RefusedError {
	no := func(code Refusal, reason string) *RefusedError {
		return &RefusedError{Code: code, Reason: reason, Node: c.node}
	}
	switch {
	case c.code != accepted:
		return no(c.code, c.reason)
	case c.version < wire.ClientMin || c.version > wire.ClientMax:
		return no(RefusedVersion, fmt.Sprintf("%s chose version %d, known are %d to %d", c.node, c.version, wire.ClientMin, wire.ClientMax))
	case !cfg.Cluster.IsZero() && c.cluster != cfg.Cluster:
		return no(RefusedCluster, fmt.Sprintf("%s is in cluster %s, %s was meant", c.node, c.cluster, cfg.Cluster))
	case c.needsProof && len(cfg.Token) == 0:
		return no(RefusedToken, c.node+" wants a token, and none is configured")
	case !c.needsProof && len(cfg.Token) > 0:
		return no(RefusedToken, c.node+" wants no token, so it cannot show that it knows it")
	}
	return nil
}

func (cfg *DialConfig) proveAndDemand(nc net.Conn, c *challenge, said, answer []byte) error {
	mine := proof{code: codeProof, mac: cfg.Token.prove("client", said, answer)}
	whole := mine.append(nil)
	if _, err := nc.Write(whole); err != nil {
		return err
	}
	code, body, _, err := readPreface(nc)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	verdict, err := parseProof(code, body)
	switch {
	case err != nil:
		return err
	case Refusal(code) != accepted:
		return &RefusedError{Code: Refusal(code), Reason: verdict.reason, Node: c.node}
	case !cfg.Token.holds(verdict.mac, "server", said, answer, whole):
		return &RefusedError{Code: RefusedToken, Reason: c.node + " does not know the token", Node: c.node}
	}
	return nil
}
