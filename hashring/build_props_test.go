package hashring

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Random histories at FeatureBuilding: commands made for the state there is, some
// spoilt or late. What must hold after each of them:
//  1. the state passes Check, survives its codec, and a second replica has the same;
//  2. a partition's owners, full owners, builders or session change only with its
//     epoch, which never falls; the session is new then;
//  3. a store becomes full only by its own Filled, in its session;
//  4. a replacement or retirement leaves a full owner in every width that has one;
//  5. purge clocks, times and generations never fall, a generation rises by one, and
//     only where all owners are full and in service;
//  6. whoever was replaced has a successor in service, and is in no list.
func TestBuildHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for step := range rapid.IntRange(1, 50).Draw(t, "steps") {
			h.step(t, uint64(step)*3+100)
		}
		for state, before := range h.published {
			if !bytes.Equal(encoded(t, state), before) {
				t.Fatalf("the published state %d has changed", state.Version)
			}
		}
	})
}

type history struct {
	s, twin   *State
	names     int // stores named so far
	sessions  map[string]bool
	published map[*State][]byte
	late      []Command         // to be tried again
	configs   map[string]string // what each strong epoch of each partition has fixed
}

func newHistory(t *rapid.T) *history { return newHistoryAt(t, FeatureBuilding) }

func newHistoryAt(t *rapid.T, level uint16) *history {
	h := &history{sessions: map[string]bool{}, published: map[*State][]byte{}, configs: map[string]string{}}
	c := initCommand(rapid.IntRange(1, 5).Draw(t, "replicas"))
	c.Init.Feature = level
	s := must(t, nil, c)
	first := &FirstRing{Partitions: rapid.IntRange(1, 4).Draw(t, "partitions")}
	for range rapid.IntRange(1, 5).Draw(t, "stores") {
		st := h.fresh(t, "")
		s = must(t, s, registerCommand(st))
		first.Stores = append(first.Stores, st.SID)
	}
	for n := 2; n < s.Replicas; n++ {
		if rapid.Bool().Draw(t, "narrow") {
			s = must(t, s, Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: fmt.Sprintf("n%d", n), N: n}})
		}
	}
	h.s = must(t, s, Command{Kind: KindFirstRing, FirstRing: first})
	h.twin = h.s
	return h
}

// fresh is a new store; node "" names a new node after it.
func (h *history) fresh(t *rapid.T, node string) Store {
	h.names++
	st := modernStore(fmt.Sprintf("n%03d", h.names), rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone"))
	st.FeatureMax = FeatureStrong
	if node != "" {
		st.Node = node
	}
	return st
}

func (h *history) step(t *rapid.T, version uint64) {
	c := h.draw(t)
	if h.s.Feature >= FeatureStrong && rapid.Bool().Draw(t, "strong") {
		c = h.drawStrong(t)
	}
	h.late = append(h.late, c)
	next, err := h.s.Apply(version, c)
	again, errAgain := h.twin.Apply(version, c)
	if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
		t.Fatalf("the same command gave %v and %v", err, errAgain)
	}
	if err != nil {
		return
	}
	h.check(t, c, next)
	b := encoded(t, next)
	back, err := DecodeState(b)
	if err != nil || !reflect.DeepEqual(back, next) || !bytes.Equal(encoded(t, again), b) {
		t.Fatalf("%s: %v", b, err)
	}
	h.s, h.twin = next, back // one replica goes on from a snapshot
	h.published[next] = b
}

