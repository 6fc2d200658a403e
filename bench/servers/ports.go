package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken below Linux's ephemeral range (32768 and up), so that no outgoing
// connection of the load takes one between its choice and its use.
const (
	portLow   = 20000
	portHigh  = 32000
	portTries = 1000
)

// freePorts returns n loopback addresses free for both TCP and UDP.
func freePorts(n int) ([]string, error) {
	var out []string
	var held []interface{ Close() error }
	defer func() { // only now, or the same port could be found twice
		for _, h := range held {
			h.Close()
		}
	}()
	at := portLow + rand.IntN(portHigh-portLow)
	for range portTries {
		if len(out) == n {
			return out, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", at)
		if at++; at == portHigh {
			at = portLow
		}
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		held = append(held, tcp)
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		held = append(held, udp)
		out = append(out, addr)
	}
	return nil, fmt.Errorf("only %d of %d free loopback ports found in %d to %d", len(out), n, portLow, portHigh)
}
