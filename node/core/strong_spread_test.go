package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A store that leads more than its share says which members, having the whole log, could
// lead; one that is not reached is not named, and when primaries are even nobody speaks.
func TestStrongSpread(t *testing.T) {
	w := newStrongWorld(t, "abc", 6)
	w.active()
	a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
	lead := func(to ...*wnode) {
		for p := range w.ring.Partitions {
			if n := to[p%len(to)]; w.ring.Partitions[p].Primary != n.sid {
				w.move(uint32(p), n.sid)
			}
		}
		w.push()
		w.active()
	}
	spares := func() map[hashring.SID]int {
		w.said = nil
		w.run(3 * time.Second)
		named := map[hashring.SID]int{}
		for _, s := range w.said {
			if s.Kind == strong.Spare {
				if part := &w.ring.Partitions[s.Partition]; s.From != part.Primary || s.Epoch != part.Strong.Epoch || !part.Strong.IsMember(s.Prefer) {
					t.Errorf("%+v", s)
				}
				named[s.Prefer]++
			}
		}
		return named
	}
	lead(a, b, c)
	if got := spares(); len(got) != 0 {
		t.Errorf("even, and %v", got)
	}
	lead(a)
	if got := spares(); got[b.sid] == 0 || got[a.sid] != 0 || got[b.sid] > 3*spreadWords {
		t.Errorf("all are led by a: %v", got)
	}
	w.frozen = true // or others are named
	w.crash(b, true)
	w.put("a", "s", "k", "more")
	p := w.partition("s", "k")
	w.said = nil
	w.run(3 * time.Second)
	for _, s := range w.said {
		if s.Kind == strong.Spare && s.Partition == p && s.Prefer == b.sid {
			t.Error("b has not all of the log, and is named")
		}
	}
}
