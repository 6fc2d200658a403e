package gossip

import (
	"io"
	"log"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// Streams and datagrams take the detour, in every way that memberlist sends.
func TestVia(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	via := func(addr string) string {
		if addr == "127.0.0.1:1" {
			return tcp.Addr().String()
		}
		return addr
	}
	tr, _, err := listen(t.Context(), "127.0.0.1:0", via, log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tr.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	to := memberlist.Address{Addr: "127.0.0.1:1"}
	if _, err := tr.WriteTo([]byte("a"), to.Addr); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.WriteToAddress([]byte("b"), to); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := udp.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := udp.ReadFrom(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := tr.DialAddressTimeout(to, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != tcp.Addr().String() {
		t.Errorf("dialled %v", c.RemoteAddr())
	}
}
