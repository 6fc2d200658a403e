package core

import (
	"slices"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// formerBucket is a world in which only d knows that an eventual bucket was made again, and
// a key that it has to forward writes of.
func formerBucket(t *testing.T) (w *strongWorld, key string) {
	w = newStrongWorld(t, "abcd", 4)
	w.active()
	w.remake("s", hashring.Eventual)
	w.run(100 * time.Millisecond)
	w.deafTo = map[*wnode]bool{w.node("a"): true, w.node("b"): true, w.node("c"): true}
	w.remake("s", hashring.Eventual)
	w.run(100 * time.Millisecond)
	return w, w.keyAwayFrom("d")
}

// An owner whose ring still has a former bucket of the name mints in that one: its word is
// none about the present one.
func TestForwardToAFormerBucket(t *testing.T) {
	w, key := formerBucket(t)
	w.expect("put", w.show(w.put("d", "s", key, "v", in(500*time.Millisecond))), "quorum_unavailable not_applied")
	w.deafTo = nil
	w.push()
	w.run(2 * time.Second)
	w.expect("get", w.show(w.get("d", "s", key)), "key_not_found")
	w.expect("put again", w.show(w.put("d", "s", key, "v")), "applied")
	w.expect("get again", w.show(w.get("d", "s", key)), "v")
}

// The owners hear of it when the write is minted, and not answered yet.
func TestAFormerBucketEndsBeforeTheAnswer(t *testing.T) {
	w, key := formerBucket(t)
	owners := []*wnode{w.node("a"), w.node("b"), w.node("c")}
	put := w.startPut("d", "s", key, "v")
	w.until("it is minted", func() bool {
		return slices.ContainsFunc(owners, func(n *wnode) bool { return len(n.core.ops) > 0 })
	})
	for _, n := range owners {
		n.holdSync = len(n.core.ops) == 0
	}
	w.run(50 * time.Millisecond)
	w.deafTo = nil
	w.push()
	w.run(20 * time.Millisecond)
	for _, n := range owners {
		n.holdSync = false
		w.release(n)
	}
	w.expect("put", w.show(w.wait(put)), "replica_failure unknown")
	w.expect("get", w.show(w.get("d", "s", key)), "key_not_found")
}
