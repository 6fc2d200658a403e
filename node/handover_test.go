package node

import (
	"slices"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

func TestHandOverWaitsForWhatOthersCanLead(t *testing.T) {
	a, b, c := hashring.SID{1}, hashring.SID{2}, hashring.SID{3}
	part := func(primary hashring.SID, active bool, members ...hashring.SID) hashring.Partition {
		return hashring.Partition{Epoch: 3, Primary: primary, Replicas: members, Strong: &hashring.StrongConfig{Epoch: 3, Incarnation: 1, Sets: [][]hashring.SID{members}, Activated: active}}
	}
	r := hashring.NewRing(&hashring.State{Partitions: []hashring.Partition{part(a, true, a, b), part(b, true, a, b), part(a, true, a), part(a, false, a, b, c), part(a, true, a, c), {Epoch: 1, Replicas: []hashring.SID{a, b}}}})
	alive := func(sid hashring.SID) bool { return sid != c }
	if got := ledBy(r, a, alive); !slices.Equal(got, []uint32{0, 3}) {
		t.Fatalf("waits for partitions %v", got)
	}
	if got := ledBy(nil, a, alive); got != nil {
		t.Fatal("no ring")
	}
	later := hashring.NewRing(&hashring.State{Partitions: []hashring.Partition{part(b, true, a, b), part(b, true, a, b), part(a, true, a), part(b, false, a, b, c)}})
	if got := notTakenOver(later, []uint32{0, 3}, a); !slices.Equal(got, []uint32{3}) {
		t.Fatalf("still waits for %v", got)
	}
}

func TestHandOverWaitsOnlyWhileTheRaftGroupCanChoose(t *testing.T) {
	a, b, c := hashring.SID{1}, hashring.SID{2}, hashring.SID{3}
	for _, x := range []struct {
		what   string
		voters []hashring.SID
		alive  []hashring.SID
		want   bool
	}{
		{"all", []hashring.SID{a, b, c}, []hashring.SID{b, c}, true},
		{"itself and another one", []hashring.SID{a, b, c}, []hashring.SID{c}, true},
		{"itself alone", []hashring.SID{a, b, c}, nil, false},
		{"one of two", []hashring.SID{a, b}, nil, false},
		{"no vote of its own", []hashring.SID{b, c}, []hashring.SID{b}, false},
		{"voters not known", nil, nil, true},
	} {
		alive := func(sid hashring.SID) bool { return slices.Contains(x.alive, sid) }
		if got := canElect(x.voters, a, alive); got != x.want {
			t.Errorf("%s: %v", x.what, got)
		}
	}
}
