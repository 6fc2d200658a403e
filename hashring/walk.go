package hashring

// walker finds the stores clockwise from each partition. It works on indices into
// State.Stores, so that a large ring is walked without hashing ids.
type walker struct {
	s      *State
	lists  [][]int // replica lists
	zone   []int   // zone of a store, as a small number
	owners int     // stores that are in a list
	idle   []int   // stores in no list that may stand in, sorted by sid

	seen  []int // per store: last walk that met it
	zoned []int // per zone: the same
	walk  int
}

func newWalker(s *State) *walker {
	w := &walker{s: s, seen: make([]int, len(s.Stores))}
	zone, zones := zoneNumbers(s.Stores)
	w.zone, w.zoned = zone, make([]int, zones)
	index := make(map[SID]int, len(s.Stores))
	for i := range s.Stores {
		index[s.Stores[i].SID] = i
	}
	owns := make([]bool, len(s.Stores))
	w.lists = make([][]int, len(s.Partitions))
	for p, part := range s.Partitions {
		for _, sid := range part.Replicas {
			at, ok := index[sid]
			if !ok {
				continue // State.Check refuses such a state; a lookup must not crash on one
			}
			if !owns[at] {
				owns[at] = true
				w.owners++
			}
			w.lists[p] = append(w.lists[p], at)
		}
	}
	for i := range s.Stores {
		if !owns[i] && s.Stores[i].standsIn() {
			w.idle = append(w.idle, i)
		}
	}
	return w
}

func (w *walker) all() []standIns {
	out := make([]standIns, len(w.lists))
	for p := range out {
		out[p] = w.from(p)
	}
	return out
}

// from is the order of stores for partition p.
func (w *walker) from(p int) standIns {
	w.walk++
	out := standIns{
		order: make([]SID, 0, len(w.s.Stores)),
		skip:  make([]int, 1, len(w.lists[p])+1),
	}
	for _, at := range w.lists[p] {
		w.seen[at], w.zoned[w.zone[at]] = w.walk, w.walk
		out.order = w.add(out.order, at)
		out.skip = append(out.skip, len(out.order))
	}
	for _, at := range w.zonesFirst(w.clockwise(p)) {
		out.order = w.add(out.order, at)
	}
	for i := range w.idle {
		out.order = w.add(out.order, w.idle[(p+i)%len(w.idle)])
	}
	return out
}

func (w *walker) add(order []SID, at int) []SID {
	if !w.s.Stores[at].standsIn() {
		return order
	}
	return append(order, w.s.Stores[at].SID)
}

// clockwise lists the stores after partition p that this walk has not met yet: by
// their virtual nodes first, then those that appear only further down a list.
func (w *walker) clockwise(p int) (out []int) {
	for depth := range MaxReplicas {
		for i := 1; i < len(w.lists); i++ {
			if len(w.lists[p])+len(out) == w.owners {
				return out
			}
			list := w.lists[(p+i)%len(w.lists)]
			if len(list) <= depth {
				continue
			}
			if at := list[depth]; w.seen[at] != w.walk {
				w.seen[at] = w.walk
				out = append(out, at)
			}
		}
	}
	return out
}

// zonesFirst moves the first store of each zone that this walk has not met to the
// front, both groups in their old order.
func (w *walker) zonesFirst(stores []int) []int {
	front := make([]int, 0, len(stores))
	var rest []int
	for _, at := range stores {
		if z := w.zone[at]; w.zoned[z] != w.walk {
			w.zoned[z] = w.walk
			front = append(front, at)
		} else {
			rest = append(rest, at)
		}
	}
	return append(front, rest...)
}
