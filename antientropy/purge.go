package antientropy

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// A purge round, at the owner that leads it (PROTOCOLS 2.1). What it proves before the
// purge clock rises to K: everything at or below K is at every owner, or nowhere.
//
//	survey   each owner names counters it has seen of every actor: what K may cover of
//	         actors that no longer live.
//	gather   every store: no hint for the partition is undelivered, no mark stands,
//	         and in the same report the highest counters its actors have minted: the cut.
//	         A dot at or below a cut has left its store's hands: it is at an owner. What
//	         the survey saw of a living actor is below its cut, which is taken later.
//	pull     a complete, thorough exchange with each owner, begun after the cuts:
//	         the lead has what any of them had.
//	spread   another one with each: each has what the lead had.
//	confirm  each owner is still the incarnation it was.
//	commit   purge(p, generation+1, K, T) through Raft.
//
// The survey comes first, since an actor that is in no cut is not for that reason
// dead: it may have minted its first dot after its store's report. Such dots are above
// what the survey saw. An actor that was seen by then and is in no report is dead, or
// forgotten by its store (E1b), and mints no more; its dots were in hands or in hints
// before the reports, which show no hints.
//
// Any change of owners, incarnations or stage, or a store that goes down, ends the
// round: it costs nothing but the space of tombstones that wait. A report that shows
// hints is asked for again, with all others: cuts of one round are taken together.

const (
	reportAgain   = 5 * time.Second  // after a report that showed hints
	purgeAnswer   = 10 * time.Second // a report, a confirmation or a commit takes no longer; then it is asked for again
	maxPurgeAsks  = 6                // in one phase without progress, then the round ends
	maxGatherings = 120              // ten minutes of hints that are not delivered
)

// Member is a store as it takes part: its incarnation is its boot.
type Member struct {
	Store hashring.SID
	Boot  uint64
}

// Report is what a store says in one atomic step, after the batch that was open then
// is synced.
type Report struct {
	Ask        uint64 // of the RoundDo that asked
	Boot       uint64
	Epoch      uint64
	Generation uint64
	Hints      uint64 // undelivered, of the partition
	Marks      uint64 // dirty (partition, target)
	// Cut is the highest counter minted by each live actor that this store has for the
	// partition, staged dots included.
	Cut version.Vector
	// WallMS is the store's clock. The least of the owners' is T (E8).
	WallMS int64
}

// Confirmation is what an owner says at the beginning and at the end.
type Confirmation struct {
	Ask        uint64 // of the RoundDo that asked
	Boot       uint64
	Epoch      uint64
	Generation uint64
	// Seen are counters that contexts of the partition have here, in the survey. Less
	// is safe and purges less: the join of the contexts of the tombstones that wait is
	// all that is of use.
	Seen version.Vector
}

// Commit is the command of the round.
type Commit struct {
	Partition  uint32
	Epoch      uint64 // expected
	Generation uint64 // of the clock after it; expected is one less
	Clock      version.Vector
	ExpireMS   int64 // T
}

// Phase of a round.
type Phase uint8

const (
	Surveying Phase = iota
	Gathering
	Pulling
	Spreading
	Confirming
	Committing
	Purged
	Aborted
)

func (p Phase) String() string {
	return [...]string{"survey", "gather", "pull", "spread", "confirm", "commit", "purged", "aborted"}[p]
}

// RoundConfig is the partition as it is when the round begins. A round must not begin
// while a slot is in transition or an owner is down or suspect.
type RoundConfig struct {
	// Round names it; the lead must not reuse it. An answer to an older round, or to an
	// earlier question of this one, is not taken: it says nothing about what was handed
	// out since.
	Round      uint32
	Partition  uint32
	Epoch      uint64
	Generation uint64 // of the purge clock now
	Self       hashring.SID
	Owners     []Member // full owners, the lead among them
	Stores     []Member // all stores that are not retired, owners among them
}

// RoundDo is what a step of a round wants done.
type RoundDo struct {
	// Ask names the question; answers and Passed bring it back.
	Ask      uint64
	Report   []hashring.SID // ask these for a Report
	Exchange []hashring.SID // a thorough exchange with each, of every n, begun from now on
	Confirm  []hashring.SID // ask these for a Confirmation
	Propose  *Commit
	Wake     Duration
	Done     bool // Phase tells how it ended
}

// Block is why a round does not go on, for metrics and `quorate repair status`.
type Block struct {
	Why   Why
	Store hashring.SID
	Count uint64 // hints or marks
	Since Duration
}

// Why a round waits or ended; closed, so that it can be a metric label.
type Why uint8

const (
	NotBlocked    Why = iota
	NoReport          // a store has not answered
	HintsWait         // a store has undelivered hints
	MarksStand        // a store has a dirty mark
	PassUnfinish      // an exchange has not completed
	NoConfirm         // an owner has not confirmed
	NoCommit          // Raft has not answered
	MembersMoved      // owners, incarnations, epoch or generation changed
	StoreDown         // a store went down
	CommitRefused     // Raft refused: the state was another
	GaveUp            // it asked too often
	StoreUnfit        // an owner is building, down or retired, or some store suspect
	ClockFull         // the purge clock has no room for the actors of this round
	WhyCount          // how many there are
)

var whyNames = [WhyCount]string{"not blocked", "no report", "hints undelivered", "dirty mark", "exchange unfinished", "no confirmation",
	"no commit", "members changed", "store down", "commit refused", "gave up", "store not in service", "purge clock full"}

func (w Why) String() string {
	if w < WhyCount {
		return whyNames[w]
	}
	return "unknown"
}
