package core

import (
	"math"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// repair is what this shard does to keep its replicas alike: the trees of what it
// owns (repair_trees.go), the exchanges it leads and serves (exchange*.go), the slow
// scrub (repair_scrub.go), the mending of what that finds (repair_mend.go), and the
// pacer that all background work asks (repair_pace.go).
//
// It begins at the feature level of convergence: below it peers know no exchange.
type repair struct {
	on    bool
	sched *antientropy.Schedule
	pace  pacing

	waits fifo[durableWait]
	leads []*lead    // at most antientropy.MaxLeading
	serve []*serving // at most one for a partition, antientropy.MaxServing
	scan  *scan      // the walk over leaf rows that is under way
	scrub scrub
	mend  mending
	due   bool // the schedule may have something to begin
	stats RepairStats
}

// durableWait is called once the batches up to seq are durable.
type durableWait struct {
	seq uint64
	do  func()
}

func newRepair(cfg *Config) repair {
	return repair{sched: antientropy.NewSchedule(cfg.Self), pace: newPacing(cfg), scrub: scrub{every: cfg.ScrubEvery}}
}

// whenDurable calls do once batch seq is durable, at once if it is.
func (c *Core) whenDurable(seq uint64, do func()) {
	if seq <= c.durable {
		do()
		return
	}
	c.repair.waits.push(durableWait{seq, do})
	w := c.repair.waits.items[c.repair.waits.head:]
	for at := len(w) - 1; at > 0 && w[at-1].seq > seq; at-- {
		w[at], w[at-1] = w[at-1], w[at]
	}
}

func (c *Core) repairSynced() {
	for w := &c.repair.waits; w.len() > 0 && w.first().seq <= c.durable; {
		w.pop().do()
	}
}

// repairRing follows the ring: trees of what this store owns now, pairs, and an end
// for exchanges that were planned in another epoch.
func (c *Core) repairRing(old *hashring.Ring) {
	r := &c.repair
	r.on = !c.cfg.RepairOff && c.ring.HasRing() && c.ring.Feature >= hashring.FeatureBuilding
	if !r.on {
		return
	}
	c.ownTrees(old)
	for _, l := range slices.Clone(r.leads) {
		c.leadChanged(l)
	}
	c.repairPairs()
}

// repairPairs gives the schedule who is compared with whom: every full owner with
// every other one, and a store that is being built with its source, which leads.
func (c *Core) repairPairs() {
	r := &c.repair
	if !r.on || !c.confirmed {
		return // nobody's word but a registered store's is worth comparing (D6)
	}
	var pairs []antientropy.Pair
	for _, p := range c.ownParts() {
		for i := range p.trees {
			n := p.trees[i].n
			if role, owns := c.place(p.id, n); !owns || role != hashring.Full {
				continue
			}
			for _, peer := range c.ring.Owners(p.id, n) {
				role, _ := c.ring.Role(p.id, peer)
				if peer != c.cfg.Self && (role == hashring.Full || role == hashring.Building && c.sourceOf(p.id, peer) == c.cfg.Self) {
					pairs = append(pairs, antientropy.Pair{Partition: p.id, N: n, Peer: peer})
				}
			}
		}
	}
	r.sched.Set(c.now.Mono, pairs)
	c.repairReachable()
}

// repairReachable tells the schedule who can be reached, and which partitions have
// lost owners.
func (c *Core) repairReachable() {
	r := &c.repair
	for i := range c.ring.Stores {
		if s := &c.ring.Stores[i]; s.SID != c.cfg.Self && s.State != hashring.StoreRetired {
			r.sched.Reachable(c.now.Mono, s.SID, c.alive(s.SID))
		}
	}
	for _, p := range c.ownParts() {
		missing := 0
		for _, s := range c.ring.Partitions[p.id].Replicas {
			if role, _ := c.ring.Role(p.id, s); role != hashring.Full || !c.alive(s) {
				missing++
			}
		}
		r.sched.Endangered(p.id, missing)
	}
	r.due = true
}

// ownParts are this shard's partitions in which this store has a tree, in order.
func (c *Core) ownParts() (out []*part) {
	for p := c.cfg.Shard; p < len(c.ring.Partitions); p += c.cfg.Shards {
		if part := c.part(uint32(p)); len(part.trees) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// repairView follows gossip: the source of a building store may be another one now.
func (c *Core) repairView() {
	if c.ring != nil && c.repair.on {
		c.repairPairs()
	}
}

// repairDown: the connection to a store is gone, and with it what was on its way.
func (c *Core) repairDown(store hashring.SID) {
	r := &c.repair
	if !r.on {
		return
	}
	r.sched.Reachable(c.now.Mono, store, false) // until the next tick, if gossip sees it
	for _, l := range slices.Clone(r.leads) {
		if l.pair.Peer == store {
			c.carry(l, l.x.Stop(antientropy.ReasonStopped))
		}
	}
}

// repairTick is once a second.
func (c *Core) repairTick() {
	r := &c.repair
	r.pace.sample(c.now.Mono)
	c.strongScrubTick()
	c.strongSpreadTick()
	if !r.on {
		return
	}
	c.repairReachable()
	c.scanNext()
	c.scrubNext()
	c.mendNext()
}

// repairPump begins what is due and what the pacer grants; the last thing of a step
// before its batch is closed.
func (c *Core) repairPump() {
	r := &c.repair
	for r.due || r.pace.asked {
		if r.due {
			r.due = false
			c.leadNext()
		}
		c.grant()
	}
}

// ticket stands for a wish: a complete and thorough exchange that begins after it.
type ticket struct {
	pair antientropy.Pair
	wish uint64
}

// never is the wish of a pair that this shard may not compare now; it is not met.
const never = math.MaxUint64

// wantExchange asks for a complete, thorough exchange with a store, of each n that
// both own in the partition, begun from now on. Who waits for it must ask anew when
// the ring or the view has changed: this store may not be the one to compare with
// peer any more, and then the tickets are never met.
func (c *Core) wantExchange(p uint32, peer hashring.SID) (tickets []ticket) {
	for _, n := range c.sharedWith(p, peer) {
		pair := antientropy.Pair{Partition: p, N: n, Peer: peer}
		wish, ok := c.repair.sched.Want(c.now.Mono, pair)
		if !ok {
			wish = never
		}
		tickets = append(tickets, ticket{pair, wish})
	}
	c.repair.due = c.repair.on
	return tickets
}

// exchangesMet tells whether all of them are complete.
func (c *Core) exchangesMet(tickets []ticket) bool {
	for _, t := range tickets {
		if t.wish == never || !c.repair.sched.Met(t.pair, t.wish) {
			return false
		}
	}
	return true
}

// sharedWith lists each n of which this store and peer are both owners in p, rising.
func (c *Core) sharedWith(p uint32, peer hashring.SID) (ns []int) {
	for _, n := range c.widths() {
		if c.ring.Owns(p, n, c.cfg.Self) && c.ring.Owns(p, n, peer) {
			ns = append(ns, n)
		}
	}
	return ns
}

// widths lists each n that a bucket has, rising.
func (c *Core) widths() (ns []int) {
	for _, b := range c.ring.Buckets { // order-free: sorted below
		if !slices.Contains(ns, b.N) {
			ns = append(ns, b.N)
		}
	}
	slices.Sort(ns)
	return ns
}

// repairTimer is due for an exchange that is led here.
func (c *Core) repairTimer(id uint64) {
	for _, l := range c.repair.leads {
		if l.id == id {
			l.wake = 0
			c.carry(l, l.x.Wake(c.now.Mono))
			return
		}
	}
}

// defaultScrub is how long one scrub of all of a shard's partitions takes.
const defaultScrub = 24 * time.Hour
