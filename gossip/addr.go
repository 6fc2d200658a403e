package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// AdvertiseAddr gives the host:port under which others reach a listener bound to
// bind. A bind address that names an interface is returned as it is; for an
// unspecified one (0.0.0.0, ::, or no host) the machine's first private address is
// taken, else its first global one, else loopback.
func AdvertiseAddr(bind string) (string, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", bind, err)
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !ip.IsUnspecified()) {
		return bind, nil
	}
	own, err := ownAddr()
	if err != nil {
		return "", fmt.Errorf("address %q: which address others reach this machine at: %w", bind, err)
	}
	return net.JoinHostPort(own.String(), port), nil
}

// ownAddr prefers private over global over loopback, IPv4 within each.
func ownAddr() (netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	var best netip.Addr
	rank := -1
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		if r := addrRank(ip); r > rank {
			best, rank = ip, r
		}
	}
	if rank < 0 {
		return netip.Addr{}, fmt.Errorf("no usable interface address")
	}
	return best, nil
}

func addrRank(ip netip.Addr) int {
	r := 0
	switch {
	case ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified():
		return -1
	case ip.IsLoopback():
		r = 0
	case ip.IsPrivate():
		r = 4
	default:
		r = 2
	}
	if ip.Is4() {
		r++
	}
	return r
}

// resolve turns host:port into ip:port addresses; cancellable, unlike the look-up
// that memberlist does by itself.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address %q: port %q is not a number below 65536", addr, portText)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	out := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return out, nil
}

// isOwn tells whether a resolved --join address is this node's own listener.
func isOwn(a netip.AddrPort, advertised netip.AddrPort, bound netip.AddrPort) bool {
	if a == advertised || a == bound {
		return true
	}
	if a.Port() != bound.Port() || !bound.Addr().IsUnspecified() {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a.Addr() {
				return true
			}
		}
	}
	return false
}
