package strong

import (
	"fmt"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// Status is what a replica tells of itself: for metrics and for pictures of the cluster.
type Status struct {
	Epoch, Promised uint64
	Role            string // "", sealing, pulling, leading, active
	Base, Last      Position
	Commit, Applied uint64
	LogBytes        int
	Waiting         int    // operations and reads without an answer
	Rounds          uint64 // confirmation rounds of this role
	Installing      bool
	Suspect         bool   // the store has forgotten something: it counts for nothing
	Diverged        bool   // the values are not what they should be, and pulled anew
	Scrubs          uint64 // complete walks over the values since the start
	Conflicts       uint64 // sums that were not the primary's
	Rebuilds        uint64 // values pulled anew because of it
	Lags            []Lag  // at the primary
}

// Lag is how far a store is behind the primary.
type Lag struct {
	Store   hashring.SID
	Member  bool
	Entries uint64        // that it has not acked
	Behind  bool          // it needs a snapshot
	Differs bool          // its values are not the primary's
	Quiet   time.Duration // since its last progress
}

// Status of now.
func (r *Replica) Status() Status {
	s := Status{Epoch: r.cfg.Epoch, Promised: r.hard.Promised, Base: r.log.base, Last: r.log.last(), Commit: r.hard.Commit, Applied: r.hard.Applied,
		LogBytes: r.log.bytes, Waiting: len(r.reads.waits), Installing: r.install != nil, Suspect: r.suspect,
		Diverged: r.hard.Diverged, Scrubs: r.scrub.rounds, Conflicts: r.trust.conflicts, Rebuilds: r.trust.rebuilds}
	l := r.lead
	if l == nil {
		return s
	}
	s.Role, s.Rounds = l.phase.String(), l.done
	if l.active {
		s.Role = "active"
	}
	s.Waiting += len(l.pend) + len(l.waits)
	for _, p := range l.peers {
		s.Lags = append(s.Lags, Lag{p.sid, p.member, r.log.lastIndex() - min(p.match, r.log.lastIndex()), p.behind, p.differs, r.now.Mono - p.ackAt})
	}
	return s
}

// Config is the configuration that the replica goes by.
func (r *Replica) Config() Config { return r.cfg }

// String draws the replica on one line: role, promise, and its log from base to last,
// C and A where it is committed and applied.
func (r *Replica) String() string {
	var b strings.Builder
	s := r.Status()
	fmt.Fprintf(&b, "e%d promised %d", s.Epoch, s.Promised)
	if s.Role != "" {
		fmt.Fprintf(&b, " %s", s.Role)
	}
	fmt.Fprintf(&b, "  %v |", s.Base)
	for i := s.Base.Index + 1; i <= s.Last.Index; i++ {
		fmt.Fprintf(&b, " %d", r.log.epochAt(i))
		switch {
		case i <= s.Applied:
			b.WriteString("A")
		case i <= s.Commit:
			b.WriteString("C")
		}
	}
	fmt.Fprintf(&b, " | %v", s.Last)
	if s.Installing {
		b.WriteString(" installing")
	}
	if s.Diverged {
		b.WriteString(" diverged")
	}
	return b.String()
}
