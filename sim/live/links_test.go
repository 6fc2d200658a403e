package live

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// rig is two nodes that listen, and their links.
type rig struct {
	t     *testing.T
	links *Links
	peer  [2]net.Listener
	udp   [2]net.PacketConn
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t}
	var ends []Endpoint
	for i := range 2 {
		var err error
		if r.peer[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if r.udp[i], err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, Endpoint{Peer: r.peer[i].Addr().String(), Gossip: r.udp[i].LocalAddr().String()})
	}
	var err error
	if r.links, err = NewLinks(ends); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.links.Close(); err != nil {
			t.Error(err)
		}
		for i := range 2 {
			_, _ = r.peer[i].Close(), r.udp[i].Close()
		}
	})
	return r
}

func via(t *testing.T, list []string) string {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("got %v", list)
	}
	_, addr, _ := strings.Cut(list[0], "=")
	return addr
}

// connect opens a stream from node 0 to node 1 and gives both ends.
func (r *rig) connect() (at0, at1 net.Conn) {
	r.t.Helper()
	peer, _ := r.links.Via(0)
	at0, err := net.Dial("tcp", via(r.t, peer))
	if err != nil {
		r.t.Fatal(err)
	}
	if at1, err = r.peer[1].Accept(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _, _ = at0.Close(), at1.Close() })
	return at0, at1
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hear wants text, or with "" nothing for a moment.
func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	patience := 10 * time.Second
	if text == "" {
		patience = 150 * time.Millisecond
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, max(1, len(text)))
	n, err := io.ReadFull(c, b)
	switch {
	case text == "" && !errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatalf("heard %q, %v through a cut", b[:n], err)
	case text != "" && string(b) != text:
		t.Fatalf("heard %q, %v; want %q", b[:n], err, text)
	}
}

func TestACutHoldsAStreamAndHealingLetsItGoOn(t *testing.T) {
	r := newRig(t)
	a, b := r.connect()
	say(t, a, "one")
	hear(t, b, "one")
	r.links.Only(1, Rule{Cut: true})
	say(t, a, "two")
	say(t, b, "back")
	hear(t, b, "")
	hear(t, a, "")
	r.links.Heal()
	hear(t, b, "two")
	hear(t, a, "back")
}

func TestOneWay(t *testing.T) {
	r := newRig(t)
	a, b := r.connect()
	r.links.Set(1, 0, Rule{Cut: true}) // whichever side dialled
	say(t, a, "there")
	hear(t, b, "there")
	say(t, b, "back")
	hear(t, a, "")
	r.links.Set(1, 0, Rule{})
	hear(t, a, "back")
}

func TestNoConnectionThroughACut(t *testing.T) {
	r := newRig(t)
	r.links.Isolate(map[int]bool{1: true})
	peer, _ := r.links.Via(0)
	c, err := net.Dial("tcp", via(t, peer))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say(t, c, "hello")
	hear(t, c, "")
	r.links.Isolate(nil)
	b, err := r.peer[1].Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	hear(t, b, "hello")
}

func TestDelayKeepsOrderAndAddsUpToItself(t *testing.T) {
	r := newRig(t)
	a, b := r.connect()
	const delay = 200 * time.Millisecond
	r.links.Set(0, 1, Rule{Delay: delay})
	began := time.Now()
	for _, s := range []string{"1", "2", "3", "4", "5"} {
		say(t, a, s)
	}
	hear(t, b, "12345")
	if took := time.Since(began); took < delay || took > 4*delay {
		t.Errorf("took %v", took)
	}
}

func TestCloseAndResetPass(t *testing.T) {
	r := newRig(t)
	a, b := r.connect()
	say(t, a, "last words")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	a, b = r.connect()
	say(t, a, "x")
	hear(t, b, "x")
	r.links.Reset(1, 0)
	for _, c := range []net.Conn{a, b} {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the stream lives on: %v", err)
		}
	}
}

func TestDatagrams(t *testing.T) {
	r := newRig(t)
	_, gossip := r.links.Via(0)
	to, err := net.ResolveUDPAddr("udp", via(t, gossip))
	if err != nil {
		t.Fatal(err)
	}
	send := func(text string) {
		t.Helper()
		if _, err := r.udp[0].WriteTo([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	next := func(patience time.Duration) string {
		t.Helper()
		if err := r.udp[1].SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, _, err := r.udp[1].ReadFrom(b)
		if err != nil {
			return ""
		}
		return string(b[:n])
	}
	// One way only: what 1 sends does not matter.
	r.links.Set(1, 0, Rule{Cut: true})
	send("one")
	if got := next(10 * time.Second); got != "one" {
		t.Errorf("got %q", got)
	}
	r.links.Set(0, 1, Rule{Cut: true})
	send("lost")
	if got := next(150 * time.Millisecond); got != "" {
		t.Errorf("%q came through a cut", got)
	}
	r.links.Set(0, 1, Rule{Delay: 100 * time.Millisecond})
	began := time.Now()
	send("late")
	if got := next(10 * time.Second); got != "late" || time.Since(began) < 100*time.Millisecond {
		t.Errorf("got %q after %v", got, time.Since(began))
	}
}

func TestBetweenCutsHalvesAndNothingInside(t *testing.T) {
	ends := make([]Endpoint, 4)
	for i := range ends {
		ends[i] = Endpoint{Peer: "127.0.0.1:1", Gossip: "127.0.0.1:1"}
	}
	l, err := NewLinks(ends)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Between(func(n int) bool { return n < 2 }, Rule{Cut: true})
	for from := range ends {
		for to := range ends {
			if r, _ := l.rule(from, to); r.Cut != ((from < 2) != (to < 2)) {
				t.Errorf("%d to %d: %+v", from, to, r)
			}
		}
	}
	// Somebody who waits for a link goes on at the end.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l.passable(ctx, 0, 2) {
		t.Error("a cut link was passable")
	}
	if _, err := NewLinks(make([]Endpoint, LinksMax+1)); err == nil {
		t.Error("too many nodes were taken")
	}
}
