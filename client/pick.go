package client

import (
	"math/rand/v2"

	"github.com/quoratedb/quorate/hashring"
)

// pickMax bounds the nodes that one choice looks at: more owners than any bucket
// has, and enough of a large cluster to find one that works.
const pickMax = 16

// triedMax is how many nodes a call remembers; more attempts are not made.
const triedMax = 8

// choice is the nodes a call may still go to.
type choice struct {
	n    int
	list [pickMax]*node
}

func (h *choice) add(n *node) {
	if h.n < pickMax {
		h.list[h.n] = n
		h.n++
	}
}

// partitionOf places a key as the nodes do: with hashring's own function.
func partitionOf(v *view, bucket, key string) uint32 {
	var room [128]byte
	return hashring.PartitionOf(hashring.Hash(bucket, append(room[:0], key...)), len(v.owners))
}

// pick chooses the node for the next attempt: an owner of the key that is not down
// and was not tried, else another node of the ring, else an endpoint, else the one
// of them all whose penalty ends first. It never returns nil.
func (c *Client) pick(k *call) *node {
	now := c.clock()
	if k.prefer != nil && k.attempts == 0 && k.prefer.usable(now) {
		return k.prefer
	}
	v := c.ring.Load()
	var h choice
	if v != nil && !c.cfg.NoOwnerRouting {
		if p := v.primaryOf(k); p != nil && p.usable(now) && !k.hasTried(p) {
			return p
		}
		if k.keyed {
			owners := v.ownersOf(k)
			for _, n := range owners {
				if n.usable(now) && !k.hasTried(n) {
					h.add(n)
				}
			}
			if h.n > 0 {
				// A write without a context replaces what its coordinator holds. If such
				// writes of one key went through one node now and another then, each would
				// make siblings of the other's; so they go to the first owner there is.
				if k.req.op.write() && k.req.context == "" {
					return h.list[0]
				}
				return h.best(now)
			}
		}
		c.others(k, v.nodes, now, &h)
		if h.n > 0 {
			return h.best(now)
		}
	}
	c.others(k, c.seeds, now, &h)
	if h.n > 0 {
		return h.best(now)
	}
	return c.lastResort(k, v)
}

// others adds untried nodes that are not down, beginning anywhere.
func (c *Client) others(k *call, list []*node, now int64, h *choice) {
	if len(list) == 0 {
		return
	}
	at := rand.IntN(len(list))
	for i := range list {
		if n := list[(at+i)%len(list)]; n.usable(now) && !k.hasTried(n) {
			h.add(n)
		}
	}
}

// lastResort is asked when everything is down or was tried: then one of them is
// tried anyway, those that are only busy first, and the tried ones last.
func (c *Client) lastResort(k *call, v *view) *node {
	list := c.seeds
	if v != nil && !c.cfg.NoOwnerRouting {
		list = v.nodes
		if k.keyed && len(v.ownersOf(k)) > 0 {
			list = v.ownersOf(k)
		}
		if len(list) == 0 || k.nTried%2 == 1 {
			list = c.seeds // addresses in the ring may be of no use from here
		}
	}
	best, rank := list[0], 1<<30
	at := rand.IntN(len(list))
	for i := range list {
		n := list[(at+i)%len(list)]
		r := 0
		if n.probing.Load() {
			r = 2
		}
		if k.hasTried(n) {
			r++
		}
		if r < rank {
			best, rank = n, r
		}
	}
	return best
}

// best takes the cheaper one of two at random: enough to keep nodes even, and
// without the stampede to the cheapest of all (Mitzenmacher 2001).
func (h *choice) best(now int64) *node {
	if h.n == 1 {
		return h.list[0]
	}
	i := rand.IntN(h.n)
	j := rand.IntN(h.n - 1)
	if j >= i {
		j++
	}
	a, b := h.list[i], h.list[j]
	if b.cost(now) < a.cost(now) {
		return b
	}
	return a
}

// spare is another owner for a hedge, nil if there is none that is usable.
func (c *Client) spare(k *call, not *node) *node {
	v := c.ring.Load()
	if v == nil || c.cfg.NoOwnerRouting || !k.keyed {
		return nil
	}
	now := c.clock()
	var h choice
	for _, n := range v.ownersOf(k) {
		if n != not && n.usable(now) && !k.hasTried(n) {
			h.add(n)
		}
	}
	if h.n == 0 {
		return nil
	}
	return h.best(now)
}
