package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongTruth watches strong partitions from outside: what every store stages, and what
// that makes of the one committed sequence.
type strongTruth struct {
	w      *World
	bucket hashring.BucketID // 0: there is no strong bucket
	parts  map[uint32]*strongPart
	tries  map[string]*strongTry // writes by the name of their value
	byID   map[strong.RequestID]*strongTry
	names  map[versionOf]string // of values, as clients have seen them
	// drifted are the values that have changed by themselves, in order.
	drifted []*drift
}

// versionOf names a version: those of other partitions may be alike.
type versionOf struct {
	key string
	strong.Version
}

// strongPart is what is known of one partition.
type strongPart struct {
	created  map[strong.Position]*strong.Entry
	log      []*strong.Entry            // committed, from index 1
	effects  map[string][]*strong.Entry // of them, by key
	requests map[strong.RequestID]uint64
	views    map[*node]*strongView
	configs  map[uint64]*strongConfig // by epoch
	epoch    uint64                   // the newest of them
	alone    bool                     // some set was of one store
	lost     map[hashring.SID]uint64  // stores that are gone, or have left: how far their logs were durable
}

// strongConfig is a configuration that was committed.
type strongConfig struct {
	*hashring.StrongConfig
	primary hashring.SID
}

// strongView is the log of a running process as it has staged it.
type strongView struct {
	entries map[uint64]*strong.Entry
	hard    strong.Hard
	seen    uint64 // committed entries that were looked at
}

func (t *strongTruth) init(w *World) {
	t.w, t.parts, t.tries, t.byID, t.names = w, map[uint32]*strongPart{}, map[string]*strongTry{}, map[strong.RequestID]*strongTry{}, map[versionOf]string{}
}

func (t *strongTruth) part(p uint32) *strongPart {
	s := t.parts[p]
	if s == nil {
		s = &strongPart{created: map[strong.Position]*strong.Entry{}, effects: map[string][]*strong.Entry{}, requests: map[strong.RequestID]uint64{},
			views: map[*node]*strongView{}, configs: map[uint64]*strongConfig{}, lost: map[hashring.SID]uint64{}}
		t.parts[p] = s
	}
	return s
}

// published keeps the configurations that there were (S1).
func (t *strongTruth) published(s *hashring.State) {
	for p := range s.Partitions {
		c := s.Partitions[p].Strong
		if c == nil {
			continue
		}
		sp := t.part(uint32(p))
		old := sp.configs[c.Epoch]
		switch {
		case old != nil && old.StrongConfig == c:
		case c.Epoch < sp.epoch:
			t.wrong(uint32(p), "S1", "the ring goes back to epoch %d, and has had %d", c.Epoch, sp.epoch)
		case old == nil:
			sp.epoch = c.Epoch
			sp.alone = sp.alone || slices.ContainsFunc(c.Sets, func(set []hashring.SID) bool { return len(set) == 1 })
			sp.configs[c.Epoch] = &strongConfig{c, s.Partitions[p].Primary}
		case old.primary != s.Partitions[p].Primary || !slices.EqualFunc(old.Sets, c.Sets, slices.Equal):
			t.wrong(uint32(p), "S1", "two configurations of epoch %d: %s led the first one, and now %s", c.Epoch, t.w.name(old.primary), t.w.auth.drawConfig(uint32(p)))
		default:
			old.StrongConfig = c
		}
	}
}

func (t *strongTruth) wrong(p uint32, rule, format string, args ...any) {
	t.w.violate(Violation{Check: "strong", Kind: rule, Detail: fmt.Sprintf("p%d: ", p) + fmt.Sprintf(format, args...)})
}

// view of a process that has begun from what is on its disk.
func (t *strongTruth) view(n *node, p uint32) *strongView {
	sp := t.part(p)
	v := sp.views[n]
	if v == nil {
		v = &strongView{entries: map[uint64]*strong.Entry{}}
		if r := n.eng.parts[p].strong; r != nil {
			v.entries, v.hard = maps.Clone(r.entries), r.hard
		}
		v.seen = v.hard.Base.Index
		sp.views[n] = v
	}
	return v
}

// died forgets what a process had staged.
func (t *strongTruth) died(n *node) {
	for _, sp := range t.parts { // order-free: each by itself
		delete(sp.views, n)
	}
}

// lostStore remembers how far a store that is gone had come: what it acked was acked.
func (t *strongTruth) lostStore(n *node, e *engine) {
	for p := range e.parts {
		if r := e.parts[p].strong; r != nil {
			sp := t.part(uint32(p))
			sp.lost[n.sid] = max(sp.lost[n.sid], r.lastIndex())
		}
	}
}

func (r *strongRows) lastIndex() uint64 {
	i := r.hard.Base.Index
	for r.entries[i+1] != nil {
		i++
	}
	return i
}

