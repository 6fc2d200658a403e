package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

// What the shards keep is added up by target, of all partitions or of one.
func TestHintsReport(t *testing.T) {
	a, b := hashring.SID{1}, hashring.SID{2}
	n := &Node{cfg: Config{Name: "n1"}, router: &router{}}
	for _, owed := range [][]core.PartitionHints{
		{{Partition: 0, Lines: []antientropy.HintLine{{Target: a, Hints: 2, Bytes: 20, OldestMS: 4000}, {Target: b, Dirty: 9}}}},
		{{Partition: 1, Lines: []antientropy.HintLine{{Target: a, Hints: 1, Bytes: 5, OldestMS: 12_000, Dirty: 1}}}, {Partition: 3, Lines: []antientropy.HintLine{{Target: a, Dirty: 2}}}},
		nil,
	} {
		s := &shard{}
		if owed != nil {
			s.stats.Store(&core.Stats{Owed: owed})
		}
		n.router.shards = append(n.router.shards, s)
	}
	for _, c := range []struct {
		partition int
		want      []httpapi.TargetHints
	}{
		{-1, []httpapi.TargetHints{{SID: a.String(), Hints: 3, Bytes: 25, OldestAgeMS: 6000, DirtyPartitions: 2}, {SID: b.String(), DirtyPartitions: 1}}},
		{1, []httpapi.TargetHints{{SID: a.String(), Hints: 1, Bytes: 5, DirtyPartitions: 1}}},
		{2, nil},
	} {
		got := n.hintsReport(c.partition, 10_000)
		want := httpapi.NodeHints{Node: "n1", Answered: true, Targets: c.want}
		x, _ := json.Marshal(got)
		if y, _ := json.Marshal(want); string(x) != string(y) {
			t.Errorf("partition %d: %s\nwant %s", c.partition, x, y)
		}
	}
}

// A partition is in sync when all its pairs are, and owes what the worst of them does.
func TestRepairReport(t *testing.T) {
	n := &Node{}
	var out httpapi.NodeRepair
	n.addRepair(&out, nil, &core.RepairStatus{Rate: 7, Rows: []core.RepairRow{
		{Partition: 0, N: 3, State: "equal", Behind: time.Second}, {Partition: 0, N: 3, State: "waiting", Behind: 3 * time.Second},
		{Partition: 2, N: 2, State: "running", Keys: 5}, {Partition: 2, N: 3, State: "differs", Keys: 9}, {Partition: 2, N: 3, State: "equal"},
		{Partition: 4, N: 3, State: "equal", Dirty: true},
		{Partition: 6, N: 3, State: "equal"},
	}})
	if out.Partitions != 4 || out.InSync != 2 || out.DebtKeys != 9 || out.Running != 1 || out.BehindMS != 3000 || len(out.Pairs) != 3 || out.RateBytes != 7 {
		t.Errorf("%+v", out)
	}
	ring := hashring.NewRing(&hashring.State{Stores: []hashring.Store{{SID: hashring.SID{5}, Node: "n5"}}})
	n.addPurges(&out, ring, &core.PurgeStatus{Tombstones: 4, Expiring: 1, Rows: []core.PurgeRow{
		{Partition: 2, Tombstones: 4, Phase: "gather", Block: antientropy.Block{Why: antientropy.HintsWait, Store: hashring.SID{5}, Count: 3}, For: time.Second},
		{Partition: 4, Expiring: 1},
	}})
	if p := out.Purges; len(p) != 2 || p[0].Blocked != "hints undelivered" || p[0].By != "n5" || p[0].Count != 3 || p[0].ForMS != 1000 || p[1].Blocked != "" || out.Tombstones != 4 {
		t.Errorf("%+v", out)
	}
}

// A node asks its own shards, between two steps of theirs.
func TestStatusOfARunningNode(t *testing.T) {
	checkLeaks(t)
	n := startNode(t, t.TempDir())
	defer stopNode(t, n)
	for _, c := range []struct{ method, path, member string }{
		{"GET", "/v1/hints", "targets"}, {"GET", "/v1/hints?partition=3", "targets"}, {"GET", "/v1/repair", "nodes"}, {"POST", "/v1/repair", "asked"},
	} {
		status, b := ask(t, n, c.method, c.path, nil)
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(b, &doc); err != nil || status/100 != 2 || len(doc[c.member]) < 2 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, b)
		}
	}
}
