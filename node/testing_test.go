package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/httpapi"
)

func TestDetours(t *testing.T) {
	var x testSection
	if err := x.init(&Config{TestingPeerVia: []string{"a:1=b:2"}, TestingGossipVia: []string{"c:3=d:4"}}); err != nil {
		t.Fatal(err)
	}
	if x.gossipVia("c:3") != "d:4" || x.gossipVia("a:1") != "a:1" || x.peerVia["a:1"] != "b:2" || x.dialPeer() == nil {
		t.Errorf("%+v", x.gossipVias)
	}
	for _, bad := range []string{"a:1", "=b:2", "a:1="} {
		if (&testSection{}).init(&Config{TestingPeerVia: []string{bad}}) == nil || (&testSection{}).init(&Config{TestingGossipVia: []string{bad}}) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	var none testSection
	if err := none.init(&Config{}); err != nil || none.dialPeer() != nil || none.raftPaused() != nil || none.on() != nil || none.gossipVia("a:1") != "a:1" {
		t.Errorf("%v: something is on without being asked for", err)
	}
}

// A node takes its switches over while it runs, shows them, and drops them again.
func TestSwitches(t *testing.T) {
	file := filepath.Join(t.TempDir(), "switches")
	cfg := Config{Name: "n1", Data: t.TempDir(), API: "127.0.0.1:0", Gossip: freeAddr(t), Peer: freeAddr(t), Partitions: 8, Replicas: 3,
		MaxValueBytes: 1 << 20, MaxInFlight: 64, HintBytesMax: 1 << 20, TestingSwitches: file}
	n, err := Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stopNode(t, n)
	until(t, "ready", func() error { return wantStatus(t, n, http.MethodGet, "/readyz", nil, 200) })
	shown := func() []string {
		_, body := ask(t, n, http.MethodGet, "/v1/cluster", nil)
		var s httpapi.ClusterStatus
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatal(err)
		}
		return s.Testing
	}
	if err := os.WriteFile(file, []byte(`{"clock-offset":"1h","disk-full":true,"raft-paused":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a full disk", func() error { return wantStatus(t, n, http.MethodPut, "/keys/k", []byte("v"), 507) })
	if got := shown(); !slices.Equal(got, []string{"n1 clock-offset", "n1 disk-full", "n1 raft-paused", "n1 switches"}) {
		t.Errorf("shown: %v", got)
	}
	if ahead := n.now().WallMS - time.Now().UnixMilli(); ahead < time.Hour.Milliseconds()-1000 || !n.testing.raftPaused()() {
		t.Errorf("the clock is %d ms ahead", ahead)
	}
	if err := os.WriteFile(file, []byte(`{"disk-hangs":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a disk that hangs", func() error { return wantStatus(t, n, http.MethodPut, "/keys/k", []byte("v"), 504) })
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, "room again", func() error { return wantStatus(t, n, http.MethodPut, "/keys/k", []byte("v"), 204) })
	if got := shown(); !slices.Equal(got, []string{"n1 switches"}) {
		t.Errorf("shown: %v", got)
	}
}

func wantStatus(t *testing.T, n *Node, method, path string, body []byte, want int) error {
	if got, text := ask(t, n, method, path, body); got != want {
		return fmt.Errorf("%s %s: %d %s, want %d", method, path, got, text, want)
	}
	return nil
}

func until(t *testing.T, what string, ok func() error) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-look.C {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
