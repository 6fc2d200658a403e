package httpapi

import (
	"fmt"
	"reflect"
	"testing"
)

// What nodes keep is shown by the store it is kept for.
func TestHintsAreShownByTarget(t *testing.T) {
	r := newRig(t)
	two, gone := testSID(2).String(), testSID(77).String()
	r.b.hints = []NodeHints{
		{Node: "n3", Answered: true, Targets: []TargetHints{{SID: two, Hints: 2, Bytes: 20, OldestAgeMS: 500}, {SID: gone, DirtyPartitions: 1}}},
		{Node: "n2"},
		{Node: "n1", Answered: true, Targets: []TargetHints{{SID: two, Hints: 1, Bytes: 5, OldestAgeMS: 900, DirtyPartitions: 3}}},
	}
	got := decodeInto[hintsJSON](t, r.want(200, "", "GET", "/v1/hints", ""))
	want := hintsJSON{Pending: 3, Bytes: 25, OldestAgeMS: 900, DirtyPartitions: 4, Silent: []string{"n2"}, Targets: []hintTarget{
		{TargetHints: TargetHints{SID: gone, DirtyPartitions: 1}, Holders: []string{"n3"}},
		{Node: "n2", TargetHints: TargetHints{SID: two, Hints: 3, Bytes: 25, OldestAgeMS: 900, DirtyPartitions: 3}, Holders: []string{"n3", "n1"}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	r.want(200, "", "GET", "/v1/hints?partition=7", "")
	if fmt.Sprint(r.b.asked) != "[-1 7]" {
		t.Errorf("asked for %v", r.b.asked)
	}
	for _, p := range []string{"8", "-1", "x", ""} {
		r.want(400, "invalid_argument", "GET", "/v1/hints?partition="+p, "")
	}
	r.want(400, "unknown_parameter", "GET", "/v1/hints?verbose", "")
	r.b.hints = nil
	if got = decodeInto[hintsJSON](t, r.want(200, "", "GET", "/v1/hints", "")); len(got.Targets) != 0 || got.Pending != 0 {
		t.Errorf("%+v", got)
	}
}

func TestRepairIsSummedUp(t *testing.T) {
	r := newRig(t)
	many := NodeRepair{Node: "n2", Answered: true, Partitions: 300, InSync: 100, DebtKeys: 5000, BehindMS: 70, Running: 2, Tombstones: 9,
		Purges: []RepairPurge{{Partition: 3, Generation: 2, Tombstones: 9, Phase: "gather", Blocked: "hints undelivered", By: "n4", Count: 12, ForMS: 1500}}}
	for p := range uint32(200) {
		many.Pairs = append(many.Pairs, RepairPair{Partition: 199 - p, N: 3, Peer: "n1", State: "differs", Keys: uint64(p % 7), BehindMS: 70, Never: true})
	}
	r.b.repair = []NodeRepair{many, {Node: "n3"}, {Node: "n1", Answered: true, Partitions: 40, InSync: 40, BehindMS: 90, RateBytes: 1 << 20}}
	got := decodeInto[repairJSON](t, r.want(200, "", "GET", "/v1/repair", ""))
	if got.DebtKeys != 5000 || got.BehindMS != 90 || got.Partitions != 340 || got.InSync != 140 || got.Running != 2 || got.Tombstones != 9 || len(got.Nodes) != 3 {
		t.Errorf("%+v", got)
	}
	n2 := got.Nodes[1]
	if n2.Node != "n2" || len(n2.Pairs) != MaxRepairRows || n2.OmittedPairs != 100 || len(n2.Purges) != 1 || n2.OmittedPurges != 0 || n2.Purges[0].By != "n4" {
		t.Fatalf("%+v", n2)
	}
	for i, p := range n2.Pairs {
		if p.Keys < 3 || i > 0 && p.Partition <= n2.Pairs[i-1].Partition {
			t.Errorf("row %d: %+v", i, p)
		}
	}
	if got.Nodes[2].Answered || !got.Nodes[0].Answered || got.Nodes[0].Pairs == nil {
		t.Errorf("%+v", got.Nodes)
	}
	r.b.repair = nil
	if got = decodeInto[repairJSON](t, r.want(200, "", "GET", "/v1/repair", "")); len(got.Nodes) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestQuietPairs(t *testing.T) {
	for what, c := range map[string]struct {
		pair  RepairPair
		quiet bool
	}{
		"equal":     {RepairPair{State: "equal"}, true},
		"waiting":   {RepairPair{State: "waiting"}, true},
		"differs":   {RepairPair{State: "waiting", Keys: 1}, false},
		"never":     {RepairPair{State: "waiting", Never: true}, false},
		"dirty":     {RepairPair{State: "equal", Dirty: true}, false},
		"building":  {RepairPair{State: "equal", Building: true}, false},
		"running":   {RepairPair{State: "running"}, false},
		"not there": {RepairPair{State: "unreachable"}, false},
	} {
		if c.pair.Quiet() != c.quiet {
			t.Errorf("%s: quiet %v", what, !c.quiet)
		}
	}
}

// POST /v1/repair is of all partitions or of one.
func TestRepairIsStarted(t *testing.T) {
	r := newRig(t)
	type asked struct{ Asked []NodeAsked }
	got := decodeInto[asked](t, r.want(202, "", "POST", "/v1/repair", ""))
	if len(got.Asked) != 2 || got.Asked[0].Comparisons != 16 || got.Asked[1].Answered {
		t.Errorf("%+v", got)
	}
	r.want(202, "", "POST", "/v1/repair", `{}`, "Content-Type: application/json")
	r.want(202, "", "POST", "/v1/repair", `{"partition":5}`, "Content-Type: application/json")
	if fmt.Sprint(r.b.asked) != "[-1 -1 5]" {
		t.Errorf("asked for %v", r.b.asked)
	}
	r.want(400, "invalid_argument", "POST", "/v1/repair", `{"partition":8}`, "Content-Type: application/json")
	r.want(400, "invalid_argument", "POST", "/v1/repair", `{"partition":"all"}`, "Content-Type: application/json")
	r.want(400, "invalid_argument", "POST", "/v1/repair", `{"bucket":"b"}`, "Content-Type: application/json")
	r.want(415, "unsupported_media", "POST", "/v1/repair", `{}`, "Content-Type: text/plain")
	r.b.ring = nil
	r.want(503, "starting", "POST", "/v1/repair", "")
	r.want(503, "starting", "GET", "/v1/hints?partition=1", "")
}
