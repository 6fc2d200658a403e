package core

import (
	"errors"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/quorum"
)

var errTooManyLoads = errors.New("too many slices are being read")

// exchangeLoad reads rows for either end.
//
// The tree is ahead of the disk: leaf rows are read when what it knows is durable, so
// that what is missing from them has changed it since, and is found so. An object that
// was staged when the read began, or is now, may be missing from what was read: the
// newest is taken from where it is.
func (c *Core) exchangeLoad(pair antientropy.Pair, class antientropy.Class, l *antientropy.Load, alive func() bool, then func(*antientropy.Loaded)) {
	cost := c.loadCost(pair, l)
	c.pay(class, cost, func() {
		if !alive() {
			return
		}
		if len(c.loads) >= MaxLoads {
			then(&antientropy.Loaded{Err: errTooManyLoads})
			return
		}
		if l.Kind == antientropy.LoadObjects {
			c.loadObjects(pair, class, cost, l, alive, then)
			return
		}
		c.whenDurable(c.lastSeq, func() {
			if !alive() {
				return
			}
			c.load(Load{Kind: LoadLeafRows, Partition: pair.Partition, Leaves: l.Leaves, LeafAfter: l.After, LeafUpto: l.Upto, MaxRows: l.MaxRows, MaxBytes: l.MaxBytes}, func(in *Loaded) {
				rows, size := c.leafRows(pair.Partition, pair.N, in.Rows)
				c.repair.pace.charge(class, size-cost)
				if alive() {
					then(&antientropy.Loaded{Rows: rows, Last: in.Last, More: in.More, Err: in.Err})
				}
			})
		})
	})
}

// loadCost is about the bytes that a load will read.
func (c *Core) loadCost(pair antientropy.Pair, l *antientropy.Load) int64 {
	p := c.part(pair.Partition)
	if l.Kind == antientropy.LoadObjects {
		each := int64(p.counters.Bytes/max(1, p.counters.Keys+p.counters.Tombstones)) + leafRowBytes
		return min(int64(len(l.Keys))*each, int64(l.MaxBytes))
	}
	cost := int64(0)
	if t := p.treeOf(pair.N); t != nil {
		for _, leaf := range l.Leaves {
			cost += int64(t.Leaf(leaf).Keys) * 2 * leafRowBytes
		}
	}
	return min(cost, int64(l.MaxBytes))
}

func (c *Core) loadObjects(pair antientropy.Pair, class antientropy.Class, cost int64, l *antientropy.Load, alive func() bool, then func(*antientropy.Loaded)) {
	keys := make([]Row, len(l.Keys))
	staged := make([]bool, len(l.Keys))
	for i := range l.Keys {
		k := &l.Keys[i]
		keys[i] = Row{Bucket: k.Bucket, Key: k.Key}
		staged[i] = c.overlay.record(pair.Partition, k.Bucket, k.Key) != nil
	}
	c.load(Load{Kind: LoadObjects, Partition: pair.Partition, Keys: keys, MaxRows: l.MaxRows, MaxBytes: l.MaxBytes}, func(in *Loaded) {
		rows := make([]antientropy.Row, len(in.Rows))
		size := int64(0)
		for i := range rows {
			rows[i] = c.newest(pair.Partition, &l.Keys[i], &in.Rows[i], staged[i])
			size += int64(rows[i].RecordSize())
		}
		c.repair.pace.charge(class, size-cost)
		if alive() {
			then(&antientropy.Loaded{Rows: rows, More: in.More, Err: in.Err})
		}
	})
}

// newest is a key's object now, given what was read of it.
func (c *Core) newest(p uint32, key *antientropy.Row, read *Row, wasStaged bool) antientropy.Row {
	out := antientropy.Row{Bucket: key.Bucket, Key: key.Key, Hash: key.Hash, Object: read.Object, Damaged: read.Damaged}
	if s := c.overlay.record(p, key.Bucket, key.Key); s != nil || wasStaged || c.quarantined(p, key.Bucket, key.Key) {
		o, _, err := c.record(p, key.Bucket, key.Key)
		out.Object, out.Damaged = o, err != nil
	} else if read.Damaged {
		c.foundDamaged(p, key.Bucket, key.Key)
	}
	out.Version = out.Object.Hash()
	return out
}

// exchangeApply merges rows that came by an exchange, and tells when they are durable.
func (c *Core) exchangeApply(pair antientropy.Pair, class antientropy.Class, rows []antientropy.Row, alive func() bool, then func(antientropy.Reason)) {
	cost := int64(0)
	for i := range rows {
		cost += int64(rows[i].RecordSize())
	}
	epoch, generation := c.ring.Partitions[pair.Partition].PlanEpoch(), c.ring.Purge(pair.Partition).Generation
	c.pay(class, cost, func() {
		if !alive() {
			return
		}
		at := c.exchangeView(pair)
		if at.Epoch != epoch || at.Generation != generation {
			then(antientropy.ReasonEpoch) // its session is closed (E7)
			return
		}
		seq, why := c.applyRows(pair, rows)
		c.whenDurable(seq, func() {
			if alive() {
				then(why)
			}
		})
	})
}

// applyRows merges them all, or as far as there is room. A store that is being built
// takes them raw: they come from a full owner in its present session (E6b).
func (c *Core) applyRows(pair antientropy.Pair, rows []antientropy.Row) (seq uint64, why antientropy.Reason) {
	_, building := c.ring.Building(pair.Partition, c.cfg.Self)
	for i := range rows {
		r := &rows[i]
		bucket, ok := c.ring.BucketByID(r.Bucket)
		if !ok || r.Object == nil {
			continue // dropped since
		}
		merge := c.mergeRecord
		if building {
			merge = c.mergeRaw
		}
		at, refused := merge(pair.Partition, bucket, r.Key, r.Hash, r.Object)
		seq = max(seq, at)
		if refused != quorum.ReasonNone {
			why = antientropy.ReasonMerge
			continue
		}
		c.repair.stats.Merged++
	}
	return seq, why
}
