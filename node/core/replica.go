package core

import (
	"slices"

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
	if owns := c.ring.Owns(m.Partition, c.ring.N(bucket, m.Partition), c.cfg.Self); owns == standIn {
		return nil, quorum.ReasonNotOwner
	}
	return bucket, quorum.ReasonNone
}

// mergeRecord joins an object into this store's record. seq: what must be durable
// before anybody is told.
func (c *Core) mergeRecord(p uint32, b *hashring.Bucket, key []byte, hash uint64, in *version.Object) (seq uint64, why quorum.Reason) {
	if why := c.room(in); why != quorum.ReasonNone {
		return 0, why
	}
	local, seq, err := c.record(p, b.ID, key)
	if err != nil {
		return 0, quorum.ReasonCorrupt
	}
	merged := version.Join(local, in)
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
	if !c.confirmed && !plant.Is(plant.UnconfirmedOwner) {
		return nil, 0, quorum.ReasonStarting
	}
	o, seq, err := c.record(p, b.ID, key)
	if err != nil {
		return nil, 0, quorum.ReasonCorrupt
	}
	return o, seq, quorum.ReasonNone
}
