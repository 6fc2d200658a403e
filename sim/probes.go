package sim

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// probe is something that a run should meet sometimes: a simulator that never gets
// somewhere shows nothing about it.
type probe int

const (
	pCrash probe = iota
	pCrashAfterAck
	pKillAll
	pTornCommit
	pLostBatches
	pSyncFailed
	pStall
	pLowSpace
	pPause
	pConnectionBroken
	pMessageLost
	pMessageTwice
	pMessageReordered
	pRequestLost
	pReplyLost
	pRingFetched
	pRingOvertaken
	pRolledBack
	pPeersConfirm
	pOldEpoch
	pEpochMoved
	pOutage
	pLateBucket
	pRefusedStarting
	pRefusedEpoch
	pRefusedBudget
	pRefusedSpace
	pRefusedOverload
	pRefusedCorrupt
	pMintedAfterAck
	pMintedTwice
	pFallbackMint
	pFallbackMintsAgain
	pConcurrentMint
	pResent
	pAskedTwice
	pAckedByHints
	pAckedByTwoHints
	pHintHolderDies
	pHintsHandedOff
	pManyHints
	pTombstoneHint
	pHintAfterRecreate
	pSessionAsked
	pSessionStale
	pSessionAfterHints
	pSiblings
	pSiblingLimit
	pStaleContext
	pLWWAhead
	pLWWEqual
	pClockBack
	pClockBackRestart
	pStrictRead
	pReadRepair
	pUnknown
	pExpired
	pOverload
	pQuorumLost
	pFalseView
	pPartition
	pOneWay
	pBridge
	pMajorities
	pHandOffCut
	pSparse
	pTinyBatches
	pHasty
	pLateWord
	pCloned
	pLateForward
	pReplaced
	pLastFull
	pSuspect
	pWiped
	pFlipped
	pFilled
	pPurged
	pProposalLost
	pProposalRefused
	pProposalStale
	pProposalUnknown
	pHintAfterPurge
	pHintDropped
	pOrphanMerged
	pMarked
	pExpiryPurged
	pPurgeWaits
	pOldExchange
	pExchangeBusy
	pGuarded
	pMended
	pFilledAfterPurge
	pReadMidPurge
	pLeafRot
	pGhost
	pSnapshot
	pLogCut
	pFailover
	pDoneBefore
	pMismatch
	pIDExpired
	pStrongResent
	pReadLeader
	pReadQuorum
	pReadReplica
	pReadStale
	pReadLease
	pStrongInOutage
	pLocked
	pLeaderChange
	pTwoJudges
	pChangeLost
	pChangeStale
	pChangeRefused
	pPrimaryMoved
	pJoint
	pSettled
	pAborted
	pLearners
	pHandOver
	pOldPrimary
	pOldEntry
	pPrimaryLostEntries
	pLateAppend
	pRestartLeads
	pStrongUnknown
	pStalledPrimary
	pStrongDamage
	pManyPrimaries
	pIntruder
	pLongPause
	pValueRot
	pDrifted
	pDriftFound
	probeCount
)

var probeNames = [probeCount]string{"crash", "crash_after_ack", "kill_all", "torn_commit", "lost_batches", "sync_failed", "stall", "low_space", "pause",
	"connection_broken", "message_lost", "message_twice", "message_reordered", "request_lost", "reply_lost", "ring_fetched", "ring_overtaken", "rolled_back",
	"peers_confirm", "old_epoch", "epoch_moved", "authority_outage", "late_bucket", "refused_starting", "refused_epoch", "refused_hint_budget",
	"refused_space", "refused_overload", "refused_corrupt", "minted_after_ack", "minted_twice", "fallback_mint", "fallback_mints_again", "concurrent_mint",
	"resent", "asked_twice", "acked_by_hints", "acked_by_two_hints", "hint_holder_dies", "hints_handed_off", "many_hints", "tombstone_hint",
	"hint_after_recreate", "session_asked", "session_stale", "session_after_hints", "siblings", "sibling_limit", "stale_context", "lww_clock_ahead",
	"lww_equal_stamps", "clock_back", "clock_back_restart", "strict_read", "read_repair", "unknown", "expired", "overload", "quorum_lost",
	"false_view", "partition", "one_way", "bridge", "majorities", "hand_off_cut",
	"sparse", "tiny_batches", "hasty", "late_word", "cloned", "late_forward",
	"replaced", "last_full", "suspect", "wiped", "flipped", "filled", "purged", "proposal_lost", "proposal_refused", "proposal_stale", "proposal_unknown", "hint_after_purge", "hint_dropped",
	"orphan_merged", "marked", "expiry_purged", "purge_waits", "old_exchange", "exchange_busy", "guarded", "mended", "filled_after_purge", "read_mid_purge", "leaf_rot", "ghost",
	"snapshot", "log_cut", "failover", "done_before", "mismatch", "id_expired", "strong_resent", "read_leader", "read_quorum", "read_replica", "read_stale", "read_lease", "strong_in_outage", "locked", "leader_change", "two_judges", "change_lost", "change_stale", "change_refused", "primary_moved", "joint", "settled", "aborted", "learners", "hand_over",
	"old_primary", "old_entry", "primary_lost_entries", "late_append", "restart_leads", "strong_unknown", "stalled_primary", "strong_damage", "many_primaries", "intruder", "long_pause", "value_rot", "drifted", "drift_found"}

