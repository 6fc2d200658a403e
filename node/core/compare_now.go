package core

// CompareNow asks for a complete, thorough exchange of a partition, or of all of this
// shard's (-1), with each other full owner, begun from now on, and returns how many. It
// is for an operator: exchanges go on without being asked.
func (c *Core) CompareNow(partition int) (pairs int) {
	if c.ring == nil || !c.ring.HasRing() || !c.confirmed {
		return 0
	}
	for p := range c.ring.Partitions {
		if partition >= 0 && p != partition || p%c.cfg.Shards != c.cfg.Shard {
			continue
		}
		full := c.ring.Full(uint32(p), len(c.ring.Partitions[p].Replicas))
		if !isIn(full, c.cfg.Self) {
			continue
		}
		for _, s := range full {
			if s != c.cfg.Self {
				pairs += len(c.wantExchange(uint32(p), s))
			}
		}
	}
	return pairs
}
