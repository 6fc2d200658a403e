package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// What strong partitions come to at rest: an active primary, sets that are the first
// stores of the list, nothing left to learn, and every store with the whole log applied.

// strongPending names what keeps strong partitions from rest.
func (w *World) strongPending() (out []string) {
	for p := range w.auth.state.Partitions {
		part := &w.auth.state.Partitions[p]
		c := part.Strong
		if c == nil {
			continue
		}
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("strong p%d (%s): ", p, w.auth.drawConfig(uint32(p)))+fmt.Sprintf(format, args...))
		}
		switch {
		case !c.Activated:
			say("it has no active primary")
			continue
		case len(c.Sets) > 1 || len(c.Learners) > 0:
			say("a change of its stores is under way")
			continue
		case !sameStores(c.Sets[0], part.Replicas):
			say("its set is not its list")
			continue
		}
		sp := w.strong.part(uint32(p))
		for _, sid := range c.Sets[0] {
			n := w.holder(sid)
			if n == nil {
				continue
			}
			if r := n.eng.parts[p].strong; r == nil || int(r.hard.Applied) != len(sp.log) {
				applied := uint64(0)
				if r != nil {
					applied = r.hard.Applied
				}
				say("%s has applied %d of %d", n.name, applied, len(sp.log))
				break
			} else if r.hard.Diverged || r.rotten() > 0 || n.eng.drift.live() && n.eng.drift.p == uint32(p) {
				say("%s has damaged values", n.name) // a damaged entry of the log is met when it is read
				break
			}
		}
	}
	return out
}

func sameStores(a, b []hashring.SID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s hashring.SID) bool { return !slices.Contains(b, s) })
}

// verifyStrong holds what every member has applied against the committed sequence.
func (w *World) verifyStrong() {
	for p := range w.auth.state.Partitions {
		c := w.auth.state.Partitions[p].Strong
		if c == nil {
			continue
		}
		sp := w.strong.part(uint32(p))
		for _, sid := range c.Members() {
			if n := w.holder(sid); n != nil && n.eng.parts[p].strong != nil {
				w.sameAsLog(n, uint32(p), sp, n.eng.parts[p].strong)
			}
		}
	}
	w.appended()
	if w.strong.bucket != 0 {
		w.intruded()
	}
}

func (w *World) sameAsLog(n *node, p uint32, sp *strongPart, r *strongRows) {
	values := r.values()
	keys := make([]string, 0, len(sp.effects))
	for key := range sp.effects { // order-free: they are sorted
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		want := sp.valueAt(key, r.hard.Applied)
		if got := values[recordKey{w.strong.bucket, key}]; !sameValue(got, want) {
			w.violate(Violation{Check: "strong", Kind: "DIVERGED", Bucket: strongBucket, Key: key, Detail: fmt.Sprintf("p%d: %s has %s, the log says %s", p, n.name, drawValue(got), drawValue(want))})
			return
		}
	}
	for k, v := range values { // order-free: any that is too much
		if sp.valueAt(k.key, r.hard.Applied) == nil && v.Live() {
			w.violate(Violation{Check: "strong", Kind: "PHANTOM", Bucket: strongBucket, Key: k.key, Detail: fmt.Sprintf("p%d: %s has %s, and the log has nothing", p, n.name, drawValue(v))})
			return
		}
	}
}

// readStrong reads every key once more at every level: whoever has a majority serves (L1).
func (w *World) readStrong() {
	if w.strong.bucket == 0 {
		return
	}
	var keys []string
	for p := range w.draw.Partitions {
		for key := range w.strong.part(uint32(p)).effects { // order-free: they are sorted
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	reader := &client{id: len(w.load.clients), tokens: map[*keyTruth]*token{}}
	levels := []core.Level{core.LevelLeader, core.LevelQuorum, core.LevelReplica, core.LevelStale}
	for i := range keys {
		keys[i] = fmt.Sprintf("%d%s", i%len(levels), keys[i])
	}
	for end := w.now + readBound; len(keys) > 0 && !w.failed(); {
		var again []string
		var calls []*call
		batch := keys[:min(len(keys), 200)]
		for _, key := range batch {
			n := w.nodes[w.load.rand.IntN(len(w.nodes))]
			calls = append(calls, w.load.ask(w, n, reader, &core.Request{Op: core.OpGet, Bucket: strongBucket, Key: []byte(key[1:]), Level: levels[key[0]-'0']}, nil))
		}
		w.runUntil(w.now+5*time.Second, func() bool { return !slices.ContainsFunc(calls, func(c *call) bool { return !c.done }) })
		for i, c := range calls {
			if c.reply == nil || c.reply.Code != core.OK && c.reply.Code != core.KeyNotFound {
				again = append(again, batch[i])
			}
		}
		if len(again) > 0 {
			w.runUntil(w.now+time.Second, nil)
		}
		keys = append(again, keys[len(batch):]...)
		if w.now >= end && len(keys) > 0 {
			w.violate(Violation{Check: "liveness", Kind: "L1", Bucket: strongBucket, Key: keys[0][1:], Detail: fmt.Sprintf("%d keys of the strong bucket cannot be read %v after the healing", len(keys), readBound)})
		}
	}
}
