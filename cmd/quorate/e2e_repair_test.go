package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/bench"
)

// Convergence over real processes. /v1/inspect repairs nothing, and nothing else reads.

// syncedWithin is the contract: after the /readyz of a node that was away.
const syncedWithin = 20 * time.Second

// keysOf is how many keys these tests use.
func keysOf() int {
	if long() {
		return 10_000
	}
	return 2_000
}

// crowd does one thing for each of many keys, some at a time, through any of nodes.
func crowd(t *testing.T, nodes []*tnode, keys []string, do func(c *http.Client, api, key string) error) {
	t.Helper()
	const workers = 16
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	failed := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(keys); i += workers {
				if err := do(client, nodes[i%len(nodes)].api, keys[i]); err != nil {
					failed <- fmt.Errorf("%s: %w", keys[i], err)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

// change sends one write, again while it gets a definite refusal.
func change(method, value string) func(*http.Client, string, string) error {
	return func(c *http.Client, api, key string) error {
		var last error
		for range 20 {
			req, err := http.NewRequest(method, "http://"+api+"/keys/"+key, strings.NewReader(value))
			if err != nil {
				return err
			}
			res, err := c.Do(req)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(res.Body)
			if err = cmp.Or(err, res.Body.Close()); err != nil {
				return err
			}
			if res.StatusCode < 300 || res.StatusCode == 404 {
				return nil
			}
			if last = fmt.Errorf("%s: %s", res.Status, text); res.StatusCode != 503 {
				return last
			}
			<-time.After(100 * time.Millisecond)
		}
		return last
	}
}

func names(prefix string, count int) []string {
	out := make([]string, count)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

// replica is one row of /v1/inspect.
type replica struct {
	Node   string `json:"node"`
	Role   string `json:"role"`
	State  string `json:"state"`
	InSync bool   `json:"in_sync"`
}

// behind is what keeps the key from being the same at all its owners; "": nothing.
func behind(c *http.Client, api, bucket, key string) (string, error) {
	res, err := c.Get("http://" + api + "/v1/inspect/" + bucket + "/" + key)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var doc struct {
		Replicas []replica `json:"replicas"`
	}
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || res.StatusCode != 200 {
		return fmt.Sprintf("%s %v", res.Status, err), nil
	}
	owners := 0
	for _, r := range doc.Replicas {
		if r.Role != "owner" {
			continue
		}
		owners++
		if !r.InSync {
			return fmt.Sprintf("%s is %s", r.Node, r.State), nil
		}
	}
	if owners != 3 {
		return fmt.Sprintf("%d owners", owners), nil
	}
	return "", nil
}

// inSync waits until every key is the same at all its owners.
func inSync(t *testing.T, via *tnode, bucket string, keys []string, within time.Duration) {
	t.Helper()
	began := time.Now()
	left, why := keys, ""
	for len(left) > 0 {
		var mu sync.Mutex
		var still []string
		crowd(t, []*tnode{via}, left, func(c *http.Client, api, key string) error {
			what, err := behind(c, api, bucket, key)
			if what != "" {
				mu.Lock()
				defer mu.Unlock()
				still, why = append(still, key), key+": "+what
			}
			return err
		})
		if left = still; len(left) > 0 && time.Since(began) > within {
			t.Fatalf("%d of %d keys differ after %v, such as %s", len(left), len(keys), within, why)
		}
	}
	t.Logf("%d keys in sync after %v", len(keys), time.Since(began).Round(10*time.Millisecond))
}

// clusterNodes are the nodes of /v1/cluster by name.
func clusterNodes(t *testing.T, via *tnode) map[string]nodeState {
	t.Helper()
	var doc struct {
		Nodes []nodeState `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(must(t, http.MethodGet, "http://"+via.api+"/v1/cluster", "", 200)), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]nodeState{}
	for _, n := range doc.Nodes {
		out[n.Name] = n
	}
	return out
}

type nodeState struct {
	Name  string `json:"name"`
	SID   string `json:"sid"`
	State string `json:"state"`
	Voter bool   `json:"voter"`
	Note  string `json:"note"`
}

// rebuilt waits until the node has another store than before, which is full, and the
// Raft group three voters that are up; of three nodes that is all.
func rebuilt(t *testing.T, via *tnode, before nodeState, within time.Duration) {
	t.Helper()
	waitFor(t, before.Name+" is rebuilt", within, func() error {
		all := clusterNodes(t, via)
		now, voters := all[before.Name], 0
		for _, n := range all {
			if n.Voter && n.State == "up" {
				voters++
			}
		}
		if now.SID == before.SID || now.State != "up" || now.Note != "" || voters != 3 {
			return fmt.Errorf("it is %+v, with %d voters", now, voters)
		}
		return nil
	})
}

// A node that was killed, away for many writes and deletes, is the same as the others
// soon after it is back, by itself; so is one whose data directory was lost.
func TestE2EConvergence(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 5)
	count := keysOf()
	old, fresh := names("old-", count), names("new-", count/2)
	all := append(slices.Clone(old), fresh...)
	crowd(t, nodes, old, change(http.MethodPut, strings.Repeat("before ", 20)))
	away, others := nodes[4], nodes[:4]
	mixed := func() {
		crowd(t, others, old[:count/4], change(http.MethodDelete, ""))
		crowd(t, others, old[count/4:count/2], change(http.MethodPut, strings.Repeat("after ", 20)))
		crowd(t, others, fresh, change(http.MethodPut, strings.Repeat("new ", 20)))
	}
	t.Run("killed", func(t *testing.T) {
		away.kill()
		mixed()
		away.start()
		away.ready()
		inSync(t, nodes[0], "default", all, syncedWithin)
	})
	t.Run("wiped", func(t *testing.T) {
		var before nodeState
		waitFor(t, "a vote of "+away.name, readyWithin, func() error {
			if before = clusterNodes(t, nodes[0])[away.name]; before.State != "up" {
				return fmt.Errorf("%+v", before)
			}
			return nil
		})
		away.kill()
		if err := os.RemoveAll(away.dir); err != nil {
			t.Fatal(err)
		}
		mixed()
		away.start()
		away.ready()
		rebuilt(t, nodes[0], before, 2*syncedWithin)
		inSync(t, nodes[0], "default", all, syncedWithin)
	})
}

// A flipped byte in a table of a stopped node: the node finds it, sets the store aside
// and comes back in sync.
func TestE2EDamagedTable(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	keys := names("k", keysOf())
	crowd(t, nodes, keys, change(http.MethodPut, strings.Repeat("value ", 100)))
	sick := nodes[2]
	sick.kill()
	sick.start() // what the journal held becomes a table
	sick.ready()
	before := clusterNodes(t, nodes[0])[sick.name]
	sick.kill()
	flipTable(t, sick.dir)
	sick.start()
	sick.ready()
	// The scrub takes a day. One look at every key finds the place at once, if the start
	// has not, which reads counters.
	crowd(t, nodes[:1], keys, func(c *http.Client, api, key string) error {
		_, err := behind(c, api, "default", key)
		return err
	})
	rebuilt(t, nodes[0], before, 3*syncedWithin)
	inSync(t, nodes[0], "default", keys, syncedWithin)
	if aside, err := filepath.Glob(filepath.Join(sick.dir, "set-aside-*", "data")); err != nil || len(aside) != 1 || !strings.Contains(sick.log.String(), filepath.Dir(aside[0])) {
		t.Errorf("set aside: %v %v", aside, err)
	}
}

// flipTable flips a bit in the middle of the largest table.
func flipTable(t *testing.T, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "data", "*.ldb"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	var largest []byte
	var name string
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > len(largest) {
			largest, name = b, path
		}
	}
	largest[len(largest)/2] ^= 4
	if err := os.WriteFile(name, largest, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A node of three is wiped under load: no acknowledged write is lost.
func TestE2EWipeUnderLoad(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	length := 8 * time.Second
	if long() {
		length = 60 * time.Second
	}
	victim := nodes[1]
	before := clusterNodes(t, nodes[0])[victim.name]
	var wg sync.WaitGroup
	wg.Go(func() {
		<-time.After(length / 4)
		victim.kill()
		if err := os.RemoveAll(victim.dir); err != nil {
			t.Error(err)
		}
		<-time.After(length / 8)
		victim.start()
	})
	r := quorate(t, "bench", "--verify", "--addrs", apis(nodes), "--concurrency", "16", "--mix", "50", "--keys", "1000",
		"--duration", length.String(), "-o", "json")
	wg.Wait()
	var report bench.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("exit %d, %v: %s", r.code, err, r.err)
	}
	if r.code != 0 || report.Verify == nil || report.Verify.Lost != 0 || report.Verify.Acked == 0 {
		t.Errorf("exit %d: %s\n%s", r.code, r.err, r.out)
	}
	victim.ready()
	rebuilt(t, nodes[0], before, 2*syncedWithin)
}
