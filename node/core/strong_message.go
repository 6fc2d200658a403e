package core

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/strong"
)

// strongParcel is a message to a store with room for what usually goes together, so that it
// is one piece of memory.
type strongParcel struct {
	Message
	room [2]*strong.Message
}

// strongSend lets a replica's messages go, those to one store that wait for the same
// batch as one.
func (c *Core) strongSend(p uint32, sends []strong.Send) {
	out := c.strong.parcels[:0]
	for i := range sends {
		s := &sends[i]
		if s.To == c.cfg.Self {
			c.strongReceive(p, c.cfg.Self, s.Msg)
			continue
		}
		if c.ring.Feature < hashring.FeatureLease {
			s.Msg.Asked = 0 // it could not be read
		}
		m := findParcel(out, s)
		if m == nil {
			parcel := &strongParcel{Message: Message{Kind: MsgStrong, To: s.To, Partition: p}}
			m, parcel.Strong = &parcel.Message, parcel.room[:0]
			out = append(out, Gated{s.Gate, Out{Message: m}})
		}
		m.Strong = append(m.Strong, s.Msg)
	}
	for i := range out {
		gate := out[i].Seq
		if plant.Is(plant.StrongGateIgnored) {
			gate = 0
		}
		c.sendAfter(gate, out[i].Out.Message)
	}
	clear(out)
	c.strong.parcels = out[:0]
}

func findParcel(out []Gated, s *strong.Send) *Message {
	for i := range out {
		if out[i].Seq == s.Gate && out[i].Out.Message.To == s.To {
			return out[i].Out.Message
		}
	}
	return nil
}

// onStrong takes messages between replicas. They carry epochs of their own, so neither
// side's ring version matters.
func (c *Core) onStrong(m *Message) {
	for _, s := range m.Strong {
		c.strongReceive(m.Partition, m.From, s)
	}
}

func (c *Core) strongReceive(p uint32, from hashring.SID, m *strong.Message) {
	if m.Kind == strong.MsgPeekReply {
		c.strongPeeked(from, m)
		return
	}
	sp := c.strong.parts[p]
	if sp == nil || sp.r == nil {
		if sp != nil && !sp.broken && c.confirmed && m.Epoch > sp.seen.Epoch { // perhaps it is to hold the partition from then on
			c.want(c.ring.Version+1, from)
		}
		return
	}
	if m = c.strongFits(m); m != nil {
		c.touchStrong(sp)
		sp.r.Receive(from, m)
	}
}

// strongFits is what of a message this store has room for (D3): beyond the bound on
// what waits for the disk no entries and no rows, below the reserve of free space only
// those that need none, such as deletes. A primary that is not acked sends them again.
func (c *Core) strongFits(m *strong.Message) *strong.Message {
	full := c.overlay.bytes > MaxOverlay
	if !full && !c.lowSpace || len(m.Entries) == 0 && len(m.Rows) == 0 {
		return m
	}
	if m.Kind != strong.MsgAppend {
		c.strong.stats.NoRoom++
		return nil
	}
	n := 0
	for !full && n < len(m.Entries) && !m.Entries[n].Value.Live() {
		n++
	}
	if n == len(m.Entries) {
		return m
	}
	c.strong.stats.NoRoom++
	short := *m
	short.Entries = m.Entries[:n]
	return &short
}
