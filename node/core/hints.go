package core

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// onHint keeps an object for an owner that cannot be reached, and acks once it is synced.
func (c *Core) onHint(m *Message) {
	bucket, why := c.admit(m)
	var seq uint64
	if why == quorum.ReasonNone {
		seq, why = c.mergeHint(m.Partition, bucket, m.Key, m.Target, m.Object)
	}
	c.ack(m, seq, why)
}

// mergeHint joins an object into the hint kept for target. The generation changes
// with every rewrite, so that a hand-off drops only what it delivered (E3).
func (c *Core) mergeHint(p uint32, b *hashring.Bucket, key []byte, target hashring.SID, in *version.Object) (uint64, quorum.Reason) {
	if why := c.room(in); why != quorum.ReasonNone {
		return 0, why
	}
	if c.hintBytes+int64(in.Size()) > c.cfg.HintBytes {
		c.stats.HintsRefused++
		return 0, quorum.ReasonHintBudget
	}
	old, _, seq, err := c.hint(p, b.ID, key, target)
	if err != nil {
		return 0, quorum.ReasonCorrupt
	}
	merged := version.Join(old, in)
	if plant.Is(plant.HintReplaced) {
		merged = in
	}
	if b.Conflict == hashring.LWW {
		merged = c.reduce(merged)
	}
	if version.Same(old, merged) {
		return seq, quorum.ReasonNone
	}
	c.stats.HintsKept++
	return c.stageHint(c.part(p), HintWrite{p, b.ID, key, target, c.generation(), merged}, old), quorum.ReasonNone
}

// generation is a number that this store never used for a hint before: a clock
// stamp, since the clock's bound is durable.
func (c *Core) generation() uint64 {
	return uint64(c.stamp(0))
}

// hintsOf is all that this store keeps of a key for its owners, joined.
func (c *Core) hintsOf(pl *plan, key []byte) (o *version.Object, seq uint64, err error) {
	for _, target := range pl.owners {
		h, _, s, err := c.hint(pl.partition, pl.bucket.ID, key, target)
		if err != nil {
			return nil, 0, err
		}
		o, seq = version.Join(o, h), max(seq, s)
	}
	if pl.bucket.Conflict == hashring.LWW {
		o = c.reduce(o)
	}
	return o, seq, nil
}
