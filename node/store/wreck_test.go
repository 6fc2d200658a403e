//go:build linux || darwin

package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

// inCluster is a closed store of a cluster, with a Raft folder beside it.
func inCluster(t *testing.T) (dir string, id Identity) {
	t.Helper()
	dir = filled(t)
	s := openAt(t, dir)
	if err := s.SetCluster(hashring.ClusterID{9}); err != nil {
		t.Fatal(err)
	}
	id = s.Identity()
	shut(t, s)
	withRaft(t, dir)
	return dir, id
}

func withRaft(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, raftName), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, raftName, "CURRENT"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

var tornTable = &DamagedError{File: "data/000007.ldb", Offset: 700, Reason: "a block's checksum"}

// setAsideAll sets the store in dir aside and returns the folder.
func setAsideAll(t *testing.T, dir string, why error) string {
	t.Helper()
	w, err := OpenWreck(dir)
	if err != nil {
		t.Fatal(err)
	}
	where, err := w.SetAside(why)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return where
}

// successor opens what SetAside has left: a new store of the same cluster.
func successor(t *testing.T, dir string, old Identity, where string) {
	t.Helper()
	s := openAt(t, dir)
	defer shut(t, s)
	id := s.Identity()
	if id.SID == old.SID || id.Cluster != old.Cluster || id.Boot != 1 || id.Replaces == nil || id.Replaces.SID != old.SID || filepath.Join(dir, id.Replaces.Aside) != where {
		t.Fatalf("identity %+v", id)
	}
	if c, err := s.Counters(1); err != nil || c.Keys != 0 {
		t.Fatal(c, err)
	}
	for _, name := range []string{identityName, databaseName + "/CURRENT", raftName + "/CURRENT"} {
		if _, err := os.Stat(filepath.Join(where, name)); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(where, identityName))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := DecodeIdentity(b); err != nil || kept.SID != old.SID || kept.marked("") == nil {
		t.Fatalf("what is set aside would be opened: %+v, %v", kept, err)
	}
}

func TestSetAside(t *testing.T) {
	dir, id := inCluster(t)
	where := setAsideAll(t, dir, tornTable)
	if !strings.HasPrefix(where, dir+string(filepath.Separator)) || !strings.Contains(where, id.SID.Short()) {
		t.Fatal(where)
	}
	successor(t, dir, id, where)
	// A second time, beside the first.
	s := openAt(t, dir)
	id = s.Identity()
	shut(t, s)
	withRaft(t, dir)
	successor(t, dir, id, setAsideAll(t, dir, errors.New("again")))
	if m, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*")); err != nil || len(m) != 2 {
		t.Fatal(m, err)
	}
}

// Wherever it was interrupted, the store is refused as before and set aside whole.
func TestSetAsideGoesOnAfterACrash(t *testing.T) {
	for _, moved := range [][]string{nil, {databaseName}, {databaseName, raftName}} {
		t.Run(strings.Join(moved, " "), func(t *testing.T) {
			dir, id := inCluster(t)
			s := openAt(t, dir)
			id = s.Identity()
			if err := s.SetDamage(tornTable); err != nil {
				t.Fatal(err)
			}
			shut(t, s)
			where := filepath.Join(dir, asidePrefix+id.SID.Short()+"-3")
			if err := os.Mkdir(where, 0o750); err != nil {
				t.Fatal(err)
			}
			for _, name := range moved {
				if err := os.Rename(filepath.Join(dir, name), filepath.Join(where, name)); err != nil {
					t.Fatal(err)
				}
			}
			var d *DamagedError
			if _, err := Open(dir, Options{}); !errors.As(err, &d) || d.File != tornTable.File || d.Offset != 700 || d.Reason != tornTable.Reason {
				t.Fatalf("opened: %v", err)
			}
			if got := setAsideAll(t, dir, d); got != where {
				t.Fatalf("set aside in %s, begun in %s", got, where)
			}
			successor(t, dir, id, where)
		})
	}
}

// A store that is in no cluster, or whose identity is unreadable, is nobody's to replace.
func TestWrecksOfClustersOnly(t *testing.T) {
	if w, err := OpenWreck(filled(t)); err == nil {
		t.Fatalf("%+v", w.Identity())
	}
	dir, _ := inCluster(t)
	if err := os.WriteFile(filepath.Join(dir, identityName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	var d *DamagedError
	if _, err := OpenWreck(dir); !errors.As(err, &d) {
		t.Fatal(err)
	}
	s := openAt(t, filled(t)) // and the lock is free again in both
	shut(t, s)
}
