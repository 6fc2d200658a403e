package hashring

// PlanGrow gives the places with which replica lists that are shorter than
// State.Replicas grow, one a list; a list that is building somebody waits until that
// one is full. Cut the result into batches of MaxPlaces for Grow.
//
// A list takes a store that is up, alive and not in it, from a zone that it lacks if
// there is one, and the loads come out as even as these rules allow. The new place is
// the last one, so buckets with a smaller n keep their owners. Where no store is left
// the list stays as it is.
//
// Equal calls have equal answers. Nothing is planned below FeatureBuilding.
func PlanGrow(s *State, alive func(SID) bool) []Place {
	if s.Feature < FeatureBuilding || len(s.Partitions) == 0 {
		return nil
	}
	w := newPlanner(s)
	w.takes = func(x int) bool { return s.Stores[x].State == StoreUp && alive(s.Stores[x].SID) }
	var slots []slot
	for p := range s.Partitions {
		part := &s.Partitions[p]
		if len(part.Replicas) >= s.Replicas || len(part.Building) > 0 {
			continue
		}
		if at := len(part.Replicas); w.appendBest(p, at) {
			slots = append(slots, slot{p, at})
		}
	}
	w.level(slots)
	places := make([]Place, 0, len(slots))
	for _, m := range w.plan().Moves {
		places = append(places, Place{Partition: m.Partition, Epoch: m.Epoch, SID: m.To})
	}
	return places
}

// appendBest gives list p the best store for its place i, one past its end.
func (w *planner) appendBest(p, i int) bool {
	best := gone
	for y := range w.s.Stores {
		if w.mayTake(p, i, y) && (best == gone || w.better(p, i, y, best)) {
			best = y
		}
	}
	if best != gone {
		w.put(p, i, best)
	}
	return best != gone
}
