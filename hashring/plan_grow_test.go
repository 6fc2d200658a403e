package hashring

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// bestGrowth tries every way to give one store to each short list that may take one,
// with as many zones in each list as there can be, and gives the least sum of squared
// loads; chosen counts the lists.
func bestGrowth(s *State, alive func(SID) bool) (least, chosen int) {
	zone := zonesOf(s)
	load := map[SID]int{}
	var options [][]SID
	for p := range s.Partitions {
		part := &s.Partitions[p]
		for _, sid := range part.Replicas {
			load[sid]++
		}
		if len(part.Replicas) >= s.Replicas || len(part.Building) > 0 {
			continue
		}
		var fresh, repeated []SID
		used := map[string]bool{}
		for _, sid := range part.Replicas {
			used[zone[sid]] = true
		}
		for _, st := range s.Stores {
			switch {
			case st.State != StoreUp || !alive(st.SID) || slices.Contains(part.Replicas, st.SID):
			case used[st.Zone]:
				repeated = append(repeated, st.SID)
			default:
				fresh = append(fresh, st.SID)
			}
		}
		if len(fresh) == 0 {
			fresh = repeated
		}
		if len(fresh) > 0 {
			options = append(options, fresh)
		}
	}
	least = -1
	var try func(i int)
	try = func(i int) {
		if i == len(options) {
			if sum := squares(load); least < 0 || sum < least {
				least = sum
			}
			return
		}
		for _, sid := range options[i] {
			load[sid]++
			try(i + 1)
			load[sid]--
		}
	}
	try(0)
	return least, len(options)
}

func squares(load map[SID]int) (sum int) {
	for _, n := range load {
		sum += n * n
	}
	return sum
}

func TestPlanGrowIsAsEvenAsCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(0, 4).Draw(t, "join") {
			h.s = must(t, h.s, registerCommand(h.fresh(t, "")))
		}
		h.twin = h.s
		for step := range rapid.IntRange(0, 6).Draw(t, "steps") {
			h.step(t, uint64(step)+100)
		}
		s := h.s
		dead := rapid.SampledFrom(s.Stores).Draw(t, "dead").SID
		alive := func(sid SID) bool { return sid != dead }
		places := PlanGrow(s, alive)
		least, chosen := bestGrowth(s, alive)
		if len(places) != chosen {
			t.Fatalf("%d places, %d lists can grow:\n%s", len(places), chosen, s.Picture())
		}
		if !slices.Equal(places, PlanGrow(s, alive)) {
			t.Fatal("equal calls, two answers")
		}
		if chosen == 0 {
			return
		}
		next := must(t, s, growCommand(places...)) // Apply knows the rules of a place
		zone, load := zonesOf(s), map[SID]int{}
		for p := range next.Partitions {
			for _, sid := range next.Partitions[p].Replicas {
				load[sid]++
			}
		}
		if got := squares(load); got != least {
			t.Fatalf("squares of loads %d, the least is %d:\n%s", got, least, next.Picture())
		}
		for _, pl := range places {
			if !alive(pl.SID) {
				t.Fatal("a dead store was given a place")
			}
			before := s.Partitions[pl.Partition].Replicas
			repeats := func(sid SID) bool {
				return slices.ContainsFunc(before, func(o SID) bool { return zone[o] == zone[sid] })
			}
			for _, st := range s.Stores {
				if repeats(pl.SID) && !repeats(st.SID) && st.State == StoreUp && alive(st.SID) {
					t.Fatalf("p%d took %s though the zone of %s is free", pl.Partition, pl.SID.Short(), st.Node)
				}
			}
		}
	})
}

func TestPlanGrowPlansNothing(t *testing.T) {
	always := func(SID) bool { return true }
	old := ringOf(t, 4, 3, 1, []Store{storeOf("a", ""), storeOf("b", "")})
	empty := must(t, nil, initCommand(3))
	for name, s := range map[string]*State{
		"before its level":    old,
		"before the ring":     empty,
		"full lists":          modernRing(t, 4, 2, 1, "a", "b", "c"),
		"nobody left":         modernRing(t, 4, 3, 0, "a", "b"),
		"nobody that is well": must(t, modernRing(t, 4, 3, 1, "a", "b", "c"), stateCommand("c", StoreSuspect)),
	} {
		if places := PlanGrow(s, always); len(places) != 0 {
			t.Errorf("%s: %v", name, places)
		}
	}
}

// A large ring is planned in one go and committed in batches.
func TestPlanGrowOfALargeRing(t *testing.T) {
	const partitions = 2 * MaxPlaces
	stores := manyStores(20)
	for i := range stores {
		stores[i].FeatureMax = FeatureBuilding
	}
	c := initCommand(3)
	c.Init.Feature = FeatureBuilding
	s := must(t, nil, c)
	for _, st := range stores {
		s = must(t, s, registerCommand(st))
	}
	s = must(t, s, Command{Kind: KindFirstRing, FirstRing: &FirstRing{partitions, []SID{stores[0].SID, stores[1].SID}}})
	places := PlanGrow(s, func(SID) bool { return true })
	for batch := range slices.Chunk(places, MaxPlaces) {
		s = must(t, s, growCommand(batch...))
	}
	var others []SID // of the two zones that the lists lacked
	for _, st := range stores {
		if st.Zone != stores[0].Zone && st.Zone != stores[1].Zone {
			others = append(others, st.SID)
		}
	}
	least, most := spread(listsOf(s.Partitions), MaxReplicas, others)
	if len(places) != partitions || most-least > 1 {
		t.Errorf("%d places, %d to %d a store", len(places), least, most)
	}
}

// p0 may take x or y, p1 only x, whose zone it lacks: so p0 must leave x to p1, though
// it comes first and x is the first that fits.
func TestPlanGrowLeavesTheOnlyChoiceToOthers(t *testing.T) {
	s := modernRing(t, 2, 3, 3, "a", "w", "x", "y")
	for i, zone := range []string{"z1", "z3", "z2", "z3"} {
		s.Stores[i].Zone = zone
	}
	s.Partitions[0].Replicas = []SID{sidOf("a")}
	s.Partitions[1].Replicas = []SID{sidOf("a"), sidOf("w")}
	got := PlanGrow(s, func(SID) bool { return true })
	if want := []Place{{0, 1, sidOf("y"), 0}, {1, 1, sidOf("x"), 0}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
