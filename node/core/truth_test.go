package core

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

type dots map[version.Dot]bool

// truth is the causal ground truth of a run: who wrote what, having seen what. It
// watches every step and believes nothing that a context says.
type truth struct {
	w        *world
	attempts []*attempt
	byID     map[version.RequestID]*attempt
	minted   map[version.Dot]*mint
	volatile map[*wnode]map[rowKey]*version.Object // as of the newest batch, durable or not
	boots    map[*wnode]int
	reads    []seenRead
	settled  func(key string) version.Vector // what purge rounds have settled; nil: there are none
}

func (t *truth) settledOf(key string) version.Vector {
	if t.settled == nil {
		return nil
	}
	return t.settled(key)
}

// purged: the dot was a deletion, or expired, and a round has settled it.
func (t *truth) purged(d version.Dot) bool {
	m := t.minted[d]
	return m != nil && (m.by.call.req.Op == OpDelete || m.by.call.req.TTL > 0) && t.settledOf(m.by.key).Covers(d)
}

// attempt is one client write.
type attempt struct {
	call  *call
	key   string
	knows dots // what its context stands for; nil without one
	mints []*mint
}

// mint is one dot made for an attempt, and what it may rightly overwrite.
type mint struct {
	dot    version.Dot
	by     *attempt
	covers dots
	synced map[*wnode]bool // stores that have had it, or what overwrote it, on disk
}

// seenRead is a finished read of a strict bucket.
type seenRead struct {
	key     string
	ended   time.Duration
	context version.Vector
}

func newTruth(w *world) *truth {
	t := &truth{w: w, byID: map[version.RequestID]*attempt{}, minted: map[version.Dot]*mint{}, volatile: map[*wnode]map[rowKey]*version.Object{}, boots: map[*wnode]int{}}
	w.onStep, w.onSync = t.watch, t.durable
	return t
}

// watch finds dots that nobody has seen before: they were minted in this step.
func (t *truth) watch(n *wnode, r *Ready) {
	if t.boots[n] != n.boot {
		t.boots[n], t.volatile[n] = n.boot, map[rowKey]*version.Object{}
	}
	if r.Batch != nil {
		for _, rec := range r.Batch.Records {
			t.look(n, rec.Partition, rec.Bucket, string(rec.Key), rec.Object)
			t.volatile[n][rowKey{partition: rec.Partition, bucket: rec.Bucket, key: string(rec.Key)}] = rec.Object
		}
		for _, h := range r.Batch.Hints {
			t.look(n, h.Partition, h.Bucket, string(h.Key), h.Object)
			t.volatile[n][rowKey{h.Partition, h.Bucket, h.Target, string(h.Key)}] = h.Object
		}
	}
	for _, o := range r.Now {
		if m := o.Message; m != nil && (m.Kind == MsgWrite || m.Kind == MsgHint) {
			t.look(n, m.Partition, m.Bucket, string(m.Key), m.Object)
		}
	}
	for _, g := range r.AfterSync {
		if m := g.Out.Message; m != nil && (m.Kind == MsgWrite || m.Kind == MsgHint) {
			t.look(n, m.Partition, m.Bucket, string(m.Key), m.Object)
		}
	}
}

func (t *truth) look(n *wnode, p uint32, b hashring.BucketID, key string, o *version.Object) {
	if o == nil {
		return
	}
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if t.minted[s.Dot] != nil {
			continue
		}
		a := t.byID[s.Request]
		if a == nil {
			t.w.t.Fatalf("dot %v of a request that nobody made", s.Dot)
		}
		m := &mint{dot: s.Dot, by: a, covers: a.knows, synced: map[*wnode]bool{}}
		switch {
		case a.knows != nil:
		case a.call.req.Op == OpPut:
			m.covers = t.siblings(n, p, b, key)
		default: // it has read R owners: anything that is anywhere and that it left out
			m.covers = dots{}
			left := dots{}
			left.add(o)
			for _, other := range t.w.nodes {
				for d := range t.siblings(other, p, b, key) {
					if o.Context.Covers(d) && !left[d] {
						m.covers[d] = true
					}
				}
			}
		}
		t.minted[s.Dot] = m
		a.mints = append(a.mints, m)
	}
}

// durable notes which dots a store now has on disk.
func (t *truth) durable(n *wnode, batches []*Batch) {
	for _, b := range batches {
		for _, r := range b.Records {
			t.have(n, string(r.Key), r.Object)
		}
		for _, h := range b.Hints {
			t.have(n, string(h.Key), h.Object)
		}
	}
}

func (t *truth) have(n *wnode, key string, o *version.Object) {
	for _, a := range t.attempts {
		for _, m := range a.mints {
			if a.key == key && o != nil && o.Context.Covers(m.dot) {
				m.synced[n] = true
			}
		}
	}
}

// ackedAsSaid: at the moment of the answer so many distinct stores had synced it as
// the receipt says (D1, E2).
func (a *attempt) ackedAsSaid() error {
	r := a.call.reply
	if r.Outcome != Applied || r.NothingWritten {
		return nil
	}
	most := 0
	for _, m := range a.mints {
		most = max(most, len(m.synced))
	}
	if most < r.Receipt.Acks || r.Receipt.Acks < r.Receipt.Need {
		return fmt.Errorf("UNSYNCED: %s acked as %v, %d stores have it on disk", a.call.req.Value, r.Receipt, most)
	}
	return nil
}