// draw makes a command that has a chance, or repeats a late one.
func (h *history) draw(t *rapid.T) Command {
	s := h.s
	store := rapid.SampledFrom(s.Stores).Draw(t, "store")
	p := rapid.IntRange(0, len(s.Partitions)-1).Draw(t, "partition")
	part := &s.Partitions[p]
	switch rapid.SampledFrom([]string{"replace", "filled", "filled", "filled", "grow", "state", "purge", "join", "boot", "late", "bucket"}).Draw(t, "kind") {
	case "replace":
		return Command{Kind: KindReplaceStore, ReplaceStore: &ReplaceStore{Old: store.SID, Boot: store.Boot, Store: h.fresh(t, store.Node)}}
	case "filled":
		var places []Place
		for p := range s.Partitions {
			if part := &s.Partitions[p]; len(part.Building) > 0 && rapid.IntRange(0, 3).Draw(t, "in the batch") > 0 {
				places = append(places, Place{uint32(p), part.PlanEpoch(), rapid.SampledFrom(part.Building).Draw(t, "builder"), part.Session})
			}
		}
		return filledCommand(places...)
	case "grow":
		places := PlanGrow(s, func(SID) bool { return rapid.IntRange(0, 5).Draw(t, "alive") > 0 })
		return growCommand(places...)
	case "state":
		states := []StoreState{StoreUp, StoreSuspect, StoreDown, StoreDraining, StoreRetired}
		return Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{store.SID, rapid.SampledFrom(states).Draw(t, "state")}}
	case "purge":
		c := PurgeRound{Partition: uint32(p), Epoch: part.PlanEpoch(), Clock: drawClock(t, "cut"), TimeMS: rapid.Int64Range(0, 9).Draw(t, "ms"), Generation: 1}
		if part.Purge != nil {
			c.Generation += part.Purge.Generation
		}
		rounds := []PurgeRound{c}
		for other := p + 1; other < len(s.Partitions); other++ {
			if part := &s.Partitions[other]; rapid.Bool().Draw(t, "with it") {
				c.Partition, c.Epoch, c.Generation = uint32(other), part.PlanEpoch(), 1
				if part.Purge != nil {
					c.Generation += part.Purge.Generation
				}
				rounds = append(rounds, c)
			}
		}
		return purgeCommand(rounds...)
	case "join":
		return registerCommand(h.fresh(t, ""))
	case "boot":
		store.Boot++
		return registerCommand(store)
	case "bucket":
		return Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: fmt.Sprintf("b%d", h.names), N: rapid.IntRange(1, s.Replicas).Draw(t, "n")}}
	default:
		if len(h.late) == 0 {
			return registerCommand(h.fresh(t, ""))
		}
		return rapid.SampledFrom(h.late).Draw(t, "late")
	}
}

// fullOf is the definition read aloud: listed, not building, and its store neither
// suspect nor retired.
func fullOf(s *State, p, n int) (out []SID) {
	part := s.Partitions[p]
	for _, sid := range part.Replicas[:min(n, len(part.Replicas))] {
		for _, st := range s.Stores {
			if st.SID == sid && st.State != StoreSuspect && st.State != StoreRetired && !slices.Contains(part.Building, sid) {
				out = append(out, sid)
			}
		}
	}
	return out
}

func (h *history) check(t *rapid.T, c Command, next *State) {
	if err := next.Check(); err != nil {
		t.Fatalf("after %s: %v", c.Kind, err)
	}
	for p := range next.Partitions {
		h.checkStage(t, c, next, p)
		h.checkPurge(t, next, p)
		h.checkStrong(t, c, next, p)
	}
	r := NewRing(next)
	for _, st := range h.s.Stores {
		to, ok := r.Successor(st.SID)
		now, _ := r.Store(st.SID)
		if !ok || now.Successor.IsZero() != (to == st.SID) {
			t.Fatalf("%s is succeeded by %s, %t", st.SID.Short(), to.Short(), ok)
		}
	}
}

func (h *history) checkStage(t *rapid.T, c Command, next *State, p int) {
	old, now := h.s.Partitions[p], next.Partitions[p]
	all := MaxReplicas
	was, is := fullOf(h.s, p, all), fullOf(next, p, all)
	same := slices.Equal(old.Replicas, now.Replicas) && slices.Equal(old.Building, now.Building) && slices.Equal(was, is) && old.Session == now.Session
	if now.PlanEpoch() < old.PlanEpoch() || now.PlanEpoch() == old.PlanEpoch() && !same {
		t.Fatalf("%s changed p%d within epoch %d:\n%s%s", c.Kind, p, now.PlanEpoch(), h.s.Picture(), next.Picture())
	}
	if key := fmt.Sprint(p, now.Session); now.PlanEpoch() > old.PlanEpoch() && now.Session != 0 {
		if h.sessions[key] {
			t.Fatalf("session %d of p%d has come back", now.Session, p)
		}
		h.sessions[key] = true
	}
	for _, sid := range is {
		told := c.Filled != nil && slices.Contains(c.Filled.Places, Place{uint32(p), old.PlanEpoch(), sid, old.Session})
		if !slices.Contains(was, sid) && !told {
			t.Fatalf("%s made %s full in p%d", c.Kind, sid.Short(), p)
		}
	}
	h.checkLeft(t, c, next, p)
}

// checkLeft: only a report that a store is suspect may take the last full owner of a
// width; of n=1 beside more replicas a replacement may too.
func (h *history) checkLeft(t *rapid.T, c Command, next *State, p int) {
	if c.SetStoreState != nil && c.SetStoreState.State == StoreSuspect {
		return
	}
	list := len(next.Partitions[p].Replicas)
	for n := 1; n <= list; n++ {
		used := n == list
		for _, b := range next.Buckets {
			used = used || b.N == n
		}
		if n == 1 && list > 1 {
			used = false
		}
		if used && len(fullOf(h.s, p, n)) > 0 && len(fullOf(next, p, n)) == 0 {
			t.Fatalf("%s left nobody full among the first %d of p%d:\n%s%s", c.Kind, n, p, h.s.Picture(), next.Picture())
		}
	}
}

