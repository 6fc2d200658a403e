package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Of many that create a key at once through all nodes one wins; increments by
// compare-and-set are neither lost nor doubled.
func TestE2EStrongCompareAndSet(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 3)
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	const racers, rounds = 12, 4
	for round := range rounds {
		key := "lock-" + strconv.Itoa(round)
		codes := make([]int, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				codes[i], _, _, _ = strongDo(client, http.MethodPut, nodes[i%len(nodes)].api, key, strconv.Itoa(i), "If-None-Match: *")
			})
		}
		wg.Wait()
		slices.Sort(codes)
		if codes[0] != 201 || codes[1] != 412 || codes[racers-1] != 412 {
			t.Fatalf("racers for %s got %v, want one 201 and 412 for the rest", key, codes)
		}
	}
	const each, clients = 12, 8
	if code, _, body, err := strongDo(client, http.MethodPut, nodes[0].api, "sum", "0"); code >= 300 || err != nil {
		t.Fatal(code, body, err)
	}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for range each {
				if err := raise(client, nodes[i%len(nodes)].api); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, n := range nodes {
		for _, level := range []string{"leader", "quorum", "replica"} {
			if code, _, body, err := strongDo(client, http.MethodGet, n.api, "sum", "", "Quorate-Consistency: "+level); code != 200 || body != strconv.Itoa(each*clients) {
				t.Errorf("%s read at %s: %d %q %v, want %d", level, n.name, code, body, err, each*clients)
			}
		}
	}
}

// raise adds one to the key "sum" by compare-and-set.
func raise(client *http.Client, api string) error {
	for range 2000 {
		code, etag, body, err := strongDo(client, http.MethodGet, api, "sum", "")
		v, bad := strconv.Atoi(body)
		if code != 200 || err != nil || bad != nil {
			return fmt.Errorf("GET: %d %q %v", code, body, err)
		}
		switch code, _, body, err = strongDo(client, http.MethodPut, api, "sum", strconv.Itoa(v+1), "If-Match: "+etag); {
		case err != nil || code != 200 && code != 204 && code != 412 && code != 429:
			return fmt.Errorf("PUT: %d %q %v", code, body, err)
		case code < 300:
			return nil
		}
	}
	return fmt.Errorf("2000 tries were not enough")
}

const (
	// failoverWithin is the contract: Tfail, 2 s, and 2 s more.
	failoverWithin = 4 * time.Second
	// othersWithin is what a partition with another primary may see of a failover: of
	// its own nothing, of the machine, on which the tests' nodes compete, something.
	othersWithin = 1500 * time.Millisecond
)

// strained is a bound for the tests of every day, which run beside each other on two
// cores; the long forms run alone and are held to the contract.
func strained(d time.Duration) time.Duration {
	if long() {
		return d
	}
	return 4 * d
}

// A killed primary's partitions serve again within Tfail + 2 s, those of others go on.
func TestE2EStrongKilledPrimary(t *testing.T) {
	t.Parallel()
	count, kills := 3, 2
	if long() {
		count, kills = 5, 5
	}
	nodes := startStrong(t, count)
	load := startLoad(t, nodes, 24)
	settle(load, time.Second)
	for i := range kills {
		victim := nodes[i%len(nodes)]
		asked := nodes[(i+1)%len(nodes)]
		led := map[int]bool{}
		for k, key := range load.keys {
			led[k] = primaryOf(t, asked, key) == victim.name
		}
		load.avoid(victim, true)
		killed := time.Since(load.began)
		victim.kill()
		back := awaitServed(t, asked, load, killed)
		t.Logf("kill %d of %s: its %d keys served again after %v", i+1, victim.name, count1(led), back.Round(time.Millisecond))
		if back > strained(failoverWithin) {
			t.Errorf("the keys that %s led were served again after %v, the bound is %v", victim.name, back, strained(failoverWithin))
		}
		load.mu.Lock()
		longest, n, failed := window(load.ops, killed, killed+back, func(k int) bool { return !led[k] })
		load.mu.Unlock()
		t.Logf("  meanwhile %d operations on other keys, the longest took %v, failed %d", n, longest.Round(time.Millisecond), len(failed))
		if len(failed) > 0 || longest > strained(othersWithin) || n == 0 {
			t.Errorf("keys with other primaries: %d operations, the longest %v, failed: %v", n, longest, failed)
		}
		victim.start()
		victim.ready()
		load.avoid(victim, false)
		awaitPrimaries(t, nodes, 20*time.Second)
		settle(load, time.Second)
	}
	_, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, %d failed", n, len(failed))
	for _, f := range failed {
		t.Logf("failed: %s", f)
	}
}

