//go:build linux || darwin

package store

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

// registeredAs is a ring state in which id is registered.
func registeredAs(id Identity, version, boot, nonce uint64) *hashring.State {
	return &hashring.State{Version: version, Cluster: hashring.ClusterID{2}, Feature: hashring.FeatureNonce, Replicas: 3,
		Stores: []hashring.Store{{SID: id.SID, Node: "a", API: "a:1", Gossip: "a:2", Peer: "a:3", Boot: boot, Nonce: nonce,
			State: hashring.StoreUp, FeatureMax: hashring.FeatureNonce}}}
}

func TestEveryStartDrawsItsNonce(t *testing.T) {
	dir := filled(t)
	twin := filepath.Join(t.TempDir(), "twin")
	if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	var ids [2]Identity
	for i, d := range []string{dir, twin} {
		for range 3 {
			s := openAt(t, d)
			ids[i] = s.Identity()
			shut(t, s)
			if n := ids[i].Nonce(); n == 0 || seen[n] || !ids[i].Drew() {
				t.Fatalf("nonce %x of %+v", n, ids[i])
			}
			seen[ids[i].Nonce()] = true
		}
	}
	if len(ids[0].Starts) != 4 || ids[0].Starts[3].Boot != 4 || ids[0].Starts[0] != ids[1].Starts[0] {
		t.Fatalf("starts %+v and %+v", ids[0].Starts, ids[1].Starts)
	}
	if ids[1].Foreign(1, ids[0].Starts[0].Nonce) || !ids[1].Foreign(2, ids[0].Starts[1].Nonce) || !ids[1].Foreign(5, 0) || ids[1].Foreign(2, 0) {
		t.Fatal("a copy does not tell its own starts from the others'")
	}
}

func TestARegisteredStartLetsOlderOnesGo(t *testing.T) {
	dir := filled(t) // boot 1
	shut(t, openAt(t, dir))
	s := openAt(t, dir)
	id := s.Identity()
	if err := s.SaveRingState(registeredAs(id, 5, 2, id.Starts[1].Nonce)); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = openAt(t, dir)
	defer shut(t, s)
	if got := s.Identity(); len(got.Starts) != 3 || got.Starts[0] != id.Starts[1] || got.Starts[2].Boot != 4 {
		t.Fatalf("starts %+v", got.Starts)
	}
}

// However often a store starts without hearing of a registration, it never forgets a
// start that may be registered, and its memory is bounded.
func TestStartsAreBounded(t *testing.T) {
	id := Identity{SID: hashring.SID{1}, Boot: 9}
	var tried []Start
	for range 3 * MaxStarts {
		id.count(nil)
		tried = append(tried, Start{id.Boot, id.Nonce()})
		if reason := id.checkStarts(); reason != "" {
			t.Fatal(reason)
		}
	}
	if len(id.Starts) != MaxStarts || id.Boot != 9+3*MaxStarts || id.Drew() {
		t.Fatalf("%d starts at boot %d", len(id.Starts), id.Boot)
	}
	for _, s := range tried {
		next := id
		if next.Foreign(s.Boot, s.Nonce) {
			t.Fatalf("start %+v is forgotten", s)
		}
		next.count(&hashring.Store{Boot: s.Boot, Nonce: s.Nonce})
		if next.Foreign(s.Boot, s.Nonce) || next.Nonce() == s.Nonce && len(next.Starts) < MaxStarts {
			t.Fatalf("after start %+v: %+v", s, next.Starts)
		}
	}
	// Registered by a binary without nonces: what is older can be registered no more.
	next := id
	next.count(&hashring.Store{Boot: id.Boot})
	if len(next.Starts) != 1 || !next.Drew() {
		t.Fatalf("starts %+v", next.Starts)
	}
	b, err := EncodeIdentity(id)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeIdentity(b)
	if err != nil || !reflect.DeepEqual(back.Starts, id.Starts) {
		t.Fatal(err, back.Starts)
	}
	id.Starts = append(id.Starts, Start{id.Boot, 1})
	if b, err = EncodeIdentity(id); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := DecodeIdentity(b); !errors.As(err, &damaged) {
		t.Fatalf("too many starts: %v", err)
	}
}

func refusesForGood(t *testing.T, dir string, boot, registered uint64) {
	t.Helper()
	before := listing(t, dir)
	for range 3 {
		_, err := Open(dir, Options{})
		var q *QuarantinedError
		if !errors.As(err, &q) || q.Boot != boot || q.Registered != registered || q.Dir != dir {
			t.Fatalf("got %v", err)
		}
		for _, word := range []string{dir, "rolled back or cloned", "move the directory away", q.SID.String()} {
			if !strings.Contains(err.Error(), word) {
				t.Fatalf("%q lacks %q", err, word)
			}
		}
	}
	if after := listing(t, dir); before != after {
		t.Fatalf("a refused open changed\n%s\nto\n%s", before, after)
	}
}

func TestQuarantineIsForEver(t *testing.T) {
	dir := filled(t)
	s := openAt(t, dir)
	var q *QuarantinedError
	if err := s.SetQuarantine(7); !errors.As(err, &q) || q.Boot != 2 || q.Registered != 7 {
		t.Fatal(err)
	}
	shut(t, s)
	refusesForGood(t, dir, 2, 7)
}

// The ring state that shows a foreign start is saved before the mark is written.
func TestAStoreThatEndedBeforeItsMarkIsMarked(t *testing.T) {
	for name, reg := range map[string]hashring.Store{"a nonce": {Boot: 1, Nonce: 99}, "a boot count": {Boot: 3}} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			s := openAt(t, dir)
			if err := s.SaveRingState(registeredAs(s.Identity(), 5, reg.Boot, reg.Nonce)); err != nil {
				t.Fatal(err)
			}
			shut(t, s)
			if _, err := Open(dir, Options{}); err == nil {
				t.Fatal("it was opened")
			}
			refusesForGood(t, dir, 2, reg.Boot)
		})
	}
}

func TestGoldenIdentityWithStarts(t *testing.T) {
	b, err := EncodeIdentity(Identity{SID: hashring.SID{1}, Boot: 3, Starts: []Start{{2, 7}, {3, 1<<64 - 1}}, Quarantine: &Quarantine{3, 9}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `"boot":3,"starts":[{"boot":2,"nonce":7},{"boot":3,"nonce":18446744073709551615}],"quarantine":{"boot":3,"registered":9}}`
	if !strings.Contains(string(b), want) {
		t.Fatalf("%s", b)
	}
}
