package core

import "github.com/quoratedb/quorate/quorum"

// onStrongScan (member): one slice of the partition's live keys, as it has applied them.
// Slices are read from the disk, so what is held or staged is waited for: a write that this
// primary has answered is in the listing.
func (c *Core) onStrongScan(m, reply *Message) {
	sp := c.strong.parts[m.Partition]
	switch {
	case sp == nil || sp.r == nil || !c.ring.Partitions[m.Partition].Strong.Holds(c.cfg.Self):
		reply.Reason = quorum.ReasonNotOwner
	case c.out:
		reply.Reason = quorum.ReasonSuspect
	case len(c.loads) >= MaxLoads:
		reply.Reason = quorum.ReasonOverloaded
	}
	if reply.Reason != quorum.ReasonNone {
		c.send(reply)
		return
	}
	generation := sp.r.Generation()
	sp.carry()
	c.whenDurable(c.lastSeq, func() {
		l := Load{Kind: LoadStrongLive, Partition: m.Partition, Bucket: m.Bucket, Generation: generation, Prefix: m.Prefix, Start: m.Key, After: m.Cursor,
			MaxRows: int(min(m.Limit, MaxListLimit)), MaxBytes: LoadSliceBytes, Brief: !m.Values}
		c.load(l, func(l *Loaded) {
			switch {
			case l.Err != nil:
				reply.Reason = quorum.ReasonCorrupt
			case sp.r.Generation() != generation: // a snapshot has taken the place of what was read
				reply.Reason = quorum.ReasonBuilding
			}
			if reply.Reason != quorum.ReasonNone {
				c.send(reply)
				return
			}
			if n := len(l.Rows); n > 0 {
				reply.Cursor = l.Rows[n-1].Key
			}
			reply.Rows, reply.More = l.Rows, l.More
			c.send(reply)
		})
	})
}
