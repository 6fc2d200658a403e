package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

// lossRing is strongRing at the level of losses: partition 2 has the members n1, n2, n3.
func lossRing(t *testing.T, change func(*hashring.State)) *hashring.Ring {
	t.Helper()
	s := *strongRing(t).State
	s.Feature = hashring.FeatureLoss
	s.Stores = slices.Clone(s.Stores)
	if change != nil {
		change(&s)
	}
	return hashring.NewRing(&s)
}

func logsOf(n byte, p uint32, l StrongLog) NodeLogs {
	return NodeLogs{SID: testSID(n), Logs: map[uint32]StrongLog{p: l}}
}

// A recovery is for partitions that have lost a majority, and goes by the furthest log that
// can be trusted.
func TestRecoverPlans(t *testing.T) {
	r := newRig(t)
	r.b.ring = lossRing(t, nil)
	const path = "/v1/cluster/recover"
	plan := func(body string) recoverJSON {
		t.Helper()
		return decodeInto[recoverJSON](t, r.want(200, "", "POST", path, body))
	}
	if d := plan(``); d.Applied || len(d.Partitions)+len(d.Refused) != 0 {
		t.Errorf("with all members: %+v", d)
	}
	if d := plan(`{"partitions":[2,3]}`); len(d.Partitions) != 0 || len(d.Refused) != 2 || !strings.Contains(d.Refused[0].Reason, "a majority") || !strings.Contains(d.Refused[1].Reason, "no strong") {
		t.Errorf("%+v", d)
	}
	r.want(409, "conflict", "POST", path, `{"partitions":[2],"apply":true}`)

	r.b.dead[testSID(1)], r.b.dead[testSID(2)] = true, true
	if d := plan(``); len(d.Refused) != 1 || !strings.Contains(d.Refused[0].Reason, "no member answers") {
		t.Errorf("%+v", d)
	}
	r.b.logs = []NodeLogs{logsOf(3, 2, StrongLog{Epoch: 5, Index: 9, Commit: 8, Full: true}), {SID: testSID(4)}}
	d := plan(``)
	if len(d.Partitions) != 1 {
		t.Fatalf("%+v", d)
	}
	p := d.Partitions[0]
	if fmt.Sprintf("%d %d %v %s %v %v", p.Partition, p.Epoch, p.From, p.Primary, p.GivesUp, p.Empty) != "2 5 [n3] n3 [n1 n2] false" || len(p.Members) != 3 || p.Members[2].Log == nil || p.Members[2].Log.Index != 9 || p.Members[0].Answers {
		t.Errorf("%+v", p)
	}
	if d := plan(`{"from":["n4"]}`); len(d.Refused) != 1 || !strings.Contains(d.Refused[0].Reason, "node n3 has") {
		t.Errorf("a node without the log: %+v", d)
	}
	r.b.logs[0] = logsOf(3, 2, StrongLog{Epoch: 5, Index: 9})
	if d := plan(`{"from":["n4"]}`); len(d.Partitions) != 1 || !d.Partitions[0].Empty || d.Partitions[0].Primary != "n4" {
		t.Errorf("nobody has a log that can be trusted: %+v", d)
	}
	if d := plan(`{"from":["n3"]}`); len(d.Refused) != 1 || !strings.Contains(d.Refused[0].Reason, "damaged") {
		t.Errorf("%+v", d)
	}
	for _, body := range []string{`{"partitions":[8]}`, `{"from":["n9"]}`, `{"from":["n1","n2","n3"]}`, `{"from":["n1","n1"]}`, `{"all":true}`} {
		r.want(400, "invalid_argument", "POST", path, body)
	}
	r.b.logs[0] = logsOf(3, 2, StrongLog{Epoch: 5, Index: 9, Full: true})
	if d := plan(`{"apply":true}`); !d.Applied {
		t.Errorf("%+v", d)
	}
	c := r.b.proposed[len(r.b.proposed)-1]
	if c.Kind != hashring.KindStrong || len(c.Strong.Changes) != 1 || c.Strong.Changes[0].Kind != hashring.StrongRecover || c.Strong.Changes[0].Epoch != 5 || !slices.Equal(c.Strong.Changes[0].Stores, []hashring.SID{testSID(3)}) {
		t.Errorf("%+v", c)
	}
	if st := r.b.ring.Strong(2); st.Incarnation != 2 || !st.PossibleLoss {
		t.Errorf("%+v", st)
	}
	var doc struct {
		PossibleLoss PossibleLoss `json:"possible_loss"`
	}
	if err := json.Unmarshal([]byte(r.want(200, "", "GET", "/v1/cluster", "").body), &doc); err != nil || !slices.Equal(doc.PossibleLoss.Strong, []int{2}) {
		t.Errorf("%+v %v", doc, err)
	}
}

// Owners are given up only where no full one answers.
func TestForceFullPlans(t *testing.T) {
	r := newRig(t)
	building := func(s *hashring.State) { // n1 is the last full owner of partition 1
		s.Partitions = slices.Clone(s.Partitions)
		s.Partitions[1].Building, s.Partitions[1].Session = slices.Clone(s.Partitions[1].Replicas), s.Version
		s.Partitions[1].Building = slices.DeleteFunc(s.Partitions[1].Building, func(sid hashring.SID) bool { return sid == testSID(1) })
	}
	r.b.ring = lossRing(t, building)
	const path = "/v1/repair"
	plan := func(body string) forceJSON {
		t.Helper()
		return decodeInto[forceJSON](t, r.want(200, "", "POST", path, body))
	}
	if d := plan(`{"force_full":true}`); len(d.Partitions) != 0 {
		t.Errorf("%+v", d)
	}
	r.b.dead[testSID(1)] = true
	d := plan(`{"force_full":true}`)
	if len(d.Partitions) != 1 || d.Applied || d.Partitions[0].Partition != 1 || d.Partitions[0].N != 3 || len(d.Partitions[0].Full) != 2 ||
		fmt.Sprint(d.Partitions[0].GivesUp) != "[{n1 up false}]" {
		t.Fatalf("%+v", d)
	}
	if d := plan(`{"force_full":true,"partitions":[0,1]}`); len(d.Partitions) != 1 || len(d.Refused) != 1 || d.Refused[0].Partition != 0 {
		t.Errorf("%+v", d)
	}
	r.want(409, "conflict", "POST", path, `{"force_full":true,"partitions":[0,1],"apply":true}`)
	for _, body := range []string{`{"force_full":true,"partitions":[8]}`, `{"force_full":true,"partition":1}`, `{"apply":true}`, `{"partitions":[1]}`} {
		r.want(400, "invalid_argument", "POST", path, body)
	}
	if d := plan(`{"force_full":true,"apply":true}`); !d.Applied {
		t.Errorf("%+v", d)
	}
	if p := r.b.ring.Partitions[1]; p.Loss == 0 || !slices.Equal(p.Building, []hashring.SID{testSID(1)}) {
		t.Errorf("%+v", p)
	}
	r.b.propose = hashring.ErrStaleEpoch
	r.b.dead[testSID(2)], r.b.dead[testSID(3)] = true, true
	r.want(409, "conflict", "POST", path, `{"force_full":true,"apply":true}`)
}
