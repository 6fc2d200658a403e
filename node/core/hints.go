package core

import (
	"github.com/quoratedb/quorate/antientropy"
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
	if b.Mode == hashring.Strong && !plant.Is(plant.StrongTakesWrites) {
		c.strong.stats.Refused++ // S15
		return 0, quorum.ReasonNotOwner
	}
	if why := c.room(in); why != quorum.ReasonNone {
		return 0, why
	}
	switch c.book.Admit(uint64(in.Size())) {
	case antientropy.Refuse:
		c.stats.HintsRefused++
		c.missed(c.part(p), target)
		return 0, quorum.ReasonHintBudget
	case antientropy.KeepAndSweep:
		c.sweep()
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

// dropHint removes a hint, unless it was rewritten: gen is the state of it that others
// have synced. lost: its target is not among them, so its partition is marked (E3).
func (c *Core) dropHint(p *part, r *Row, lost bool) bool {
	old, gen, _, err := c.hint(p.id, r.Bucket, r.Key, r.Target)
	if err != nil || old == nil || gen != r.Gen && !plant.Is(plant.HintGeneration) {
		return false
	}
	var mark uint64
	if lost {
		mark = c.markGen(p.id, r.Target)
		c.stats.HintsDropped++
	}
	c.stageDrop(p, HintWrite{p.id, r.Bucket, r.Key, r.Target, gen, nil}, old, mark)
	if p.stoodIn && !plant.Is(plant.FallbackKeepsActor) {
		p.forgetActors() // E1b: in the batch that drops what they may have minted
	}
	return true
}

// soundHints drops the damaged ones of a slice, under a mark each: nobody can be given
// them, and they would keep their line from ever being empty (D4, E3).
func (c *Core) soundHints(p *part, rows []Row) (sound []Row) {
	sound = rows[:0]
	for i := range rows {
		r := &rows[i]
		if !r.Damaged {
			sound = append(sound, *r)
			continue
		}
		if _, _, _, err := c.hint(p.id, r.Bucket, r.Key, r.Target); err == nil {
			continue // it is gone meanwhile
		}
		c.stats.Corrupt++
		c.stageDamaged(p, HintWrite{Partition: p.id, Bucket: r.Bucket, Key: r.Key, Target: r.Target}, c.markGen(p.id, r.Target))
		p.forgetActors() // E1: what they minted for the key is forgotten
	}
	return sound
}

// hintsOf is all that this store keeps of a key for its owners, joined.
func (c *Core) hintsOf(pl *plan, key []byte) (o *version.Object, seq uint64, err error) {
	c.part(pl.partition)
	for _, l := range c.book.Lines(pl.partition) { // those of stores that have been replaced too
		if l.Hints == 0 {
			continue
		}
		h, _, s, err := c.hint(pl.partition, pl.bucket.ID, key, l.Target)
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
