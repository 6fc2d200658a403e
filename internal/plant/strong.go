package plant

// The bugs of strong mode, by the rule that they break (PROTOCOLS.md, 3). The model of
// quorum/strong finds them.
const (
	StrongAckUnsynced        Bug = "strong-ack-unsynced"        // D1: a follower acks what it has staged
	StrongSealUnsynced       Bug = "strong-seal-unsynced"       // D1, S2: a promise is attested before it is synced
	StrongOwnUnsynced        Bug = "strong-own-unsynced"        // S5: the primary counts its own copy when it has staged it
	StrongOldEpoch           Bug = "strong-old-epoch"           // S2: Appends below the promise are taken
	StrongConfirmAny         Bug = "strong-confirm-any"         // S2: rounds below the promise are agreed to
	StrongRestartLeads       Bug = "strong-restart-leads"       // S3: a restarted primary continues its epoch
	StrongRestartTruncates   Bug = "strong-restart-truncates"   // S8: a restarted store drops what it does not know to be committed
	StrongNoPrevCheck        Bug = "strong-no-prev-check"       // S4: entries are taken though the one before does not fit
	StrongShortTruncates     Bug = "strong-short-truncates"     // 3.3, 4: a late short Append truncates
	StrongCommitUnmatched    Bug = "strong-commit-unmatched"    // S5: a follower commits beyond what the Append covers
	StrongOldEpochCommits    Bug = "strong-old-epoch-commits"   // S5: an older epoch's entry commits by counting
	StrongOneSetSeals        Bug = "strong-one-set-seals"       // S6: a joint epoch is sealed in one set
	StrongOneSetCommits      Bug = "strong-one-set-commits"     // S5: a joint epoch commits in one set
	StrongLearnerCounts      Bug = "strong-learner-counts"      // S5: learners count
	StrongSuspectAttests     Bug = "strong-suspect-attests"     // S6: a store that has forgotten attests "full"
	StrongNoPull             Bug = "strong-no-pull"             // S6: a stale store leads
	StrongLongestLog         Bug = "strong-longest-log"         // S6: the longest log is taken for the furthest
	StrongJointUnactivated   Bug = "strong-joint-unactivated"   // S7: T3 without activation
	StrongNoBarrier          Bug = "strong-no-barrier"          // S5, S10: no barrier opens the epoch
	StrongNoBarrierWait      Bug = "strong-no-barrier-wait"     // S10: reads do not wait for the barrier
	StrongApplyUncommitted   Bug = "strong-apply-uncommitted"   // S9: what is only in the log is applied
	StrongReadsOverlay       Bug = "strong-reads-overlay"       // S9, S14: reads show what is in flight
	StrongReplyEarly         Bug = "strong-reply-early"         // S9: a write is answered when it is sequenced
	StrongNoConfirm          Bug = "strong-no-confirm"          // S10: reads are answered without a round
	StrongRoundBefore        Bug = "strong-round-before"        // S10: a read joins the round under way
	StrongIndexUnconfirmed   Bug = "strong-index-unconfirmed"   // S10: a replica gets an index without a round
	StrongIndexShared        Bug = "strong-index-shared"        // S10: a read joins the question under way
	StrongIndexIgnored       Bug = "strong-index-ignored"       // 3.4: a replica answers before the index is applied
	StrongPeekByVersion      Bug = "strong-peek-by-version"     // 3.4: a quorum read goes by the key's version
	StrongPeekOpen           Bug = "strong-peek-open"           // 3.4: and shows what may not be committed
	StrongPeekOne            Bug = "strong-peek-one"            // 3.4: and asks no majority
	StrongPeekOldEpoch       Bug = "strong-peek-old-epoch"      // 3.4: and does not look at promises
	StrongNoOverlay          Bug = "strong-no-overlay"          // 3.3, 2: conditions are judged without what is in flight
	StrongNoCondition        Bug = "strong-no-condition"        // 3.3, 2: conditions are not judged
	StrongRefusesAtOnce      Bug = "strong-refuses-at-once"     // S14: refusals do not wait for what they saw
	StrongRefusesUnconfirmed Bug = "strong-refuses-unconfirmed" // S10: refusals are not confirmed
	StrongRefusalUnlogged    Bug = "strong-refusal-unlogged"    // S14: a refused request may be carried out by a late copy
	StrongUnknownIsNo        Bug = "strong-unknown-is-no"       // S14: a lost role is reported as "no"
	StrongCutIsNo            Bug = "strong-cut-is-no"           // S14: a deposed primary's write is not applied as soon as its entry is cut off
	StrongPlaceIsYes         Bug = "strong-place-is-yes"        // S14: a deposed primary's write is applied whatever is committed in its place
	StrongNoDedupe           Bug = "strong-no-dedupe"           // S12: request ids are not looked at
	StrongDedupeApplied      Bug = "strong-dedupe-applied"      // S12: only in what is applied
	StrongNoCompletion       Bug = "strong-no-completion"       // S12: completion records are not written
	StrongSnapshotForgets    Bug = "strong-snapshot-forgets"    // S12: a snapshot goes without them
	StrongExpiresEarly       Bug = "strong-expires-early"       // S12: they go before their window is over
	StrongExpiredRuns        Bug = "strong-expired-runs"        // S12: a request older than the window is carried out
	StrongOwnClock           Bug = "strong-own-clock"           // 3.5: the log's time is that of its primary's clock
	StrongClockBack          Bug = "strong-clock-back"          // S12: and goes back
	StrongSnapshotFuzzy      Bug = "strong-snapshot-fuzzy"      // 3.5: a snapshot counts without the entries applied meanwhile
	StrongSnapshotGap        Bug = "strong-snapshot-gap"        // 3.5: or with a gap before them
	StrongLeavesStale        Bug = "strong-leaves-stale"        // 3.5: a store drops its data by a configuration older than its promise
	StrongSumIgnored         Bug = "strong-sum-ignored"         // D5: a follower does not compare its values with the primary's
	StrongScrubBlind         Bug = "strong-scrub-blind"         // D5: a scrub does not compare what it has added up
	StrongDivergedServes     Bug = "strong-diverged-serves"     // D5: a store whose values are wrong answers from them
	StrongDivergedLeads      Bug = "strong-diverged-leads"      // D5: and leads
	StrongSleeperSpeaks      Bug = "strong-sleeper-speaks"      // 3.5: a store that was not scheduled calls others silent
	StrongCarriesHalf        Bug = "strong-carries-half"        // S12: lazy values reach the disk without how much is applied
	StrongIDsRepeat          Bug = "strong-ids-repeat"          // S10: a restarted replica takes answers to its former life's questions
	StrongLeaseUnheld        Bug = "strong-lease-unheld"        // S11: a store promises a later epoch although its promise is lent
	StrongLeaseForgotten     Bug = "strong-lease-forgotten"     // S11: a restarted store forgets that it was
	StrongLeaseUnsynced      Bug = "strong-lease-unsynced"      // S11: a promise is lent before it is durable for how long
	StrongLeaseFromReceipt   Bug = "strong-lease-from-receipt"  // S11: a lease counts from when it was granted, not from when it was asked for
	StrongLeaseDrift         Bug = "strong-lease-drift"         // S11: clocks are taken to agree
	StrongLeaseMono          Bug = "strong-lease-mono"          // S11: a lease is measured by a clock that stops in suspend
	StrongLeaseOldClock      Bug = "strong-lease-old-clock"     // S11: by a clock read before the read came in
	StrongLeaseKept          Bug = "strong-lease-kept"          // S11: a primary that hands over goes on by the lease that it gave back
	StrongLeaseOneSet        Bug = "strong-lease-one-set"       // S11: in a joint epoch one set lends
)

