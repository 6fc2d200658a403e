package node

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/store"
)

// whole is one node with everything, of a cluster that can rebuild stores.
type whole struct {
	t    *testing.T
	cfg  Config
	node *Node
	logs lockedBuffer
	high bool // at the newest feature level, not only that of building
}

func wholeCluster(t *testing.T, count int) []*whole {
	t.Helper()
	return wholeClusterAt(t, count, hashring.FeatureBuilding)
}

// wholeClusterAt is one at that feature level at least; above that of building, at the
// newest.
func wholeClusterAt(t *testing.T, count int, level uint16) []*whole {
	t.Helper()
	checkLeaks(t)
	var join []string
	all := make([]*whole, count)
	for i := range all {
		w := &whole{t: t, cfg: Config{Name: fmt.Sprintf("n%d", i+1), Data: t.TempDir(), API: freeAddr(t), Gossip: freeAddr(t), Peer: freeAddr(t),
			Partitions: 8, Replicas: 3, MaxValueBytes: 1 << 20, MaxInFlight: 64, HintBytesMax: 1 << 20, BootstrapExpect: count, Shards: 1,
			TestingRepairOff: true}} // no store that is being built becomes full, however long a test takes
		w.high = level > hashring.FeatureBuilding
		all[i] = w
		join = append(join, w.cfg.Gossip)
		t.Cleanup(func() {
			w.stop()
			http.DefaultClient.CloseIdleConnections()
			if t.Failed() {
				t.Logf("log of %s:\n%s", w.cfg.Name, w.logs.String())
			}
		})
	}
	for _, w := range all {
		w.cfg.Join = join
		w.start()
	}
	for _, w := range all {
		until(t, w.cfg.Name+" is at the level of building", func() error {
			if r := w.node.ring.Load(); r == nil || !r.HasRing() || r.Feature < level {
				return errors.New("not yet")
			}
			return wantStatus(t, w.node, http.MethodGet, "/readyz", nil, 200)
		})
	}
	return all
}

// begin is one Start, as a process would make it.
func (w *whole) begin(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(&w.logs, nil))
	s := seams{life: func(c *lifeConfig) {
		if !w.high {
			c.Feature = hashring.FeatureBuilding
		}
		c.Rebuild, c.Fast = true, true
		c.Times.Poll, c.Times.Quiet = 20*time.Millisecond, 400*time.Millisecond
	}}
	n, err := startOn(ctx, s, w.cfg, log)
	if err == nil {
		w.node = n
	}
	return err
}

func (w *whole) start() {
	w.t.Helper()
	if err := w.begin(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *whole) stop() {
	if w.node != nil {
		stopNode(w.t, w.node)
		w.node = nil
	}
}

// flip damages one of the files: where it holds what, or the largest in the middle.
func (w *whole) flip(pattern, what string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.cfg.Data, pattern))
	if err != nil || len(files) == 0 {
		w.t.Fatal(pattern, err)
	}
	var in []byte
	var name string
	at := -1
	for _, path := range files {
		b, err := os.ReadFile(path)
		must(w.t, err)
		if i := bytes.Index(b, []byte(what)); what != "" && i >= 0 {
			in, name, at = b, path, i
		} else if what == "" && len(b) > len(in) {
			in, name, at = b, path, len(b)/2
		}
	}
	if at < 0 {
		w.t.Fatalf("no %q in %v", what, files)
	}
	in[at] ^= 1
	must(w.t, os.WriteFile(name, in, 0o600))
}

// secret is a value that no compression changes much, of more than a block of a table.
func secret(i int) string {
	var b []byte
	for part := range 48 {
		sum := sha512.Sum512(fmt.Append(nil, i, part))
		b = hex.AppendEncode(b, sum[:])
	}
	return string(b)
}

// again starts the node anew after what has ended it, as the process does.
func (w *whole) again(want any) {
	w.t.Helper()
	select {
	case err := <-w.node.Done():
		if !Mendable(err) || !errors.As(err, want) {
			w.t.Fatalf("%s ended with %v", w.cfg.Name, err)
		}
	case <-time.After(30 * time.Second):
		w.t.Fatalf("%s still runs", w.cfg.Name)
	}
	w.stop()
	w.start()
}

// replaced waits until the ring knows that another store has taken the old one's place.
func (w *whole) replaced(old hashring.SID, seenBy *whole) {
	w.t.Helper()
	until(w.t, "a new store takes the place", func() error {
		sid, _ := seenBy.node.ring.Load().Successor(old)
		if sid == old || sid != w.node.self {
			return fmt.Errorf("the successor of %s is %s", old.Short(), sid.Short())
		}
		return nil
	})
	aside, err := filepath.Glob(filepath.Join(w.cfg.Data, "set-aside-"+old.Short()+"-*"))
	if err != nil || len(aside) != 1 {
		w.t.Fatalf("set aside: %v %v", aside, err)
	}
	for _, part := range []string{"identity", "data/CURRENT", "raft/CURRENT"} {
		if _, err := os.Stat(filepath.Join(aside[0], part)); err != nil {
			w.t.Error(err)
		}
	}
	if !strings.Contains(w.logs.String(), aside[0]) {
		w.t.Errorf("the log does not name %s", aside[0])
	}
}

// Stores with a damaged table, a damaged Raft log, and one that was rolled back are
// replaced by themselves; that of the last full owner keeps its data and waits.
func TestStoresThatMustNotServe(t *testing.T) {
	nodes := wholeCluster(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	for i := range 60 {
		if status, text := ask(t, a.node, http.MethodPut, fmt.Sprintf("/keys/k%d?w=3", i), []byte(secret(i))); status != 204 {
			t.Fatalf("%d: %s", status, text)
		}
	}

	old := c.node.self
	c.stop()
	c.start() // what the journal held becomes a table
	c.stop()
	c.flip("data/*.ldb", secret(30)[:24])
	c.start()
	until(t, "it answers as an owner", func() error { return wantStatus(t, c.node, http.MethodGet, "/readyz", nil, 200) })
	for i := range 60 { // its own copy is read, and the others' answer
		_, _ = ask(t, c.node, http.MethodGet, fmt.Sprintf("/keys/k%d?consistency=all", i), nil)
	}
	var d *store.DamagedError
	c.again(&d)
	c.replaced(old, a)

	old = c.node.self
	c.stop()
	c.flip("raft/*.log", "")
	c.start()
	c.replaced(old, a)

	old = b.node.self
	b.stop()
	backup := t.TempDir()
	must(t, os.CopyFS(backup, os.DirFS(b.cfg.Data)))
	b.start()
	until(t, "its start is registered", func() error {
		if st, _ := a.node.ring.Load().Store(old); st.Boot != 2 || st.Nonce == 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	b.stop()
	b.cfg.Data = backup
	b.start()
	var q *store.QuarantinedError
	b.again(&q)
	b.replaced(old, a)

	a.stop()
	a.flip("data/*.log", "")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.begin(ctx) }()
	until(t, "it says why it waits", func() error {
		res, err := http.Get("http://" + a.cfg.API + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var text [4096]byte
		n, _ := res.Body.Read(text[:])
		if s := string(text[:n]); res.StatusCode != 503 || !strings.Contains(s, "last_full_owner") && !strings.Contains(s, "cannot stand for all") {
			return fmt.Errorf("%d %s", res.StatusCode, s)
		}
		return nil
	})
	if _, text := ask(t, b.node, http.MethodGet, "/v1/cluster", nil); !strings.Contains(string(text), "it keeps its data and waits") {
		t.Errorf("the others do not tell why:\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(a.cfg.Data, "data", "CURRENT")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
}
