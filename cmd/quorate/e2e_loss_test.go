package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What an operator can do when data is really lost.

// flipJournal flips a bit a quarter into the newest journal, the zeros that it was filled
// with ahead not counted: whole records follow, so no crash explains it.
func flipJournal(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "data", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	slices.Sort(logs)
	name := logs[len(logs)-1]
	b, err := os.ReadFile(name)
	written := len(bytes.TrimRight(b, "\x00"))
	if err != nil || written < 1000 {
		t.Fatal(name, written, err)
	}
	b[written/4] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// resort runs a last resort and gives what it said.
func resort(t *testing.T, n *tnode, code int, args ...string) (d lossDoc, said string) {
	t.Helper()
	r := quorate(t, append(args, "--addrs", n.api, "-o", "json")...)
	if r.code != code {
		t.Fatalf("%v: exit %d, want %d: %s%s", args, r.code, code, r.out, r.err)
	}
	if code == 0 {
		if err := json.Unmarshal([]byte(r.out), &d); err != nil {
			t.Fatalf("%s: %v", r.out, err)
		}
	}
	return d, r.err
}

// Of three replicas one is being built and two are damaged: nothing is served until an
// operator gives those two up, and then what the third has been given is all there is.
func TestE2EForceFull(t *testing.T) {
	t.Parallel()
	off := []string{"QUORATE_TESTING=1", "QUORATE_TESTING_REPAIR_OFF=true"} // nothing is filled
	nodes := startClusterEnv(t, 3, off...)
	awaitCluster(t, nodes[1], `"voters":3`) // else the wipe may take the Raft group with it
	early, late := names("early", 40), names("late", 40)
	crowd(t, nodes, early, change(http.MethodPut, strings.Repeat("value ", 50)))
	built := nodes[0]
	built.kill()
	if err := os.RemoveAll(built.dir); err != nil {
		t.Fatal(err)
	}
	built.start()
	built.ready()
	waitFor(t, "it is being built", readyWithin, func() error {
		if note := clusterNodes(t, nodes[1])[built.name]; note.State != "up" || !strings.Contains(note.Note, "building") {
			return fmt.Errorf("%+v", note)
		}
		return nil
	})
	crowd(t, nodes, late, change(http.MethodPut, strings.Repeat("value ", 50)))
	if d, said := resort(t, built, 0, "repair", "force-full"); len(d.Partitions) != 0 || !strings.Contains(said, "nothing to give up") {
		t.Fatalf("with two full owners: %+v %s", d, said)
	}
	for _, n := range nodes[1:] {
		n.kill()
		flipJournal(t, n.dir)
	}
	for _, n := range nodes[1:] {
		n.env = nil
		n.start()
	}
	all := 0
	waitFor(t, "the loss is seen", 3*readyWithin, func() error {
		d, said := resort(t, built, 0, "repair", "force-full")
		if all = len(ringOfNode(t, built).Partitions); len(d.Partitions) != all || d.Applied || !strings.Contains(said, "--yes") {
			return fmt.Errorf("%d of %d partitions: %s", len(d.Partitions), all, said)
		}
		for _, n := range nodes[1:] {
			if state := clusterNodes(t, built)[n.name].State; state != "suspect" {
				return fmt.Errorf("%s is %s", n.name, state)
			}
		}
		return nil
	})
	if _, err := httpDo(t, http.MethodGet, "http://"+built.api+"/keys/"+late[0], "", 503); err != nil {
		t.Error("nobody is full:", err)
	}
	waitFor(t, "the Raft group takes it", readyWithin, func() error {
		r := quorate(t, "repair", "force-full", "--yes", "--addrs", built.api)
		if r.code != 0 || !strings.Contains(r.out, "n2 (suspect)") || !strings.Contains(r.out, "n3 (suspect)") || !strings.Contains(r.err, fmt.Sprintf("%d partitions: ", all)) {
			return fmt.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
		return nil
	})
	for _, key := range late {
		waitFor(t, key+" is there", readyWithin, func() error {
			_, err := httpDo(t, http.MethodGet, "http://"+built.api+"/keys/"+key, "", 200)
			return err
		})
	}
	built.kill()
	built.env = nil // it fills the others
	built.start()
	for _, n := range nodes {
		n.ready()
	}
	waitFor(t, "all are full again", 3*readyWithin, func() error {
		for name, n := range clusterNodes(t, built) {
			if n.State != "up" || n.Note != "" {
				return fmt.Errorf("%s: %+v", name, n)
			}
		}
		return nil
	})
	inSync(t, built, "default", late, syncedWithin)
	var doc struct {
		PossibleLoss struct{ Eventual []int } `json:"possible_loss"`
	}
	for _, path := range []string{"/v1/cluster", "/v1/repair"} {
		if err := json.Unmarshal([]byte(must(t, http.MethodGet, "http://"+nodes[2].api+path, "", 200)), &doc); err != nil || len(doc.PossibleLoss.Eventual) != all {
			t.Errorf("%s: possible loss in %v, %v", path, doc.PossibleLoss.Eventual, err)
		}
	}
	if r := quorate(t, "cluster", "--addrs", nodes[1].api); !strings.Contains(r.out, fmt.Sprintf("%d partitions of eventual buckets", all)) {
		t.Errorf("%s", r.out)
	}
}

// All three stores are damaged at once: nobody has anything to give the others, and they
// begin anew one after the other, because the Raft group needs most of them meanwhile.
func TestE2EForceFullOfNothing(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	crowd(t, nodes, names("k", 300), change(http.MethodPut, strings.Repeat("value ", 50)))
	for _, n := range nodes {
		n.kill()
		flipJournal(t, n.dir)
	}
	for _, n := range nodes {
		n.start()
	}
	waitFor(t, "all damage is known", 3*readyWithin, func() error {
		r := quorate(t, "repair", "force-full", "--addrs", nodes[1].api)
		for _, n := range nodes {
			if !strings.Contains(r.out, n.name+" (suspect)") {
				return fmt.Errorf("exit %d: %s%s", r.code, r.out, r.err)
			}
		}
		return nil
	})
	waitFor(t, "an operator gives all of it up", 3*readyWithin, func() error {
		r := quorate(t, "repair", "force-full", "--yes", "--addrs", nodes[1].api)
		if r.code != 0 || !strings.Contains(r.out, "the first new store, empty") {
			return fmt.Errorf("exit %d: %s%s\n%s", r.code, r.out, r.err, must(t, http.MethodGet, "http://"+nodes[1].api+"/v1/cluster", "", 200, 503))
		}
		for _, n := range nodes {
			if !strings.Contains(r.out, n.name+" (suspect)") {
				t.Fatalf("%s", r.out)
			}
		}
		return nil
	})
	for _, n := range nodes {
		n.ready()
	}
	waitFor(t, "all are full, and empty", 3*readyWithin, func() error {
		for name, n := range clusterNodes(t, nodes[0]) {
			if n.State != "up" || n.Note != "" {
				return fmt.Errorf("%s: %+v", name, n)
			}
		}
		_, err := httpDo(t, http.MethodGet, "http://"+nodes[2].api+"/keys/k1", "", 404)
		return err
	})
	fresh := names("new", 20)
	crowd(t, nodes, fresh, change(http.MethodPut, "v"))
	inSync(t, nodes[0], "default", fresh, syncedWithin)
}

// Two of five nodes are gone for good, and with them a majority of some partitions'
// members: what the third one has goes on when an operator says so, and not before.
func TestE2ERecover(t *testing.T) {
	t.Parallel()
	nodes := startStrong(t, 5)
	awaitCluster(t, nodes[0], `"voters":3`)
	votes := clusterNodes(t, nodes[0])
	hasNone := func(n *tnode) bool { return !votes[n.name].Voter }
	others := slices.DeleteFunc(slices.Clone(nodes), func(n *tnode) bool { return !hasNone(n) })
	nodes = append(slices.DeleteFunc(nodes, hasNone), others...) // the two that go have no vote: the Raft group stays
	first := nodes[0]
	keys := names("k", 60)
	client := &http.Client{Timeout: 10 * time.Second}
	etags := map[string]string{}
	for _, key := range keys {
		status, etag, body, err := strongDo(client, http.MethodPut, first.api, key, "v "+key)
		if err != nil || status != 204 {
			t.Fatal(key, status, body, err)
		}
		etags[key] = etag
	}
	if d, said := resort(t, first, 0, "ring", "recover"); len(d.Partitions) != 0 || !strings.Contains(said, "nothing to recover") {
		t.Fatalf("with all members: %+v %s", d, said)
	}
	lost := map[int]bool{}
	for _, p := range ringOfNode(t, first).Partitions {
		if set := p.Strong.Sets[0]; slices.Contains(set, nodes[3].name) && slices.Contains(set, nodes[4].name) {
			lost[p.ID] = true
		}
	}
	if len(lost) == 0 {
		t.Fatal("no partition has both as members")
	}
	resort(t, first, 4, "ring", "recover", "--partition", fmt.Sprint(slices.Min(slices.Collect(maps.Keys(lost)))), "--yes") // while they live
	inSync(t, first, strongBucket, keys, syncedWithin)                                                                      // a majority was enough for the answers, and it is the majority that goes
	for _, n := range nodes[3:] {
		n.kill()
		if err := os.RemoveAll(n.dir); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the loss is seen", readyWithin, func() error {
		d, said := resort(t, first, 0, "ring", "recover")
		if len(d.Partitions) != len(lost) {
			return fmt.Errorf("%d partitions, want %d: %s", len(d.Partitions), len(lost), said)
		}
		return nil
	})
	waitFor(t, "the Raft group takes it", readyWithin, func() error {
		r := quorate(t, "ring", "recover", "--yes", "--addrs", first.api)
		if r.code != 0 || !strings.Contains(r.err, fmt.Sprintf("%d partitions: ", len(lost))) {
			return fmt.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
		return nil
	})
	for _, key := range keys {
		waitFor(t, key+" is there", readyWithin, func() error {
			status, etag, body, err := strongDo(client, http.MethodGet, first.api, key, "")
			if err != nil || status != 200 || body != "v "+key || etag != etags[key] {
				return fmt.Errorf("%d %s %q %v", status, etag, body, err)
			}
			return nil
		})
		status, etag, body, err := strongDo(client, http.MethodPut, first.api, key, "w", "If-Match: "+etags[key])
		if err != nil || status != 204 || etag == etags[key] {
			t.Errorf("%s: %d %s %v", key, status, body, err)
		}
	}
	for _, n := range nodes[3:] {
		n.start()
		n.ready()
	}
	awaitPrimaries(t, nodes, 3*readyWithin)
	var doc struct {
		PossibleLoss struct{ Strong []int } `json:"possible_loss"`
	}
	waitFor(t, "the members are three again", 3*readyWithin, func() error {
		for _, p := range ringOfNode(t, first).Partitions {
			if len(p.Strong.Sets) != 1 || len(p.Strong.Sets[0]) != 3 || !p.Strong.Active {
				return fmt.Errorf("partition %d: %+v", p.ID, p.Strong)
			}
		}
		return nil
	})
	if err := json.Unmarshal([]byte(must(t, http.MethodGet, "http://"+nodes[4].api+"/v1/cluster", "", 200)), &doc); err != nil || len(doc.PossibleLoss.Strong) != len(lost) {
		t.Errorf("possible loss in %v, %v", doc.PossibleLoss.Strong, err)
	}
}
