package gossip

import (
	"sort"

	"github.com/quoratedb/quorate/hashring"
)

// State of a member as gossip sees it. memberlist keeps its own suspicion to
// itself: a member under suspicion is still Alive here, for a second or two.
type State uint8

const (
	Alive State = iota + 1
	Dead        // stopped answering
	Left        // said that it stops
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return "unknown"
}

// Member is one node of the view.
type Member struct {
	Meta
	Gossip string // host:port of its gossip
	State  State
}

// View is who is there, as this node sees it: itself included, members of another
// cluster left out. Immutable. A nil view is empty.
type View struct {
	Self    hashring.SID
	Members []Member // sorted by SID

	bySID map[hashring.SID]int
}

// Member looks a member up, in any state.
func (v *View) Member(sid hashring.SID) (Member, bool) {
	if v == nil {
		return Member{}, false
	}
	i, ok := v.bySID[sid]
	if !ok {
		return Member{}, false
	}
	return v.Members[i], true
}

// Alive tells whether sid answers as far as gossip knows.
func (v *View) Alive(sid hashring.SID) bool {
	m, ok := v.Member(sid)
	return ok && m.State == Alive
}

// aliveAt tells whether a live member other than this node has the gossip address.
func (v *View) aliveAt(addr string) bool {
	if v == nil {
		return false
	}
	for i := range v.Members {
		if m := &v.Members[i]; m.State == Alive && m.Gossip == addr && m.SID != v.Self {
			return true
		}
	}
	return false
}

// Others is the number of live members beside this node.
func (v *View) Others() int {
	n := 0
	if v != nil {
		for i := range v.Members {
			if m := &v.Members[i]; m.State == Alive && m.SID != v.Self {
				n++
			}
		}
	}
	return n
}

// NewView builds a view of members, which it keeps and sorts.
func NewView(self hashring.SID, members []Member) *View {
	sort.Slice(members, func(i, j int) bool { return string(members[i].SID[:]) < string(members[j].SID[:]) })
	v := &View{Self: self, Members: members, bySID: make(map[hashring.SID]int, len(members))}
	for i := range members {
		v.bySID[members[i].SID] = i
	}
	return v
}
