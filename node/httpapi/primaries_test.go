package httpapi

import (
	"fmt"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// strongRing gives partition 2 a primary, n1, and the members n1, n2, n3.
func strongRing(t *testing.T) *hashring.Ring {
	s := *testState(t)
	s.Partitions = append([]hashring.Partition(nil), s.Partitions...)
	p := &s.Partitions[2]
	p.Epoch, p.Primary = 5, testSID(1)
	p.Strong = &hashring.StrongConfig{Epoch: 5, Incarnation: 1, Sets: [][]hashring.SID{{testSID(1), testSID(2), testSID(3)}}, Activated: true, Learners: []hashring.SID{testSID(4)}}
	return hashring.NewRing(&s)
}

func TestMovePrimary(t *testing.T) {
	r := newRig(t)
	r.b.ring = strongRing(t)
	const path = "/v1/cluster/primaries"
	got := decodeInto[primariesJSON](t, r.want(202, "", "POST", path, `{"partition":2,"to":"n3"}`))
	if got.Partition != 2 || got.From == nil || *got.From != "n1" || got.To != "n3" || got.Epoch != 5 {
		t.Errorf("%+v", got)
	}
	r.want(202, "", "POST", path, `{"partition":2,"to":"n1"}`) // it leads already
	if want := fmt.Sprint("[2 ", testSID(3).Short(), "]"); fmt.Sprint(r.b.moved) != want {
		t.Errorf("moved %v, want %s", r.b.moved, want)
	}
	began := time.Now()
	r.want(202, "", "POST", path, `{"partition":2,"to":"n3"}`, "Quorate-Timeout: 60s")
	if by := r.b.moveBy.Sub(began); by < 59*time.Second || by > 2*time.Minute {
		t.Errorf("the client gave 60s, the move has %v", by)
	}
	r.want(400, "invalid_argument", "POST", path, `{"partition":2,"to":"n3"}`, "Quorate-Timeout: soon")
	for _, body := range []string{`{"to":"n3"}`, `{"partition":8,"to":"n3"}`, `{"partition":-1,"to":"n3"}`, `{"partition":2}`, `{"partition":2,"to":"n9"}`,
		`{"partition":2,"to":"n4"}`, `{"partition":1,"to":"n2"}`, `{"partition":2,"to":"n3","now":true}`, ``} {
		if body == "" {
			r.want(400, "invalid_argument", "POST", path, body, "Content-Type: application/json")
			continue
		}
		r.want(400, "invalid_argument", "POST", path, body)
	}
	r.want(405, "method_not_allowed", "GET", path, "")
	r.b.dead[testSID(2)] = true
	r.want(503, "primary_unavailable", "POST", path, `{"partition":2,"to":"n2"}`)
	r.b.propose = ErrNotProposed
	r.want(503, "quorum_unavailable", "POST", path, `{"partition":2,"to":"n3"}`)
	r.b.ring = nil
	r.want(503, "starting", "POST", path, `{"partition":2,"to":"n3"}`)
}

func TestRingShowsStrongConfigurations(t *testing.T) {
	r := newRig(t)
	r.b.ring = strongRing(t)
	got := decodeInto[ringJSON](t, r.want(200, "", "GET", "/v1/cluster/ring", ""))
	if got.Partitions[1].Strong != nil || got.Partitions[1].Primary != nil {
		t.Errorf("a partition without a primary: %+v", got.Partitions[1])
	}
	p := got.Partitions[2]
	if p.Primary == nil || *p.Primary != "n1" || p.Strong == nil || fmt.Sprintf("%+v", *p.Strong) != "{Epoch:5 Active:true Sets:[[n1 n2 n3]] Learners:[n4] PossibleLoss:false}" {
		t.Errorf("%+v %+v", p, p.Strong)
	}
}
