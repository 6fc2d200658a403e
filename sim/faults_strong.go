package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// strongFaults concern who orders and who counts in strong partitions. Without a strong
// bucket they do nothing.
var strongFaults = []class{
	{name: "move_primary", about: "primaries of strong partitions are moved, by hand-over or at once", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For, f.X = between(r, 100*time.Millisecond, 4*time.Second), float64(1+r.IntN(6))
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		for i := range int(f.X) {
			f.later(w, time.Duration(i)*f.For/time.Duration(f.X+1), func() { w.auth.movePrimary(r, uint32(r.IntN(w.draw.Partitions))) })
		}
		f.undone(func() {})
	}},
	{name: "reconfigure", about: "sets of strong partitions are changed step by step, to other stores, fewer or more, or back again", least: 3, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For, f.X = between(r, time.Second, 8*time.Second), float64(r.IntN(d.Partitions))
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		var again func()
		again = func() {
			w.auth.reconfigure(r, uint32(f.X))
			f.later(w, between(r, 50*time.Millisecond, time.Second), again)
		}
		again()
		f.undone(func() {})
	}},
	{name: "leader_churn", about: "the Raft group changes its leader, and the old one does not know at once", draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.For = between(r, time.Second, 10*time.Second)
	}, begin: func(w *World, f *Fault) {
		r := f.rand()
		var again func()
		again = func() {
			w.auth.depose()
			f.later(w, between(r, 300*time.Millisecond, 3*time.Second), again)
		}
		again()
		f.undone(func() {})
	}},
	{name: "value_rot", about: "a value of a strong partition fails its checksum (D5)", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
	}, begin: func(w *World, f *Fault) { w.nodes[f.nodes[0]].rotValue(f.rand()) }},
	{name: "value_drift", about: "a value of a strong partition becomes another one at one store, with a checksum that fits (D5)", off: true, least: 3, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 1)
	}, begin: func(w *World, f *Fault) { w.strong.drifts(w.nodes[f.nodes[0]], f.rand()) }},
	{name: "intruder", about: "an eventual write or hint for a key of the strong bucket comes to a store (S15)", least: 2, draw: func(f *Fault, r *rand.Rand, d *Draw) {
		f.nodes = some(r, d, 2)
	}, begin: func(w *World, f *Fault) { w.intrude(f.rand(), w.nodes[f.nodes[0]], w.nodes[f.nodes[1]]) }},
}

// intrude sends an eventual write or hint of a strong key, as a broken coordinator might.
func (w *World) intrude(r *rand.Rand, from, to *node) {
	ring := w.auth.ringAt(w.auth.state.Version)
	if w.strong.bucket == 0 || !from.running() || from.ring == nil {
		return
	}
	w.probe.hit(pIntruder)
	key := fmt.Appendf(nil, "R%d.%d", w.now/era, r.IntN(w.draw.Keys))
	p := ring.PartitionOf(hashring.Hash(strongBucket, key))
	dot := version.Dot{Actor: version.Actor(r.Uint64() | 1), Counter: 1}
	o := &version.Object{Context: version.Vector{dot}, Siblings: []version.Sibling{{Dot: dot, Value: []byte("intruder"), HLC: version.HLC(uint64(w.now.Milliseconds()+epochMS) << 16)}}}
	m := &core.Message{Kind: core.MsgWrite, From: from.sid, To: to.sid, ID: r.Uint64() >> 16, Partition: p, Bucket: w.strong.bucket, Key: key, Object: o,
		Epoch: from.ring.Partitions[p].PlanEpoch(), RingVersion: from.ring.Version}
	if r.IntN(2) == 0 {
		m.Kind, m.Target = core.MsgHint, w.nodes[r.IntN(len(w.nodes))].sid
	}
	w.send(from, m)
}