// stepped looks at what a step staged for strong partitions. It is called before the
// engine knows of it, so that views begin from what was there before.
func (t *strongTruth) stepped(n *node, c *core.Core, b *core.Batch) {
	if b == nil {
		b = &core.Batch{}
	}
	for from := 0; from < len(b.Strong); {
		p, to := b.Strong[from].Partition, from+1
		for to < len(b.Strong) && b.Strong[to].Partition == p {
			to++
		}
		t.staged(n, p, b.Strong[from:to])
		from = to
	}
	c.StrongCommits(func(p uint32, commit uint64) {
		if v := t.view(n, p); commit > v.hard.Commit { // what is held back says so later
			v.hard.Commit = commit
			t.committed(n, p, v)
		}
	})
}

func (t *strongTruth) staged(n *node, p uint32, list []core.StrongWrite) {
	v := t.view(n, p)
	hard, had := false, uint64(0)
	for i := range list {
		switch w := &list[i].Write; w.Kind {
		case strong.PutEntry:
			t.create(n, p, w.Entry)
			if c := t.part(p).configs[w.Entry.Epoch]; w.Entry.Kind == strong.Barrier && v.hard.Diverged && c != nil && c.primary == n.sid && v.hard.Promised == w.Entry.Epoch && v.entries[w.Entry.Index] == nil {
				t.wrong(p, "D5", "%s leads epoch %d, and its values are wrong", n.name, w.Entry.Epoch)
			}
			v.entries[w.Entry.Index] = w.Entry
		case strong.CutTail:
			if w.Index <= v.hard.Commit && w.Index > v.hard.Base.Index && v.entries[w.Index] != nil {
				t.installs(n, p, w.Index, v, list)
			}
			for i := range v.entries { // order-free: the greatest
				had = max(had, i)
			}
			maps.DeleteFunc(v.entries, func(i uint64, _ *strong.Entry) bool { return i >= w.Index }) // order-free: each by itself
		case strong.PutHard:
			if w.Hard.Promised < v.hard.Promised {
				t.wrong(p, "S2", "%s promises %d after %d", n.name, w.Hard.Promised, v.hard.Promised)
			}
			if w.Hard.Diverged && !v.hard.Diverged {
				t.foundOut(n, p)
				if t.w.probe.n[pValueRot]+t.w.probe.n[pStrongDamage]+t.w.probe.n[pDrifted] == 0 {
					t.wrong(p, "D5", "%s finds its values wrong, and nothing was damaged", n.name)
				}
			}
			if w.Hard.Generation != v.hard.Generation {
				t.w.probe.hit(pSnapshot)
				v.seen = w.Hard.Base.Index // what it had of the log before counts for nothing
			}
			if r := n.eng.parts[p].strong; r != nil && (w.Hard.Applied < v.hard.Applied || w.Hard.Applied == 0 && cutsTail(list)) { // it leaves, and drops what it had
				sp := t.part(p)
				sp.lost[n.sid] = max(sp.lost[n.sid], r.lastIndex(), had) // some of it may be on its way to the disk
			}
			v.hard, hard = w.Hard, true
		}
	}
	if hard {
		t.committed(n, p, v)
	}
	for i := range list { // last, since what is cut off may have been committed in this step
		if w := &list[i].Write; w.Kind == strong.CutHead {
			maps.DeleteFunc(v.entries, func(i uint64, _ *strong.Entry) bool { return i <= w.Index }) // order-free: each by itself
			t.w.probe.hit(pLogCut)
		}
	}
}

func cutsTail(list []core.StrongWrite) bool {
	return slices.ContainsFunc(list, func(w core.StrongWrite) bool { return w.Kind == strong.CutTail })
}

// installs: a store that takes a snapshot, or leaves, drops its whole log; anything else
// must not truncate what is committed (S8).
func (t *strongTruth) installs(n *node, p uint32, index uint64, v *strongView, list []core.StrongWrite) {
	for i := range list {
		if w := &list[i].Write; w.Kind == strong.PutHard && (w.Hard.Generation != v.hard.Generation || w.Hard.Base.Index >= index || w.Hard.Commit < index && w.Hard.Base.Index == 0) {
			return
		}
	}
	t.wrong(p, "S8", "%s truncates from %d, and knows %d to be committed", n.name, index, v.hard.Commit)
}

// create holds every entry ever made to S3.
func (t *strongTruth) create(n *node, p uint32, e *strong.Entry) {
	sp := t.part(p)
	old := sp.created[e.At()]
	switch {
	case old == nil:
		sp.created[e.At()] = e
	case old != e && !sameEntry(old, e):
		t.wrong(p, "S3", "%s has %v, and %v was made before", n.name, e, old)
	}
}

