package strong

import (
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
)

// raiseCommit takes note that the log up to n is committed.
func (r *Replica) raiseCommit(n uint64) {
	if n > r.hard.Commit {
		if n > r.log.lastIndex() {
			assert.Fail("S9", "commit %d, log to %v", n, r.log.last())
		}
		r.hard.Commit = n
	}
}

// apply carries out what is committed, in order. Value, completion record and applied
// index go into one batch (S12), when the storage sees fit: the log holds them too.
func (r *Replica) apply() {
	upto := r.hard.Commit
	if plant.Is(plant.StrongApplyUncommitted) {
		upto = r.log.lastIndex()
		r.hard.Commit = upto
	}
	if most := r.hard.Applied + uint64(r.opts.Apply); upto > most {
		upto = most
		r.wake(r.now.Mono)
	}
	for r.hard.Applied < upto {
		e := r.log.cached(r.hard.Applied + 1)
		r.effectIn(r.hard.Generation, e)
		r.log.applied(e)
		r.hard.Applied, r.hardMoved = e.Index, true
		r.hard.LogTimeMS = max(r.hard.LogTimeMS, e.TimeMS)
		if e.Kind == Effect {
			r.hard.Sum += SumOf(e.Bucket, e.Key, e.Value) - e.Old
			r.scrubApplied(e)
		}
		r.compareSum()
	}
	r.expire()
}

// effectIn stages one entry's writes in a generation, lazily in the one that counts. A
// snapshot's has no tombstones: they would go with their entries (dropTombstones), and the
// log begins behind those.
func (r *Replica) effectIn(generation uint64, e *Entry) {
	lazy := generation == r.hard.Generation
	if e.Kind == Effect {
		w := Write{Kind: PutValue, Generation: generation, Row: Row{Bucket: e.Bucket, Key: e.Key, Value: e.Value}, Lazy: lazy}
		if e.Value.Tombstone && !lazy {
			w.Kind, w.Row.Value = DropValue, nil
		}
		r.write(w)
	}
	if e.Done != nil && !plant.Is(plant.StrongNoCompletion) {
		r.write(Write{Kind: PutCompletion, Generation: generation, Row: Row{Done: e.Done}, Lazy: lazy})
	}
}

// expire lets old completion records go. A request whose stamp is that old is never
// carried out any more, since the log's time only grows; so nothing is forgotten.
func (r *Replica) expire() {
	before := r.hard.LogTimeMS - r.opts.Window.Milliseconds()
	if plant.Is(plant.StrongExpiresEarly) {
		before = r.hard.LogTimeMS - r.opts.Window.Milliseconds()/16
	}
	// In sixteenths of the window: each is a range deletion.
	if r.hard.Applied > 0 && before-r.expireMS >= r.opts.Window.Milliseconds()/16 {
		r.expireMS = before
		r.write(Write{Kind: Expire, Generation: r.hard.Generation, StampMS: before})
	}
}

// compact cuts off the front of the log: what every store that holds it has applied,
// and past the bounds what a store may lack, which will then need a snapshot. Tombstones
// go with their entries: order comes from the log, so nobody can miss them (3.5).
func (r *Replica) compact() {
	o, base, last := &r.opts, r.log.base.Index, r.log.lastIndex()
	if r.log.kept > o.CacheBytes {
		synced := min(r.durable, r.hard.Applied)
		r.log.shed(func(i uint64) bool { return i <= synced })
	}
	if r.lead != nil && r.lead.phase == leading {
		r.safe = max(r.safe, r.lead.leastApplied(r))
	}
	to := min(r.safe, r.hard.Applied)
	if n := int(last - base); n > o.LogEntries || r.log.bytes > o.LogBytes {
		half := base + uint64(n+1)/2
		if n > pinFactor*o.LogEntries || r.log.bytes > pinFactor*o.LogBytes {
			to = max(to, half)
		} else {
			to = max(to, min(half, r.pinned()))
		}
		to = min(to, r.hard.Applied)
	}
	if to < base+uint64(o.CutEntries) {
		return
	}
	r.dropTombstones(base+1, to)
	assert.That(to <= r.hard.Applied, "S8", "cut to %d, applied %d", to, r.hard.Applied)
	r.write(Write{Kind: CutHead, Index: to})
	r.log.cutHead(to)
	r.hard.Base, r.hardDirty = r.log.base, true
}

// leastApplied is what every store that holds the log has applied and will have again.
func (l *lead) leastApplied(r *Replica) uint64 {
	least := r.kept()
	for _, p := range l.peers {
		least = min(least, p.applied)
	}
	return least
}

// pinned is the highest index that a snapshot under way lets the log be cut to.
func (r *Replica) pinned() uint64 {
	to := r.hard.Applied
	if r.lead == nil {
		return to
	}
	for _, p := range r.lead.peers {
		if p.pin > 0 && r.now.Mono < p.pinAt+pinFor {
			to = min(to, p.pin)
		}
	}
	return to
}

// dropTombstones drops the deletions that entries from..to left, if they still stand.
func (r *Replica) dropTombstones(from, to uint64) {
	for i := from; i <= to; i++ {
		if !r.log.head[i-r.log.base.Index-1].Tombstone {
			continue
		}
		e := r.entry(i)
		if e == nil {
			return
		}
		v, err := r.store.Value(r.hard.Generation, e.Bucket, e.Key)
		if err == nil && v != nil && v.Version == e.Value.Version {
			r.write(Write{Kind: DropValue, Generation: r.hard.Generation, Row: Row{Bucket: e.Bucket, Key: e.Key}})
		}
	}
}
