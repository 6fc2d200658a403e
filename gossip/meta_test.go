package gossip

import (
	"errors"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

func fullMeta() Meta {
	return Meta{
		Cluster: hashring.ClusterID{1, 2}, SID: hashring.SID{3, 4}, Node: "n1", API: "127.0.0.1:7400",
		Peer: "127.0.0.1:7402", Zone: "z", Version: "0.1.0", Boot: 7, RingVersion: 1 << 40, Feature: 1, Expect: 3,
	}
}

func TestMetaRoundTripAtItsBounds(t *testing.T) {
	m := fullMeta()
	m.Node, m.API = strings.Repeat("n", MaxNode), strings.Repeat("a", MaxAddr)
	m.Peer, m.Zone, m.Version = strings.Repeat("p", MaxAddr), strings.Repeat("z", MaxZone), strings.Repeat("v", MaxVersion)
	for _, leaving := range []bool{false, true} {
		b, err := m.encode(leaving)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 512 || len(b) != metaMax {
			t.Fatalf("%d bytes at the bounds, want %d and at most 512", len(b), metaMax)
		}
		got, l, err := decodeMeta(b)
		if err != nil || got != m || l != leaving {
			t.Fatalf("got %+v %v %v", got, l, err)
		}
	}
}

func TestMetaNamesTheFieldThatIsTooLong(t *testing.T) {
	for field, change := range map[string]func(*Meta){
		"node name":    func(m *Meta) { m.Node = strings.Repeat("x", MaxNode+1) },
		"API address":  func(m *Meta) { m.API = strings.Repeat("x", MaxAddr+1) },
		"peer address": func(m *Meta) { m.Peer = strings.Repeat("x", MaxAddr+1) },
		"zone":         func(m *Meta) { m.Zone = strings.Repeat("x", 300) },
		"version":      func(m *Meta) { m.Version = "\xff" },
		"store id":     func(m *Meta) { m.SID = hashring.SID{} },
	} {
		m := fullMeta()
		change(&m)
		_, err := Start(Config{Meta: func() Meta { return m }})
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Field != field || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestMetaDecodeIsStrict(t *testing.T) {
	m := fullMeta()
	good, err := m.encode(false)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, _, err := decodeMeta(good[:n]); !errors.Is(err, ErrMeta) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	bad := map[string][]byte{
		"longer":  append(append([]byte{}, good...), 0),
		"version": append([]byte{9}, good[1:]...),
		"flags":   append([]byte{good[0], 0x80}, good[2:]...),
	}
	for name, b := range bad {
		if _, _, err := decodeMeta(b); !errors.Is(err, ErrMeta) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	m := fullMeta()
	good, err := m.encode(true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Add(make([]byte, metaFixed))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, leaving, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := m.encode(leaving)
		if err != nil || string(again) != string(b) {
			t.Fatalf("accepted %x but encodes to %x, %v", b, again, err)
		}
	})
}
