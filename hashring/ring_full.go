package hashring

import "slices"

// Role is what an owner is to its partition.
type Role uint8

const (
	// Full: it holds all that was acked. It counts for R, W, n and purge rounds.
	Full Role = iota
	// Building: it gets every write, its reads and acks count for nothing.
	Building
	// Out: its store is suspect or retired. It is asked nothing; what it should get
	// waits for its successor.
	Out
)

func (r Role) String() string { return [...]string{"full", "building", "out"}[r] }

// standing is one partition's replicas by role, computed once. Most partitions are
// settled: their full owners are the list itself.
type standing struct {
	roles []Role // of the list's places
	full  []SID  // in list order
	first []int  // first[n]: how many of the first n owners are full
}

// allFull and allFirst serve every settled partition.
var (
	allFull  [MaxReplicas]Role
	allFirst = func() (first [MaxReplicas + 1]int) {
		for n := range first {
			first[n] = n
		}
		return first
	}()
)

func standingOf(s *State, part *Partition) standing {
	list := part.Replicas
	if s.settled(part) {
		return standing{roles: allFull[:len(list):len(list)], full: list, first: allFirst[: len(list)+1 : len(list)+1]}
	}
	st := standing{roles: make([]Role, len(list)), first: make([]int, 1, len(list)+1)}
	for i, sid := range list {
		switch {
		case s.full(part, i):
			st.full = append(st.full, sid)
		case s.serves(sid):
			st.roles[i] = Building
		default:
			st.roles[i] = Out
		}
		st.first = append(st.first, len(st.full))
	}
	return st
}

// settled tells whether all of part's list are full.
func (s *State) settled(part *Partition) bool {
	for i := range part.Replicas {
		if !s.full(part, i) {
			return false
		}
	}
	return len(part.Replicas) <= MaxReplicas
}

// serves tells whether a store, known here, stands for what it holds.
func (s *State) serves(sid SID) bool {
	i, ok := s.find(sid)
	return ok && s.Stores[i].State.serves()
}

func (r *Ring) standing(p uint32) *standing {
	if int(p) >= len(r.standings) {
		return &noStanding
	}
	return &r.standings[p]
}

var noStanding = standing{first: allFirst[:1:1]}

// Full are the first n owners of p that hold everything, in list order: those that
// count for R, W, n, the default quorum and purge rounds, and that may be the source
// of a stream. Shared: do not write to it.
func (r *Ring) Full(p uint32, n int) []SID {
	s := r.standing(p)
	n = s.first[max(0, min(n, len(s.first)-1))]
	return s.full[:n:n]
}

// Roles says what each of Owners(p, n) is. Shared: do not write to it.
func (r *Ring) Roles(p uint32, n int) []Role {
	roles := r.standing(p).roles
	n = max(0, min(n, len(roles)))
	return roles[:n:n]
}

// Role of a store in p; false when it is no owner.
func (r *Ring) Role(p uint32, sid SID) (Role, bool) {
	if int(p) >= len(r.Partitions) {
		return Out, false
	}
	i := slices.Index(r.Partitions[p].Replicas, sid)
	if i < 0 {
		return Out, false
	}
	return r.standings[p].roles[i], true
}

// Building gives the session in which sid builds p, and whether it does. A stream
// under another session is over (E7).
func (r *Ring) Building(p uint32, sid SID) (session uint64, building bool) {
	if role, ok := r.Role(p, sid); !ok || role != Building {
		return 0, false
	}
	return r.Partitions[p].Session, true
}

// Unsettled names the owner that keeps p from a purge round, and how it is: building,
// down, suspect or retired; "" when all are full and in service. Who is alive is the
// caller's to know.
func (r *Ring) Unsettled(p uint32) (sid SID, how string) {
	if int(p) >= len(r.Partitions) {
		return SID{}, "unknown"
	}
	return r.unsettled(&r.Partitions[p])
}

// Purge is what deletion rounds have settled in p: the zero value before the first.
// Its clock is shared: do not write to it.
func (r *Ring) Purge(p uint32) Purge {
	if int(p) >= len(r.Partitions) || r.Partitions[p].Purge == nil {
		return Purge{}
	}
	return *r.Partitions[p].Purge
}

// PurgeClock of p: a sibling at or below it that the local object does not hold was
// deleted (E6).
func (r *Ring) PurgeClock(p uint32) Clock { return r.Purge(p).Clock }

// ClockRoom is how many bytes the purge clock of a partition may have.
func (r *Ring) ClockRoom() int { return clockShare(len(r.Partitions)) }

// Successor is the store that stands where sid stood, after any number of
// replacements: sid itself while it has not been replaced. False for an unknown one.
func (r *Ring) Successor(sid SID) (SID, bool) {
	for range len(r.Stores) + 1 {
		st, ok := r.stores[sid]
		if !ok {
			return SID{}, false
		}
		if st.Successor.IsZero() {
			return sid, true
		}
		sid = st.Successor
	}
	return SID{}, false // a circle: State.Check refuses it
}

// Quorum gives the default R and W of the first n owners of p, both counted among
// Full(p, n); 0, 0 while nobody is full. W is a majority of the full owners. R is one
// too, and so many that it meets every write acked by a majority of the full owners
// at its time, whoever has been replaced or filled since: of a list of l at most
// l - Majority(l-1) full owners can lack one, which is so when it was acked by a
// majority of l-1 just before the last became full.
//
// For n up to three, and wherever all owners are full, both are the majority. With
// n=5 and two owners replaced at once R is 3 of 3: a write may have been acked by
// those two and one more.
func (r *Ring) Quorum(p uint32, n int) (read, write int) {
	full, list := len(r.Full(p, n)), len(r.Roles(p, n))
	if full == 0 {
		return 0, 0
	}
	write = Majority(full)
	return max(write, min(full, list-Majority(list-1)+1)), write
}
