package core

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// remake deletes a bucket and makes it again.
func (w *strongWorld) remake(name string, mode hashring.Mode) {
	s := *w.ring.State
	s.Version += 2
	s.Buckets = maps.Clone(s.Buckets)
	b := s.Buckets[name]
	b.ID, b.Mode = hashring.BucketID(s.Version), mode
	s.Buckets[name] = b
	w.ring = hashring.NewRing(&s)
	w.push()
}

// keyAwayFrom is a key that the node has to forward requests for.
func (w *strongWorld) keyAwayFrom(name string) string {
	key := "k"
	for slices.Contains(w.ring.StrongMembers(w.partition("s", key)), sidOf(name)) {
		key += "k"
	}
	return key
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
			w.remake("s", hashring.Strong)
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

// A request that was meant for a former bucket does not come to the present one, which may
// be of another mode and know no conditions, or carry out every copy.
func TestStrongBucketOfAnotherMode(t *testing.T) {
	for _, now := range []hashring.Mode{hashring.Eventual, hashring.Strong} {
		w := newStrongWorld(t, "abcd", 4)
		former := hashring.Strong
		if now == hashring.Strong {
			former = hashring.Eventual
		}
		w.active()
		key := w.keyAwayFrom("d")
		w.remake("s", former)
		w.run(100 * time.Millisecond)
		w.expect("put", strongShow(w.put("a", "s", key, "former")), "applied")
		d := w.node("d")
		w.deafTo = map[*wnode]bool{d: true}
		w.remake("s", now)
		w.run(100 * time.Millisecond)
		opts := []opt{in(500 * time.Millisecond)}
		if former == hashring.Strong {
			opts = append(opts, ifAbsent)
		}
		w.expect("put", strongShow(w.put("a", "s", key, "present")), "applied")
		late := w.startPut("d", "s", key, "late", opts...)
		w.run(200 * time.Millisecond)
		if got := w.get("a", "s", key); now == hashring.Strong {
			w.expect("as long as it is meant for the former one", strongShow(got), "present")
		}
		w.deafTo = nil
		w.push()
		if w.wait(late); former == hashring.Strong {
			w.expect("for a strong bucket that is no more", strongShow(late.reply), "bucket_not_found not_applied")
		}
		want := "present"
		if late.reply.Outcome == Applied {
			want = "late" // it was planned anew
		}
		if got := w.get("a", "s", key); now == hashring.Strong {
			w.expect("get", strongShow(got), want)
		} else {
			w.expect("get", w.show(got), want)
		}
	}
}

// What waits for a primary does not outlive its bucket.
func TestStrongBucketDeletedMeanwhile(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.crash(w.node("a"), false)
	w.tellDown(w.node("a"))
	w.run(time.Millisecond)
	call := w.startPut("d", "s", "k", "v", in(10*time.Second))
	w.run(time.Millisecond)
	w.remake("s", hashring.Strong)
	w.expect("its bucket is no more", strongShow(w.wait(call)), "bucket_not_found not_applied")
	w.expect("another one is", strongShow(w.put("d", "s", "k", "w", in(10*time.Second))), "applied")
}
