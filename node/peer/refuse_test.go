package peer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func as(h Hello) func(*Config) { return func(c *Config) { c.Self = func() Hello { return h } } }

// Each refusal reaches both logs with both sides' values, once.
func TestRefusals(t *testing.T) {
	other := hashring.ClusterID{0: 0xfe}
	with := func(f func(*Hello)) Hello { h := hello(2); f(&h); return h }
	for _, c := range []struct {
		name   string
		b      Hello
		target hashring.SID
		code   Refusal
		words  []string
	}{
		{"foreign cluster", with(func(h *Hello) { h.Cluster = other }), sid(2), RefusedCluster, []string{cluster.String(), other.String()}},
		{"no cluster yet", with(func(h *Hello) { h.Cluster = hashring.ClusterID{} }), sid(2), RefusedCluster, []string{"none yet"}},
		{"no common version", with(func(h *Hello) { h.Min, h.Max = 2, 3 }), sid(2), RefusedVersion, []string{"1 to 1", "2 to 3"}},
		{"wrong store", hello(2), sid(7), RefusedTarget, []string{sid(7).String(), sid(2).String()}},
		{"copied directory", with(func(h *Hello) { h.SID = sid(1) }), sid(2), RefusedClone, []string{"copy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := start(t, 1), start(t, 2, as(c.b))
			a.SetPeers(map[hashring.SID]string{c.target: b.Addr().String()})
			a.waitDown(c.target)
			eventually(t, "a second try", func() bool { return a.Stats().Refused >= 2 })
			for _, log := range []string{a.logs.String(), b.logs.String()} {
				if n := strings.Count(log, `msg="peer refused"`); n != 1 {
					t.Errorf("logged %d times:\n%s", n, log)
				}
				for _, w := range c.words {
					if !strings.Contains(log, w) {
						t.Errorf("no %q in:\n%s", w, log)
					}
				}
			}
			_, err := a.Raft().Dial(b.Addr().String(), 0)
			var no *RefusedError
			if c.code != RefusedTarget && (!errors.As(err, &no) || no.Code != c.code) {
				t.Errorf("raft dial: %v", err)
			}
			if len(b.ups)+len(a.ups) != 0 {
				t.Error("up")
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	a := start(t, 1)
	b := start(t, 2, func(c *Config) {
		c.Check = func(h Hello) error { return fmt.Errorf("boot %d of %s is below 4", h.Boot, h.Node) }
	})
	a.SetPeers(map[hashring.SID]string{b.sid: b.Addr().String()})
	a.waitDown(b.sid)
	_, err := a.Call(t.Context(), b.Addr().String(), "x", nil)
	var no *RefusedError
	if !errors.As(err, &no) || no.Code != RefusedCheck || no.Reason != "boot 1 of node1 is below 4" || no.Remote.SID != b.sid {
		t.Errorf("%v", err)
	}
}

// Garbage in every stage costs its sender the connection, and nobody else anything.
func TestGarbage(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.know(b)
	good := (&preface{code: byte(kindMessages), hello: hello(3)}).append(nil)
	flipped := append([]byte(nil), good...)
	flipped[20] ^= 1
	longLength := append([]byte(nil), good...)
	longLength[6], longLength[7] = 0xff, 0xff
	for name, in := range map[string][]byte{
		"http":                []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"zeros":               make([]byte, 100),
		"flipped bit":         flipped,
		"length":              longLength,
		"half a hello":        good[:30],
		"nothing":             nil,
		"garbage after hello": append(append([]byte(nil), good...), "no frame at all"...),
		"kind":                (&preface{code: 77, hello: hello(3)}).append(nil),
		"call":                append((&preface{code: byte(kindControl), hello: hello(3)}).append(nil), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1),
		"version of preface":  append([]byte{0xf1, 'q', 'r', 't', 9}, good[5:]...),
		"bulk without begin":  append((&preface{code: byte(kindBulk), hello: hello(3)}).append(nil), append(chunkHeader(frameNext, nil, []byte("x")), 'x')...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write(in)
			isClosed(t, c)
		})
	}
	t.Cleanup(func() {
		a.Send(ping(b.sid, 9))
		if m := b.waitMessage(); m.ID != 9 {
			t.Errorf("message %d", m.ID)
		}
		if s := b.Stats(); s.Garbage < 6 || s.Malformed < 2 {
			t.Errorf("%d stray connections, %d malformed", s.Garbage, s.Malformed)
		}
	})
}

// More silent strangers than there is room for do not keep a peer out.
func TestStrangersDoNotKeepPeersOut(t *testing.T) {
	b := start(t, 2)
	var strangers []net.Conn
	for range maxPending + 20 {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, c)
	}
	defer func() {
		for _, c := range strangers {
			_ = c.Close()
		}
	}()
	began := time.Now()
	a := start(t, 1)
	a.know(b)
	if d := time.Since(began); d >= handshakeTimeout {
		t.Errorf("connected after %s", d)
	}
	eventually(t, "the oldest are evicted", func() bool { return b.Stats().Evicted >= 20 })
	isClosed(t, strangers[0])
}
