package core

import (
	"maps"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// remake deletes a bucket and makes it again.
func (w *strongWorld) remake(name string) {
	s := *w.ring.State
	s.Version += 2
	s.Buckets = maps.Clone(s.Buckets)
	b := s.Buckets[name]
	b.ID = hashring.BucketID(s.Version)
	s.Buckets[name] = b
	w.ring = hashring.NewRing(&s)
	w.push()
}

// A primary whose ring still has a former bucket of the name serves that one. Whoever has
// forwarded a request for the present one does not take its word for it.
func TestStrongBucketMadeAgain(t *testing.T) {
	for _, what := range []string{"while the primary is deaf", "while it is under way"} {
		t.Run(what, func(t *testing.T) {
			w := newStrongWorld(t, "abc", 4)
			w.active()
			w.expect("put", strongShow(w.put("a", "s", "k", "former")), "applied")
			p := w.primary(w.partition("s", "k"))
			other := w.node("a")
			if p == other {
				other = w.node("b")
			}
			w.deafTo = map[*wnode]bool{p: true}
			w.remake("s")
			w.run(100 * time.Millisecond)
			w.expect("get", strongShow(w.get(other.name, "s", "k", in(500*time.Millisecond))), "primary_unavailable")
			w.expect("put", strongShow(w.put(other.name, "s", "k", "lost", in(500*time.Millisecond))), "primary_unavailable not_applied")
			w.expect("conditional put", strongShow(w.put(other.name, "s", "k", "lost too", in(500*time.Millisecond), ifAbsent)), "primary_unavailable not_applied")
			if what != "while the primary is deaf" {
				w.deafTo = nil
				w.at(w.now+time.Millisecond, w.push)
			} else {
				w.deafTo = nil
				w.push()
				w.run(100 * time.Millisecond)
			}
			w.expect("put", strongShow(w.put(other.name, "s", "k", "present", ifAbsent)), "applied")
			w.expect("get", strongShow(w.get(other.name, "s", "k")), "present")
		})
	}
}
