package strong

import (
	"fmt"
	"time"
)

// Values that change by themselves (D5): only of keys that no client reads, since what
// is read of them before it is found is wrong, of course.

// coldKeys are written now and then, without a condition.
const coldKeys = 5

func (w *world) putCold() {
	n := w.at(w.ring.cfg.Primary)
	if n == nil || !n.up {
		return
	}
	op := &Op{Kind: OpPut, Bucket: bucket, Key: fmt.Appendf(nil, "cold%d", w.rng.IntN(coldKeys)), Data: fmt.Appendf(nil, "c%d", w.rng.IntN(1000)), Deadline: w.now + time.Second}
	if w.chance(0.2) {
		op.Kind, op.Data = OpDelete, nil
	}
	n.input(func() { n.r.Submit(op) })
}

// rot changes one value at one store, unless there is one already. Now and then that
// happens in a restart and the store's sum fits it: what a lost write would look like.
func (w *world) rot() {
	n := w.anyNode()
	if !w.sound() || !n.up || n.suspect || len(n.batches) > 0 || len(n.view.staged)+len(n.view.held) > 0 || !w.ring.cfg.IsMember(n.sid) || len(w.ring.cfg.Members()) < 3 {
		return
	}
	key := testKey(bucket, fmt.Appendf(nil, "cold%d", w.rng.IntN(coldKeys)))
	g := n.r.hard.Generation
	row, ok := n.view.gen(g).values[key]
	if !ok || !row.Value.Live() {
		return
	}
	v := *row.Value
	v.Data, v.Version.Index = []byte("rotten"), v.Version.Index-1
	off := SumOf(row.Bucket, row.Key, &v) - SumOf(row.Bucket, row.Key, row.Value)
	row.Value = &v
	n.view.gen(g).values[key], n.disk.gen(g).values[key] = row, row
	w.rotten = n
	w.count["rot"]++
	w.trace("%s: %s rots", n.name(), row.Key)
	if w.chance(0.4) {
		n.disk.hard.Sum += off
		w.count["rot with its sum"]++
		w.crashFor(n, w.between(ms, 50*ms))
	}
}

// sound tells that all is well again after the last value that rotted: one fault at a
// time, since two stores of three that are wrong outvote the third.
func (w *world) sound() bool {
	for _, n := range w.nodes {
		if w.rotten != nil && w.ring.cfg.Holds(n.sid) && (!n.up || n.r.differing() || n.r.hard.Sum != n.realSum() || n.rotten()) {
			return false
		}
	}
	return true
}

// realSum adds the values up.
func (n *node) realSum() (sum uint64) {
	for _, row := range n.view.gen(n.r.hard.Generation).values {
		sum += SumOf(row.Bucket, row.Key, row.Value)
	}
	return sum
}

func (n *node) rotten() bool {
	for _, row := range n.view.gen(n.r.hard.Generation).values {
		if string(row.Value.Data) == "rotten" {
			return true
		}
	}
	return false
}

// scrubs sets the pace of the scrubs.
func (w *world) scrubs() {
	if n := w.anyNode(); n.up {
		n.input(func() { n.r.Scrub() })
	}
	w.after(w.between(10*ms, 60*ms), w.scrubs)
}
