package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

type parkedMessage struct {
	m     *Message
	until time.Duration
}

// onRing takes a newer ring state; an older one is ignored (copies never regress).
func (c *Core) onRing(r *hashring.Ring) {
	if c.ring != nil && r.Version <= c.ring.Version && !plant.Is(plant.RingRegresses) {
		return
	}
	old := c.ring
	c.ring = r
	clear(c.echoes)
	c.pace.forget(r)
	st, known := r.Store(c.cfg.Self)
	c.out = known && (st.State == hashring.StoreSuspect || st.State == hashring.StoreRetired)
	if old != nil {
		c.forgetStandIns(old)
	}
	if old == nil || !old.HasRing() && r.HasRing() {
		c.begins(r)
	}
	c.repairRing(old)
	c.purgeRing()
	c.fillRing()
	c.strongRing()
	c.replanRing()
	parked := c.parked
	c.parked = nil
	for _, p := range parked {
		switch {
		case c.ahead(p.m):
			c.parked = append(c.parked, p)
		case int(p.m.Partition) < len(r.Partitions):
			c.dispatch(p.m)
		}
	}
}

// forgetStandIns: where the owners have changed, the hints of a key may be kept under a
// store that is none of them any more, so that they are not what the key's next mint
// reflects: it needs a fresh actor (E1).
func (c *Core) forgetStandIns(old *hashring.Ring) {
	for id, p := range c.parts { // order-free: each by itself
		if p.stoodIn && int(id) < len(old.Partitions) && old.Partitions[id].PlanEpoch() != c.ring.Partitions[id].PlanEpoch() {
			p.forgetActors()
		}
	}
}

// begins reads the counters of this shard's partitions, so that hints kept before a
// restart are handed off without waiting for a write to touch their partition.
func (c *Core) begins(r *hashring.Ring) {
	for p := range r.Partitions {
		if p%c.cfg.Shards == c.cfg.Shard {
			c.part(uint32(p))
		}
	}
	if r.HasRing() {
		c.timers.add(c.now.Mono+tickEvery, 0, 0)
	}
}

// want asks the driver to fetch ring state of at least this version.
func (c *Core) want(version uint64, from hashring.SID) {
	if version > c.ready.WantRing {
		c.ready.WantRing, c.ready.WantRingFrom = version, from
	}
}

// park keeps a message that was planned with newer ring state until that is here.
func (c *Core) park(m *Message) {
	if len(c.parked) >= MaxParked {
		c.stats.ParkedDropped++
		return // its sender's own timer deals with it
	}
	c.parked = append(c.parked, parkedMessage{m, c.now.Mono + parkedFor})
}

func (c *Core) expireParked() {
	n := 0
	for n < len(c.parked) && c.parked[n].until <= c.now.Mono {
		n++
	}
	c.stats.ParkedDropped += uint64(n)
	c.parked = c.parked[n:]
}