// onlyDurable: a read shows nothing that a crash of all could take back (D1).
func (t *truth) onlyDurable(o *version.Object) error {
	if o == nil {
		return nil
	}
	for i := range o.Siblings {
		if d := o.Siblings[i].Dot; len(t.minted[d].synced) == 0 {
			return fmt.Errorf("DIRTY: a read shows %v, which is on no disk", d)
		}
	}
	return nil
}

// siblings are what a store holds of a key in record and hints, staged included.
func (t *truth) siblings(n *wnode, p uint32, b hashring.BucketID, key string) dots {
	out := dots{}
	for _, target := range append([]hashring.SID{{}}, t.w.ring.Partitions[p].Replicas...) {
		k := rowKey{p, b, target, key}
		o, ok := t.volatile[n][k]
		if !ok || n.core == nil {
			if o = n.disk.records[k]; !target.IsZero() {
				o = n.disk.hints[k].object
			}
		}
		out.add(o)
	}
	return out
}

func (d dots) add(o *version.Object) {
	if o != nil {
		for i := range o.Siblings {
			d[o.Siblings[i].Dot] = true
		}
	}
}

// token is what a client holds of a key: the opaque context, and what it stands for.
type token struct {
	context version.Context
	knows   dots
}

// wrote registers a write before it is asked for.
func (t *truth) wrote(c *call, key string, with *token) *attempt {
	a := &attempt{call: c, key: key}
	if with != nil {
		a.knows = with.knows
	}
	t.attempts = append(t.attempts, a)
	t.byID[c.req.ID] = a
	return a
}

// gained is the token that a write's answer gives.
func (a *attempt) gained(r *Reply) *token {
	out := &token{r.Context, dots{}}
	for d := range a.knows {
		out.knows[d] = true
	}
	for _, m := range a.mints {
		if r.Context.Seen.Covers(m.dot) {
			out.knows[m.dot] = true
			if a.knows == nil {
				for d := range m.covers {
					out.knows[d] = true
				}
			}
		}
	}
	return out
}

func (a *attempt) acked() bool { return a.call.reply != nil && a.call.reply.Outcome == Applied }

// finalKey holds what is left of a key, after everything is quiet, against all that
// was written: LOST is an acked write that is neither there nor overwritten by one
// that had seen it; RESURRECTED is a sibling beside an acked write that had seen it.
func (t *truth) finalKey(key string, last *version.Object) error {
	present := dots{}
	present.add(last)
	for _, a := range t.attempts {
		if a.key != key || !a.acked() {
			continue
		}
		if a.call.reply.NothingWritten {
			continue
		}
		kept := false
		for _, m := range a.mints {
			kept = kept || t.explained(m.dot, present, dots{})
		}
		if !kept {
			return fmt.Errorf("LOST: %s of %s, acked by %s at %v as %v; left is %v", a.call.req.Value, key, a.call.node.name, a.call.ended, a.dots(), last)
		}
		for _, m := range a.mints {
			for d := range m.covers {
				if present[d] && a.call.reply.Context.Seen.Covers(m.dot) {
					return fmt.Errorf("RESURRECTED: %v of %s, which acked %v had overwritten; left is %v", d, key, m.dot, last)
				}
			}
		}
	}
	return nil
}

func (a *attempt) dots() (out []version.Dot) {
	for _, m := range a.mints {
		out = append(out, m.dot)
	}
	return out
}

// explained: the dot is there, or one that had seen it is, or is explained itself.
func (t *truth) explained(d version.Dot, present, tried dots) bool {
	if present[d] || t.purged(d) {
		return true
	}
	tried[d] = true
	for _, m := range t.minted {
		if m.covers[d] && !tried[m.dot] && t.explained(m.dot, present, tried) {
			return true
		}
	}
	return false
}

// outcomes: a write that was said not to be applied was never minted.
func (t *truth) outcomes() error {
	for _, a := range t.attempts {
		if r := a.call.reply; r != nil && r.Outcome == NotApplied && len(a.mints) > 0 {
			return fmt.Errorf("%s of %s: answered %v not_applied (%s), and minted as %v", a.call.req.Value, a.key, r.Code, r.Detail, a.dots())
		}
	}
	return nil
}

// strictRead: what was acked before the read began, or read by another that ended
// before, is in it (R+W>N; E11).
func (t *truth) strictRead(c *call, key string) error {
	for _, a := range t.attempts {
		if a.key != key || !a.acked() || a.call.ended >= c.began || a.call.reply.NothingWritten || a.call.req.W != 0 {
			continue
		}
		covered := false
		for _, m := range a.mints {
			covered = covered || c.reply.Context.Seen.Covers(m.dot) || t.settledOf(key).Covers(m.dot)
		}
		if !covered {
			return fmt.Errorf("STALE: a read of %s begun at %v does not know %s, acked at %v as %v; it knows %v", key, c.began, a.call.req.Value, a.call.ended, a.dots(), c.reply.Context.Seen)
		}
	}
	for _, r := range t.reads {
		if r.key == key && r.ended < c.began && !c.reply.Context.Seen.Join(t.settledOf(key)).Dominates(r.context) {
			return fmt.Errorf("BACKWARDS: a read of %s begun at %v knows %v, one that ended at %v knew %v", key, c.began, c.reply.Context.Seen, r.ended, r.context)
		}
	}
	t.reads = append(t.reads, seenRead{key, c.ended, c.reply.Context.Seen})
	return nil
}
