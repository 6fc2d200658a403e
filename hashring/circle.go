package hashring

import "slices"

// circle is the working form of Claim: virtual nodes in ring order, the replica
// lists that follow from them, and a score of how evenly these spread.
type circle struct {
	stores, zones, n int
	zone             []int // of a store
	head             []int // store of each virtual node
	flat             []int // replica lists, n entries each
	reach            []int // how many virtual nodes the walk of a list looked at
	far              int   // the longest reach so far

	load  [][]int // [k][store]: lists that have the store among their first k+1
	pairs []int   // [a*stores+b]: lists of a's virtual nodes that have b too
	next  []int   // [a*stores+b]: those that have b right after a
	score int64   // the less the better

	inList, inZone []int // per store and zone: mark of the walk that met it
	mark           int
	touched        []int // scratch of swap and give
}

// What a unit of unevenness weighs. Load over the whole list decides disk and
// traffic of ordinary buckets, over its first k that of buckets with a smaller n;
// pairs only matter once a store is dead.
const (
	weighWhole  = 64
	weighPrefix = 16
	weighNext   = 2
	weighPair   = 1
)

func newCircle(stores []Store, partitions, n int) *circle {
	c := &circle{stores: len(stores), n: n}
	c.zone, c.zones = zoneNumbers(stores)
	c.head = make([]int, partitions)
	c.flat = make([]int, partitions*n)
	c.reach = make([]int, partitions)
	c.load = make([][]int, n)
	for k := range c.load {
		c.load[k] = make([]int, c.stores)
	}
	c.pairs = make([]int, c.stores*c.stores)
	c.next = make([]int, c.stores*c.stores)
	c.inList = make([]int, c.stores)
	c.inZone = make([]int, c.zones)
	return c
}

// list is partition p's replica list.
func (c *circle) list(p int) []int { return c.flat[p*c.n : (p+1)*c.n] }

// walk fills in p's list: its own store, then clockwise the first store of each
// further zone, then the nearest of the others; stores without a virtual node (more
// stores than partitions) last, each partition beginning at another one.
func (c *circle) walk(p int) {
	c.mark++
	list, got := c.list(p), 0
	take := func(s int) {
		c.inList[s], c.inZone[c.zone[s]] = c.mark, c.mark
		list[got] = s
		got++
	}
	take(c.head[p])
	c.reach[p] = 1
	for newZone := 1; newZone >= 0; newZone-- {
		zonesMissing := min(c.zones, c.n) - 1
		for i := 1; i < len(c.head) && got < c.n && (newZone == 0 || got <= zonesMissing); i++ {
			s := c.head[(p+i)%len(c.head)]
			c.reach[p] = max(c.reach[p], i+1)
			if c.inList[s] != c.mark && (newZone == 0 || c.inZone[c.zone[s]] != c.mark) {
				take(s)
			}
		}
		for i := 0; i < c.stores && got < c.n && len(c.head) < c.stores; i++ {
			s := (p + i) % c.stores
			if c.inList[s] != c.mark && (newZone == 0 || c.inZone[c.zone[s]] != c.mark) {
				take(s)
			}
		}
	}
	c.far = max(c.far, c.reach[p])
}

// count adds p's list to the counters, or takes it away with by = -1.
func (c *circle) count(p, by int) {
	list := c.list(p)
	head := list[0] * c.stores
	for i, s := range list {
		for k := i; k < c.n; k++ {
			weight := int64(weighPrefix)
			if k == c.n-1 {
				weight = weighWhole
			}
			c.add(&c.load[k][s], by, weight)
		}
		if i > 0 {
			c.add(&c.pairs[head+s], by, weighPair)
		}
	}
	if c.n > 1 {
		c.add(&c.next[head+list[1]], by, weighNext)
	}
}

// add changes one counter by one and the score by the change of its square.
func (c *circle) add(counter *int, by int, weight int64) {
	old := int64(*counter)
	*counter += by
	now := int64(*counter)
	c.score += weight * (now*now - old*old)
}

// Bounds of improve, so that a large ring is claimed in a second or two: it is
// done once in a cluster's life, on every node, while the Raft log waits.
const (
	swapDistance = 96      // virtual nodes that change places are at most this far apart
	swapPasses   = 24      // over all virtual nodes
	swapWork     = 2 << 20 // lists recomputed in all
	tradeWork    = 1 << 12 // lists recomputed for one virtual node that may change its store
)

// improve swaps virtual nodes as long as that lowers the score.
func (c *circle) improve() {
	work := 0
	for range swapPasses {
		before := c.score
		for i := range c.head {
			work += c.tryTrades(i)
			for d := 1; d <= min(swapDistance, len(c.head)/2); d++ {
				if work > swapWork {
					return
				}
				if j := (i + d) % len(c.head); c.head[i] != c.head[j] {
					work += c.trySwap(i, j)
				}
			}
		}
		if c.score == before {
			return
		}
	}
}

// tryTrades gives virtual node i to another store, where that keeps the stores'
// numbers of virtual nodes within one of each other.
func (c *circle) tryTrades(i int) (work int) {
	few := len(c.head) / c.stores
	if len(c.head)%c.stores == 0 || c.load[0][c.head[i]] == few {
		return 0
	}
	for s := range c.stores {
		from := c.head[i]
		if c.load[0][s] != few || work > tradeWork {
			continue
		}
		before := c.score
		work += c.give(i, s)
		if c.score < before {
			return work
		}
		work += c.give(i, from)
	}
	return work
}

func (c *circle) give(i, to int) int {
	touched := c.reaching(i, c.touched[:0])
	c.recount(touched, -1)
	c.head[i] = to
	c.recount(touched, 1)
	c.touched = touched
	return len(touched)
}

// recount takes lists out of the counters, or walks them anew and puts them in.
func (c *circle) recount(touched []int, by int) {
	for _, p := range touched {
		if by > 0 {
			c.walk(p)
		}
		c.count(p, by)
	}
}

// trySwap swaps two virtual nodes, and back unless the score sank. It answers how
// many lists it recomputed.
func (c *circle) trySwap(i, j int) int {
	before := c.score
	work := c.swap(i, j)
	if c.score >= before {
		work += c.swap(i, j)
	}
	return work
}

func (c *circle) swap(i, j int) int {
	touched := c.reaching(j, c.reaching(i, c.touched[:0]))
	c.recount(touched, -1)
	c.head[i], c.head[j] = c.head[j], c.head[i]
	c.recount(touched, 1)
	c.touched = touched
	return len(touched)
}

// reaching adds the partitions whose lists looked at virtual node at.
func (c *circle) reaching(at int, to []int) []int {
	for back := 0; back < min(c.far, len(c.head)); back++ {
		p := at - back
		if p < 0 {
			p += len(c.head)
		}
		if c.reach[p] > back && !slices.Contains(to, p) {
			to = append(to, p)
		}
	}
	return to
}