// intruded names a store that keeps an eventual object of a strong key.
func (w *World) intruded() {
	for _, n := range w.nodes {
		for p := range n.eng.parts {
			rows := &n.eng.parts[p]
			for k := range rows.records { // order-free: any of them
				if k.bucket == w.strong.bucket {
					w.violate(Violation{Check: "strong", Kind: "S15", Bucket: strongBucket, Key: k.key, Detail: n.name + " keeps an eventual record of it"})
				}
			}
			for k := range rows.hints { // order-free: any of them
				if k.bucket == w.strong.bucket {
					w.violate(Violation{Check: "strong", Kind: "S15", Bucket: strongBucket, Key: k.key, Detail: n.name + " keeps a hint of it"})
				}
			}
		}
	}
}

// movePrimary hands a primary over (an operator's move), or names another one at once (T1).
func (a *authority) movePrimary(r *rand.Rand, p uint32) {
	c := a.state.Partitions[p].Strong
	if c == nil || a.outage > 0 {
		return
	}
	members := c.Members()
	to := members[r.IntN(len(members))]
	if l := a.leaders.now; l != nil && r.IntN(2) == 0 {
		a.w.probe.hit(pHandOver)
		l.judge.Move(a.w.now-l.began, p, to)
		return
	}
	a.change([]hashring.StrongChange{{Partition: p, Epoch: c.Epoch, Kind: hashring.StrongPrimary, Primary: to}})
}

// reconfigure takes one step of a change of a partition's sets: into a joint
// configuration, out of it, or back.
func (a *authority) reconfigure(r *rand.Rand, p uint32) {
	part := &a.state.Partitions[p]
	c := part.Strong
	if c == nil || a.outage > 0 || a.w.strong.unsound(p) {
		return
	}
	step := hashring.StrongChange{Partition: p, Epoch: c.Epoch, Primary: part.Primary}
	switch {
	case len(c.Sets) == 2 && r.IntN(4) == 0:
		step.Kind = hashring.StrongAbort
		step.Primary = memberOf(r, c.Sets[0], part.Primary)
	case len(c.Sets) == 2:
		step.Kind = hashring.StrongSettle
		step.Primary = memberOf(r, c.Sets[1], part.Primary)
	default:
		step.Kind, step.Stores = hashring.StrongJoint, a.otherSet(r, c)
	}
	if len(step.Stores) > 0 || step.Kind != hashring.StrongJoint {
		a.change([]hashring.StrongChange{step})
	}
}

func memberOf(r *rand.Rand, set []hashring.SID, primary hashring.SID) hashring.SID {
	if slices.Contains(set, primary) {
		return primary
	}
	return set[r.IntN(len(set))]
}

// otherSet draws a set of one to five stores that are up.
func (a *authority) otherSet(r *rand.Rand, c *hashring.StrongConfig) (out []hashring.SID) {
	size := len(c.Sets[0])
	if r.IntN(3) == 0 {
		size = 1 + r.IntN(a.w.draw.Replicas)
	}
	for _, i := range r.Perm(len(a.w.nodes)) {
		n := a.w.nodes[i]
		st, ok := a.ringAt(a.state.Version).Store(n.sid)
		if ok && st.State == hashring.StoreUp && !n.doubted && !n.back && n.original == nil && n.eng.damaged() == 0 && len(out) < size {
			out = append(out, n.sid)
		}
	}
	if len(out) < size {
		return nil
	}
	return out
}

// canLoseStrong tells whether every set keeps a majority of stores without n's.
func (w *World) canLoseStrong(n *node) bool {
	for p := range w.auth.state.Partitions {
		c := w.auth.state.Partitions[p].Strong
		if c == nil {
			continue
		}
		for _, set := range c.Sets {
			living := 0
			for _, sid := range set {
				if o := w.holder(sid); o != nil && o != n && !o.doubted && !o.back {
					living++
				}
			}
			if living < hashring.Majority(len(set)) {
				return false
			}
		}
	}
	return true
}

func (a *authority) drawConfig(p uint32) string {
	part := &a.state.Partitions[p]
	c := part.Strong
	var sets []string
	for _, set := range append(slices.Clone(c.Sets), c.Learners) {
		var names []string
		for _, s := range set {
			names = append(names, a.w.name(s))
		}
		sets = append(sets, strings.Join(names, " "))
	}
	return fmt.Sprintf("e%d primary %s [%s] active %v", c.Epoch, a.w.name(part.Primary), strings.Join(sets, " | "), c.Activated)
}
