package node

import (
	"context"
	"net"

	"github.com/hashicorp/memberlist"
)

// seams are the places where a node meets the network, and its lifecycle's settings.
// The zero value is the real one; tests of whole nodes put a network in memory there,
// or other settings.
type seams struct {
	listen func(addr string) (net.Listener, error)                  // API and peer port
	dial   func(ctx context.Context, addr string) (net.Conn, error) // peer ports
	gossip memberlist.Transport
	life   func(*lifeConfig)
}

// listener opens a port.
func (s seams) listener(addr string) (net.Listener, error) {
	if s.listen != nil {
		return s.listen(addr)
	}
	return net.Listen("tcp", addr)
}