func (h *history) checkPurge(t *rapid.T, next *State, p int) {
	old, now := NewRing(h.s).Purge(uint32(p)), NewRing(next).Purge(uint32(p))
	if now.TimeMS < old.TimeMS || now.Generation-old.Generation > 1 {
		t.Fatalf("p%d: purge %+v, then %+v", p, old, now)
	}
	for _, d := range old.Clock {
		if !now.Clock.Covers(d) {
			t.Fatalf("p%d forgot %v", p, d)
		}
	}
	if now.Generation == old.Generation {
		if !reflect.DeepEqual(old, now) {
			t.Fatalf("p%d: a purge without a round", p)
		}
		return
	}
	if r := NewRing(h.s); len(r.Full(uint32(p), MaxReplicas)) != len(h.s.Partitions[p].Replicas) || !isSettled(r, uint32(p)) {
		t.Fatalf("p%d was purged:\n%s", p, h.s.Picture())
	}
}

// However a cluster begins, growing and filling by turns ends with lists that are as
// long as they can be, everybody full.
func TestGrowingEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		s := h.s
		for range rapid.IntRange(0, 4).Draw(t, "join") {
			s = must(t, s, registerCommand(h.fresh(t, "")))
		}
		for range 2 * MaxReplicas {
			places := PlanGrow(s, func(SID) bool { return true })
			if len(places) == 0 {
				break
			}
			s = must(t, s, growCommand(places...))
			for i := range places {
				places[i].Epoch, places[i].Session = s.Partitions[places[i].Partition].PlanEpoch(), s.Version
			}
			s = must(t, s, filledCommand(places...))
		}
		for p := range s.Partitions {
			if n := len(fullOf(s, p, MaxReplicas)); n != min(s.Replicas, len(s.Stores)) {
				t.Fatalf("p%d has %d full owners:\n%s", p, n, s.Picture())
			}
		}
	})
}

// The views of a ring against the definition, for any history.
func TestStandings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for step := range rapid.IntRange(0, 20).Draw(t, "steps") {
			h.step(t, uint64(step)+100)
		}
		r := NewRing(h.s)
		for p := range h.s.Partitions {
			for n := range h.s.Replicas + 2 {
				compareStanding(t, r, uint32(p), n)
			}
		}
		for _, p := range []uint32{uint32(len(h.s.Partitions)), 1 << 31} {
			read, write := r.Quorum(p, 3)
			_, building := r.Building(p, h.s.Stores[0].SID)
			if r.Full(p, 3) != nil && len(r.Full(p, 3)) > 0 || len(r.Roles(p, 3)) > 0 || read+write > 0 || building || isSettled(r, p) || r.PurgeClock(p) != nil {
				t.Fatal("a partition that is not there answers something")
			}
		}
	})
}

func isSettled(r *Ring, p uint32) bool {
	_, how := r.Unsettled(p)
	return how == ""
}

func compareStanding(t *rapid.T, r *Ring, p uint32, n int) {
	part := r.Partitions[p]
	full := fullOf(r.State, int(p), n)
	if !slices.Equal(r.Full(p, n), full) {
		t.Fatalf("full of p%d, n=%d: %s, want %s", p, n, r.names(r.Full(p, n)), r.names(full))
	}
	roles := r.Roles(p, n)
	if len(roles) != len(r.Owners(p, n)) {
		t.Fatalf("%d roles of %d owners", len(roles), len(r.Owners(p, n)))
	}
	settled := len(part.Building) == 0
	for i, sid := range part.Replicas {
		st, _ := r.Store(sid)
		settled = settled && (st.State == StoreUp || st.State == StoreDraining)
		want := Full
		switch {
		case st.State == StoreSuspect, st.State == StoreRetired:
			want = Out
		case slices.Contains(part.Building, sid):
			want = Building
		}
		role, ok := r.Role(p, sid)
		if !ok || role != want || i < n && roles[i] != want {
			t.Fatalf("%s in p%d is %v, want %v", sid.Short(), p, role, want)
		}
		if session, building := r.Building(p, sid); building != (want == Building) || building && session != part.Session || !building && session != 0 {
			t.Fatalf("%s builds p%d: %d, %t", sid.Short(), p, session, building)
		}
	}
	if sid, how := r.Unsettled(p); (how == "") != settled || sid.IsZero() != settled {
		t.Fatalf("p%d unsettled by %s: %s", p, sid.Short(), how)
	}
	if _, ok := r.Role(p, sidOf("nobody")); ok {
		t.Fatal("a stranger has a role")
	}
	if len(full) == len(part.Replicas) && len(full) > 0 {
		if read, write := r.Quorum(p, len(full)); read != Majority(len(full)) || write != Majority(len(full)) {
			t.Fatalf("settled: r=%d w=%d of %d", read, write, len(full))
		}
	}
}

