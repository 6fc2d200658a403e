package hashring

import (
	"cmp"
	"slices"
)

// Claim makes the first ring: partitions equal arcs, each a virtual node of one
// store, shared so that
//   - the stores' numbers of virtual nodes differ by at most one;
//   - a replica list is its virtual node's store, then the next distinct stores
//     clockwise, stores of zones that the list lacks first, min(replicas,
//     len(stores)) in all;
//   - the first n stores of all lists, for every n, spread as evenly over the
//     stores as zones allow (a zone of one store is in every list);
//   - a store's virtual nodes have different successors, so that the work of a
//     dead store falls on many.
//
// The first two hold always, the others as far as a bounded search gets. The
// result depends only on the set of stores (ids and zones), not on their order;
// Apply uses it, so another result needs another feature level.
//
// Stores without a zone share one: nobody said that they fail apart.
func Claim(partitions int, stores []Store, replicas int) []Partition {
	if partitions < 1 || len(stores) == 0 {
		return nil
	}
	stores = slices.Clone(stores)
	slices.SortFunc(stores, func(a, b Store) int { return a.SID.Compare(b.SID) })
	c := arrange(stores, partitions, min(replicas, len(stores)))
	out := make([]Partition, partitions)
	for p := range out {
		list := make([]SID, 0, c.n)
		for _, at := range c.list(p) {
			list = append(list, stores[at].SID)
		}
		out[p] = Partition{Epoch: 1, Replicas: list}
	}
	return out
}

// zoneNumbers gives each store's zone as a small number, in order of appearance.
func zoneNumbers(stores []Store) (of []int, zones int) {
	of = make([]int, 0, len(stores))
	names := make(map[string]int)
	for i := range stores {
		if _, ok := names[stores[i].Zone]; !ok {
			names[stores[i].Zone] = len(names)
		}
		of = append(of, names[stores[i].Zone])
	}
	return of, len(names)
}

// The search ends in the first arrangement that no swap improves. A short ring is
// searched from several beginnings; a longer one also as a repetition of a short one,
// which keeps its evenness. The best is taken.
const (
	tile       = 256 // virtual nodes of a ring that is short
	beginnings = 4
)

func arrange(stores []Store, partitions, n int) *circle {
	best := settled(stores, partitions, n, 0, nil)
	try := func(c *circle) {
		if c.score < best.score {
			best = c
		}
	}
	if partitions <= tile {
		for begin := 1; begin < beginnings; begin++ {
			try(settled(stores, partitions, n, begin, nil))
		}
	}
	if period := tile / len(stores) * len(stores); period > 0 && partitions >= 2*period {
		try(settled(stores, partitions, n, 0, settled(stores, period, n, 0, nil).head))
	}
	return best
}

// settled deals a ring, lays the pattern over it as often as it fits, and improves
// it as far as the search gets.
func settled(stores []Store, partitions, n, begin int, pattern []int) *circle {
	c := newCircle(stores, partitions, n)
	c.deal(begin)
	if len(pattern) > 0 {
		for p := range partitions / len(pattern) * len(pattern) {
			c.head[p] = pattern[p%len(pattern)]
		}
	}
	for p := range c.head {
		c.walk(p)
		c.count(p, 1)
	}
	c.improve()
	return c
}

// deal gives every virtual node a first store, clockwise, in rounds in which each
// store comes once: zones take turns, and each round orders the stores of a zone
// by another stride, so that neighbours vary. Another begin deals otherwise.
func (c *circle) deal(begin int) {
	turn := c.turns()
	members := make([][]int, c.zones)
	nth := make([]int, c.stores) // place among the members of its zone
	for _, s := range turn {
		z := c.zone[s]
		nth[s] = len(members[z])
		members[z] = append(members[z], s)
	}
	for p := range c.head {
		s, round := turn[(p+begin)%c.stores], p/c.stores+begin
		same := members[c.zone[s]]
		c.head[p] = same[(nth[s]*stride(round, len(same))+round)%len(same)]
	}
}

// turns orders the stores so that zones take turns as long as they have stores.
func (c *circle) turns() []int {
	turn := make([]int, c.stores)
	nth := make([]int, c.stores) // how many stores of its zone come before it
	met := make([]int, c.zones)
	for s := range turn {
		turn[s], nth[s] = s, met[c.zone[s]]
		met[c.zone[s]]++
	}
	slices.SortStableFunc(turn, func(a, b int) int {
		return cmp.Or(cmp.Compare(nth[a], nth[b]), cmp.Compare(c.zone[a], c.zone[b]))
	})
	return turn
}

// stride is the round-th number, around and around, that is below n and coprime to
// it: its multiples visit all of 0..n-1.
func stride(round, n int) int {
	for at, left := 0, round; ; at = (at + 1) % n {
		if gcd(at, n) != 1 {
			continue
		}
		if left == 0 {
			return at
		}
		left--
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
