package core

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Filling a store that is being built (E13). Its source is the first full owner that is
// alive, of the fewest owners that have it among them. The source
//
//  1. comes to agree with the other full owners: a complete exchange with each that is
//     alive, and with as many as make a read quorum with it at the least, so that it holds
//     whatever was acked before this stage, wherever that was acked;
//  2. then has a complete exchange with the new store, which takes it raw (E6b);
//  3. then proposes that the store is full.
//
// All of it is under one epoch and session: whatever changes the stage begins it anew.
// The exchanges themselves refuse a peer that is at another epoch, so an owner that has
// taken part takes no write of the stage before any more. What is written meanwhile the
// new store gets like every owner, or misses like one that is down: Ring.Quorum counts
// on no more.
const (
	maxFills    = 16                     // partitions a shard fills at a time: as many exchanges as it leads
	fillEvery   = 100 * time.Millisecond // while there is something to fill
	fillAgain   = time.Second            // after a proposal that was not applied, with the same proof
	fillLost    = 15 * time.Second       // a proposal, or the newer ring, that nothing is heard of
	fillAccord  = 30 * time.Second       // then a read quorum's agreement is enough
	fillTurn    = 5 * time.Minute        // then the next partition has its turn, if one waits
	wishAgain   = 30 * time.Second       // an exchange not had by then is wished for again: its pair may have come anew
	wishLongest = 16 * wishAgain
)

// fills are a shard's.
type fills struct {
	todo    []uint32 // partitions of this shard that are being built and of which this store is full
	at      int      // in todo: whose turn is next
	running map[uint32]*fill
	ticking bool
}

// fill is one store's in one partition, at its source.
type fill struct {
	place  hashring.Place
	began  time.Duration
	peers  []fillPeer // the other full owners
	agreed bool
	pass   wish          // of the new store, once they agree
	token  uint64        // of the proposal under way; 0: none
	rest   time.Duration // with a token: when it counts as lost; without: not before
}

type fillPeer struct {
	sid hashring.SID
	wish
}

// wish is for one complete exchange; met for good when it has been had.
type wish struct {
	tickets []ticket
	met     bool
	again   time.Duration // when to ask anew
	gap     time.Duration
}

// fillRing looks what a newer ring has to be filled.
func (c *Core) fillRing() {
	f := &c.fill
	f.todo = f.todo[:0]
	for p := range c.ring.Partitions {
		if p%c.cfg.Shards != c.cfg.Shard || len(c.ring.Partitions[p].Building) == 0 {
			continue
		}
		if role, ok := c.ring.Role(uint32(p), c.cfg.Self); ok && role == hashring.Full {
			f.todo = append(f.todo, uint32(p))
		}
	}
	if len(f.todo) == 0 {
		f.running = nil
		return
	}
	if !f.ticking {
		f.ticking = true
		c.timers.add(c.now.Mono, 0, timerFill)
	}
}

// fillTick goes on with what is under way and begins what there is room for.
func (c *Core) fillTick() {
	f := &c.fill
	if f.ticking = len(f.todo) > 0; !f.ticking {
		return
	}
	c.timers.add(c.now.Mono+fillEvery, 0, timerFill)
	for _, p := range sortedKeys(f.running) {
		r := f.running[p]
		late := c.now.Mono >= r.began+fillTurn && len(f.todo) > len(f.running)
		if late && r.token == 0 || !c.confirmed || !c.mayFill(r.place) {
			delete(f.running, p)
			continue
		}
		c.fillOn(r)
	}
	if !c.confirmed {
		return
	}
	for range f.todo {
		if len(f.running) >= maxFills {
			return
		}
		p := f.todo[f.at%len(f.todo)]
		f.at = (f.at + 1) % len(f.todo)
		if f.running[p] == nil {
			c.fillBegin(p)
		}
	}
}

// fillBegin takes up the first building store that this one can fill now.
func (c *Core) fillBegin(p uint32) {
	part := &c.ring.Partitions[p]
	for _, sid := range part.Building {
		place := hashring.Place{Partition: p, Epoch: part.PlanEpoch(), SID: sid, Session: part.Session}
		if !c.mayFill(place) {
			continue
		}
		if c.fill.running == nil {
			c.fill.running = map[uint32]*fill{}
		}
		r := &fill{place: place, began: c.now.Mono}
		c.fill.running[p] = r
		c.fillOn(r)
		return
	}
}

