package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	_ "testing/synctest" // sleeps are virtual
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// readStrong fills in what HTTP says of a strong bucket.
func readStrong(t *testing.T, q wire.ClientRequest, r *wire.ClientReply, h http.Header, body []byte) {
	t.Helper()
	s := &r.Strong
	if tag := h.Get("ETag"); strings.Contains(tag, ".") {
		var ok bool
		if s.Version, ok = api.ParseVersionETag(tag); !ok {
			t.Fatalf("ETag %s", tag)
		}
	}
	if word := h.Get("Quorate-Consistency"); word != "" {
		var f *api.Fault
		if s.Level, f = api.ParseLevel(word); f != nil {
			t.Fatal(f)
		}
	}
	if label := h.Get("Quorate-Stale"); label != "" {
		s.Stale = true
		if _, err := fmt.Sscanf(label, "applied=%d", &s.Applied); err != nil {
			t.Fatalf("%s: %v", label, err)
		}
	}
	if q.Op == wire.ClientIncrement && r.Status == 200 {
		var c struct{ Value int64 }
		if err := json.Unmarshal(body, &c); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		s.Counted, s.Count = true, c.Value
	}
}

// The suite of strong buckets, at whole nodes, by both ways.
func TestBubbleBothWaysStrong(t *testing.T) {
	const put, get, head, del, add = wire.ClientPut, wire.ClientGet, wire.ClientHead, wire.ClientDelete, wire.ClientIncrement
	type Q = wire.ClientRequest
	inTwoWays(t, 3, func(w *twoWays) {
		w.startAll()
		w.strongBucket("s")
		n := w.nodes[0]
		etag := func(r wire.ClientReply) string { return api.VersionETag(r.Strong.Version) }
		wrote := func(do way, key []byte) string {
			return etag(do(n, Q{Op: put, Bucket: "s", Key: key, Value: []byte("v"), ContentType: "text/plain"}))
		}
		overwritten := func(do way, key []byte) string {
			first := wrote(do, key)
			wrote(do, key)
			return first
		}
		deleted := func(do way, key []byte) string {
			first := wrote(do, key)
			do(n, Q{Op: del, Bucket: "s", Key: key})
			return first
		}
		counted := func(do way, key []byte) string {
			return etag(do(n, Q{Op: add, Bucket: "s", Key: key, Delta: 40}))
		}
		stamp := fmt.Sprint(time.Now().UnixMilli())
		for _, c := range []oneCase{
			{name: "put", q: Q{Op: put, Value: []byte("v")}, status: 204},
			{name: "create", q: Q{Op: put, Value: []byte("v"), IfNoneMatch: "*"}, status: 201},
			{name: "create what is there", before: wrote, q: Q{Op: put, IfNoneMatch: "*"}, status: 412, code: "precondition_failed"},
			{name: "swap", before: wrote, use: "match", q: Q{Op: put, Value: []byte("w")}, status: 204},
			{name: "swap too late", before: overwritten, use: "match", q: Q{Op: put, Value: []byte("w")}, status: 412, code: "precondition_failed"},
			{name: "swap the deleted", before: deleted, use: "match", q: Q{Op: put, Value: []byte("w")}, status: 412, code: "precondition_failed"},
			{name: "swap anything", before: wrote, q: Q{Op: put, IfMatch: "*"}, status: 204},
			{name: "swap nothing", q: Q{Op: put, IfMatch: "*"}, status: 412, code: "precondition_failed"},
			{name: "weak tag", q: Q{Op: put, IfMatch: `W/"1.1.1"`}, status: 412, code: "precondition_failed"},
			{name: "delete", before: wrote, use: "match", q: Q{Op: del}, status: 204},
			{name: "delete nothing", q: Q{Op: del}, status: 204},
			{name: "delete too late", before: overwritten, use: "match", q: Q{Op: del}, status: 412, code: "precondition_failed"},
			{name: "add", before: counted, use: "match", q: Q{Op: add, Delta: -42}, status: 200},
			{name: "add nothing", q: Q{Op: add}, status: 200},
			{name: "add too much", before: counted, q: Q{Op: add, Delta: 1<<63 - 1}, status: 409, code: "conflict"},
			{name: "add to a value", before: wrote, q: Q{Op: add, Delta: 1}, status: 409, code: "conflict"},
			{name: "get", before: wrote, q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get by quorum", before: wrote, q: Q{Op: get, Consistency: "quorum", Newest: true}, status: 200, sameKey: true},
			{name: "get by replica", before: wrote, q: Q{Op: get, Consistency: "replica"}, status: 200, sameKey: true},
			{name: "get the deleted", before: deleted, q: Q{Op: get}, status: 404, code: "key_not_found", sameKey: true},
			{name: "get nothing", q: Q{Op: get}, status: 404, code: "key_not_found", sameKey: true},
			{name: "get what is known", before: wrote, use: "none match", q: Q{Op: get}, status: 304, sameKey: true},
			{name: "get as asked", before: wrote, use: "match", q: Q{Op: get}, status: 200, sameKey: true},
			{name: "get another one", before: wrote, q: Q{Op: get, IfMatch: `"1.1.1"`}, status: 412, code: "precondition_failed", sameKey: true},
			{name: "head", before: wrote, q: Q{Op: head}, status: 200, sameKey: true},

			{name: "r", q: Q{Op: get, R: 1}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "w", q: Q{Op: put, W: 1}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "pw", q: Q{Op: put, PW: 1}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "sloppy", q: Q{Op: put, Sloppy: core.Yes}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "ttl", q: Q{Op: put, TTL: time.Hour}, status: 422, code: "not_supported", sameKey: true},
			{name: "context", q: Q{Op: put, Context: "AAAA"}, status: 400, code: "context_invalid", sameKey: true},
			{name: "session", q: Q{Op: get, ReadAfter: "AAAA"}, status: 400, code: "context_invalid", sameKey: true},
			{name: "word of a write", q: Q{Op: put, Consistency: "quorum"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "word of eventual buckets", q: Q{Op: get, Consistency: "one"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "both conditions", q: Q{Op: put, IfMatch: "*", IfNoneMatch: "*"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "no tag", q: Q{Op: put, IfMatch: "1.1.1"}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "not nothing", q: Q{Op: put, IfNoneMatch: `"1.1.1"`}, status: 400, code: "invalid_argument", sameKey: true},
			{name: "too old", q: Q{Op: put, IdempotencyKey: "1-a"}, status: 409, code: "idempotency_expired", sameKey: true},
			{name: "counter of an eventual bucket", q: Q{Op: add, Bucket: "default", Delta: 1}, status: 422, code: "not_supported", sameKey: true},
		} {
			if c.q.Bucket == "" {
				c.q.Bucket = "s"
			}
			c.pick = n.led
			c.run(w, n)
		}
		w.strongEverywhere()
		w.strongOnce(n, stamp)
	})
}

// strongBucket makes a bucket and waits until all of it is served.
func (w *twoWays) strongBucket(name string) {
	w.t.Helper()
	n := w.nodes[0]
	if status, body := n.ask("POST", "/v1/buckets", `{"name":"`+name+`","mode":"strong"}`); status != 201 {
		w.t.Fatalf("%d %s", status, body)
	}
	w.within(5*time.Second, "every partition has an active primary", func() bool {
		for _, n := range w.nodes {
			r := n.node.ring.Load()
			for i := range r.Partitions {
				if c := r.Partitions[i].Strong; c == nil || !c.Activated {
					return false
				}
			}
		}
		return true
	})
}

// led is a key that begins so and whose primary in strong buckets is this node: then
// nobody else is named as the one that served it.
func (n *bubbleNode) led(prefix string) []byte {
	r := n.node.ring.Load()
	for i := 0; ; i++ {
		key := fmt.Appendf(nil, "%s %d", prefix, i)
		if r.Partitions[r.PartitionOf(hashring.Hash("s", key))].Primary == n.node.self {
			return key
		}
	}
}

// strongEverywhere: any node takes any request; the one that is no primary refuses it
// only if it is told not to forward.
func (w *twoWays) strongEverywhere() {
	w.t.Helper()
	key := []byte("everywhere")
	refused := 0
	for _, n := range w.nodes {
		c := oneCase{name: "at " + n.name, asIs: true, q: wire.ClientRequest{Op: wire.ClientPut, Bucket: "s", Key: key, Value: []byte(n.name)}, status: 204}
		c.run(w, n)
		for _, word := range []string{"leader", "quorum", "replica"} {
			c = oneCase{name: word + " at " + n.name, asIs: true, q: wire.ClientRequest{Op: wire.ClientGet, Bucket: "s", Key: key, Consistency: word}, status: 200, sameKey: true}
			c.run(w, n)
		}
		rep := w.byFrames(n, wire.ClientRequest{Op: wire.ClientPut, Bucket: "s", Key: key, OwnerOnly: true})
		if rep.Status == 204 {
			continue
		}
		refused++
		c = oneCase{name: "not the primary", asIs: true, q: wire.ClientRequest{Op: wire.ClientPut, Bucket: "s", Key: key, OwnerOnly: true}, status: 421, code: "not_owner", sameKey: true}
		c.run(w, n)
		if primary := w.nodes[0].node.ring.Load().Partitions[rep.Partition].Primary; len(rep.Owners) == 0 || rep.Owners[0] != w.nameOf(primary) {
			w.t.Errorf("%v are named, the primary is %s", rep.Owners, w.nameOf(primary))
		}
	}
	if refused != len(w.nodes)-1 {
		w.t.Errorf("%d of %d nodes are no primary", refused, len(w.nodes))
	}
}

func (w *twoWays) nameOf(sid [16]byte) string {
	self := api.Self{}
	return self.NodeName(w.nodes[0].node.ring.Load(), sid)
}

// strongOnce: one key names one write, whichever way and node it comes by.
func (w *twoWays) strongOnce(n *bubbleNode, stamp string) {
	w.t.Helper()
	q := wire.ClientRequest{Op: wire.ClientIncrement, Bucket: "s", Key: []byte("once"), Delta: 3, IdempotencyKey: stamp + "-once"}
	first := w.byHTTP(n, q)
	for _, n := range w.nodes {
		again := w.byFrames(n, q)
		if again.Status != 200 || again.Strong.Count != 3 || again.Strong.Version != first.Strong.Version || !again.Strong.Again {
			w.t.Errorf("%+v, first %+v", again, first)
		}
	}
	q.Delta++
	if rep := w.byFrames(n, q); rep.Code != "idempotency_mismatch" || rep.Status != 422 {
		w.t.Errorf("%+v", rep)
	}
}

// What becomes of requests when the primary dies, and when no majority is left: with
// an idempotency key a write is carried on to the next primary; what cannot be done is
// refused as not applied; what is stale says so.
func TestBubbleBothWaysStrongInTrouble(t *testing.T) {
	const put, get, add = wire.ClientPut, wire.ClientGet, wire.ClientIncrement
	type Q = wire.ClientRequest
	inTwoWays(t, 3, func(w *twoWays) {
		w.startAll()
		w.strongBucket("s")
		n, second, last := w.nodes[0], w.nodes[1], w.nodes[2]
		key := last.led("count")
		other := second.led("other")
		for _, k := range [][]byte{key, other} {
			if rep := w.byHTTP(n, Q{Op: add, Bucket: "s", Key: k, Delta: 1}); rep.Status != 200 {
				t.Fatalf("%+v", rep)
			}
		}
		value := last.led("value")
		if rep := w.byHTTP(n, Q{Op: put, Bucket: "s", Key: value, Value: []byte("v")}); rep.Status != 204 {
			t.Fatalf("%+v", rep)
		}
		// A full disk stops the writes that its node orders, not those that it passes on.
		n.node.testing.diskFull.Store(true)
		time.Sleep(2 * time.Second)
		for _, c := range []oneCase{
			{name: "full disk", q: Q{Op: put, Value: []byte("v")}, status: 507, code: "insufficient_storage", pick: n.led},
			{name: "through a full disk", q: Q{Op: put, Value: []byte("v")}, status: 204, pick: second.led},
			{name: "delete at a full disk", q: Q{Op: wire.ClientDelete}, status: 204, pick: n.led},
			{name: "read at a full disk", q: Q{Op: get}, status: 404, code: "key_not_found", sameKey: true, pick: n.led},
		} {
			c.q.Bucket = "s"
			c.run(w, n)
		}
		n.node.testing.diskFull.Store(false)
		time.Sleep(2 * time.Second)
		last.kill()
		for i, do := range []way{w.byHTTP, w.byFrames} {
			rep := do(n, Q{Op: add, Bucket: "s", Key: key, Delta: 1, Timeout: 20 * time.Second, IdempotencyKey: fmt.Sprintf("%d-%d", time.Now().UnixMilli(), i)})
			if rep.Status != 200 || rep.Strong.Count != int64(i)+2 {
				t.Errorf("%d: %+v", i, rep)
			}
			// Partitions with another primary have noticed nothing.
			if rep = do(n, Q{Op: get, Bucket: "s", Key: other}); rep.Status != 200 || rep.ServedBy != second.name {
				t.Errorf("%d: %+v", i, rep)
			}
		}
		second.kill()
		time.Sleep(10 * time.Second) // until everybody knows
		for _, c := range []oneCase{
			{name: "write", q: Q{Op: put, Value: []byte("v")}, status: 503, code: "primary_unavailable"},
			{name: "named write", q: Q{Op: put, IdempotencyKey: fmt.Sprint(time.Now().UnixMilli()) + "-a"}, status: 503, code: "primary_unavailable"},
			{name: "read", q: Q{Op: get}, status: 503, code: "primary_unavailable", sameKey: true},
			{name: "read by quorum", q: Q{Op: get, Consistency: "quorum"}, status: 504, code: "read_quorum_timeout", sameKey: true},
			{name: "read of a replica", q: Q{Op: get, Consistency: "replica"}, status: 503, code: "primary_unavailable", sameKey: true},
		} {
			c.asIs, c.q.Bucket, c.q.Key, c.q.Timeout = true, "s", other, time.Second
			c.run(w, n)
		}
		// A primary that is cut off from the others cannot know whether they take it.
		for _, c := range []oneCase{
			{name: "write at a primary without others", q: Q{Op: put, Value: []byte("v")}, status: 504, code: "write_quorum_timeout"},
			{name: "read at a primary without others", q: Q{Op: get}, status: 504, code: "read_quorum_timeout", sameKey: true},
		} {
			c.pick, c.q.Bucket, c.q.Timeout = n.led, "s", time.Second
			c.run(w, n)
		}
		// The dead nodes are the two others, so this one shows all that it has applied.
		stale := oneCase{name: "stale", asIs: true, status: 200, sameKey: true, q: Q{Op: get, Bucket: "s", Key: value, Consistency: "stale"}}
		stale.run(w, n)
		last.start()
		second.start()
		w.within(30*time.Second, "a majority serves again", func() bool {
			return w.byHTTP(n, Q{Op: add, Bucket: "s", Key: key, Delta: 1}).Status == 200
		})
	})
}
