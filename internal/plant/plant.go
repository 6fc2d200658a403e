// Package plant holds the planted bugs: deliberate breakages of single rules of the
// protocol, each switched on by itself, to show that the simulator finds them. A
// simulator that finds nothing proves nothing.
//
// Without the build tag "planted" Is is a constant false, so that the call sites cost
// nothing and cannot be switched on.
package plant

import "slices"

// Bug names one planted breakage.
type Bug string

// The bugs, by the rule that they break. The call sites stand beside the rule's line.
const (
	None Bug = ""

	AckBeforeSync       Bug = "ack-before-sync"       // D1: a replica acks when it has staged
	OwnAckBeforeSync    Bug = "own-ack-before-sync"   // D1: the coordinator counts its own copy when it has staged it
	OwnReadBeforeSync   Bug = "own-read-before-sync"  // D1: the coordinator shows what it has only staged
	ReadBeforeSync      Bug = "read-before-sync"      // D1: a replica shows what it has only staged
	SyncCountsAhead     Bug = "sync-counts-ahead"     // D1: one synced batch stands for the next one too
	HintDoneBeforeSync  Bug = "hint-done-before-sync" // E3: the target confirms hints that it has only staged
	HintDroppedOnSend   Bug = "hint-dropped-on-send"  // E3: the holder drops hints when it sends them
	HintGeneration      Bug = "hint-generation"       // E3: a hint rewritten meanwhile is dropped with the old one
	HintReplaced        Bug = "hint-replaced"         // E3: a hint replaces the older one instead of joining it
	DroppedUnmarked     Bug = "dropped-unmarked"      // E3: over budget the oldest hints go without a mark
	SweptUnheld         Bug = "swept-unheld"          // E3: and before the other owners have what they hold
	MarkOldGeneration   Bug = "mark-old-generation"   // E3: an exchange clears a mark that was renewed since
	MarkNotRenewed      Bug = "mark-not-renewed"      // E3: what is missed after the target was told stands under the old mark
	OrphansDropped      Bug = "orphans-dropped"       // E3: hints go when their target is no owner any more
	HintsNeverOffered   Bug = "hints-never-offered"   // E3: the target is not told of its hints
	AckTwice            Bug = "ack-twice"             // E2: a second ack of one store counts
	StandInTwice        Bug = "stand-in-twice"        // E2: one stand-in counts for two owners (F47)
	StrictCountsHints   Bug = "strict-counts-hints"   // E2: stand-ins count in a strict write
	PrimaryWritesWaived Bug = "pw-waived"             // E2: pw owners are not waited for
	UnconfirmedOwner    Bug = "unconfirmed-owner"     // D6: a start that nobody confirmed answers as an owner
	UnconfirmedSelf     Bug = "unconfirmed-self"      // D6: and counts its own copy
	OldEpoch            Bug = "old-epoch"             // 1: plans of an older epoch are carried out
	RingRegresses       Bug = "ring-regresses"        // 1: an older ring state replaces a newer one
	ActorSurvivesCrash  Bug = "actor-survives-crash"  // E1: the actor is the store's, not the process's
	ActorAfterLostHint  Bug = "actor-after-lost-hint" // E1: a fallback goes on minting when it could not keep its hint
	FallbackKeepsActor  Bug = "fallback-keeps-actor"  // E1b: and when it has handed its hints off
	OneActor            Bug = "one-actor"             // E1: a dot is minted though an unseen sibling has an older one of its actor
	ContextTooWide      Bug = "context-too-wide"      // 2: a write's answer covers siblings that the client has not seen
	EmptyContext        Bug = "empty-context"         // E2: a context that has seen nothing is taken for none
	StaleContextWins    Bug = "stale-context-wins"    // 2: any context replaces all siblings
	JoinDropsConcurrent Bug = "join-drops-concurrent" // 2: a join drops a sibling that the other side has not seen
	JoinKeepsCovered    Bug = "join-keeps-covered"    // 2: a join keeps a sibling that the other side has replaced
	MergeReplaces       Bug = "merge-replaces"        // 2: a replica takes what comes instead of joining it
	TombstoneDropped    Bug = "tombstone-dropped"     // E5: a key that is only tombstones is dropped at once
	SiblingDropped      Bug = "sibling-dropped"       // E15: at the cap the oldest sibling goes
	LWWByDot            Bug = "lww-by-dot"            // E10: last-write-wins goes by dot, not by stamp
	ClockForgetsBound   Bug = "clock-forgets-bound"   // E9: a restart does not look at the durable bound
	StampBeforeBound    Bug = "stamp-before-bound"    // E9: a stamp leaves before its bound is durable
	FallbackAbsence     Bug = "fallback-absence"      // E6: a stand-in that holds nothing counts as a reply
	SessionIgnored      Bug = "session-ignored"       // session: the token is not looked at
	NoWriteBack         Bug = "no-write-back"         // E11: a strict read answers before the write-back
	NotAppliedForgets   Bug = "not-applied-forgets"   // E16: not_applied after an owner may have applied the write
	ResentContext       Bug = "resent-context"        // E16: a re-sent write's answer covers what came beside it
	ResentMintedAgain   Bug = "resent-minted-again"   // E16: a re-sent write is minted anew where it stands
	LateForward         Bug = "late-forward"          // E16: an owner does not look how old a forwarded write is
	CorruptIsAbsent     Bug = "corrupt-is-absent"     // D4: a record that fails its checksum reads as absent
	ExpiredShown        Bug = "expired-shown"         // E8: reads show expired values
	ExpiredDropped      Bug = "expired-dropped"       // E8: a replica forgets expired siblings on its own
	DeadlineForgotten   Bug = "deadline-forgotten"    // a read that lacks replies is never answered
	CountersDrift       Bug = "counters-drift"        // D5: the counters miss what a tombstone replaced
	BuildingCounts      Bug = "building-counts"       // 1: the ack of a store that is being built counts
	BuildingAnswers     Bug = "building-answers"      // 1: such a store answers reads
	NoGuard             Bug = "no-guard"              // E6: an owner takes back what was purged
	NoReadGuard         Bug = "no-read-guard"         // E6: a read shows what only a stand-in still has of it
	BuilderStrips       Bug = "builder-strips"        // E6b: a store being built strips what it does not hold yet, as a full owner does
	StreamGuarded       Bug = "stream-guarded"        // E6b: and guards its source's stream
	FillWithoutAccord   Bug = "fill-without-accord"   // E13: the source fills before it agrees with the other full owners
	FilledUnproven      Bug = "filled-unproven"       // E13: a store is full before its source's pass is complete
	PurgeUnproven       Bug = "purge-unproven"        // E5: an owner drops tombstones that no round has settled
	PurgeStale          Bug = "purge-stale"           // E5: and keys that were written again, by what is on its disk of them
	PurgeSkipsHints     Bug = "purge-skips-hints"     // 2.1: a round does not wait for hints and marks
	PurgeSkipsPasses    Bug = "purge-skips-passes"    // 2.1: nor for its exchanges
	ReportBeforeSync    Bug = "report-before-sync"    // 2.1: a report leaves before what it speaks of is synced
	ReportUnconfirmed   Bug = "report-unconfirmed"    // D6: a start that nobody confirmed takes part in a round
	ExpiredByOwnClock   Bug = "expired-by-own-clock"  // E8: an owner makes tombstones of what has expired by its own clock
	SkewTaken           Bug = "skew-taken"            // E9: a write with a stamp far ahead is taken
	TreeForgets         Bug = "tree-forgets"          // D5: the hash tree is not told of tombstones
	ExchangeBeforeSync  Bug = "exchange-before-sync"  // E12: a replica compares what it has only staged
	ExchangeCutCounts   Bug = "exchange-cut-counts"   // E12: an exchange that was cut off counts as complete
	ExchangeOtherStage  Bug = "exchange-other-stage"  // E6, E7: replicas of different epochs or purge generations are compared
	ExchangeLooksOnce   Bug = "exchange-looks-once"   // E12: a difference is acted on without a second look
	FilledOldSession    Bug = "filled-old-session"    // E7: the word of a closed session makes a store full
	MendFromOne         Bug = "mend-from-one"         // D4: one other owner's answer is enough to mend a record
	MismatchServed      Bug = "mismatch-served"       // D5: a record that is not what its leaf row says is served
	ForceAnyway         Bug = "force-anyway"          // D2: owners are given up though a full one is left
	ForceForgets        Bug = "force-forgets"         // D2: and the possible loss is not recorded
	RecoverAnyway       Bug = "recover-anyway"        // T5: partitions that have a majority are recovered too
	ForceKeepsClock     Bug = "force-keeps-clock"     // E6: what comes back after a loss is refused as purged
)

