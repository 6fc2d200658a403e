package strong

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// primary is T1, if the partition needs another primary and somebody can be named.
func (c *court) primary(d *docket, p uint32, part *hashring.Partition) (finding, bool) {
	cfg := part.Strong
	if to, ok := c.ordered(d, p, part); ok {
		c.name(to)
		return finding{hashring.StrongChange{Kind: hashring.StrongPrimary, Primary: to}, toLead}, true
	}
	why := c.complaint(d, part)
	if why == none || !c.spaced(c.now, d) {
		return finding{}, false
	}
	if !everySet(cfg, func(s hashring.SID) bool { return c.lives(d, s) }) {
		c.wake(c.now + again) // nobody could seal; a majority that is dead must not cost a commit every few seconds
		return finding{}, false
	}
	var prefer hashring.SID
	if why == asked {
		prefer = d.out.to
	}
	to, ok := c.choose(d, cfg.Members(), part.Primary, prefer)
	if !ok || to == part.Primary && why != asked {
		c.wake(c.now + again) // somebody may come back
		return finding{}, false
	}
	if why == silent {
		c.depose(part.Primary)
	}
	c.name(to)
	return finding{hashring.StrongChange{Kind: hashring.StrongPrimary, Primary: to}, toLead}, true
}

// why a partition needs another primary.
type why uint8

const (
	none   why = iota
	asked      // it gives up. It may be named again if there is nobody else: a restart
	hung       // its disk hangs
	gone       // its store is out of service
	silent     // a majority of every set says so
	stuck      // it cannot take its role
)

func (c *court) complaint(d *docket, part *hashring.Partition) why {
	cfg := part.Strong
	at, stalls := c.stalled[part.Primary]
	switch {
	case d.out.epoch == cfg.Epoch && d.out.by == part.Primary && c.fresh(c.now, d.out.at):
		return asked
	case stalls && c.fresh(c.now, at):
		return hung
	case !c.serves(part.Primary):
		return gone
	case c.silenced(d, part):
		return silent
	case cfg.Activated:
		return none
	case c.now < d.since+c.stuckFor(d):
		c.wake(d.since + c.stuckFor(d))
		return none
	}
	return stuck
}

// lives tells whether a store is alive by gossip, or has just been heard.
func (c *court) lives(d *docket, s hashring.SID) bool {
	heard, _ := d.speaks(c, s)
	return heard != nil || c.alive(s)
}

func (c *court) callsSilent(d *docket, s hashring.SID, epoch uint64) bool {
	for i := range d.heard {
		if v := &d.heard[i]; v.from == s {
			return v.silent == epoch && c.fresh(c.now, v.said)
		}
	}
	return false
}

// everySet tells whether in EVERY set more than half of the stores are so.
func everySet(cfg *hashring.StrongConfig, is func(hashring.SID) bool) bool {
	return !slices.ContainsFunc(cfg.Sets, func(set []hashring.SID) bool {
		n := 0
		for _, s := range set {
			if is(s) {
				n++
			}
		}
		return n < hashring.Majority(len(set))
	})
}

// candidate for a primary, as it is compared with the others.
type candidate struct {
	sid                       hashring.SID
	stalled, deposed, leaving int // 0 or 1
	last                      Position
	led                       int
}

// choose names the best of some stores: one whose disk did not hang lately, not the one
// that is deposed, not one that is to leave; then the one whose log goes farthest among
// those heard; then the one that leads least. prefer is taken for as far as the best until
// it has said otherwise. Who has forgotten something cannot lead (S6), so it is not named.
func (c *court) choose(d *docket, from []hashring.SID, deposed, prefer hashring.SID) (hashring.SID, bool) {
	var best candidate
	found := false
	for _, sid := range from {
		state, known := c.state(sid)
		if !known || state != hashring.StoreUp && state != hashring.StoreDraining {
			continue
		}
		n := candidate{sid: sid, led: c.leads(sid)}
		heard, full := d.speaks(c, sid)
		if !full || heard == nil && !c.alive(sid) {
			continue
		}
		if heard != nil {
			n.last = heard.last
		} else if sid == prefer {
			n.last = Position{^uint64(0), ^uint64(0)}
		}
		_, stalls := c.stalled[sid]
		if plant.Is(plant.JudgeNoCoolOff) {
			stalls = false
		}
		n.stalled, n.deposed, n.leaving = bit(stalls), bit(sid == deposed), bit(state == hashring.StoreDraining)
		if sid == prefer {
			n.led = -1
		}
		if !found || n.compare(&best) < 0 {
			best, found = n, true
		}
	}
	return best.sid, found
}

