package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

var errNoAddress = errors.New("no address of the store is known")

// dialPeer makes a connection for l.
func (t *Transport) dialPeer(ctx context.Context, l *link) (*conn, error) {
	addr := l.p.address()
	if addr == "" {
		return nil, errNoAddress
	}
	nc, theirs, err := t.dial(ctx, addr, l.kind, l.p.sid)
	if err != nil {
		return nil, err
	}
	return newConn(nc, l, theirs, true), nil
}

// dial connects to addr and exchanges hellos. ctx bounds it all and must have a
// deadline. Errors: *RefusedError, or those of the network.
func (t *Transport) dial(ctx context.Context, addr string, k kind, target hashring.SID) (net.Conn, Hello, error) {
	t.count.dials.Add(1)
	raw, err := t.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, Hello{}, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() }) // a cancel ends the handshake
	c, theirs, err := t.greet(ctx, raw, k, target)
	if !unwatch() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("hello with %s: %w", addr, ctx.Err())
		}
		var no *RefusedError
		if errors.As(err, &no) {
			t.count.refused.Add(1)
			t.log.warn("refused by "+addr, "peer refused", "addr", addr, "store", no.Remote.SID.Short(), "other", no.Remote.Node, "reason", no.Reason)
		}
		return nil, Hello{}, err
	}
	return c, theirs, nil
}

func (t *Transport) greet(ctx context.Context, raw net.Conn, k kind, target hashring.SID) (net.Conn, Hello, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(handshakeTimeout)
	}
	_ = raw.SetDeadline(deadline)
	c := raw
	if t.cfg.Wrap != nil {
		secure, err := t.cfg.Wrap(raw, true)
		if err != nil {
			return nil, Hello{}, err
		}
		c = secure
	}
	mine := t.cfg.Self()
	mine.Node = mine.Node[:min(len(mine.Node), maxNode)]
	opening := preface{code: byte(k), hello: mine, target: target}
	if _, err := c.Write(opening.append(nil)); err != nil {
		return nil, Hello{}, err
	}
	answer, err := readPreface(c)
	if err != nil {
		return nil, Hello{}, fmt.Errorf("hello: %w", err)
	}
	if answer.code != byte(Accepted) {
		return nil, Hello{}, &RefusedError{Code: Refusal(answer.code), Reason: answer.reason, Remote: answer.hello}
	}
	if no := t.judge(k, mine, answer.hello); no != nil {
		return nil, Hello{}, no
	}
	if !target.IsZero() && answer.hello.SID != target {
		return nil, Hello{}, &RefusedError{Code: RefusedTarget, Remote: answer.hello,
			Reason: "store " + target.String() + " was expected, " + answer.hello.Node + " has " + answer.hello.SID.String()}
	}
	_ = c.SetDeadline(time.Time{})
	return c, answer.hello, nil
}
