package core

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// part is what a shard keeps in memory of one partition.
type part struct {
	id       uint32
	counters Counters // as of the newest staged batch; its Hints as of the last one, the book has them
	written  Counters // as the newest batch has them
	dirty    bool
	staged   uint64  // records staged since the process started
	rehinted bool    // the hint book's lines have changed since
	actors   []actor // mint the dots of this store for this partition
	stoodIn  bool    // minted as a fallback since the actors were drawn (E1b)
	trees    []treeOf

	purge  *hashring.Purge // of which clock is the clock
	clock  version.Vector
	rounds purgePart
}

// actor is one of a partition's minting identities (E1). There are several because
// a context is a version vector: the reply to a write hands the client the context
// it came with joined with the new dot, and that must cover nothing the client has
// not seen. So a dot is minted by an actor of which the client has seen every dot
// that the object reflects. Most keys only ever meet the first one; exactActors
// bounds the rest.
type actor struct {
	name   version.Actor
	minted uint64 // counter of the newest dot, over all keys of the partition
}

// part is the partition's state, read from its counters when first touched.
func (c *Core) part(id uint32) *part {
	p := c.parts[id]
	if p == nil {
		p = &part{id: id}
		counters, err := c.eng.Counters(id)
		assert.That(err == nil, "D4", "counters of partition %d: %v", id, err)
		p.counters, p.written = counters, counters
		for _, l := range counters.Hints {
			if l.Hints > 0 && l.OldestMS == 0 { // a row of an older version
				l.OldestMS = c.now.WallMS
			}
			c.book.Restore(id, l)
		}
		c.parts[id] = p
	}
	return p
}

// forgetActors makes the next mints use fresh actors. In memory they are fresh at
// every process start, since a crash may have taken dots that others have seen
// (E1); a fallback that hands off what it minted forgets them too (E1b).
func (p *part) forgetActors() { p.actors, p.stoodIn = p.actors[:0], false }

// exactActors bounds the actors drawn for exact contexts alone. Only writes with old
// contexts need more than one; each actor may add 16 bytes to the contexts of such keys.
const exactActors = 8

// mint is the next dot for a key whose local object is local, where seen is what
// the client has seen of it. Once exactActors are in use it makes do with an actor
// of which no sibling survives: the client's next write then still takes nothing
// away that it has not seen, but its token may cover a value that was replaced by
// one it has not seen, and then vouches for less than a session asks.
func (c *Core) mint(p *part, local *version.Object, seen version.Vector) version.Dot {
	for i := range p.actors {
		if a := &p.actors[i]; local == nil || seen.Get(a.name) >= local.Context.Get(a.name) || plant.Is(plant.OneActor) {
			return a.mint(local)
		}
	}
	for i := range p.actors {
		if a := &p.actors[i]; len(p.actors) >= exactActors && !survives(local, seen, a.name) {
			return a.mint(local)
		}
	}
	p.actors = append(p.actors, actor{name: version.Actor(c.cfg.Rand.Uint64() | 1)})
	if plant.Is(plant.ActorSurvivesCrash) {
		p.actors[len(p.actors)-1].name = version.Actor(binary.BigEndian.Uint64(c.cfg.Self[:])) + version.Actor(len(p.actors))
	}
	return p.actors[len(p.actors)-1].mint(local)
}

// survives tells whether a sibling by a would stay beside a write that has seen seen.
func survives(local *version.Object, seen version.Vector, a version.Actor) bool {
	if local == nil {
		return false
	}
	for i := range local.Siblings {
		if d := local.Siblings[i].Dot; d.Actor == a && !seen.Covers(d) {
			return true
		}
	}
	return false
}

func (a *actor) mint(local *version.Object) version.Dot {
	if plant.Is(plant.ActorSurvivesCrash) && local != nil {
		a.minted = max(a.minted, local.Context.Get(a.name))
	}
	a.minted++
	if local != nil {
		known := local.Context.Get(a.name)
		if known >= a.minted {
			assert.Fail("E1", "an actor about to mint %d meets its own %d", a.minted, known)
		}
	}
	return version.Dot{Actor: a.name, Counter: a.minted}
}

func (p *part) countRecord(o *version.Object, sign int64) { p.counters.count(o, sign) }

// count adds a record to the counters, or with sign -1 takes it away.
func (c *Counters) count(o *version.Object, sign int64) {
	if o == nil {
		return
	}
	add(&c.Bytes, sign*int64(o.Size()))
	live, expiring := false, false
	for i := range o.Siblings {
		s := &o.Siblings[i]
		live = live || !s.Tombstone
		expiring = expiring || !s.Tombstone && s.ExpiryMS != 0
	}
	if expiring {
		add(&c.Expiring, sign)
	}
	switch {
	case live:
		add(&c.Keys, sign)
	case sign < 0 && plant.Is(plant.CountersDrift):
	default:
		add(&c.Tombstones, sign)
	}
}

func add(n *uint64, d int64) {
	if d < 0 && *n < uint64(-d) {
		assert.Fail("D5", "a counter of %d cannot lose %d", *n, -d)
	}
	*n += uint64(d)
}
