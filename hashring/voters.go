package hashring

import (
	"cmp"
	"slices"
)

// Voters are the stores that should vote in the Raft group: an odd number, spread
// over zones. Live stores come first, then those that are not suspect (one of too few
// candidates keeps its vote: its Raft log has checksums of its own), then zones with few voters, then stores that
// vote now, then the order of ids; so a voter that lives is only given up for the
// spread over zones, and equal calls have equal answers. Draining and retired
// stores never vote. The result is sorted by id.
func Voters(s *State, alive func(SID) bool, current []SID) []SID {
	type candidate struct {
		sid                     SID
		zone                    string
		down, suspect, newcomer int // 0 or 1, to be compared
	}
	var left []candidate
	for i := range s.Stores {
		st := &s.Stores[i]
		if !st.takesData() {
			continue
		}
		c := candidate{sid: st.SID, zone: st.Zone}
		if !alive(st.SID) {
			c.down = 1
		}
		if st.State == StoreSuspect {
			c.suspect = 1
		}
		if !slices.Contains(current, st.SID) {
			c.newcomer = 1
		}
		left = append(left, c)
	}
	var voters []SID
	inZone := make(map[string]int)
	for range voterCount(len(left)) {
		best := slices.MinFunc(left, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.down, b.down), cmp.Compare(a.suspect, b.suspect), cmp.Compare(inZone[a.zone], inZone[b.zone]),
				cmp.Compare(a.newcomer, b.newcomer), a.sid.Compare(b.sid))
		})
		voters = append(voters, best.sid)
		inZone[best.zone]++
		left = slices.DeleteFunc(left, func(c candidate) bool { return c.sid == best.sid })
	}
	slices.SortFunc(voters, SID.Compare)
	return voters
}

// voterCount: an even number would survive no more failures than the odd one
// below it, and more than five would only make commits slower.
func voterCount(stores int) int {
	switch {
	case stores == 0:
		return 0
	case stores < 3:
		return 1
	case stores < 7:
		return 3
	default:
		return 5
	}
}
