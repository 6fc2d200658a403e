package sim

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// longPause is longer than any constant of the protocol.
const longPause = 27 * time.Second

// wentOn: a process goes on, perhaps one that takes itself for a primary.
func (p *probes) wentOn(n *node) {
	p.hitIf(n.w.now-n.stopped > longPause, pLongPause)
	if n.ring == nil {
		return
	}
	for i := range n.ring.Partitions {
		known, is := &n.ring.Partitions[i], &n.w.auth.state.Partitions[i]
		if known.Strong != nil && known.Primary == n.sid && is.Primary != n.sid {
			p.hit(pOldPrimary)
		}
	}
}

// manyPrimaries of one node make a failure of it a wave.
const manyPrimaries = 3

// dies looks at a process that ends: at what it led, and had not synced.
func (p *probes) dies(n *node) {
	led := 0
	for i := range n.w.auth.state.Partitions {
		if part := &n.w.auth.state.Partitions[i]; part.Strong != nil && part.Primary == n.sid {
			led++
		}
	}
	p.hitIf(led >= manyPrimaries, pManyPrimaries)
	for _, s := range n.shards {
		for _, b := range slices.Concat(s.inFlight, s.pending) {
			p.hitIf(slices.ContainsFunc(b.Strong, func(w core.StrongWrite) bool {
				return w.Kind == strong.PutEntry && n.w.auth.state.Partitions[w.Partition].Primary == n.sid
			}), pPrimaryLostEntries)
		}
	}
}

// comes looks at a message that is about to be taken.
func (p *probes) comes(n *node, m *core.Message) {
	if len(m.Strong) == 0 {
		return
	}
	r := n.eng.parts[m.Partition].strong
	for _, s := range m.Strong {
		p.hitIf(s.Kind == strong.MsgAppend && r != nil && s.Epoch < r.hard.Promised, pLateAppend)
	}
}

// named looks at a new primary.
func (p *probes) named(w *World, old hashring.SID, c *hashring.StrongChange) {
	p.hit(pPrimaryMoved)
	if n := w.holder(c.Primary); n != nil {
		p.hitIf(n.eng.boots > 1, pRestartLeads)
	}
	if n := w.holder(old); n != nil {
		p.hitIf(n.up && n.disk.stalled > w.now, pStalledPrimary)
	}
}