func count1(m map[int]bool) (n int) {
	for _, yes := range m {
		if yes {
			n++
		}
	}
	return n
}

// settle lets the load go on for a while.
func settle(l *strongLoad, d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.stop:
	}
}

// awaitServed waits until every key has been written by a request that was sent after
// now, just after the fault, and returns how long after killed the last one was.
func awaitServed(t *testing.T, asked *tnode, l *strongLoad, killed time.Duration) (last time.Duration) {
	t.Helper()
	now := time.Since(l.began)
	waitFor(t, "every key is served again", failoverWithin+20*time.Second, func() error {
		first := map[int]time.Duration{}
		l.mu.Lock()
		for _, o := range l.ops {
			if end := o.began + o.took; o.ok && !o.read && o.began > now && (first[o.key] == 0 || end < first[o.key]) {
				first[o.key] = end
			}
		}
		l.mu.Unlock()
		last = 0
		for k := range l.keys {
			if first[k] == 0 {
				return fmt.Errorf("key %s is not written yet, %s leads it", l.keys[k], primaryOf(t, asked, l.keys[k]))
			}
			last = max(last, first[k]-killed)
		}
		return nil
	})
	return last
}

// Without a quorum of the Raft group strong reads and writes go on at the rate that
// they had.
func TestE2EStrongWithRaftPaused(t *testing.T) {
	t.Parallel()
	pause := 6 * time.Second
	if long() {
		pause = 30 * time.Second
	}
	file := filepath.Join(t.TempDir(), "switches.json")
	nodes := startClusterEnv(t, 3, "QUORATE_TESTING=1", "QUORATE_TESTING_SWITCHES="+file)
	makeStrong(t, nodes[0])
	awaitPrimaries(t, nodes, 10*time.Second)
	load := startLoad(t, nodes, 16)
	settle(load, pause/2+time.Second)
	before := time.Since(load.began)
	if err := os.WriteFile(file, []byte(`{"raft-paused":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		awaitCluster(t, n, `"raft_leader":""`)
	}
	paused := time.Since(load.began)
	settle(load, pause)
	after := time.Since(load.began)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	settle(load, pause/2+time.Second)
	end := time.Since(load.began)
	ops := load.end()
	was, meanwhile, later := rate(ops, time.Second, before), rate(ops, paused, after), rate(ops, after+time.Second, end)
	longest, n, failed := window(ops, before, after, anyKey)
	t.Logf("%.0f operations a second before, %.0f while Raft is paused for %v, %.0f later; the longest of %d took %v", was, meanwhile, pause, later, n, longest.Round(time.Millisecond))
	// Other tests come and go on this machine meanwhile: what the load had less of at
	// both ends is the measure, and half of that is far from what waiting would leave.
	share := 2.0
	if !long() {
		share = 8
	}
	if len(failed) > 0 || meanwhile < min(was, later)/share || longest > strained(othersWithin) {
		t.Errorf("with Raft paused: %.0f operations a second instead of %.0f and %.0f, the longest took %v, failed: %v", meanwhile, was, later, longest, failed)
	}
}

// awaitCluster waits until a node's view of the cluster has some text in it.
func awaitCluster(t *testing.T, n *tnode, want string) {
	t.Helper()
	waitFor(t, n.name+" shows "+want, 20*time.Second, func() error {
		text, err := httpDo(t, http.MethodGet, "http://"+n.api+"/v1/cluster", "", 200)
		if err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
}

// Nodes that are stopped one after the other hand their primaries over first: nobody
// waits for Tfail, and nothing fails.
func TestE2EStrongRollingRestart(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 3)
	load := startLoad(t, nodes, 16)
	settle(load, time.Second)
	for _, n := range nodes {
		load.avoid(n, true)
		began := time.Now()
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := n.exits(20 * time.Second); code != 0 {
			t.Errorf("%s ended with %d", n.name, code)
		}
		t.Logf("%s stopped in %v", n.name, time.Since(began).Round(time.Millisecond))
		n.start()
		n.ready()
		load.avoid(n, false)
		awaitPrimaries(t, nodes, 20*time.Second)
	}
	longest, count, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, the longest took %v", count, longest.Round(time.Millisecond))
	if len(failed) > 0 || longest > strained(othersWithin) {
		t.Errorf("a rolling restart: %d operations, the longest took %v, failed: %v", count, longest, failed)
	}
}

// A node that lost its disk comes back as a full member of all its partitions, by
// itself, while clients write.
func TestE2EStrongWipedMember(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 3)
	load := startLoad(t, nodes, 12)
	settle(load, time.Second)
	victim := nodes[1]
	old := ringOfNode(t, nodes[0])
	load.avoid(victim, true)
	victim.kill()
	if err := os.RemoveAll(victim.dir); err != nil {
		t.Fatal(err)
	}
	victim.start()
	victim.ready()
	load.avoid(victim, false)
	began := time.Now()
	waitFor(t, "the new store is a member of all partitions", 90*time.Second, func() error {
		r := ringOfNode(t, nodes[0])
		for i, p := range r.Partitions {
			// Two changes of the sets, which raise the epoch: T2 and T3.
			if len(p.Strong.Sets) != 1 || !p.Strong.Active || len(p.Strong.Learners) > 0 || p.Strong.Epoch < old.Partitions[i].Strong.Epoch+2 {
				return fmt.Errorf("partition %d: %+v", p.ID, p.Strong)
			}
			if set := p.Strong.Sets[0]; len(set) != 3 || !slices.Contains(set, victim.name) {
				return fmt.Errorf("partition %d: members %v", p.ID, set)
			}
		}
		return nil
	})
	t.Logf("a full member of %d partitions %v after it was ready", len(old.Partitions), time.Since(began).Round(time.Millisecond))
	// One of the other two goes: what is left needs the new store for every majority.
	load.avoid(nodes[2], true)
	killed := time.Since(load.began)
	nodes[2].kill()
	back := awaitServed(t, nodes[0], load, killed)
	t.Logf("served by it and one other %v after a third was killed", back.Round(time.Millisecond))
	_, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, %d failed: %v", n, len(failed), failed)
}

// One node with strong data becomes three: the newcomers become members by themselves.
func TestE2EStrongGrows(t *testing.T) {
	t.Parallel()
	first := newNode(t, "n1")
	first.start()
	first.ready()
	makeStrong(t, first)
	awaitPrimaries(t, []*tnode{first}, 10*time.Second)
	nodes := []*tnode{first}
	load := startLoad(t, nodes, 8)
	for _, name := range []string{"n2", "n3"} {
		n := newNode(t, name, "--join", first.gossip)
		n.start()
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.ready()
	}
	began := time.Now()
	waitFor(t, "all nodes are members of all partitions", 90*time.Second, func() error {
		for _, p := range ringOfNode(t, first).Partitions {
			if len(p.Strong.Sets) != 1 || !p.Strong.Active || len(p.Strong.Sets[0]) != 3 {
				return fmt.Errorf("partition %d: %+v", p.ID, p.Strong)
			}
		}
		return nil
	})
	t.Logf("all are members %v after they were ready", time.Since(began).Round(time.Millisecond))
	longest, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, the longest took %v, %d failed: %v", n, longest.Round(time.Millisecond), len(failed), failed)
	if len(failed) > 0 {
		t.Errorf("operations failed while the members changed: %v", failed)
	}
}

// An operator moves a primary under load, and it does not move back.
func TestE2EStrongMovePrimary(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 3)
	load := startLoad(t, nodes, 8)
	settle(load, time.Second)
	p := ringOfNode(t, nodes[0]).Partitions[5]
	to := nodes[0].name
	if p.primary() == to {
		to = nodes[1].name
	}
	r := quorate(t, "ring", "move-primary", "--partition", "5", "--to", to, "--addrs", apis(nodes))
	if r.code != 0 || !strings.Contains(r.out, "partition 5: "+to+" leads it since epoch") {
		t.Fatalf("%+v", r)
	}
	t.Log(strings.TrimSpace(r.out))
	settle(load, time.Second)
	if now := ringOfNode(t, nodes[2]).Partitions[5]; now.primary() != to {
		t.Errorf("%s leads, not %s", now.primary(), to)
	}
	// Shards publish their figures once a second.
	waitFor(t, "the metrics show 64 active primaries, and what they did", 10*time.Second, func() error {
		sum := metricSums(t, nodes)
		if sum["quorate_strong_primaries_active"] != 64 || sum["quorate_strong_partitions"] != 3*64 || sum["quorate_strong_commits_total"] == 0 ||
			sum["quorate_strong_confirmation_rounds_total"] == 0 || sum[`quorate_strong_changes_total{kind="activate"}`] < 65 || sum[`quorate_strong_changes_total{kind="primary"}`] < 1 {
			return fmt.Errorf("%v", sum)
		}
		return nil
	})
	table := quorate(t, "ring", "primaries", "--addrs", apis(nodes))
	if table.code != 0 || !strings.Contains(table.out, "64 of 64 partitions have an active primary") {
		t.Errorf("%+v", table)
	}
	longest, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, the longest took %v", n, longest.Round(time.Millisecond))
	if len(failed) > 0 || longest > strained(othersWithin) {
		t.Errorf("a hand-over: the longest of %d operations took %v, failed: %v", n, longest, failed)
	}
}

// A node whose disk hangs gives its primaries up by itself (Tdisk, 3 s), though it
// answers everybody, and takes part again when the disk does.
func TestE2EStrongHangingDisk(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "switches.json")
	nodes := startClusterEnv(t, 3, "QUORATE_TESTING=1", "QUORATE_TESTING_SWITCHES="+file+".none")
	victim := nodes[2]
	victim.kill()
	victim.env[1] = "QUORATE_TESTING_SWITCHES=" + file
	victim.start()
	victim.ready()
	makeStrong(t, nodes[0])
	awaitPrimaries(t, nodes, 10*time.Second)
	load := startLoad(t, nodes, 16)
	settle(load, time.Second)
	load.avoid(victim, true)
	if err := os.WriteFile(file, []byte(`{"disk-hangs":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitCluster(t, victim, `"disk-hangs"`)
	hung := time.Since(load.began)
	back := awaitServed(t, nodes[0], load, hung)
	t.Logf("every key was written again %v after the disk began to hang", back.Round(time.Millisecond))
	if most := 3*time.Second + strained(failoverWithin); back > most {
		t.Errorf("a disk that hangs kept keys from being written for %v, at most %v is right", back, most)
	}
	waitFor(t, victim.name+" leads nothing", 10*time.Second, func() error {
		for _, n := range ringOfNode(t, nodes[0]).primaries(&clusterDoc{}).Nodes {
			if n.Node == victim.name && n.Primaries > 0 {
				return fmt.Errorf("%+v", n)
			}
		}
		return nil
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	waitFor(t, victim.name+"'s disk syncs again", 10*time.Second, func() error {
		text, err := httpDo(t, http.MethodGet, "http://"+victim.api+"/v1/cluster", "", 200)
		if err == nil && strings.Contains(text, `"disk-hangs"`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	// Another one goes: the store whose disk hung is needed for every majority.
	load.avoid(nodes[1], true)
	killed := time.Since(load.began)
	nodes[1].kill()
	t.Logf("served with it %v after another was killed", awaitServed(t, nodes[0], load, killed).Round(time.Millisecond))
	_, n, failed := window(load.end(), 0, time.Hour, anyKey)
	t.Logf("%d operations, %d failed: %v", n, len(failed), failed)
}
