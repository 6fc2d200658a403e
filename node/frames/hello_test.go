package frames

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/node/wire"
)

func TestToken(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Token = secret })
	c := r.dial(DialConfig{Token: secret, Cluster: testSID(99), Name: "tester"})
	if rep := do(t, c, put("k", []byte("v"))); rep.Status != 204 {
		t.Errorf("%+v", rep)
	}
	for name, x := range map[string]struct {
		cfg  DialConfig
		code Refusal
	}{
		"other token":   {DialConfig{Token: Token("another 16 bytes")}, RefusedToken},
		"no token":      {DialConfig{}, RefusedToken},
		"other cluster": {DialConfig{Token: secret, Cluster: testSID(98)}, RefusedCluster},
	} {
		_, err := r.tryDial(x.cfg)
		var no *RefusedError
		if !errors.As(err, &no) || no.Code != x.code || no.Reason == "" || no.Node != "n1" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who has a token does not talk to a server that cannot show that it knows it.
func TestServerWithoutTokenIsRefused(t *testing.T) {
	r := newRig(t, nil)
	var no *RefusedError
	if _, err := r.tryDial(DialConfig{Token: secret}); !errors.As(err, &no) || no.Code != RefusedToken {
		t.Error(err)
	}
}

// A recorded proof is of no use: both nonces are in it.
func TestProofIsBoundToTheHello(t *testing.T) {
	said, answer := []byte("hello 1"), []byte("challenge 1")
	mac := secret.prove("client", said, answer)
	if !secret.holds(mac, "client", said, answer) {
		t.Error("the right proof is refused")
	}
	for name, ok := range map[string]bool{
		"other challenge": secret.holds(mac, "client", said, []byte("challenge 2")),
		"other hello":     secret.holds(mac, "client", []byte("hello 2"), answer),
		"other direction": secret.holds(mac, "server", said, answer),
		"other token":     Token("another 16 bytes").holds(mac, "client", said, answer),
	} {
		if ok {
			t.Error(name)
		}
	}
}

func TestListenWithoutToken(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:7403": true, "[::1]:7403": true, "0.0.0.0:7403": false, "10.0.0.1:7403": false, "[::]:7403": false} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckListen(a, nil); (err == nil) != ok || err != nil && !errors.Is(err, ErrNeedsToken) {
			t.Errorf("%s: %v", addr, err)
		}
		if err := CheckListen(a, secret); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
	}
}

func TestLoadToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for text, want := range map[string]string{"0123456789abcdef\r\n": "0123456789abcdef", "short": "", strings.Repeat("x", MaxToken+1): ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadToken(path)
		if string(got) != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := LoadToken(path + "-none"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 2 })
	a := r.dial(DialConfig{})
	r.dial(DialConfig{})
	eventually(t, "both are counted", func() bool { return r.s.Stats().Conns == 2 })
	var no *RefusedError
	if _, err := r.tryDial(DialConfig{}); !errors.As(err, &no) || no.Code != RefusedBusy {
		t.Error(err)
	}
	_ = a.Close()
	eventually(t, "there is room again", func() bool { _, err := r.tryDial(DialConfig{}); return err == nil })
}

// Strangers who sit on the port do not keep clients out.
func TestStrangers(t *testing.T) {
	r := newRig(t, nil)
	for range maxPending + 20 {
		nc, err := net.Dial("tcp", r.s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	if rep := do(t, r.dial(DialConfig{}), put("k", nil)); rep.Status != 204 {
		t.Errorf("%+v", rep)
	}
	nc, err := net.Dial("tcp", r.s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "garbage", func() bool { return r.s.Stats().Garbage > 0 })
}

func TestVersions(t *testing.T) {
	r := newRig(t, nil)
	for _, v := range []struct{ min, max, code uint16 }{{1, 1, 0}, {1, 9, 0}, {2, 9, 0}, {3, 9, uint16(RefusedVersion)}, {0, 0, uint16(RefusedVersion)}, {3, 1, uint16(RefusedVersion)}} {
		nc, err := net.Dial("tcp", r.s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		h := hello{min: v.min, max: v.max}
		if _, err := nc.Write(h.append(nil)); err != nil {
			t.Fatal(err)
		}
		code, body, _, err := readPreface(nc)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseChallenge(code, body)
		if err != nil || uint16(c.code) != v.code || v.code == 0 && c.version != min(v.max, wire.ClientMax) {
			t.Errorf("%d to %d: %+v, %v", v.min, v.max, c, err)
		}
		_ = nc.Close()
	}
}

func FuzzPreface(f *testing.F) {
	h := hello{min: 1, max: 2, name: "someone"}
	c := challenge{version: 1, needsProof: true, node: "n1", reason: "why"}
	p := proof{code: codeProof, reason: "why"}
	for _, b := range [][]byte{h.append(nil), c.append(nil), p.append(nil), append(magic[:], 1, 1, 8, 1)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		code, body, whole, err := readPreface(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.Equal(whole, b[:len(whole)]) {
			t.Fatalf("%x was read as %x", b, whole)
		}
		_, _ = parseHello(code, body)
		_, _ = parseChallenge(code, body)
		_, _ = parseProof(code, body)
	})
}

func FuzzFrames(f *testing.F) {
	b := appendFrame(nil, frameMessage, 1, []byte("payload"))
	var ch chunker
	ch.add(2, bytes.Repeat([]byte("x"), 3*maxPayload))
	b = ch.appendRound(b)
	f.Add(b)
	f.Add(appendFrame(nil, frameFirst, 3, []byte{0, 0, 0, 2, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := assembly{limit: 1 << 20}
		for len(b) > 0 {
			fr, size, err := parseFrame(b)
			if err != nil || size > len(b) {
				return
			}
			if again := appendFrame(nil, fr.kind, fr.id, fr.payload); !bytes.Equal(again, b[:size]) {
				t.Fatalf("%x is written as %x", b[:size], again)
			}
			if fr.kind == frameFirst || fr.kind == frameNext {
				if _, _, err := a.add(&fr); err != nil {
					return
				}
			}
			b = b[size:]
		}
		if a.open() > maxParts<<20 {
			t.Fatalf("%d bytes are open", a.open())
		}
	})
}
