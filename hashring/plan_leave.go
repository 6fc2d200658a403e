package hashring

import "slices"

// slot is one place that the leaving store had.
type slot struct{ p, i int }

// empty tells whether some list would have no store left without x and nobody can
// take its place.
func (w *planner) empty(x int) bool {
	for y := range w.s.Stores {
		if y != x && w.s.Stores[y].takesData() {
			return false
		}
	}
	return slices.ContainsFunc(w.lists, func(list []int) bool { return len(list) == 1 && list[0] == x })
}

// handOver gives each place of x to the least busy store that may have it, and
// returns the places that found one.
func (w *planner) handOver(x int) (slots []slot) {
	for p, list := range w.lists {
		i := slices.Index(list, x)
		if i < 0 {
			continue
		}
		best := gone
		for y := range w.s.Stores {
			if y != x && w.mayTake(p, i, y) && (best == gone || w.better(p, i, y, best)) {
				best = y
			}
		}
		w.put(p, i, best)
		if best != gone {
			slots = append(slots, slot{p, i})
		}
	}
	return slots
}

func (w *planner) mayTake(p, i, y int) bool {
	return w.takes(y) && !slices.Contains(w.lists[p], y)
}

// better: more zones in the list, then fewer places, then fewer at this position.
func (w *planner) better(p, i, y, than int) bool {
	zy, zt := w.distinct(p, i, y), w.distinct(p, i, than)
	switch {
	case zy != zt:
		return zy > zt
	case w.total[y] != w.total[than]:
		return w.total[y] < w.total[than]
	default:
		return w.at[i][y] < w.at[i][than]
	}
}

// level passes the given places on along chains of stores, as long as a chain leads
// from a store to one that has two places less. Each place moves once whoever gets
// it, so this costs nothing; a flow argument says that no chain left means as even
// as it can be.
func (w *planner) level(slots []slot) {
	for {
		chain := w.chain(slots)
		if chain == nil {
			return
		}
		for _, step := range chain {
			w.reassign(step.slot, step.to)
		}
	}
}

type link struct {
	slot
	to int
}

// chain finds a shortest way, by breadth first search from the busiest stores down,
// over places that may go to another store.
func (w *planner) chain(slots []slot) []link {
	for _, from := range w.busiest() {
		came := map[int]link{}
		queue := []int{from}
		for len(queue) > 0 {
			y := queue[0]
			queue = queue[1:]
			if w.total[y] <= w.total[from]-2 {
				return w.trace(came, from, y)
			}
			for _, sl := range slots {
				if w.lists[sl.p][sl.i] != y {
					continue
				}
				for z := range w.s.Stores {
					if _, met := came[z]; met || z == from || !w.maySwitch(sl, z) {
						continue
					}
					came[z] = link{sl, z}
					queue = append(queue, z)
				}
			}
		}
	}
	return nil
}

// trace lists the links of a chain from its end, so that each store gives away a
// place only after it got one.
func (w *planner) trace(came map[int]link, from, at int) (chain []link) {
	for at != from {
		step := came[at]
		chain = append(chain, step)
		at = w.lists[step.p][step.i]
	}
	return chain
}

func (w *planner) busiest() []int {
	order := make([]int, len(w.total))
	for y := range order {
		order[y] = y
	}
	slices.SortStableFunc(order, func(a, b int) int { return w.total[b] - w.total[a] })
	return order
}

// maySwitch tells whether the place can go to z and the list keeps its zones. A store
// that leaves takes no data only if it is draining, so ask for the move's origin too.
func (w *planner) maySwitch(sl slot, z int) bool {
	return w.mayTake(sl.p, sl.i, z) && w.s.Stores[z].SID != w.moves[sl.p].From &&
		w.distinct(sl.p, sl.i, z) >= w.distinct(sl.p, sl.i, w.lists[sl.p][sl.i])
}

func (w *planner) reassign(sl slot, to int) {
	from := w.moves[sl.p].From
	w.put(sl.p, sl.i, to)
	m := w.moves[sl.p]
	m.From = from
	w.moves[sl.p] = m
}