// probes counts what a run met.
type probes struct {
	n       [probeCount]uint64
	lastAck time.Duration
	stood   map[*node]map[uint32]int // stand-in mints by node and partition: 1 minted, 2 handed off since
}

func (p *probes) init() { p.stood = map[*node]map[uint32]int{} }

func (p *probes) hit(x probe) { p.n[x]++ }

func (p *probes) hitIf(ok bool, x probe) {
	if ok {
		p.n[x]++
	}
}

// minted looks at a new version.
func (p *probes) minted(w *World, a *attempt, m *mint, o *version.Object, owner bool) {
	p.hitIf(len(a.mints) == 2, pMintedTwice)
	kt, n := a.key, m.at
	p.hitIf(a.has && len(o.Siblings) > 1, pStaleContext)
	if kt.conflict == hashring.LWW {
		p.hitIf(m.hlc.MS() > epochMS+w.now.Milliseconds()+1000, pLWWAhead)
		for _, other := range kt.open {
			p.hitIf(other != m && other.hlc == m.hlc, pLWWEqual)
		}
	}
	if !owner {
		p.hit(pFallbackMint)
		if p.stood[n] == nil {
			p.stood[n] = map[uint32]int{}
		}
		p.hitIf(p.stood[n][kt.partition] == 2, pFallbackMintsAgain)
		p.stood[n][kt.partition] = 1
		p.hitIf(a.deletes, pTombstoneHint)
	}
	if a.has && len(kt.open) > 1 {
		p.hit(pConcurrentMint)
	}
}

// handedOff: a store drops hints of a partition.
func (p *probes) handedOff(n *node, partition uint32) {
	p.hit(pHintsHandedOff)
	if p.stood[n] != nil && p.stood[n][partition] == 1 {
		p.stood[n][partition] = 2
	}
}

// refused looks at a replica's refusal.
func (p *probes) refused(m *core.Message) {
	switch m.Reason {
	case quorum.ReasonStarting:
		p.hit(pRefusedStarting)
	case quorum.ReasonStaleEpoch:
		p.hit(pRefusedEpoch)
	case quorum.ReasonHintBudget:
		p.hit(pRefusedBudget)
	case quorum.ReasonNoSpace:
		p.hit(pRefusedSpace)
	case quorum.ReasonOverloaded:
		p.hit(pRefusedOverload)
	case quorum.ReasonLate:
		p.hit(pLateForward)
	case quorum.ReasonCorrupt:
		p.hit(pRefusedCorrupt)
	}
}

// reply looks at an answer to a client.
func (p *probes) reply(w *World, c *call, r *core.Reply) {
	isRead := c.req.Op == core.OpGet
	switch r.Code {
	case core.QuorumUnavailable:
		p.hit(pQuorumLost)
	case core.SiblingLimit:
		p.hit(pSiblingLimit)
	case core.StaleReplica:
		p.hit(pSessionStale)
	case core.InsufficientStorage:
		p.hit(pRefusedSpace)
	case core.Overloaded:
		p.hit(pRefusedOverload)
	}
	p.hitIf(r.Outcome == core.Unknown, pUnknown)
	p.hitIf(c.strict && isRead && r.Code == core.OK, pStrictRead)
	if r.Outcome == core.Applied {
		p.lastAck = w.now
		p.hitIf(r.Receipt.Fallbacks > 0, pAckedByHints)
		p.hitIf(r.Receipt.Fallbacks > 1, pAckedByTwoHints)
	}
	if isRead && r.Object != nil {
		live := r.Object.Live(c.node.wall())
		p.hitIf(len(live) > 1, pSiblings)
		for i := range r.Object.Siblings {
			s := &r.Object.Siblings[i]
			p.hitIf(s.ExpiryMS != 0 && s.ExpiryMS <= c.node.wall(), pExpired)
		}
	}
	if c.req.HasAfter {
		p.hit(pSessionAsked)
		p.hitIf(r.Receipt.Fallbacks > 0, pSessionAfterHints)
	}
}
