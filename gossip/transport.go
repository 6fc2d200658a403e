package gossip

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own network transport with dials that end when the
// node stops, so that an unreachable --join address cannot hold up a stop.
type transport struct {
	*memberlist.NetTransport
	ctx context.Context
	via func(string) string // Config.Via
}

// portTries: UDP and TCP must get the same port; with port 0 the kernel's choice
// for one may be taken for the other.
const portTries = 10

// listen opens both sockets and returns the address they are bound to.
func listen(ctx context.Context, bind string, via func(string) string, l *log.Logger) (*transport, netip.AddrPort, error) {
	addrs, err := resolve(ctx, bind)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	if via == nil {
		via = func(addr string) string { return addr }
	}
	ip, port := addrs[0].Addr(), addrs[0].Port()
	tries := 1
	if port == 0 {
		tries = portTries
	}
	for i := 0; ; i++ {
		nt, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{ip.String()}, BindPort: int(port), Logger: l,
		})
		if err == nil {
			bound := netip.AddrPortFrom(ip, uint16(nt.GetAutoBindPort()))
			return &transport{NetTransport: nt, ctx: ctx, via: via}, bound, nil
		}
		if i+1 >= tries {
			return nil, netip.AddrPort{}, fmt.Errorf("gossip address %s: %w", bind, err)
		}
	}
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	return d.DialContext(t.ctx, "tcp", t.via(addr))
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.NetTransport.WriteTo(b, t.via(addr))
}

func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	a.Addr = t.via(a.Addr)
	return t.NetTransport.WriteToAddress(b, a)
}
