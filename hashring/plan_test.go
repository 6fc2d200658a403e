package hashring

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawRing draws a ring of claimed partitions with up to two idle stores.
func drawRing(t *rapid.T, leastIdle int) *State {
	stores := drawStores(t, 1+leastIdle, 9)
	idle := min(len(stores)-1, rapid.IntRange(leastIdle, 2).Draw(t, "idle"))
	return ringOf(t, rapid.IntRange(1, 40).Draw(t, "partitions"), rapid.IntRange(1, 5).Draw(t, "replicas"), idle, stores)
}

// drawLists gives s any lists, as a long life with many plans may leave them.
func drawLists(t *rapid.T, s *State) *State {
	next := *s
	next.Partitions = slices.Clone(s.Partitions)
	for p := range next.Partitions {
		next.Partitions[p].Replicas = rapid.Permutation(sids(s.Stores)).Draw(t, "list")[:min(s.Replicas, len(s.Stores))]
	}
	return &next
}

// carriedOut checks a plan's form and gives the lists after it.
func carriedOut(t rapid.TB, s *State, p Plan) [][]SID {
	t.Helper()
	met := make(map[uint32]bool)
	for _, m := range p.Moves {
		part := s.Partitions[m.Partition]
		if met[m.Partition] || m.Epoch != part.Epoch || p.Version != s.Version || m.From == m.To {
			t.Fatalf("bad move %+v", m)
		}
		met[m.Partition] = true
		if !m.From.IsZero() && part.Replicas[m.Position] != m.From {
			t.Fatalf("%+v moves from %s", m, part.Replicas[m.Position])
		}
	}
	return p.Lists(s)
}

func owners(s *State) map[SID]int {
	places := make(map[SID]int)
	for _, part := range s.Partitions {
		for _, sid := range part.Replicas {
			places[sid]++
		}
	}
	return places
}

// The lower bound. Let x join owners with T places in all after lists have grown.
// (1) A list shorter than the replicas must grow by x: nobody else is new. (2) A list
// that repeats a zone and lacks x's, which is now among the owners' zones, breaks
// the rule until x is in it. These are different lists, and each takes a move to x.
// (3) Where all stores are even x has at least T/owners places, rounded down, and
// gets a place by a move only. So no plan has fewer moves than the greater of (1)+(2)
// and (3); this one has exactly as many, or fewer than (3) where zones stand against it.
func TestPlanJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawRing(t, 1)
		x := s.Stores[len(s.Stores)-1]
		p, err := PlanJoin(s, x.SID)
		if err != nil {
			t.Fatal(err)
		}
		after := carriedOut(t, s, p)
		zone, places := zonesOf(s), owners(s)
		all := []SID{x.SID}
		for sid := range places {
			all = append(all, sid)
		}
		needed, total := 0, 0
		for i, part := range s.Partitions {
			if len(part.Replicas) < s.Replicas || wrongList(part.Replicas, zone, all) != "" {
				needed++
			}
			total += len(after[i])
			if wrong := wrongList(after[i], zone, all); wrong != "" {
				t.Fatalf("partition %d has %s after the plan:\n%s%s", i, wrong, s.Picture(), s.PlanPicture(p))
			}
			if want := min(s.Replicas, len(part.Replicas)+1); len(after[i]) != want {
				t.Fatalf("partition %d has %d replicas, want %d", i, len(after[i]), want)
			}
		}
		for _, m := range p.Moves {
			if m.To != x.SID {
				t.Fatalf("%+v is not for the newcomer", m)
			}
		}
		share := total / len(all)
		if moves := len(p.Moves); moves > max(needed, share) || moves < needed {
			t.Fatalf("%d moves; %d are forced and the share is %d", moves, needed, share)
		}
		if oneZone(zone, all) {
			if least, most := spread(after, s.Replicas, all); len(p.Moves) < share || most-least > max(1, unevenness(s)) {
				t.Fatalf("%d moves of %d, places from %d to %d\n%s", len(p.Moves), share, least, most, s.Picture())
			}
		}
	})
}

func oneZone(zone map[SID]string, stores []SID) bool {
	return !slices.ContainsFunc(stores, func(sid SID) bool { return zone[sid] != zone[stores[0]] })
}

func unevenness(s *State) int {
	var all []SID
	for sid := range owners(s) {
		all = append(all, sid)
	}
	least, most := spread(listsOf(s.Partitions), s.Replicas, all)
	return most - least
}

// The lower bound of a leave: each place of the store must go, nothing else need.
func TestPlanLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawRing(t, 0)
		if rapid.Bool().Draw(t, "any lists") {
			s = drawLists(t, s)
		}
		places := owners(s)
		x := s.Stores[rapid.IntRange(0, len(s.Stores)-1).Draw(t, "leaves")]
		if rapid.Bool().Draw(t, "draining") {
			s = must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{x.SID, StoreDraining}})
		}
		p, err := PlanLeave(s, x.SID)
		if len(s.Stores) == 1 {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("the last store: %v", err)
			}
			return
		}
		if places[x.SID] == 0 {
			if !errors.Is(err, ErrSame) {
				t.Fatalf("a store that owns nothing: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		after := carriedOut(t, s, p)
		if len(p.Moves) != places[x.SID] {
			t.Fatalf("%d moves, the store has %d places", len(p.Moves), places[x.SID])
		}
		var rest []SID
		for _, st := range s.Stores {
			if st.SID != x.SID {
				rest = append(rest, st.SID)
			}
		}
		zone := zonesOf(s)
		for i, list := range after {
			if slices.Contains(list, x.SID) || len(list) != min(len(s.Partitions[i].Replicas), len(rest)) {
				t.Fatalf("partition %d: %d replicas, or the leaving one still", i, len(list))
			}
			// A list that the leaving store was not in stays as it is; in the others
			// no free zone may be passed over for a repeated one.
			if changed := slices.Contains(s.Partitions[i].Replicas, x.SID); changed {
				if was := wrongList(s.Partitions[i].Replicas, zone, sids(s.Stores)); was == "" && wrongList(list, zone, rest) != "" {
					t.Fatalf("partition %d has %s\n%s%s", i, wrongList(list, zone, rest), s.Picture(), s.PlanPicture(p))
				}
			}
		}
		most, best := heaviest(after), bestLeave(s, x.SID, p)
		if most > best {
			t.Fatalf("some store has %d places; giving %d places away, %d is possible", most, len(p.Moves), best)
		}
	})
}

