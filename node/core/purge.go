package core

import (
	"cmp"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// Deletion that stays deleted (E5, E8, PROTOCOLS 2.1), as the shards drive it:
//
//	purge.go         the lead: which partitions have a round, and when
//	purge_round.go   the lead: one antientropy.Round, its questions, exchanges, commit
//	purge_answer.go  every store: reports; every owner: surveys and confirmations
//	purge_walk.go    every full owner: after the commit, key by key
//	purge_status.go  what a person is shown
//
// Nothing else drops a tombstone, and no timer does (E5).
const (
	purgeEvery   = time.Minute
	maxRounds    = 16              // that a shard leads at a time: what its schedule may lead, and some KiB of vectors each
	waves        = 8               // in PurgeEvery: rounds that begin together end together and share one command of the ring
	idleMost     = 4               // rounds that settled nothing double the wait so many times
	abortsMost   = 4               // and rounds that failed
	purgeRows    = 256             // of a slice that is read and of the batch that drops them
	passPatience = 2 * time.Minute // for one exchange, before it is asked for anew
)

// purge is a shard's part in all rounds.
type purge struct {
	rounds  map[uint32]*roundRun // that this shard leads, by partition
	named   uint32               // rounds named so far
	wave    time.Duration        // no new round before
	walks   int                  // under way
	surveys int
	stats   PurgeStats
}

// purgePart is what a shard remembers of one partition's rounds.
type purgePart struct {
	due     time.Duration // no round before
	idle    int           // rounds and looks in a row that settled nothing
	aborts  int           // rounds in a row that failed
	expired bool          // a look found something that expired
	block   antientropy.Block
	last    time.Duration // of the last commit led here, 0: none

	survey *survey
	walk   *purgeWalk
	walked uint64        // generation up to which this store has dropped what it may
	retry  time.Duration // a walk that failed is not begun again before
}

// purges tells whether the cluster has rounds and this store may take part.
func (c *Core) purges() bool {
	return c.ring != nil && c.ring.Feature >= hashring.FeatureBuilding && c.cfg.Starts > 0
}

// purgeTick goes on with what runs, and begins what is due.
func (c *Core) purgeTick() {
	if !c.purges() {
		return
	}
	for _, id := range sortedKeys(c.purge.rounds) {
		c.roundTick(c.purge.rounds[id])
	}
	c.beginWalks()
	if c.now.Mono < c.purge.wave {
		return
	}
	c.purge.wave = c.now.Mono + c.cfg.PurgeEvery/waves
	if c.confirmed {
		c.beginWave()
	}
}

// leads tells whether this store leads the rounds of a partition: the first of its
// owners, which is full while all are.
func (c *Core) leads(p uint32) bool {
	full := c.ring.Full(p, len(c.ring.Partitions[p].Replicas))
	return len(full) > 0 && full[0] == c.cfg.Self
}

// beginWave begins rounds where there is something to purge, longest due first.
func (c *Core) beginWave() {
	var due []*part
	for _, id := range sortedKeys(c.parts) {
		p := c.parts[id]
		switch {
		case c.purge.rounds[id] != nil || p.rounds.walk != nil || !c.leads(id) || c.walkWaits(p):
		case p.counters.Tombstones == 0 && p.counters.Expiring == 0:
			p.rounds.block, p.rounds.expired = antientropy.Block{}, false
		case p.rounds.due > c.now.Mono:
		case p.counters.Tombstones > 0 || p.rounds.expired:
			due = append(due, p)
		default:
			c.look(p)
		}
	}
	slices.SortStableFunc(due, func(a, b *part) int { return cmp.Compare(a.rounds.due, b.rounds.due) })
	stores := c.inService()
	for _, p := range due {
		if why, store := c.unfit(p.id, stores); why != antientropy.NotBlocked {
			p.blocked(c.now.Mono, antientropy.Block{Why: why, Store: store})
		} else if len(c.purge.rounds) < maxRounds {
			c.beginRound(p, stores)
		}
	}
}

// unfit names what keeps a round from beginning: it must not while an owner is not in
// service or any store cannot be reached.
func (c *Core) unfit(p uint32, stores []antientropy.Member) (antientropy.Why, hashring.SID) {
	if sid, how := c.ring.Unsettled(p); how != "" {
		return antientropy.StoreUnfit, sid
	}
	for _, m := range stores {
		if st, _ := c.ring.Store(m.Store); st.State == hashring.StoreSuspect {
			return antientropy.StoreUnfit, m.Store // it may have forgotten hints: it is replaced first
		}
		if !c.reachable(m.Store) {
			return antientropy.StoreDown, m.Store
		}
	}
	return antientropy.NotBlocked, hashring.SID{}
}

// blocked notes why nothing goes on, since when.
func (p *part) blocked(now time.Duration, b antientropy.Block) {
	if b.Why == p.rounds.block.Why && b.Store == p.rounds.block.Store {
		b.Since = p.rounds.block.Since
	} else if b.Since == 0 {
		b.Since = now
	}
	p.rounds.block = b
}

// inService are all stores that are not retired: each may hold a hint, or mint.
func (c *Core) inService() (out []antientropy.Member) {
	for i := range c.ring.Stores {
		if s := &c.ring.Stores[i]; s.State != hashring.StoreRetired {
			out = append(out, antientropy.Member{Store: s.SID, Boot: s.Boot})
		}
	}
	return out
}

func (c *Core) members(sids []hashring.SID) (out []antientropy.Member) {
	for _, sid := range sids {
		st, _ := c.ring.Store(sid)
		out = append(out, antientropy.Member{Store: sid, Boot: st.Boot})
	}
	return out
}

// settled sets when the partition's next round may be: later and later while rounds
// settle nothing, as when a tombstone cannot be read.
func (p *part) settled(c *Core, something bool) {
	if p.rounds.idle = min(p.rounds.idle+1, idleMost); something {
		p.rounds.idle = 0
	}
	p.rounds.due = c.now.Mono + c.cfg.PurgeEvery<<p.rounds.idle
}

// look finds out whether anything of a partition without tombstones has expired.
func (c *Core) look(p *part) {
	if c.purge.surveys >= maxSurveys {
		return
	}
	c.beginSurvey(p, &survey{end: func(c *Core, s *survey) {
		if p.rounds.expired = s.rows > 0; !p.rounds.expired {
			p.settled(c, false)
		}
	}, most: 1})
}

// purgeRing follows the ring of now: the rounds it ends, the walks it asks for.
func (c *Core) purgeRing() {
	if !c.purges() || !c.ring.HasRing() {
		return
	}
	stores := c.inService()
	for _, id := range sortedKeys(c.purge.rounds) {
		c.roundRing(c.purge.rounds[id], stores)
	}
	c.beginWalks()
}

// purgeView follows gossip.
func (c *Core) purgeView() {
	for _, id := range sortedKeys(c.purge.rounds) {
		r := c.purge.rounds[id]
		for _, m := range r.stores {
			if !r.over && c.view != nil && !c.reachable(m.Store) {
				c.roundDo(r, r.Down(c.now.Mono, m.Store))
			}
		}
	}
}

// purgeDown: the connection to a store is gone.
func (c *Core) purgeDown(store hashring.SID) {
	for _, id := range sortedKeys(c.purge.rounds) {
		r := c.purge.rounds[id]
		c.roundDo(r, r.Down(c.now.Mono, store))
	}
}
