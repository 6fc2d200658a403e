package hashring

import "slices"

// growInto adds x to the lists that are too short.
func (w *planner) growInto(x int) {
	for p, list := range w.lists {
		if len(list) < w.s.Replicas {
			w.put(p, len(list), x)
		}
	}
}

// spreadInto gives x a place in each list that repeats a zone and lacks x's: that of
// the busiest store among those whose zone is repeated, and of two equal ones that at
// a position of which x has fewer.
func (w *planner) spreadInto(x int) {
	for p, list := range w.lists {
		if slices.Contains(list, x) {
			continue
		}
		best, have := -1, w.distinct(p, 0, list[0])
		var bestKey [3]int
		for i, y := range list {
			key := [3]int{w.total[y], -w.at[i][x], w.at[i][y]}
			if w.distinct(p, i, x) > have && (best < 0 || slices.Compare(key[:], bestKey[:]) > 0) {
				best, bestKey = i, key
			}
		}
		if best >= 0 {
			w.put(p, best, x)
		}
	}
}

// fill moves places to x until it has its share of all.
func (w *planner) fill(x int) {
	places, owners := 0, 0
	for y, n := range w.total {
		places += n
		if n > 0 || y == x {
			owners++
		}
	}
	share, perPosition := places/owners, len(w.lists)/owners
	for w.total[x] < share {
		p, i := w.richest(x, perPosition)
		if p < 0 {
			return
		}
		w.put(p, i, x)
	}
}

// richest finds the place that x should take next: of the store with most places,
// at a position of which x has too few, from the store with most of those. -1: no
// place can be taken that leaves the ring better.
func (w *planner) richest(x, perPosition int) (int, int) {
	bestP, bestI := -1, -1
	var best [3]int
	for p, list := range w.lists {
		if slices.Contains(list, x) {
			continue
		}
		for i, y := range list {
			key := [3]int{w.total[y], perPosition - w.at[i][x], w.at[i][y]}
			if bestP >= 0 && slices.Compare(key[:], best[:]) <= 0 || w.total[y] <= w.total[x]+1 {
				continue
			}
			if w.distinct(p, i, x) >= w.distinct(p, i, y) {
				bestP, bestI, best = p, i, key
			}
		}
	}
	return bestP, bestI
}
