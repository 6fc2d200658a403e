package core

import (
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// onWrite merges a coordinator's object into the record and acks once it is synced.
func (c *Core) onWrite(m *Message) {
	bucket, why := c.admit(m)
	if why == quorum.ReasonNone && !c.confirmed && !plant.Is(plant.UnconfirmedOwner) {
		why = quorum.ReasonStarting // not an owner's word yet (D6); the coordinator finds a stand-in
	}
	if why == quorum.ReasonNone {
		why = c.tooFresh(m, bucket)
	}
	var seq uint64
	if why == quorum.ReasonNone {
		seq, why = c.mergeRecord(m.Partition, bucket, m.Key, m.Hash, m.Object)
	}
	c.ack(m, seq, why)
}

// ack answers a write or hint once seq is durable. Nobody waits for id 0.
func (c *Core) ack(m *Message, seq uint64, why quorum.Reason) {
	if plant.Is(plant.AckBeforeSync) {
		seq = 0
	}
	if m.ID != 0 {
		c.sendAfter(seq, &Message{Kind: MsgWriteAck, To: m.From, ID: m.ID, Partition: m.Partition, Target: m.Target, Reason: why})
	}
}

// admit checks what every replica request must pass: its plan is not older than
// this store's ring, the bucket exists, and this store owns the key (stand-ins: does not).
func (c *Core) admit(m *Message) (*hashring.Bucket, quorum.Reason) {
	if c.stale(m) {
		return nil, quorum.ReasonStaleEpoch
	}
	bucket, ok := c.ring.BucketByID(m.Bucket)
	if !ok {
		return nil, quorum.ReasonStaleEpoch // deleted: ids are never reused
	}
	standIn := m.Kind == MsgHint || m.Kind == MsgRead && m.Fallback
	if bucket.Mode == hashring.Strong && !plant.Is(plant.StrongTakesWrites) {
		c.strong.stats.Refused++ // S15
		return nil, quorum.ReasonNotOwner
	}
	if owns := c.ring.Owns(m.Partition, c.ring.N(bucket, m.Partition), c.cfg.Self); owns == standIn {
		return nil, quorum.ReasonNotOwner
	}
	if c.out {
		return nil, quorum.ReasonSuspect // its word counts for nothing, whatever it is asked
	}
	return bucket, quorum.ReasonNone
}

// answers tells why this store does not answer for a key of the bucket as an owner:
// only a full one, registered (D6), may.
func (c *Core) answers(p uint32, b *hashring.Bucket) quorum.Reason {
	role, owns := c.place(p, c.ring.N(b, p))
	switch {
	case !owns:
		return quorum.ReasonNotOwner
	case role == hashring.Out:
		return quorum.ReasonSuspect
	case role == hashring.Building && !plant.Is(plant.BuildingAnswers):
		return quorum.ReasonBuilding
	case !c.confirmed && !plant.Is(plant.UnconfirmedOwner):
		return quorum.ReasonStarting
	}
	return quorum.ReasonNone
}

// mergeRecord joins an object into this store's record, through its guard: whatever
// comes, writes, hints, repairs and rows of an exchange. seq: what must be durable before
// anybody is told.
func (c *Core) mergeRecord(p uint32, b *hashring.Bucket, key []byte, hash uint64, in *version.Object) (seq uint64, why quorum.Reason) {
	return c.merge(p, b, key, hash, in, true)
}

// mergeRaw does it without the guard: for the stream by which a store is built (E6b),
// and for a record that is mended, and nothing else.
func (c *Core) mergeRaw(p uint32, b *hashring.Bucket, key []byte, hash uint64, in *version.Object) (seq uint64, why quorum.Reason) {
	return c.merge(p, b, key, hash, in, plant.Is(plant.StreamGuarded))
}

func (c *Core) merge(p uint32, b *hashring.Bucket, key []byte, hash uint64, in *version.Object, guarded bool) (seq uint64, why quorum.Reason) {
	if b.Mode == hashring.Strong && !plant.Is(plant.StrongTakesWrites) {
		c.strong.stats.Refused++ // S15: by whatever way it has come
		return 0, quorum.ReasonNotOwner
	}
	if c.out {
		return 0, quorum.ReasonSuspect // what it acked would be dropped elsewhere
	}
	if why := c.room(in); why != quorum.ReasonNone {
		return 0, why
	}
	local, seq, err := c.record(p, b.ID, key)
	if err != nil {
		return 0, quorum.ReasonCorrupt
	}
	if guarded {
		if in, why = c.guard(p, in, local); why != quorum.ReasonNone || in == nil {
			return seq, why
		}
	}
	// E8: what had expired at T is a tombstone, whenever a copy comes that is not yet.
	merged := antientropy.Expire(version.Join(local, in), c.ring.Purge(p).TimeMS)
	if plant.Is(plant.MergeReplaces) && in.MaxHLC() > local.MaxHLC() {
		merged = in
	}
	if plant.Is(plant.ExpiredDropped) {
		merged = &version.Object{Context: merged.Context, Siblings: slices.DeleteFunc(slices.Clone(merged.Siblings), func(s version.Sibling) bool { return s.ExpiryMS != 0 && s.ExpiryMS <= c.now.WallMS })}
	}
	if b.Conflict == hashring.LWW {
		merged = c.reduce(merged)
	}
	if version.Same(local, merged) {
		return seq, quorum.ReasonNone
	}
	return c.stageRecord(c.part(p), b.ID, key, hash, local, merged), quorum.ReasonNone
}

// room refuses what there is no place for; deletes go on below the reserve (D3).
func (c *Core) room(in *version.Object) quorum.Reason {
	switch {
	case c.overlay.bytes > MaxOverlay:
		return quorum.ReasonOverloaded
	case c.lowSpace && !onlyTombstones(in):
		return quorum.ReasonNoSpace
	}
	return quorum.ReasonNone
}

func onlyTombstones(o *version.Object) bool {
	for i := range o.Siblings {
		if !o.Siblings[i].Tombstone {
			return false
		}
	}
	return true
}

// onRead answers with what this store has of the key, as an owner or as a stand-in.
func (c *Core) onRead(m *Message) {
	reply := &Message{Kind: MsgReadReply, To: m.From, ID: m.ID, Partition: m.Partition, Fallback: m.Fallback}
	bucket, why := c.admit(m)
	var seq uint64
	if why == quorum.ReasonNone {
		reply.Object, seq, why = c.replicaRead(m.Partition, bucket, m.Key, m.Fallback)
	}
	reply.Reason = why
	if plant.Is(plant.ReadBeforeSync) {
		seq = 0
	}
	c.sendAfter(seq, reply)
}

// replicaRead is this store's copy: an owner's record, or a stand-in's hints.
func (c *Core) replicaRead(p uint32, b *hashring.Bucket, key []byte, fallback bool) (*version.Object, uint64, quorum.Reason) {
	if fallback {
		pl := plan{bucket: b, partition: p, owners: c.ring.Owners(p, c.ring.N(b, p))}
		o, seq, err := c.hintsOf(&pl, key)
		if err != nil {
			return nil, 0, quorum.ReasonCorrupt
		}
		return o, seq, quorum.ReasonNone
	}
	if why := c.answers(p, b); why != quorum.ReasonNone {
		return nil, 0, why
	}
	o, seq, err := c.record(p, b.ID, key)
	if err != nil {
		return nil, 0, quorum.ReasonCorrupt
	}
	return o, seq, quorum.ReasonNone
}