// The bugs of strong mode that the machine's own model does not find: of the ring state
// that names primaries and sets, and of what takes more to happen at once than the model
// has. The simulator of whole clusters finds them.
const (
	StrongNoSwap       Bug = "strong-no-swap"       // S1: a change of a configuration is carried out whatever its epoch
	StrongEpochKept    Bug = "strong-epoch-kept"    // S1, T1: a new primary gets the old one's epoch
	StrongSubstitutes  Bug = "strong-substitutes"   // T2: a set is replaced at once
	StrongAbortForward Bug = "strong-abort-forward" // T4: a joint configuration is given up for the new set
	// D5: a snapshot ends before its source has added up its own values.
	StrongSnapshotUnproven Bug = "strong-snapshot-unproven"
	StrongStrayForgotten   Bug = "strong-stray-forgotten" // D5: a primary forgets that its values did not add up
)

// Strong lists the bugs of strong mode that the machine's own model finds.
func Strong() []Bug {
	return []Bug{StrongAckUnsynced, StrongSealUnsynced, StrongOwnUnsynced, StrongOldEpoch, StrongConfirmAny, StrongRestartLeads,
		StrongNoPrevCheck, StrongShortTruncates, StrongCommitUnmatched, StrongOldEpochCommits, StrongOneSetSeals, StrongOneSetCommits,
		StrongLearnerCounts, StrongRestartTruncates, StrongSuspectAttests, StrongNoPull, StrongLongestLog, StrongJointUnactivated, StrongNoBarrier, StrongNoBarrierWait,
		StrongApplyUncommitted, StrongReadsOverlay, StrongReplyEarly, StrongNoConfirm, StrongRoundBefore, StrongIndexUnconfirmed,
		StrongIndexShared, StrongIndexIgnored, StrongPeekByVersion, StrongPeekOpen, StrongPeekOne, StrongPeekOldEpoch, StrongNoOverlay,
		StrongNoCondition, StrongRefusesAtOnce, StrongRefusesUnconfirmed, StrongRefusalUnlogged, StrongUnknownIsNo, StrongCutIsNo, StrongPlaceIsYes, StrongNoDedupe,
		StrongDedupeApplied, StrongNoCompletion, StrongSnapshotForgets, StrongExpiresEarly, StrongExpiredRuns, StrongOwnClock, StrongClockBack, StrongSnapshotFuzzy,
		StrongSnapshotGap, StrongCarriesHalf, StrongLeavesStale, StrongSleeperSpeaks, StrongIDsRepeat, StrongSumIgnored, StrongScrubBlind, StrongDivergedServes, StrongDivergedLeads,
		StrongLeaseUnheld, StrongLeaseForgotten, StrongLeaseUnsynced, StrongLeaseFromReceipt, StrongLeaseDrift, StrongLeaseMono, StrongLeaseOldClock,
		StrongLeaseKept, StrongLeaseOneSet}
}