func sameEntry(a, b *strong.Entry) bool {
	if a.At() != b.At() || a.Kind != b.Kind || a.Bucket != b.Bucket || !bytes.Equal(a.Key, b.Key) || (a.Value == nil) != (b.Value == nil) || (a.Done == nil) != (b.Done == nil) {
		return false
	}
	if a.Done != nil && *a.Done != *b.Done {
		return false
	}
	return a.Value == nil || sameValue(a.Value, b.Value)
}

func sameValue(a, b *strong.Value) bool {
	if !a.Live() || !b.Live() {
		return a.Live() == b.Live()
	}
	return a.Version == b.Version && a.Counter == b.Counter && bytes.Equal(a.Data, b.Data)
}

// committed holds what a store takes for committed to the one sequence.
func (t *strongTruth) committed(n *node, p uint32, v *strongView) {
	sp := t.part(p)
	for ; v.seen < v.hard.Commit; v.seen++ {
		i := v.seen + 1
		e := v.entries[i]
		switch {
		case e == nil && i <= v.hard.Base.Index: // cut off before this process began
			v.seen = v.hard.Base.Index - 1
		case e == nil:
			t.wrong(p, "S9", "%s knows %d to be committed and does not have it", n.name, i)
			v.seen = v.hard.Commit
			return
		case int(i) <= len(sp.log):
			if old := sp.log[i-1]; old != e && !sameEntry(old, e) {
				t.wrong(p, "S5", "%s has committed %v, and %v was", n.name, e, old)
			}
		case int(i) == len(sp.log)+1:
			t.commit(n, p, sp, v, e)
		default:
			t.wrong(p, "S5", "%s has committed %v, and nobody %d", n.name, e, len(sp.log)+1)
			return
		}
	}
}

func (t *strongTruth) commit(n *node, p uint32, sp *strongPart, v *strongView, e *strong.Entry) {
	t.logTime(p, sp, e)
	sp.log = append(sp.log, e)
	if e.Kind == strong.Barrier {
		t.w.probe.hitIf(len(sp.log) > 1, pFailover)
	}
	if t.w.telling() {
		t.w.note("%s: p%d commits %v", n.name, p, e)
	}
	if !t.onMajority(p, e.At()) {
		t.wrong(p, "S5", "%s takes %v for committed, and no configuration has it on a majority of the disks of each set", n.name, e)
	}
	if e.Kind != strong.Effect {
		return
	}
	t.w.probe.hitIf(e.Epoch < v.hard.Promised && e.Epoch < sp.epoch, pOldEntry)
	sp.effects[string(e.Key)] = append(sp.effects[string(e.Key)], e)
	try := t.tries[valueName(e.Value.Data)]
	if e.Done != nil {
		if old := sp.requests[e.Done.ID]; old != 0 {
			t.wrong(p, "S12", "request %v took effect at %d and %d", e.Done.ID, old, e.Index)
		}
		sp.requests[e.Done.ID] = e.Index
		try = t.byID[e.Done.ID]
	}
	if try != nil && !e.Value.Counter && try.at != (strong.Position{}) && try.at != e.At() {
		t.wrong(p, "S12", "%s took effect at %v and %v", try.name, try.at, e.At())
	}
	if try != nil {
		try.at = e.At()
		if try.refusedAll() {
			t.w.violate(t.about(try, "S14", "it was answered %v, and took effect at %v", try.code, e.At()))
		}
	}
}

// onMajority tells whether some configuration from the entry's epoch on has the entry on
// a majority of the disks of each set.
func (t *strongTruth) onMajority(p uint32, at strong.Position) bool {
	sp := t.part(p)
	for epoch, c := range sp.configs { // order-free: any of them
		if epoch >= at.Epoch && t.durableIn(p, c.StrongConfig, at) {
			return true
		}
	}
	return false
}

func (t *strongTruth) durableIn(p uint32, c *hashring.StrongConfig, at strong.Position) bool {
	for _, set := range c.Sets {
		n := 0
		for _, sid := range set {
			if t.onDisk(p, sid, at) {
				n++
			}
		}
		if n < hashring.Majority(len(set)) {
			return false
		}
	}
	return true
}

// onDisk tells whether a store has an entry durably, or what came of it, or had it when
// it was lost.
func (t *strongTruth) onDisk(p uint32, sid hashring.SID, at strong.Position) bool {
	n := t.w.holder(sid)
	if n == nil || t.part(p).lost[sid] >= at.Index {
		return t.part(p).lost[sid] >= at.Index
	}
	r := n.ownDisk().parts[p].strong
	if r == nil {
		return false
	}
	e := r.entries[at.Index]
	return e != nil && e.Epoch == at.Epoch || r.hard.Applied >= at.Index && r.hard.Base.Index >= at.Index
}

// valueAt is what the key holds once the log up to index is applied.
func (sp *strongPart) valueAt(key string, index uint64) *strong.Value {
	list := sp.effects[key]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Index <= index {
			return list[i].Value
		}
	}
	return nil
}
