package core

import (
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
)

// serving is a request of an exchange that another store leads.
type serving struct {
	pair  antientropy.Pair
	req   *antientropy.Message
	s     *antientropy.Serving
	class antientropy.Class
	over  bool
}

// serveRequest answers a request, or ends what an end tells of. A request that comes
// again while it is worked on is that request.
func (c *Core) serveRequest(pair antientropy.Pair, m *antientropy.Message, known, sound bool) {
	r := &c.repair
	if !r.on {
		return
	}
	if m.Kind == antientropy.MsgEnd {
		c.dropServing(pair)
		r.sched.Served(pair)
		return
	}
	for _, v := range r.serve {
		if v.pair == pair && v.req.Exchange == m.Exchange && v.req.Step == m.Step {
			return
		}
	}
	view := c.exchangeView(pair)
	if plant.Is(plant.ExchangeOtherStage) {
		view.Epoch, view.Generation = m.Epoch, m.Generation
	}
	switch {
	case !sound:
		view.Refuse = antientropy.ReasonGarbled
	case !known:
		view.Refuse = antientropy.ReasonEpoch
	case view.Refuse != antientropy.ReasonNone:
	case m.Kind == antientropy.MsgOpen:
		view.Refuse = c.admitExchange(pair)
	case !r.sched.Serves(c.now.Mono, pair):
		view.Refuse = antientropy.ReasonStopped
	}
	c.dropServing(pair)
	v := &serving{pair: pair, req: m, class: antientropy.ClassExchange}
	if _, building := c.ring.Building(pair.Partition, c.cfg.Self); building {
		v.class = antientropy.ClassRefill
	}
	s, do := antientropy.Serve(view, m)
	v.s = s
	r.serve = append(r.serve, v)
	r.stats.Served++
	c.carryServing(v, do)
}

// admitExchange lets a peer lead, and gives way to it when both have begun.
func (c *Core) admitExchange(pair antientropy.Pair) antientropy.Reason {
	why, yield := c.repair.sched.Admit(c.now.Mono, pair)
	if yield {
		for _, l := range slices.Clone(c.repair.leads) {
			if l.pair == pair {
				c.carry(l, l.x.Stop(antientropy.ReasonYielded))
			}
		}
	}
	return why
}

// exchangeView is what this store knows of the partition now.
func (c *Core) exchangeView(pair antientropy.Pair) antientropy.View {
	v := antientropy.View{Epoch: c.ring.Partitions[pair.Partition].PlanEpoch(), Generation: c.ring.Purge(pair.Partition).Generation,
		Tree: c.part(pair.Partition).treeOf(pair.N)}
	role, owns := c.place(pair.Partition, pair.N)
	peer, ok := c.ring.Role(pair.Partition, pair.Peer)
	switch {
	case !owns || role == hashring.Out || !c.confirmed:
		v.Refuse = antientropy.ReasonNotFull
	case !ok || peer != hashring.Full || !c.ring.Owns(pair.Partition, pair.N, pair.Peer):
		v.Refuse = antientropy.ReasonNotFull // a store that is being built leads none (E13)
	}
	return v
}

func (c *Core) dropServing(pair antientropy.Pair) {
	c.repair.serve = slices.DeleteFunc(c.repair.serve, func(v *serving) bool {
		gone := v.pair == pair
		v.over = v.over || gone
		return gone
	})
}

func (c *Core) carryServing(v *serving, do antientropy.Do) {
	if v.over {
		return
	}
	alive := func() bool { return !v.over }
	switch {
	case do.Load != nil:
		c.exchangeLoad(v.pair, v.class, do.Load, alive, func(in *antientropy.Loaded) {
			c.carryServing(v, v.s.Loaded(c.exchangeView(v.pair), in))
		})
	case do.Apply != nil:
		c.exchangeApply(v.pair, v.class, do.Apply, alive, func(why antientropy.Reason) { c.carryServing(v, v.s.Applied(why)) })
	case do.Send != nil:
		c.pay(v.class, int64(do.Send.Size()), func() { c.sendServed(v, do.Send) })
	}
}

// sendServed ends the request; and the exchange, as far as this end is concerned, when its
// open was refused or found nothing to do.
func (c *Core) sendServed(v *serving, m *antientropy.Message) {
	if v.over {
		return
	}
	c.repair.stats.ReadBytes += v.s.Read
	v.over = true
	c.repair.serve = slices.DeleteFunc(c.repair.serve, func(o *serving) bool { return o == v })
	if m.Kind == antientropy.MsgOpenReply && (m.Reason != antientropy.ReasonNone || len(m.Digests) == 1) {
		c.repair.sched.Served(v.pair)
	}
	c.sendExchange(v.pair, m)
}
