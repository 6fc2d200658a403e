package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum"
)

// Hinted hand-off (E3). The holder tells a target that is back that there is
// something; the target pulls slices at its own pace, merges and syncs them, and
// only then tells the holder which generations to drop.
const (
	tickEvery   = time.Second
	maxPulls    = 4   // slices on their way to a shard at a time
	pullRows    = 128 // hints a slice
	pullTimeout = 5 * time.Second
)

// tick is the shard's own timer: notices to targets that are back, parked messages
// that have waited long enough.
func (c *Core) tick() {
	c.timers.add(c.now.Mono+tickEvery, 0, 0)
	c.expireParked()
	for _, id := range sortedKeys(c.parts) {
		for _, h := range c.parts[id].counters.Hints {
			if c.reachable(h.Target) && c.ring.Owns(id, len(c.ring.Partitions[id].Replicas), h.Target) {
				c.send(&Message{Kind: MsgHintNotice, To: h.Target, Partition: id})
			}
		}
	}
}

// pullOp is one partition's hints on their way from one holder to this store.
type pullOp struct {
	id        uint64
	partition uint32
	holder    hashring.SID
	since     time.Duration
}

func (c *Core) onHintNotice(m *Message) {
	if c.pulls >= maxPulls || !c.confirmed || c.lowSpace || plant.Is(plant.HintsNeverOffered) {
		return // the holder asks again
	}
	for _, id := range sortedKeys(c.ops) {
		if p, ok := c.ops[id].(*pullOp); ok && p.partition == m.Partition && p.holder == m.From {
			return
		}
	}
	p := &pullOp{partition: m.Partition, holder: m.From}
	p.id = c.addOp(p)
	c.pulls++
	p.pull(c, nil)
}

func (p *pullOp) pull(c *Core, cursor []byte) {
	p.since = c.now.Mono
	c.timers.add(c.now.Mono+pullTimeout, p.id, timerDeadline)
	c.send(&Message{Kind: MsgHintPull, To: p.holder, ID: p.id, Partition: p.partition, Cursor: cursor, Limit: pullRows})
}

func (p *pullOp) end(c *Core) {
	delete(c.ops, p.id)
	c.pulls--
}

// onHintPull (holder): read a slice of what is durable and send it.
func (c *Core) onHintPull(m *Message) {
	if len(c.loads) >= MaxLoads {
		return // the target asks again
	}
	from, id, p := m.From, m.ID, m.Partition
	c.load(Load{Kind: LoadHints, Partition: p, Target: from, After: m.Cursor, MaxRows: int(min(m.Limit, pullRows)), MaxBytes: LoadSliceBytes}, func(l *Loaded) {
		if l.Err == nil {
			c.send(&Message{Kind: MsgHintPage, To: from, ID: id, Partition: p, Rows: l.Rows, More: l.More})
			if plant.Is(plant.HintDroppedOnSend) {
				c.onHintDone(&Message{From: from, Partition: p, Rows: l.Rows})
			}
		}
	})
}

// onMessage (target): merge the slice; once it is synced the holder may drop it.
func (p *pullOp) onMessage(c *Core, m *Message) {
	if m.Kind != MsgHintPage || m.From != p.holder {
		return
	}
	var seq uint64
	done := make([]Row, 0, len(m.Rows))
	for i := range m.Rows {
		r := &m.Rows[i]
		bucket, ok := c.ring.BucketByID(r.Bucket)
		if !ok && uint64(r.Bucket) > c.ring.Version {
			continue // made since: an id is the ring version of its creation
		}
		if ok { // hints of a deleted bucket are dropped
			hash := hashring.Hash(bucket.Name, r.Key)
			s, why := c.mergeRecord(p.partition, bucket, r.Key, hash, r.Object)
			if why != quorum.ReasonNone {
				continue
			}
			seq = max(seq, s)
		}
		done = append(done, Row{Bucket: r.Bucket, Key: r.Key, Target: c.cfg.Self, Gen: r.Gen})
	}
	c.stats.HintsDelivered += uint64(len(done))
	if plant.Is(plant.HintDoneBeforeSync) {
		seq = 0
	}
	if len(done) > 0 {
		c.sendAfter(seq, &Message{Kind: MsgHintDone, To: p.holder, Partition: p.partition, Rows: done})
	}
	if m.More && len(m.Rows) > 0 {
		p.pull(c, m.Rows[len(m.Rows)-1].Cursor)
		return
	}
	p.end(c)
}

// onHintDone (holder): drop what the target has synced, unless it was rewritten.
func (c *Core) onHintDone(m *Message) {
	p := c.part(m.Partition)
	for i := range m.Rows {
		r := &m.Rows[i]
		if r.Target != m.From {
			continue
		}
		old, gen, _, err := c.hint(m.Partition, r.Bucket, r.Key, r.Target)
		if err != nil || old == nil || gen != r.Gen && !plant.Is(plant.HintGeneration) {
			continue
		}
		c.stageHint(p, HintWrite{m.Partition, r.Bucket, r.Key, r.Target, gen, nil}, old)
		if p.stoodIn && !plant.Is(plant.FallbackKeepsActor) {
			p.forgetActors() // E1b: in the batch that drops what they may have minted
		}
	}
}

func (p *pullOp) onTimer(c *Core, _ timerKind) {
	if c.now.Mono >= p.since+pullTimeout {
		p.end(c)
	}
}

func (p *pullOp) onDown(c *Core, store hashring.SID) {
	if store == p.holder {
		p.end(c)
	}
}

func (p *pullOp) onDurable(*Core) {}

// load runs a long read beside the shard; then is called with its slice.
func (c *Core) load(l Load, then func(*Loaded)) {
	c.lastOp++
	l.Token = uint64(c.cfg.Shard)<<56 | c.lastOp
	c.loads[l.Token] = then
	c.ready.Loads = append(c.ready.Loads, l)
}

func (c *Core) onLoaded(l *Loaded) {
	if then := c.loads[l.Token]; then != nil {
		delete(c.loads, l.Token)
		then(l)
	}
}