// All lists the bugs that have a scripted scenario in sim.
func All() []Bug { return slices.Concat(eventual(), StrongCluster(), StrongCore()) }

// eventual are those of eventual buckets, and of what both modes rest on.
func eventual() []Bug {
	return []Bug{AckBeforeSync, OwnAckBeforeSync, OwnReadBeforeSync, ReadBeforeSync, SyncCountsAhead, HintDoneBeforeSync, HintDroppedOnSend,
		HintGeneration, HintReplaced, HintsNeverOffered, AckTwice, StandInTwice, StrictCountsHints, PrimaryWritesWaived, UnconfirmedOwner,
		UnconfirmedSelf, OldEpoch, RingRegresses, ActorSurvivesCrash, ActorAfterLostHint, FallbackKeepsActor, OneActor, ContextTooWide,
		EmptyContext, StaleContextWins, JoinDropsConcurrent, JoinKeepsCovered, MergeReplaces, TombstoneDropped, SiblingDropped, LWWByDot,
		ClockForgetsBound, StampBeforeBound, FallbackAbsence, SessionIgnored, NoWriteBack, NotAppliedForgets, ResentContext,
		ResentMintedAgain, LateForward, CorruptIsAbsent, ExpiredShown, ExpiredDropped, DeadlineForgotten, CountersDrift, BuildingCounts,
		BuildingAnswers, NoGuard, NoReadGuard, BuilderStrips, StreamGuarded, FillWithoutAccord, FilledUnproven, SkewTaken, DroppedUnmarked, SweptUnheld}
}

// Core lists the bugs that fall to tests of the packages where they are planted
// (node/core, antientropy, hashring), in worlds made for them: go test -tags planted.
func Core() []Bug {
	return []Bug{MarkOldGeneration, MarkNotRenewed, OrphansDropped, PurgeUnproven, PurgeStale, PurgeSkipsHints, PurgeSkipsPasses, ReportBeforeSync,
		ReportUnconfirmed, ExpiredByOwnClock, TreeForgets, ExchangeBeforeSync, ExchangeCutCounts, ExchangeOtherStage, ExchangeLooksOnce,
		FilledOldSession, MendFromOne, MismatchServed, ForceAnyway, ForceForgets, ForceKeepsClock, RecoverAnyway}
}
