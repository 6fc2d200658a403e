package live

import (
	"context"
	"io"
	"net"
	"time"
)

const (
	// connectPatience is how long a connection to a node that cannot be reached is
	// held open; who dialled has given up long before.
	connectPatience = 5 * time.Second
	acceptPause     = 10 * time.Millisecond
	chunkBytes      = 32 << 10
	chunksMax       = 32 // of one direction on their way; then the sender waits
	// datagramsMax bounds delayed datagrams of one pair; more are lost, as on a link.
	datagramsMax = 1024
	packetBytes  = 64 << 10
)

// relay is one connection that node from has opened to node to.
type relay struct {
	from, to int
	cancel   context.CancelFunc
}

// accept serves one listener of a pair until it is closed.
func (l *Links) accept(p *pair, ln net.Listener, target string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			if !rest(l.ctx, acceptPause) {
				return
			}
			continue // out of descriptors, or the dialler has gone
		}
		l.wg.Go(func() { l.relay(p, c, target) })
	}
}

// relay connects c with the target and carries both directions.
func (l *Links) relay(p *pair, c net.Conn, target string) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	r := &relay{p.from, p.to, cancel}
	l.mu.Lock()
	l.relays[r] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.relays, r)
		l.mu.Unlock()
		_ = c.Close()
	}()
	d, err := l.reach(ctx, p, target)
	if err != nil {
		return
	}
	defer d.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), d.Close() })
	defer stop()
	back := make(chan struct{})
	l.wg.Go(func() {
		defer close(back)
		l.pump(ctx, d, c, p.to, p.from)
	})
	l.pump(ctx, c, d, p.from, p.to)
	<-back
}

// reach connects once the link carries the handshake, both ways.
func (l *Links) reach(ctx context.Context, p *pair, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	if !l.passable(ctx, p.from, p.to) || !l.passable(ctx, p.to, p.from) {
		return nil, ctx.Err()
	}
	return new(net.Dialer).DialContext(ctx, "tcp", target)
}

// chunk is some bytes on their way.
type chunk struct {
	b   []byte
	due time.Time
}

// pump carries src's bytes to dst: from and to are the nodes at the two ends. What one
// side closes is closed at the other when the bytes before it have passed.
func (l *Links) pump(ctx context.Context, src, dst net.Conn, from, to int) {
	way := make(chan chunk, chunksMax)
	l.wg.Go(func() {
		defer close(way)
		for {
			b := make([]byte, chunkBytes)
			n, err := src.Read(b)
			r, _ := l.rule(from, to)
			if n > 0 {
				select {
				case way <- chunk{b[:n], time.Now().Add(r.Delay)}:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	fine := true
	for c := range way {
		fine = fine && l.pass(ctx, dst, c, from, to)
		if !fine {
			_ = src.Close() // ends the reader, which ends this loop
		}
	}
	if fine = fine && l.passable(ctx, from, to); fine {
		fine = closeWrite(dst) == nil
	}
	if !fine {
		_, _ = src.Close(), dst.Close()
	}
}

func (l *Links) pass(ctx context.Context, dst net.Conn, c chunk, from, to int) bool {
	if !rest(ctx, time.Until(c.due)) || !l.passable(ctx, from, to) {
		return false
	}
	_, err := dst.Write(c.b)
	return err == nil
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(*net.TCPConn); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}

// rest waits for d; false when ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// forward carries a pair's datagrams one way; answers take the other pair, since
// gossip sends them to the address that a node says of itself.
func (l *Links) forward(p *pair, target string) {
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return // host:port of a node that listens there
	}
	b := make([]byte, packetBytes)
	for {
		n, _, err := p.packets.ReadFrom(b)
		if l.ctx.Err() != nil {
			return
		}
		r, _ := l.rule(p.from, p.to)
		switch {
		case err != nil || r.Cut:
		case r.Delay == 0:
			_, _ = p.packets.WriteTo(b[:n], to) // a datagram may be lost
		case p.held.Add(1) > datagramsMax:
			p.held.Add(-1)
		default:
			late := append([]byte(nil), b[:n]...)
			l.wg.Go(func() {
				defer p.held.Add(-1)
				if rest(l.ctx, r.Delay) {
					_, _ = p.packets.WriteTo(late, to)
				}
			})
		}
	}
}