func heaviest(lists [][]SID) (most int) {
	load := make(map[SID]int)
	for _, list := range lists {
		for _, sid := range list {
			load[sid]++
			most = max(most, load[sid])
		}
	}
	return most
}

// bestLeave is the least possible maximum of places after a leave, found by trying
// every cap with the textbook bipartite matching of places to stores.
func bestLeave(s *State, x SID, p Plan) int {
	zone, base := zonesOf(s), owners(s)
	delete(base, x)
	var may [][]SID
	for _, m := range p.Moves {
		if m.To.IsZero() {
			continue
		}
		list := slices.DeleteFunc(slices.Clone(s.Partitions[m.Partition].Replicas), func(sid SID) bool { return sid == x })
		var fresh, any []SID
		for _, st := range s.Stores {
			if st.SID == x || slices.Contains(list, st.SID) {
				continue
			}
			any = append(any, st.SID)
			if !slices.ContainsFunc(list, func(in SID) bool { return zone[in] == zone[st.SID] }) {
				fresh = append(fresh, st.SID)
			}
		}
		if len(fresh) > 0 {
			any = fresh
		}
		may = append(may, any)
	}
	for top := heaviest(listsOf(s.Partitions)); ; top++ {
		for top > 0 && matches(may, base, top-1) {
			top--
		}
		if matches(may, base, top) {
			return top
		}
	}
}

// matches tells whether each place finds a store with every store at most top.
func matches(may [][]SID, base map[SID]int, top int) bool {
	taken := make(map[SID][]int)
	for _, n := range base {
		if n > top {
			return false
		}
	}
	var seat func(i int, met map[SID]bool) bool
	seat = func(i int, met map[SID]bool) bool {
		for _, sid := range may[i] {
			if met[sid] {
				continue
			}
			met[sid] = true
			if base[sid]+len(taken[sid]) < top {
				taken[sid] = append(taken[sid], i)
				return true
			}
			for at, j := range taken[sid] {
				if seat(j, met) {
					taken[sid][at] = i
					return true
				}
			}
		}
		return false
	}
	for i := range may {
		if !seat(i, map[SID]bool{}) {
			return false
		}
	}
	return true
}

// A newcomer takes first places as eagerly as others: a bucket with n=1 is shared too.
func TestPlanJoinTakesFirstPlaces(t *testing.T) {
	var stores []Store
	for i := range 6 {
		stores = append(stores, storeOf(fmt.Sprintf("n%d", i), ""))
	}
	s := ringOf(t, 60, 3, 1, stores)
	p, err := PlanJoin(s, sidOf("n5"))
	if err != nil {
		t.Fatal(err)
	}
	after := carriedOut(t, s, p)
	for n := 1; n <= 3; n++ {
		if least, most := spread(after, n, sids(stores)); most-least > 1 {
			t.Errorf("among the first %d: %d to %d", n, least, most)
		}
	}
	if len(p.Moves) != 30 {
		t.Errorf("%d moves, want 60*3/6", len(p.Moves))
	}
}

func TestPlanRefusals(t *testing.T) {
	s := ringOf(t, 4, 2, 1, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", "")})
	away := must(t, s, Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf("c"), StoreDraining}})
	bare := must(t, must(t, nil, initCommand(3)), registerCommand(storeOf("a", "")))
	for name, c := range map[string]struct {
		plan func(*State, SID) (Plan, error)
		s    *State
		sid  SID
		want error
	}{
		"join, unknown":  {PlanJoin, s, sidOf("x"), ErrUnknownStore},
		"join, an owner": {PlanJoin, s, sidOf("a"), ErrSame},
		"join, draining": {PlanJoin, away, sidOf("c"), ErrInvalid},
		"join, no ring":  {PlanJoin, bare, sidOf("a"), ErrInvalid},
		"leave, unknown": {PlanLeave, s, sidOf("x"), ErrUnknownStore},
		"leave, no ring": {PlanLeave, bare, sidOf("a"), ErrInvalid},
	} {
		if _, err := c.plan(c.s, c.sid); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Giving each place to the store that has least at the moment ends with three places
// at one store here; passing one on makes it two.
func TestPlanLeaveLooksFurtherThanTheNextPlace(t *testing.T) {
	a, b, c, d := sidOf("a"), sidOf("b"), sidOf("c"), sidOf("d")
	s := ringOf(t, 3, 2, 0, []Store{storeOf("a", ""), storeOf("b", ""), storeOf("c", ""), storeOf("d", "")})
	for p, list := range [][]SID{{b, c}, {b, a}, {a, d}} {
		s.Partitions[p].Replicas = list
	}
	p, err := PlanLeave(s, a)
	if err != nil {
		t.Fatal(err)
	}
	if most := heaviest(carriedOut(t, s, p)); most != 2 || len(p.Moves) != 2 {
		t.Errorf("%d places at one store:\n%s", most, s.PlanPicture(p))
	}
}
