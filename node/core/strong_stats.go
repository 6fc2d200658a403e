package core

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// StrongStats counts since the process started, and says what is there now.
type StrongStats struct {
	EpochChanges uint64        // configurations of later epochs, over the partitions of this store
	Rounds       uint64        // confirmation rounds that primaries here have had answered
	Commits      uint64        // writes that primaries here have committed and answered
	CommitTime   time.Duration // from arrival to answer, of all of them together
	Refused      uint64        // eventual messages about strong buckets (S15)
	NoRoom       uint64        // messages not taken, or not in full, for want of room
	Broken       uint64        // partitions and reads that could not be trusted
	Scrubs       uint64        // partitions whose values were added up again
	Conflicts    uint64        // sums that did not fit: the values or the primary's
	Rebuilds     uint64        // partitions whose values were pulled anew because of it

	// Now.
	Partitions int    // that this store holds
	Led        int    // it is the primary of, by the ring state
	Active     int    // of these it leads with a committed barrier
	InFlight   int    // requests that replicas here work on
	Waiting    int    // requests that wait for a primary or another store
	Installing int    // snapshots being taken
	Diverged   int    // partitions whose values are wrong and are being pulled anew
	LogBytes   uint64 // of all logs
	// Lags of the other stores behind the primaries here, by store.
	Lags map[hashring.SID]StrongLag
}

// StrongLag is how far a store is behind the primaries of one shard.
type StrongLag struct {
	Partitions int    // it follows that many
	Entries    uint64 // not acked, together
	Snapshots  int    // partitions in which it needs one
}

// strongStats sums up the replicas of the shard.
func (c *Core) strongStats() StrongStats {
	n := &c.strong.stats
	s := StrongStats{EpochChanges: n.Epochs, Commits: n.Commits, CommitTime: n.CommitTime, Refused: n.Refused, NoRoom: n.NoRoom,
		Broken: n.Broken, InFlight: c.strong.running, Lags: map[hashring.SID]StrongLag{}}
	for _, sp := range c.strong.parts { // order-free: sums
		s.Waiting += len(sp.ops)
		if sp.r == nil {
			continue
		}
		st := sp.r.Status()
		s.Rounds += sp.r.Rounds()
		s.add(&st)
		if sp.r.Config().Primary == c.cfg.Self {
			s.Led++
		}
	}
	return s
}

func (s *StrongStats) add(st *strong.Status) {
	s.Partitions++
	s.LogBytes += uint64(st.LogBytes)
	s.Scrubs += st.Scrubs
	s.Conflicts += st.Conflicts
	s.Rebuilds += st.Rebuilds
	if st.Diverged {
		s.Diverged++
	}
	if st.Installing {
		s.Installing++
	}
	if st.Role == "active" {
		s.Active++
	}
	for _, l := range st.Lags {
		lag := s.Lags[l.Store]
		lag.Partitions++
		lag.Entries += l.Entries
		if l.Behind {
			lag.Snapshots++
		}
		s.Lags[l.Store] = lag
	}
}

// StrongPicture draws every strong partition that this shard holds, one a line: for a
// person, when something does not go on.
func (c *Core) StrongPicture() (out []string) {
	for _, id := range sortedKeys(c.strong.parts) {
		if sp := c.strong.parts[id]; sp.r != nil || sp.broken || len(sp.ops) > 0 {
			out = append(out, sp.String())
		}
	}
	return out
}

func (sp *strongPart) String() string {
	what := "nothing of it is here"
	switch {
	case sp.broken:
		what = "what is here cannot be trusted"
	case sp.r != nil:
		what = sp.r.String()
	}
	return fmt.Sprintf("partition %d: %d requests wait, %s", sp.id, len(sp.ops), what)
}
