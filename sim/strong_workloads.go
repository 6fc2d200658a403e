package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Workloads on the strong bucket. Every read kind is mixed on the same keys, and what
// has an id is sent again, twice at a time, when no good answer comes.
var strongWorkloads = []workload{
	{"linear", "W1", "values of a strong bucket read, written, compared-and-set and deleted, by every kind of read", linear},
	{"append", "W2", "lists in a strong bucket that grow by compare-and-set", appends},
	{"create", "W3", "keys of a strong bucket created if absent, by several clients at once", creates},
	{"count", "W4", "counters of a strong bucket, every retry sent twice", counts},
	{"locks", "W5", "locks in a strong bucket, with fencing tokens", locks},
}

// counterKeys begin with it.
const counterKeys = "C"

// onStrong picks a key of the workload's present set, and mostly a node that may lead it.
func (o *order) onStrong(set string, keys int) strongSeen {
	o.req.Bucket = strongBucket
	o.req.Key = fmt.Appendf(nil, "%s%d.%d", set, o.w.now/era, o.r.IntN(max(1, keys)))
	ring := o.w.auth.ringAt(o.w.auth.state.Version)
	p := ring.PartitionOf(hashring.Hash(strongBucket, o.req.Key))
	if o.r.IntN(8) == 0 {
		o.req.Timeout = between(o.r, 100*time.Millisecond, 8*time.Second)
	}
	switch list := o.w.auth.state.Partitions[p].Replicas; o.r.IntN(4) {
	case 0:
		o.node = o.w.bySID[list[o.r.IntN(len(list))]]
	case 1, 2: // a client that knows the primary
		o.node = o.w.bySID[o.w.auth.state.Partitions[p].Primary]
	}
	return o.client.strong[string(o.req.Key)]
}

// strongGet reads, at a level of some kind.
func (o *order) strongGet() {
	o.req.Op = core.OpGet
	o.req.Level = []core.Level{core.LevelDefault, core.LevelLeader, core.LevelLeader, core.LevelQuorum, core.LevelQuorum, core.LevelReplica, core.LevelReplica, core.LevelStale}[o.r.IntN(8)]
	if o.req.Level == core.LevelDefault && o.w.draw.Strong.Lease > 0 {
		o.req.Level = core.LevelLease
	}
	if o.req.Level != core.LevelDefault && o.r.IntN(2) == 0 {
		o.node = nil
	}
}

// identify gives a write an id in most cases; some are a little in the past.
func (o *order) identify(always bool) {
	if !always && o.r.IntN(3) == 0 {
		return
	}
	n := o.w.nodes[o.r.IntN(len(o.w.nodes))]
	o.req.StrongID = o.w.load.newID(o.w, n)
}

func (o *order) strongPut(seen strongSeen, match bool) {
	o.put()
	if match {
		o.match(seen)
	}
	o.identify(false)
}

// match makes a write conditional on what the client saw last.
func (o *order) match(seen strongSeen) {
	if seen.value != "" {
		o.req.If.IfMatch = seen.version
	} else if o.req.Op == core.OpPut {
		o.req.If.IfNoneMatch = true
	}
}

func linear(o *order) {
	seen := o.onStrong("R", o.w.draw.Keys)
	switch k := o.r.IntN(20); {
	case k < 10:
		o.strongGet()
	case k < 13:
		o.strongPut(seen, false)
	case k < 17:
		o.strongPut(seen, true)
	default:
		o.del()
		if o.r.IntN(2) == 0 {
			o.match(seen)
		}
		o.identify(false)
	}
}

// appends: a value is its name, and behind it all names that were there before.
func appends(o *order) {
	seen := o.onStrong("L", max(1, o.w.draw.Keys/2))
	if seen.value == "" && o.r.IntN(3) > 0 || o.r.IntN(5) == 0 {
		o.strongGet()
		return
	}
	o.w.load.valueSeq++
	name := fmt.Sprintf("v%d", o.w.load.valueSeq)
	list := name
	if seen.value != "" {
		list = seen.list + "," + name
	}
	o.req.Op, o.req.Value = core.OpPut, []byte(name+" "+list)
	o.match(seen)
	o.identify(false)
}

