package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Dirty marks (E3): what stands where a hint does not. The holder of a mark tells the
// target; the target has a complete, thorough exchange with each other full owner,
// begun after it was told, and says so; the holder clears the mark.
//
//	holder                                target
//	│ a miss: mark g, in the write's batch
//	│ more misses: g covers them
//	│ mark g ─────────────────────────────▶ │ exchanges begin
//	│ a miss: mark g', since the exchange     │
//	│         may be past its key             │
//	│ ◀───────────────────────────── met g    │ all complete
//	│ g is not the mark of now: it stays
//	│ mark g' ────────────────────────────▶ │ once more
//
// So a mark costs one batch for each time that its target is told of it, which is once
// a second at most, and none while the target is away. After a restart the holder
// cannot know whether the target was told, and takes it that it was.
//
// A target that is building gets no word of marks: what it lacks it lacks of everything.
// Its fill clears none either. That would need the holder to know that the mark is older
// than the fill's exchanges, those that the source had with the others beforehand
// included (E13). Once it is full it is told like any other, and its exchanges find
// equal trees, which costs a message each.

const (
	maxOwing   = 4096            // marks that a target makes up for at a time; of more it is told again
	owingAgain = 2 * time.Minute // exchanges that have not come about by then are asked for anew
)

// missed marks that target lacks something of the partition, unless a mark says so
// already.
func (c *Core) missed(p *part, target hashring.SID) {
	if c.book.Covered(p.id, target) || plant.Is(plant.MarkNotRenewed) && c.book.Dirty(p.id, target) != 0 {
		return
	}
	c.book.Missed(p.id, target, c.generation())
	c.stats.MarksMade++
	c.rehint(p)
}

// markGen is the generation of the mark that covers what is dropped now.
func (c *Core) markGen(p uint32, target hashring.SID) uint64 {
	if c.book.Covered(p, target) {
		return c.book.Dirty(p, target)
	}
	c.stats.MarksMade++
	return c.generation()
}

// inherit hands a mark over to those that own the partition in its target's place.
func (c *Core) inherit(p uint32, l *antientropy.HintLine, heirs []hashring.SID) {
	c.book.Inherit(p, l.Target, heirs, c.generation())
	c.rehint(c.part(p))
}

// tellMark (holder) tells the target.
func (c *Core) tellMark(p uint32, l *antientropy.HintLine) {
	if role, ok := c.ring.Role(p, l.Target); !c.repair.on || !ok || role != hashring.Full || !c.reachable(l.Target) {
		return
	}
	c.book.Told(p, l.Target)
	c.send(&Message{Kind: MsgMark, To: l.Target, Partition: p, Gen: l.Dirty})
}

// owing is a mark that this store, its target, makes up for.
type owing struct {
	gen     uint64
	began   time.Duration
	epoch   uint64 // of the partition then
	asked   bool
	tickets []ticket
}

// onMark (target): what is missing is at some other full owner, or in hints for one.
func (c *Core) onMark(m *Message) {
	key := pullKey{m.Partition, m.From}
	o := c.owing[key]
	_, known := c.ring.Store(m.From)
	switch {
	case m.Gen == 0, !known, !c.confirmed, !c.repair.on, o != nil && o.gen == m.Gen, o == nil && len(c.owing) >= maxOwing:
		return // or it is told again
	}
	o = &owing{gen: m.Gen}
	c.owing[key] = o
	c.beginOwing(key, o)
}

// beginOwing asks for the exchanges, if this store can have them now.
func (c *Core) beginOwing(key pullKey, o *owing) {
	o.began, o.epoch, o.asked, o.tickets = c.now.Mono, c.ring.Partitions[key.partition].PlanEpoch(), false, nil
	list := len(c.ring.Partitions[key.partition].Replicas)
	full := c.ring.Full(key.partition, list)
	if list > 1 && len(full) < 2 {
		return // nobody to have it from
	}
	o.asked = true
	for _, peer := range full {
		if peer != c.cfg.Self {
			o.tickets = append(o.tickets, c.wantExchange(key.partition, peer)...)
		}
	}
}

// makeUp (target) follows the exchanges: all met, the holder may clear its mark.
func (c *Core) makeUp() {
	if len(c.owing) == 0 {
		return
	}
	for _, key := range slices.SortedFunc(maps.Keys(c.owing), pullKey.compare) {
		o := c.owing[key]
		role, owns := c.ring.Role(key.partition, c.cfg.Self)
		switch {
		case !owns || role != hashring.Full:
			delete(c.owing, key) // the holder tells whom it concerns then
		case !o.asked || o.epoch != c.ring.Partitions[key.partition].PlanEpoch() || c.now.Mono >= o.began+owingAgain:
			c.beginOwing(key, o)
		case c.exchangesMet(o.tickets):
			delete(c.owing, key)
			c.send(&Message{Kind: MsgMarkMet, To: key.holder, Partition: key.partition, Gen: o.gen})
		}
	}
}

// onMarkMet (holder): the mark goes, unless it was renewed since.
func (c *Core) onMarkMet(m *Message) {
	p := c.part(m.Partition)
	if c.book.Clear(m.Partition, m.From, m.Gen) {
		c.stats.MarksCleared++
		c.rehint(p)
	}
}

func (k pullKey) compare(o pullKey) int {
	return cmp.Or(cmp.Compare(k.partition, o.partition), slices.Compare(k.holder[:], o.holder[:]))
}
