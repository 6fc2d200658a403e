package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// Who restarts loses its primaries, and after a rolling restart the node that was last
// leads nothing. So they are handed back, gently: a primary whose store leads at least two
// partitions more than a member that has its whole log says Spare, and once nothing has
// failed for JudgeOptions.Quiet the judge moves a few of them in a second. Each move
// brings the two stores nearer to each other, so it ends.

// spreadGap is how many partitions more a store must lead than the one that one of them
// goes to. One would let them go to and fro.
const spreadGap = 2

// spread gives the store that a partition is handed to so that primaries are even.
func (c *court) spread(d *docket, p uint32, part *hashring.Partition) (hashring.SID, bool) {
	o, cfg := &d.spare, part.Strong
	switch {
	case o.epoch != cfg.Epoch || o.by != part.Primary || !c.fresh(c.now, o.at) || !cfg.Activated || len(cfg.Sets) != 1:
		return hashring.SID{}, false
	case c.spreads >= c.opts.SpreadRate || CheckMove(c.st, p, o.to) != nil || !c.spaced(c.now, d):
		return hashring.SID{}, false
	case c.now < c.unrest+c.opts.Quiet:
		c.wake(c.unrest + c.opts.Quiet)
		return hashring.SID{}, false
	}
	state, _ := c.state(o.to)
	_, stalls := c.stalled[o.to]
	if state != hashring.StoreUp || stalls || !c.alive(o.to) || c.leads(part.Primary) < c.leads(o.to)+spreadGap && !plant.Is(plant.JudgeSpreadsEven) {
		return hashring.SID{}, false
	}
	c.spreads++
	c.led[part.Primary]--
	c.led[o.to]++
	return o.to, true
}

// restless takes note that something fails or moves by other hands than spread's.
func (j *Judge) restless(now time.Duration) { j.unrest = max(j.unrest, now) }