// listOf is the list that a value of W2 carries.
func listOf(v []byte) string {
	_, list, _ := bytes.Cut(v, []byte(" "))
	return string(list)
}

func creates(o *order) {
	o.onStrong("N", 1+4*o.w.draw.Keys)
	if o.r.IntN(3) == 0 {
		o.strongGet()
		return
	}
	o.put()
	o.req.If = strong.Condition{IfNoneMatch: true}
	o.identify(false)
}

// maxAdds of a counter: each adds another power of two.
const maxAdds = 60

func counts(o *order) {
	o.onStrong(counterKeys, max(1, o.w.draw.Keys/2))
	adds := o.w.load.adds[string(o.req.Key)]
	if o.r.IntN(3) == 0 || adds >= maxAdds {
		o.strongGet()
		return
	}
	o.w.load.adds[string(o.req.Key)]++
	o.req.Op, o.req.Delta = core.OpIncrement, 1<<adds
	o.identify(true)
}

// lockOrder is a lock as its holders see it: they bring their token to a resource that
// takes nothing from tokens below the highest that it has seen.
type lockOrder struct {
	holder *client
	value  string
	token  strong.Version
	since  time.Duration
}

// holdMost is how long a client keeps a lock before it gives it back.
const holdMost = 3 * time.Second

func locks(o *order) {
	seen := o.onStrong("K", max(1, o.w.draw.Keys/4))
	key := string(o.req.Key)
	if l := o.w.load.locks[key]; l != nil && l.holder == o.client && o.w.now-l.since > between(o.r, 0, holdMost) {
		delete(o.w.load.locks, key) // it stops working before it lets go
		o.client.saw(key, strongSeen{version: l.token, value: l.value})
		o.del()
		o.req.If.IfMatch = l.token
		o.identify(true)
		return
	}
	switch {
	case seen.value != "" && o.r.IntN(20) == 0: // a holder that forgot it, or died
		o.del()
		o.match(seen)
		o.identify(true)
	case o.r.IntN(3) == 0:
		o.strongGet()
	default:
		o.put()
		o.req.If.IfNoneMatch = true
		o.identify(true)
		o.lock = &lockOrder{holder: o.client, value: valueName(o.req.Value)}
	}
}

// granted: the client holds the lock now, and shows its token to the resource.
func (k *lockOrder) granted(c *call, r *core.Reply) {
	if k == nil {
		return
	}
	w := c.node.w
	k.token, k.since = r.Strong.Version, w.now
	w.load.locks[c.strong.key] = k
	w.probe.hit(pLocked)
}

// appended holds the lists of W2 against what was acked: each element once, and all that
// were acked before.
func (w *World) appended() {
	acked := map[string][]int{}
	for i := range w.load.history {
		if o := &w.load.history[i]; o.Bucket == strongBucket && strings.HasPrefix(o.Key, "L") && o.Outcome == 0 && o.Value != "" {
			acked[o.Key] = append(acked[o.Key], i)
		}
	}
	lists := w.strong.lists()
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		list := lists[key]
		names := strings.Split(list, ",")
		for n, name := range names {
			if slices.Contains(names[:n], name) {
				w.violate(Violation{Check: "lists", Kind: "DUPLICATE", Bucket: strongBucket, Key: key, Detail: name + " is in the list twice"})
			}
		}
		for _, i := range acked[key] {
			if name := w.load.history[i].Value; !slices.Contains(names, name) {
				w.violate(Violation{Check: "lists", Kind: "LOST", Bucket: strongBucket, Key: key, Detail: name + " was appended, and the list is " + list}.by(i))
			}
		}
	}
}

// lists are those of W2 at the end of the committed sequence, by key.
func (t *strongTruth) lists() map[string]string {
	out := map[string]string{}
	for _, sp := range t.parts { // order-free: each by itself
		for key, list := range sp.effects { // order-free: likewise
			if v := list[len(list)-1].Value; strings.HasPrefix(key, "L") && v.Live() {
				out[key] = listOf(v.Data)
			}
		}
	}
	return out
}