func (a *candidate) compare(b *candidate) int {
	if plant.Is(plant.JudgeLongestLog) {
		return cmp.Or(cmp.Compare(a.stalled, b.stalled), cmp.Compare(a.deposed, b.deposed), cmp.Compare(b.last.Index, a.last.Index), a.sid.Compare(b.sid))
	}
	return cmp.Or(cmp.Compare(a.stalled, b.stalled), cmp.Compare(a.deposed, b.deposed), cmp.Compare(a.leaving, b.leaving),
		b.last.Compare(a.last), cmp.Compare(a.led, b.led), a.sid.Compare(b.sid))
}

func bit(is bool) int {
	if is {
		return 1
	}
	return 0
}

// speaks gives what a store said lately, and whether it may be full.
func (d *docket) speaks(c *court, sid hashring.SID) (heard *voice, full bool) {
	for i := range d.heard {
		if v := &d.heard[i]; v.from == sid && c.fresh(c.now, v.at) {
			return v, v.full
		}
	}
	return nil, true
}

func (c *court) state(sid hashring.SID) (hashring.StoreState, bool) {
	i, ok := slices.BinarySearchFunc(c.st.Stores, sid, func(s hashring.Store, sid hashring.SID) int { return s.SID.Compare(sid) })
	if !ok {
		return "", false
	}
	return c.st.Stores[i].State, true
}

func (c *court) serves(sid hashring.SID) bool {
	state, known := c.state(sid)
	return known && state != hashring.StoreSuspect && state != hashring.StoreRetired
}

// leads counts the partitions that a store leads.
func (c *court) leads(sid hashring.SID) int {
	if c.led == nil {
		c.led = make(map[hashring.SID]int, len(c.st.Stores))
		for p := range c.st.Partitions {
			if c.st.Partitions[p].Strong != nil {
				c.led[c.st.Partitions[p].Primary]++
			}
		}
	}
	return c.led[sid]
}

func (c *court) name(sid hashring.SID) {
	c.leads(sid)
	c.led[sid]++
}

// ordered gives the target of an operator's move that can be made now.
func (c *court) ordered(d *docket, p uint32, part *hashring.Partition) (hashring.SID, bool) {
	o := &d.move
	switch {
	case o.to.IsZero():
		return hashring.SID{}, false
	case o.to == part.Primary || c.now >= o.at+moveFor:
		d.move = order{}
		return hashring.SID{}, false
	case CheckMove(c.st, p, o.to) != nil || !c.alive(o.to) || !part.Strong.Activated:
		c.wake(c.now + again)
		return hashring.SID{}, false
	}
	return o.to, true
}

// CheckMove tells why the store to cannot be made primary of p; nil when it can, and
// when it is already. For its error class see hashring.Refusal.
func CheckMove(st *hashring.State, p uint32, to hashring.SID) error {
	if int(p) >= len(st.Partitions) || st.Partitions[p].Strong == nil {
		return fmt.Errorf("%w: partition %d has no strong configuration", hashring.ErrInvalid, p)
	}
	if !st.Partitions[p].Strong.IsMember(to) {
		return fmt.Errorf("%w: store %s is in no set of partition %d", hashring.ErrInvalid, to.Short(), p)
	}
	c := &court{st: st}
	if state, known := c.state(to); !known || state != hashring.StoreUp && state != hashring.StoreDraining {
		return fmt.Errorf("%w: store %s is %s", hashring.ErrInvalid, to.Short(), state)
	}
	return nil
}