// mayFill tells whether place is what the ring says now, and this store its source.
func (c *Core) mayFill(place hashring.Place) bool {
	session, building := c.ring.Building(place.Partition, place.SID)
	return building && session == place.Session && c.ring.Partitions[place.Partition].PlanEpoch() == place.Epoch &&
		c.alive(place.SID) && c.sourceOf(place.Partition, place.SID) == c.cfg.Self
}

// sourceOf is the store that fills a building one, zero: nobody can now. Buckets with one
// owner, where the list is longer, have no other copy to fill it from.
func (c *Core) sourceOf(p uint32, builder hashring.SID) hashring.SID {
	list := len(c.ring.Partitions[p].Replicas)
	least := list
	for _, n := range c.widths() {
		if n > 1 && n < least && c.ring.Owns(p, n, builder) {
			least = n
		}
	}
	for _, s := range c.ring.Full(p, least) {
		if c.alive(s) {
			return s
		}
	}
	return hashring.SID{}
}

// alive is gossip's word alone: a moment's suspicion must not change who fills whom.
func (c *Core) alive(s hashring.SID) bool {
	if s == c.cfg.Self || c.view == nil {
		return true
	}
	up, known := c.view.Alive[s]
	return up || !known
}

// fillOn does what is next for a store.
func (c *Core) fillOn(r *fill) {
	p := r.place.Partition
	if r.token != 0 {
		if c.now.Mono < r.rest {
			return
		}
		r.token = 0
	}
	if !r.agreed {
		if r.agreed = c.agreed(r); !r.agreed {
			return
		}
	}
	if !c.had(&r.pass, p, r.place.SID) && !plant.Is(plant.FilledUnproven) || c.now.Mono < r.rest {
		return
	}
	c.lastOp++
	r.token, r.rest = uint64(c.cfg.Shard)<<56|c.lastOp, c.now.Mono+fillLost
	place := r.place
	c.ready.Proposals = append(c.ready.Proposals, Proposal{Token: r.token, Filled: &place})
}

// agreed tells whether this store holds what the full owners have acked among them.
func (c *Core) agreed(r *fill) bool {
	p := r.place.Partition
	all, had := true, []hashring.SID{c.cfg.Self}
	for _, s := range c.ring.Full(p, len(c.ring.Partitions[p].Replicas)) {
		if s == c.cfg.Self || !c.shares(p, s) {
			continue
		}
		i := slices.IndexFunc(r.peers, func(f fillPeer) bool { return f.sid == s })
		if i < 0 && c.alive(s) {
			r.peers = append(r.peers, fillPeer{sid: s})
			i = len(r.peers) - 1
		}
		if i >= 0 && c.had(&r.peers[i].wish, p, s) {
			had = append(had, s)
		} else if c.alive(s) {
			all = false
		}
	}
	if plant.Is(plant.FillWithoutAccord) {
		return true
	}
	return (all || c.now.Mono >= r.began+fillAccord) && c.readQuorums(r, had)
}

// shares tells whether this store has a tree in common with a store.
func (c *Core) shares(p uint32, s hashring.SID) bool { return len(c.sharedWith(p, s)) > 0 }

// readQuorums tells whether some stores are a read quorum of the full owners, for every
// number of owners of which the building store is one.
func (c *Core) readQuorums(r *fill, some []hashring.SID) bool {
	p := r.place.Partition
	for _, n := range c.sharedWith(p, r.place.SID) {
		count := 0
		for _, s := range c.ring.Full(p, n) {
			if isIn(some, s) {
				count++
			}
		}
		if read, _ := c.ring.Quorum(p, n); count < read {
			return false
		}
	}
	return true
}

// had tells whether the wish is met; it makes it first, and anew now and then.
func (c *Core) had(w *wish, p uint32, peer hashring.SID) bool {
	if w.met {
		return true
	}
	if c.now.Mono >= w.again {
		w.gap = min(max(2*w.gap, wishAgain), wishLongest)
		w.again = c.now.Mono + w.gap
		w.tickets = c.wantExchange(p, peer)
		if slices.ContainsFunc(w.tickets, func(t ticket) bool { return t.wish == never }) {
			w.again, w.gap = c.now.Mono+fillAgain, 0 // the pair is not there yet
		}
	}
	w.met = c.exchangesMet(w.tickets)
	return w.met
}

// filled tells what became of a proposal; false: it was none of these. What was applied
// comes as a newer ring; what was not is proposed again, for the proof stands.
func (c *Core) filled(d *Decided) bool {
	for _, r := range c.fill.running { // order-free: tokens are unique
		if r.token != d.Token {
			continue
		}
		if !d.Applied {
			r.token, r.rest = 0, c.now.Mono+fillAgain
		} else {
			c.stats.Filled++
		}
		return true
	}
	return false
}
