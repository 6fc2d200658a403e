package core

import (
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// A lease read is answered by the lease, through any node; the answer says so. Where
// there is none, or below the feature level, it is a leader read, and nothing that an
// older node could not read leaves.
func TestStrongLease(t *testing.T) {
	for _, c := range []struct {
		about string
		level uint16
		lease time.Duration
		want  Level
	}{
		{"with a lease", hashring.FeatureLease, time.Second, LevelLease},
		{"without", hashring.FeatureLease, 0, LevelLeader},
		{"below the level", hashring.FeatureLease - 1, time.Second, LevelLeader},
	} {
		t.Run(c.about, func(t *testing.T) {
			w := newStrongWorldAt(t, "abcde", 4, c.level, c.lease)
			var seen []*Message
			w.onStep = func(_ *wnode, r *Ready) {
				for i := range r.Now {
					seen = append(seen, r.Now[i].Message)
				}
			}
			w.active()
			w.expect("put", strongShow(w.put("a", "s", "k", "v")), "applied")
			w.run(2 * time.Second)
			for _, n := range w.nodes {
				got := w.get(n.name, "s", "k", at(LevelLease))
				w.expect("get", strongShow(got), "v")
				if need := map[Level]int{LevelLease: 1, LevelLeader: 2}[c.want]; got.Strong.Level != c.want || got.Receipt.Need != need {
					t.Errorf("at %s: %+v, %v", n.name, got.Strong, got.Receipt)
				}
			}
			for _, m := range seen {
				if m == nil || c.want == LevelLease {
					continue
				}
				if m.Request != nil && m.Request.Level == LevelLease && c.level < hashring.FeatureLease {
					t.Error("a lease read was forwarded below its level")
				}
				for _, s := range m.Strong {
					if s.Asked != 0 || s.Lease != 0 || s.Kind == strong.MsgRelease {
						t.Fatalf("%v asks for a lease", s)
					}
				}
			}
		})
	}
}
