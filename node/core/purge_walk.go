package core

import (
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

const (
	maxWalks  = 2                // at a time in a shard
	walkAgain = 30 * time.Second // after one that could not read
)

// purgeWalk goes once over what a purge concerns at a full owner, after its clock has
// risen: what had expired at T becomes a tombstone of the same dot, alike everywhere
// (E8); what is only tombstones within the clock goes (E5). A copy that comes later is
// the guard's (E6).
//
// It reads what is durable once all is that was staged when the clock rose, and acts on
// the newest object of each key. What comes after that has been guarded with the new
// clock, and what had expired was converted by the new T as it came.
type purgeWalk struct {
	id         uint64
	part       *part
	generation uint64
	after      antientropy.Pos
	more       bool
	settled    uint64 // dropped and converted
}

// walkWaits tells whether the clock has risen since this full owner's last walk, also
// before a restart. Where nothing waits there is nothing to walk over.
func (c *Core) walkWaits(p *part) bool {
	at := c.ring.Purge(p.id).Generation
	if at <= p.rounds.walked {
		return false
	}
	if role, ok := c.ring.Role(p.id, c.cfg.Self); !ok || role != hashring.Full {
		return false
	}
	if p.counters.Tombstones == 0 && p.counters.Expiring == 0 {
		p.rounds.walked = at
		return false
	}
	return true
}

func (c *Core) beginWalks() {
	for _, id := range sortedKeys(c.parts) {
		if c.purge.walks >= maxWalks {
			return
		}
		if p := c.parts[id]; p.rounds.walk == nil && p.rounds.retry <= c.now.Mono && c.walkWaits(p) {
			w := &purgeWalk{part: p, generation: c.ring.Purge(id).Generation}
			w.id = c.addOp(w)
			p.rounds.walk = w
			c.purge.walks++
			c.whenDurable(c.lastSeq, func() { w.read(c) })
		}
	}
}

func (w *purgeWalk) read(c *Core) {
	l := Load{Kind: LoadPurgeable, Partition: w.part.id, LeafAfter: w.after, AtMS: w.expiredBy(c), MaxRows: purgeRows, MaxBytes: LoadSliceBytes, Brief: true}
	c.purgeLoad(l, func(l *Loaded) { w.loaded(c, l) })
}

func (w *purgeWalk) loaded(c *Core, l *Loaded) {
	if l.Err != nil {
		w.part.rounds.retry = c.now.Mono + walkAgain
		w.end(c)
		return
	}
	if role, ok := c.ring.Role(w.part.id, c.cfg.Self); !ok || role != hashring.Full {
		w.end(c) // it has become another's
		return
	}
	var seq uint64
	for i := range l.Rows {
		seq = max(seq, w.key(c, &l.Rows[i]))
	}
	w.after, w.more = l.Last, l.More
	c.awaitSync(seq, w.id)
}

// expiredBy is T, the same at all owners (E8).
func (w *purgeWalk) expiredBy(c *Core) int64 {
	if plant.Is(plant.ExpiredByOwnClock) {
		return c.now.WallMS
	}
	return c.ring.Purge(w.part.id).TimeMS
}

// key settles one key, and returns the batch that does.
func (w *purgeWalk) key(c *Core, r *Row) uint64 {
	bucket, ok := c.ring.BucketByID(r.Bucket)
	if !ok || !c.ring.Owns(w.part.id, c.ring.N(bucket, w.part.id), c.cfg.Self) {
		return 0
	}
	old, _, err := c.record(w.part.id, r.Bucket, r.Key)
	if err != nil || old == nil {
		return 0 // quarantined (D4), or gone since it was read
	}
	now := antientropy.Expire(old, w.expiredBy(c))
	if plant.Is(plant.PurgeStale) {
		now = r.Object
	}
	switch {
	case antientropy.Purgeable(now, c.purgeClock(w.part.id)), plant.Is(plant.PurgeUnproven) && onlyTombstones(now):
		now = nil
		c.purge.stats.Dropped++
	case now == old, plant.Is(plant.PurgeStale):
		return 0
	default:
		c.purge.stats.Converted++
	}
	w.settled++
	return c.stageRecord(w.part, r.Bucket, r.Key, hashring.Hash(bucket.Name, r.Key), old, now)
}

// onDurable: the slice is settled; the next one, or the end.
func (w *purgeWalk) onDurable(c *Core) {
	if w.more {
		w.read(c)
		return
	}
	w.part.rounds.walked = w.generation
	if c.leads(w.part.id) {
		w.part.settled(c, w.settled > 0)
	}
	w.end(c)
	c.beginWalks()
}

func (w *purgeWalk) end(c *Core) {
	delete(c.ops, w.id)
	w.part.rounds.walk = nil
	c.purge.walks--
}

func (w *purgeWalk) onMessage(*Core, *Message)  {}
func (w *purgeWalk) onTimer(*Core, timerKind)   {}
func (w *purgeWalk) onDown(*Core, hashring.SID) {}
