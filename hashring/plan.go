package hashring

import (
	"cmp"
	"slices"
)

// Move takes one place of one replica list from a store to another.
type Move struct {
	Partition uint32 `json:"partition"`
	Epoch     uint64 `json:"epoch"`    // PlanEpoch that the partition has now: a move is a compare-and-swap
	Position  int    `json:"position"` // in the list
	From      SID    `json:"from"`     // zero: the list grows by To
	To        SID    `json:"to"`       // zero: the list shrinks, for want of stores
}

// Plan is a set of moves, at most one for a partition, made for one ring version.
// It is only a plan: nothing here carries it out.
type Plan struct {
	Version uint64 `json:"ring_version"`
	Moves   []Move `json:"moves"` // by partition
}

// PlanJoin plans how the registered store sid, which owns nothing yet, takes its
// share. It moves no more than it must:
//   - a list that is shorter than the ring's replicas grows by the store;
//   - a list that repeats a zone while the newcomer's is free takes it in;
//   - then, until the newcomer has its even share (all places / all stores, rounded
//     down), one place after the other from the store that has most, where that
//     costs no zone, first places as eagerly as last ones.
//
// Every plan that leaves the ring even and its zones distinct must move as much:
// each of the first two kinds breaks a rule as long as it stands, and a store
// comes to a place by a move only.
func PlanJoin(s *State, sid SID) (Plan, error) {
	w := newPlanner(s)
	x, err := w.place(sid)
	if err != nil {
		return Plan{}, err
	}
	switch {
	case w.total[x] > 0:
		return Plan{}, refuse(ErrSame, "store %s owns partitions already", sid.Short())
	case !s.Stores[x].takesData():
		return Plan{}, refuse(ErrInvalid, "store %s is %s", sid.Short(), s.Stores[x].State)
	}
	w.growInto(x)
	w.spreadInto(x)
	w.fill(x)
	return w.plan(), nil
}

// PlanLeave plans how the store sid gives up all it owns: each of its places, and
// nothing else, moves to a store that is not in the list, one in a zone that the
// list lacks if there is one, so that the loads come out as even as they can.
// Where no store is left the list shrinks.
func PlanLeave(s *State, sid SID) (Plan, error) {
	w := newPlanner(s)
	x, err := w.place(sid)
	if err != nil {
		return Plan{}, err
	}
	if w.total[x] == 0 {
		return Plan{}, refuse(ErrSame, "store %s owns nothing", sid.Short())
	}
	if w.empty(x) {
		return Plan{}, refuse(ErrInvalid, "store %s is the last one", sid.Short())
	}
	w.level(w.handOver(x))
	return w.plan(), nil
}

// Lists are the replica lists that s has once the plan is carried out.
func (p Plan) Lists(s *State) [][]SID {
	lists := make([][]SID, len(s.Partitions))
	for i := range lists {
		lists[i] = slices.Clone(s.Partitions[i].Replicas)
	}
	for _, m := range p.Moves {
		list := &lists[m.Partition]
		switch {
		case m.From.IsZero():
			*list = slices.Insert(*list, m.Position, m.To)
		case m.To.IsZero():
			*list = slices.Delete(*list, m.Position, m.Position+1)
		default:
			(*list)[m.Position] = m.To
		}
	}
	return lists
}

// planner holds the lists as they become, on indices into State.Stores.
type planner struct {
	s     *State
	zone  []int
	zones int
	lists [][]int
	total []int   // places a store has
	at    [][]int // [position][store]: places it has there
	moves map[int]Move
	takes func(x int) bool // whether a store may be given places
}

// gone marks a place whose store left without a successor.
const gone = -1

func newPlanner(s *State) *planner {
	w := &planner{s: s, moves: make(map[int]Move), total: make([]int, len(s.Stores))}
	w.zone, w.zones = zoneNumbers(s.Stores)
	w.takes = func(x int) bool { return s.Stores[x].takesData() }
	for range MaxReplicas {
		w.at = append(w.at, make([]int, len(s.Stores)))
	}
	for p := range s.Partitions {
		var list []int
		for i, sid := range s.Partitions[p].Replicas {
			x, _ := s.find(sid) // State.Check: every replica is registered
			list = append(list, x)
			w.total[x]++
			w.at[i][x]++
		}
		w.lists = append(w.lists, list)
	}
	return w
}

func (w *planner) place(sid SID) (int, error) {
	x, ok := w.s.find(sid)
	if !ok {
		return 0, refuse(ErrUnknownStore, "store %s", sid.Short())
	}
	if len(w.lists) == 0 {
		return 0, refuse(ErrInvalid, "there is no ring yet")
	}
	return x, nil
}

// put writes store to into place i of list p, which may be one past its end.
func (w *planner) put(p, i, to int) {
	m := Move{Partition: uint32(p), Epoch: w.s.Partitions[p].PlanEpoch(), Position: i}
	if i == len(w.lists[p]) {
		w.lists[p] = append(w.lists[p], to)
	} else {
		m.From = w.s.Stores[w.lists[p][i]].SID
		w.drop(p, i)
		w.lists[p][i] = to
	}
	if to != gone {
		m.To = w.s.Stores[to].SID
		w.total[to]++
		w.at[i][to]++
	}
	w.moves[p] = m
}

func (w *planner) drop(p, i int) {
	w.total[w.lists[p][i]]--
	w.at[i][w.lists[p][i]]--
}

func (w *planner) plan() Plan {
	out := Plan{Version: w.s.Version, Moves: make([]Move, 0, len(w.moves))}
	for _, m := range w.moves {
		out.Moves = append(out.Moves, m)
	}
	slices.SortFunc(out.Moves, func(a, b Move) int { return cmp.Compare(a.Partition, b.Partition) })
	return out
}

// distinct counts the zones of list p if place i held store to.
func (w *planner) distinct(p, i, to int) (zones int) {
	var few [MaxReplicas + 1]int
	met := few[:0]
	for j := range max(len(w.lists[p]), i+1) {
		x := to
		if j != i {
			x = w.lists[p][j]
		}
		if x != gone && !slices.Contains(met, w.zone[x]) {
			met = append(met, w.zone[x])
		}
	}
	return len(met)
}
