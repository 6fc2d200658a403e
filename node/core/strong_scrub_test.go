package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A value that has changed by itself on one disk, whosever it is, is found by a scrub and
// pulled anew; nobody else is disturbed (D5).
func TestStrongScrub(t *testing.T) {
	for _, name := range []string{"primary", "follower"} {
		t.Run(name, func(t *testing.T) {
			w := newStrongWorld(t, "abc", 2)
			for _, n := range w.nodes {
				n.core.repair.scrub.every = time.Second
			}
			w.active()
			w.expect("put", strongShow(w.put("a", "s", "k", "right")), "applied")
			w.run(holdFor + time.Second)

			p := w.partition("s", "k")
			victim := w.bySID(w.ring.Partitions[p].Primary)
			if name == "follower" {
				victim = w.bySID(w.ring.Partitions[p].Strong.Sets[0][1+slices.Index(w.ring.Partitions[p].Strong.Sets[0], victim.sid)%2])
			}
			value := func() string {
				d := victim.disk.strongPart(p)
				return string(d.gen(d.hard.Generation).values[strongKey(5, []byte("k"))].Value.Data)
			}
			d := victim.disk.strongPart(p)
			values := d.gen(d.hard.Generation).values
			row := values[strongKey(5, []byte("k"))]
			v := *row.Value
			v.Data, v.Version.Index = []byte("rotten"), v.Version.Index-1
			row.Value = &v
			values[strongKey(hashring.BucketID(5), row.Key)] = row

			for range 60 {
				if w.run(time.Second); value() == "right" {
					break
				}
			}
			w.expect("the disk holds", value(), "right")
			if victim.core.strong.parts[p].r.Status().Rebuilds == 0 {
				t.Error("nothing was pulled anew")
			}
			w.expect("leader", strongShow(w.get(victim.name, "s", "k")), "right")
			w.expect("stale", strongShow(w.get(victim.name, "s", "k", at(LevelStale))), "right")
			for _, n := range w.nodes {
				if s := n.core.strong.parts[p].r.Status(); n != victim && s.Rebuilds != 0 || s.Diverged {
					t.Errorf("%s: %+v", n.name, s)
				}
			}
		})
	}
}