// StrongCluster lists the bugs of strong mode that the simulator of whole clusters finds.
func StrongCluster() []Bug {
	return []Bug{StrongNoSwap, StrongEpochKept, StrongSubstitutes, StrongAbortForward, StrongSnapshotUnproven, StrongStrayForgotten}
}

// StrongTold are bugs of the machine that have a script in sim beside those of its own
// model.
func StrongTold() []Bug {
	return []Bug{StrongSealUnsynced, StrongOldEpoch, StrongConfirmAny, StrongRestartLeads, StrongRestartTruncates, StrongNoPrevCheck, StrongShortTruncates, StrongCommitUnmatched,
		StrongOldEpochCommits, StrongLongestLog, StrongRoundBefore, StrongIndexUnconfirmed, StrongIndexShared, StrongIndexIgnored, StrongPeekOpen, StrongPeekOne,
		StrongPeekOldEpoch, StrongNoOverlay, StrongRefusesAtOnce, StrongRefusesUnconfirmed, StrongRefusalUnlogged, StrongExpiresEarly, StrongScrubBlind,
		StrongSumIgnored, StrongNoBarrier, StrongDivergedServes, StrongDivergedLeads, StrongIDsRepeat, StrongAckUnsynced, StrongDedupeApplied, StrongExpiredRuns, StrongJointUnactivated, StrongLearnerCounts, StrongNoBarrierWait,
		StrongNoCompletion, StrongNoCondition, StrongNoConfirm, StrongNoDedupe, StrongNoPull, StrongOneSetCommits, StrongOneSetSeals,
		StrongOwnUnsynced, StrongApplyUncommitted, StrongReadsOverlay, StrongReplyEarly, StrongUnknownIsNo,
		StrongLeaseMono, StrongLeaseForgotten, StrongLeaseKept, StrongPeekByVersion, StrongSnapshotForgets, StrongCarriesHalf}
}