// A default read meets every write that a default write quorum has acked, whoever is
// replaced, filled or made suspect in between, as long as fewer stores than its W
// that held it were lost. The model takes the worst: a write is at its W stores only,
// and a store that becomes full lacks all that was acked in its last session.
func TestQuorumsMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := modernRingOf(t, rapid.IntRange(1, 7).Draw(t, "replicas"))
		var writes []*modelWrite
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			r := NewRing(s)
			full, part := r.Full(0, MaxReplicas), s.Partitions[0]
			switch rapid.SampledFrom([]string{"write", "write", "replace", "fill"}).Draw(t, "step") {
			case "write":
				_, w := r.Quorum(0, MaxReplicas)
				at := rapid.Permutation(full).Draw(t, "acked")[:w]
				writes = append(writes, &modelWrite{epoch: part.PlanEpoch(), w: w, at: setOf(at)})
			case "replace":
				victim := rapid.SampledFrom(part.Replicas).Draw(t, "victim")
				st, _ := r.Store(victim)
				fresh := modernStore(fmt.Sprintf("r%03d", i), "")
				fresh.Node = st.Node
				next, err := s.Apply(s.Version+1, Command{Kind: KindReplaceStore, ReplaceStore: &ReplaceStore{Old: victim, Boot: 1, Store: fresh}})
				if err != nil {
					continue // the last full one
				}
				s = next
				for _, w := range writes {
					if w.at[victim] {
						delete(w.at, victim)
						w.lost++
					}
				}
			case "fill":
				if len(part.Building) == 0 {
					continue
				}
				sid := rapid.SampledFrom(part.Building).Draw(t, "builder")
				s = must(t, s, filledCommand(Place{0, part.PlanEpoch(), sid, part.Session}))
				for _, w := range writes { // the survivors agreed before one of them streamed (E13)
					if w.epoch < part.PlanEpoch() && len(w.at) > 0 {
						maps.Copy(w.at, setOf(append(slices.Clone(full), sid)))
					}
				}
			}
			checkMeets(t, NewRing(s), writes)
		}
	})
}

type modelWrite struct {
	epoch   uint64
	w, lost int
	at      map[SID]bool
}

func setOf(sids []SID) map[SID]bool {
	out := map[SID]bool{}
	for _, sid := range sids {
		out[sid] = true
	}
	return out
}

func checkMeets(t *rapid.T, r *Ring, writes []*modelWrite) {
	full := r.Full(0, MaxReplicas)
	read, _ := r.Quorum(0, MaxReplicas)
	for _, w := range writes {
		lack := 0
		for _, sid := range full {
			if !w.at[sid] {
				lack++
			}
		}
		if w.lost < w.w && lack >= read {
			t.Fatalf("a write acked by %d in epoch %d, %d of them lost, is missed by a read of %d:\n%s", w.w, w.epoch, w.lost, read, r.Picture())
		}
	}
}

func modernRingOf(t *rapid.T, replicas int) *State {
	c := initCommand(replicas)
	c.Init.Feature = FeatureBuilding
	s := must(t, nil, c)
	for i := range replicas {
		s = must(t, s, registerCommand(modernStore(fmt.Sprintf("n%d", i), "")))
	}
	return must(t, s, Command{Kind: KindFirstRing, FirstRing: &FirstRing{1, sids(s.Stores)}})
}

func TestStandingsAllocateNothing(t *testing.T) {
	for name, s := range map[string]*State{
		"settled":  modernRing(t, 8, 3, 0, "a", "b", "c"),
		"building": must(t, modernRing(t, 8, 3, 0, "a", "b", "c"), replaceCommand("b", "b2", nil)),
	} {
		r := NewRing(s)
		if n := testing.AllocsPerRun(100, func() {
			full, roles := r.Full(3, 3), r.Roles(3, 3)
			read, write := r.Quorum(3, 3)
			role, _ := r.Role(3, full[0])
			session, _ := r.Building(3, sidOf("b2"))
			to, _ := r.Successor(sidOf("b"))
			if isSettled(r, 3) || r.PurgeClock(3).Covers(Dot{1, 1}) || to == full[0] {
				sink++
			}
			sink += uint64(len(roles)+read+write+int(role)) + session
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if r := NewRing(modernRing(t, 8, 3, 0, "a", "b", "c")); &r.Full(0, 3)[0] != &r.Owners(0, 3)[0] {
		t.Error("a settled partition has a list of its own")
	}
}
